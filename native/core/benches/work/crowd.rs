//! Fan-out to a crowd: header, copy, seal and train for each viewer, handed over at the end.

use std::net::{IpAddr, Ipv4Addr};

use pyforward_core::command::SubscribeTrack;
use pyforward_core::egress::{Egress, MAX_TRAIN, Message, Outcome, Transmit};
use pyforward_core::exchange::Departure;
use pyforward_core::fanout::{Afterwards, Out, fan_out};
use pyforward_core::ids::{PayloadType, SessionId, ShardIndex, Ssrc, StreamId};
use pyforward_core::media::{Codec, Extension, Format, Kind};
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::{KeyMaterial, Profile, Sealer};
use pyforward_core::stats::Stats;
use pyforward_core::stream::{Publisher, Round, Stream};
use pyforward_core::subscriber::{Beginning, Subscriber};
use pyforward_core::time::{Ntp, Time, WallClock};
use pyforward_core::track::Batch;

use super::building::{opened, sound};
use super::{FRAME, MID_ID, Work};

const PUBLISHER: SessionId = SessionId(1);

/// Takes everything and sends nothing.
pub struct Nowhere;

impl Transmit for Nowhere {
    fn transmit(&mut self, _: &[u8], messages: &[Message], outcomes: &mut Vec<Outcome>) -> usize {
        outcomes.resize(messages.len(), Outcome::Sent);
        1
    }

    fn now(&self) -> Time {
        Time(1_001_000)
    }

    fn route_mtu(&mut self, _: &Path) -> Option<u16> {
        Some(1_500)
    }
}

/// Sends a frame to every viewer, with a packet of audio or without.
pub struct FanOut {
    viewers: usize,
    stream: Stream,
    /// The newest frame, placed, and the audio; the next ones are the same, further on.
    batches: Vec<Batch>,
    now: Time,
    egress: Egress,
    stats: Stats,
}

impl FanOut {
    pub fn new(viewers: usize, with_audio: bool) -> FanOut {
        let mut stream = Stream::new(StreamId(1), 0);
        stream.add_publisher(Publisher {
            session: PUBLISHER,
            shard: ShardIndex(0),
            codecs: vec![(Kind::Video, Codec::Vp8), (Kind::Audio, Codec::Opus)],
        });
        let now = Time(1_000_000);
        for number in 0..viewers {
            stream.subscribers.insert(viewer(now, number));
        }
        // They start with a keyframe.
        let packets = (0..FRAME).map(|at| opened(at as u64, at, true).into()).collect();
        let departure = |packets| Departure {
            stream: StreamId(1),
            publisher: PUBLISHER,
            packets,
            trains: vec![0],
        };
        let wall_clock = WallClock { ntp_at_zero: Ntp(3_900_000_000 << 32) };
        stream.handle_departure(now, wall_clock, &departure(packets));
        if with_audio {
            stream.handle_departure(now, wall_clock, &departure(vec![sound().into()]));
        }
        stream.send_off(now, 0);
        let circuit = stream.round().circuit;
        let batches: Vec<Batch> = circuit.due().map(|due| due.batch.clone()).collect();
        assert_eq!(batches.len(), 1 + usize::from(with_audio), "all was placed");
        let mut work = FanOut {
            viewers,
            stream,
            batches,
            now,
            egress: Egress::new(true, true, MAX_TRAIN),
            stats: Stats::default(),
        };
        work.send();
        work
    }

    fn send(&mut self) {
        let afterwards = &mut Afterwards::default();
        let (egress, transmit, stats) = (&mut self.egress, &mut Nowhere, &mut self.stats);
        let mut out = Out { egress, transmit, stats, afterwards, handed_over: false };
        fan_out(self.now, Time::NEVER, self.stream.round(), &mut out);
        out.egress.flush(out.transmit, out.stats);
    }
}

impl Work for FanOut {
    fn run(&mut self) {
        for batch in &mut self.batches {
            let packets = batch.entries.len() as u64;
            for entry in &mut batch.entries {
                entry.sequence += packets;
                entry.timestamp = entry.timestamp.wrapping_add(3_000);
            }
        }
        self.now = Time(self.now.0 + 33_333);
        let Round { circuit, subscribers, .. } = self.stream.round();
        for batch in &self.batches {
            circuit.enter(self.now, batch.clone(), None, subscribers.capacity());
        }
        self.send();
    }

    fn packets(&self) -> usize {
        self.viewers * self.batches.iter().map(|batch| batch.entries.len()).sum::<usize>()
    }
}

fn viewer(now: Time, number: usize) -> Subscriber {
    let mut key = [3; 16];
    key[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let profile = Profile::AeadAes128Gcm;
    let material = KeyMaterial::new(profile, &key, &[4; 12]).unwrap();
    let beginning = Beginning {
        session: SessionId(1_000 + number as u64),
        added: now,
        owner: number as u32,
        path: Some(path(number)),
        sealer: Sealer::new(profile, &material),
        tracks: &subscription(number),
        cname: "cname",
        random: [number as u64, 7 * number as u64],
        repeats: true,
    };
    Subscriber::new(now, beginning)
}

/// The way to a viewer.
pub fn path(number: usize) -> Path {
    let local = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let remote = (Ipv4Addr::from(0x0A01_0000 + number as u32), 40_000).into();
    Path { socket: SocketId::SHARED, local, remote }
}

/// Audio and video as browsers take them.
pub fn subscription(number: usize) -> Vec<SubscribeTrack> {
    let track = |kind, codec: Codec, payload_type, extension| SubscribeTrack {
        kind,
        mid: if kind == Kind::Audio { "0".to_owned() } else { "1".to_owned() },
        clock_rate: codec.clock_rate(),
        ssrc: Ssrc(2 * number as u32 + kind as u32),
        rtx_ssrc: None,
        formats: vec![Format {
            codec,
            payload_type: PayloadType(payload_type),
            rtx_payload_type: None,
        }],
        extensions: vec![(MID_ID, Extension::Mid), extension],
        extmap_allow_mixed: true,
        nack: true,
        rrtr: false,
    };
    vec![
        track(Kind::Audio, Codec::Opus, 111, (10, Extension::AudioLevel)),
        track(Kind::Video, Codec::Vp8, 102, (13, Extension::VideoOrientation)),
    ]
}
