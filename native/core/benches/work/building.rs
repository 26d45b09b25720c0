//! What is built around the payload: headers, departures out of a publisher's packets, trains.

use std::hint::black_box;
use std::time::Duration;

use pyforward_core::command::{PublishTrack, SubscribeTrack};
use pyforward_core::egress::{Content, Egress, MAX_SEGMENT, MAX_TRAIN};
use pyforward_core::ids::{PayloadType, SessionId, Ssrc, StreamId};
use pyforward_core::media::{Codec, Extension, Kind};
use pyforward_core::packet::{ForwardedExtensions, Packet};
use pyforward_core::path::Path;
use pyforward_core::rtp::View;
use pyforward_core::source::{Source, SourceConfig};
use pyforward_core::stats::Stats;
use pyforward_core::subscriber::{MAX_HEADER, Numbers, Template};
use pyforward_core::time::{MachineClock, Ntp, Time, WallClock};

use super::crowd::{Nowhere, path, subscription};
use super::{FRAME, MID_ID, PAYLOAD, SSRC, Work, plain_packet};

/// A packet of a frame, opened. It shows the way up, so that one extension travels on.
pub fn opened(sequence: u64, position: usize, keyframe: bool) -> Packet {
    let mut extensions = ForwardedExtensions {
        room: [ForwardedExtensions::NONE; Extension::FORWARDED.len()],
        ..ForwardedExtensions::default()
    };
    extensions.present.push((Extension::VideoOrientation, 0, 1));
    extensions.room[ORIENTATION] = 1;
    Packet {
        arrival: Time(1_000_000),
        sequence,
        timestamp: 90_000,
        kind: Kind::Video,
        codec: Codec::Vp8,
        payload_type: PayloadType(96),
        marker: position + 1 == FRAME,
        keyframe,
        padding: 0,
        extensions,
        bytes: vec![0xA5; 1 + PAYLOAD].into(),
        payload_start: 1,
    }
}

/// A packet of audio, opened.
pub fn sound() -> Packet {
    Packet {
        kind: Kind::Audio,
        codec: Codec::Opus,
        payload_type: PayloadType(111),
        extensions: ForwardedExtensions {
            room: ForwardedExtensions::NO_ROOM,
            ..ForwardedExtensions::default()
        },
        bytes: vec![0xA5; 160].into(),
        payload_start: 0,
        ..opened(0, 0, false)
    }
}

/// Of video orientation in [`Extension::FORWARDED`].
const ORIENTATION: usize = 1;

/// Rewrites the headers of a frame for one viewer.
pub struct Header {
    template: Template,
    packet: Packet,
    buffer: Vec<u8>,
    sequence: u16,
}

impl Header {
    pub fn new() -> Header {
        let tracks: Vec<SubscribeTrack> = subscription(1);
        let template = Template::new(&tracks[1]);
        Header { template, packet: opened(1, 0, false), buffer: vec![0; MAX_HEADER], sequence: 0 }
    }
}

impl Work for Header {
    fn run(&mut self) {
        for _ in 0..FRAME {
            let format = self.template.format(self.packet.codec).unwrap();
            let numbers = Numbers {
                ssrc: Ssrc(7),
                sequence: self.sequence,
                timestamp: 90_000,
                payload_type: format.payload_type.0,
            };
            let packet = black_box(&self.packet);
            black_box(self.template.write_header(packet, numbers, &mut self.buffer));
            self.sequence = self.sequence.wrapping_add(1);
        }
    }
}

/// Takes a publisher's frame, opened, and gathers it into a departure of one train.
pub struct Gather {
    source: Source,
    stats: Stats,
    packets: Vec<Vec<u8>>,
    feedback: Vec<u8>,
    frame: u32,
}

impl Gather {
    pub fn new() -> Gather {
        let config = SourceConfig {
            frame_window: Duration::from_millis(4),
            trains: true,
            padding: true,
            keyframe_interval: Duration::from_millis(500),
            bitrate_bps: 20_000_000,
            wall_clock: WallClock { ntp_at_zero: Ntp(3_900_000_000 << 32) },
            machine_clock: MachineClock::default(),
            record_as: None,
            report_interval: None,
            repeats: true,
        };
        let source = Source::new(StreamId(1), SessionId(1), vec![publication()], config);
        let packets = (0..FRAME).map(|position| plain_packet(0, 0, position)).collect();
        Gather { source, stats: Stats::default(), packets, feedback: Vec::new(), frame: 0 }
    }
}

impl Work for Gather {
    fn run(&mut self) {
        let now = Time(1_000_000 + 33_333 * u64::from(self.frame));
        let timestamp = (3_000 * self.frame).to_be_bytes();
        for (position, packet) in self.packets.iter_mut().enumerate() {
            let sequence = (self.frame as usize * FRAME + position) as u16;
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&timestamp);
            let view = View::parse(packet).unwrap();
            let wire_len = packet.len() + 16;
            self.source.handle_rtp(now, &view, packet, wire_len, &mut self.stats).unwrap();
        }
        self.source.handle_timeout(now, &mut self.stats);
        let departure = self.source.poll_departure().expect("a frame has departed");
        assert_eq!((departure.packets.len(), departure.trains.as_slice()), (FRAME, [0].as_slice()));
        black_box(departure);
        self.feedback.clear();
        while self.source.poll_rtcp(now, &mut self.feedback) {}
        black_box(&self.feedback);
        self.frame += 1;
    }
}

fn publication() -> PublishTrack {
    PublishTrack {
        kind: Kind::Video,
        mid: "1".to_owned(),
        codec: Codec::Vp8,
        payload_type: PayloadType(96),
        rtx_payload_type: None,
        alternatives: Vec::new(),
        clock_rate: Codec::Vp8.clock_rate(),
        ssrcs: vec![Ssrc(SSRC)],
        rtx_ssrcs: Vec::new(),
        rids: Vec::new(),
        extensions: vec![(MID_ID, Extension::Mid)],
        feedback_ssrc: Ssrc(77),
        nack: true,
        pli: true,
        fir: false,
        reduced_size: true,
        transport_cc: false,
        remb: false,
        parameter_sets: Vec::new(),
    }
}

/// Puts a frame that is sealed already into a train and hands it over.
pub struct Train {
    egress: Egress,
    stats: Stats,
    path: Path,
    packet: Vec<u8>,
}

impl Train {
    pub fn new() -> Train {
        let packet = vec![0xA5; 20 + PAYLOAD + 16];
        Train {
            egress: Egress::new(true, true, MAX_TRAIN),
            stats: Stats::default(),
            path: path(1),
            packet,
        }
    }
}

impl Work for Train {
    fn run(&mut self) {
        let content = Content::Media { kind: Kind::Video, arrival: Some(Time(1_000_000)) };
        let room = FRAME * self.packet.len();
        let mut train = self.egress.train(self.path, 1, MAX_SEGMENT, content, room);
        for _ in 0..FRAME {
            let packet = black_box(self.packet.as_slice());
            train.segment(packet.len(), |buffer| {
                buffer.copy_from_slice(packet);
                packet.len()
            });
        }
        drop(train);
        self.egress.flush(&mut Nowhere, &mut self.stats);
    }
}
