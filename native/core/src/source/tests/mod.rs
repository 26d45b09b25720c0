//! The source in virtual time: packets in, departures and compounds out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod learning;
mod pictures;
mod properties;
mod repair;
mod reports;

use std::time::Duration;

use super::{ClockUpdate, Source, SourceConfig};
use crate::command::PublishTrack;
use crate::discard::Discard;
use crate::exchange::Departure;
use crate::ids::{PayloadType, SessionId, Ssrc, StreamId};
use crate::media::{Codec, Extension, Format, Kind};
use crate::packet::SharedPacket;
use crate::rtcp::{self, Item};
use crate::rtp::View;
use crate::stats::{Counter, Stats};
use crate::time::{MachineClock, Ntp, Time, WallClock};

pub(super) const VIDEO: Ssrc = Ssrc(0x1111);
pub(super) const VIDEO_RTX: Ssrc = Ssrc(0x2222);
pub(super) const AUDIO: Ssrc = Ssrc(0x3333);
pub(super) const FEEDBACK: Ssrc = Ssrc(0xfeed);
pub(super) const FEEDBACK_AUDIO: Ssrc = Ssrc(0xfeee);
pub(super) const WALL_CLOCK: WallClock = WallClock { ntp_at_zero: Ntp(1_000 << 32) };

/// Extension ids, of all tracks.
pub(super) mod id {
    pub(in crate::source) const MID: u8 = 1;
    pub(in crate::source) const RID: u8 = 2;
    pub(in crate::source) const REPAIRED_RID: u8 = 3;
    pub(in crate::source) const TRANSPORT_CC: u8 = 4;
    pub(in crate::source) const ABS_SEND_TIME: u8 = 5;
    pub(in crate::source) const PLAYOUT_DELAY: u8 = 6;
    pub(in crate::source) const COLOR_SPACE: u8 = 7;
    pub(in crate::source) const AUDIO_LEVEL: u8 = 8;
}

pub(super) fn config() -> SourceConfig {
    SourceConfig {
        frame_window: Duration::from_millis(4),
        trains: true,
        padding: true,
        keyframe_interval: Duration::from_millis(500),
        bitrate_bps: 20_000_000,
        wall_clock: WALL_CLOCK,
        machine_clock: MachineClock { id: 1, micros_at_zero: 5_000_000_000 },
        record_as: None,
        report_interval: None,
        repeats: true,
    }
}

pub(super) fn video() -> PublishTrack {
    PublishTrack {
        kind: Kind::Video,
        mid: "1".into(),
        codec: Codec::Vp8,
        payload_type: PayloadType(96),
        rtx_payload_type: Some(PayloadType(97)),
        clock_rate: 90_000,
        ssrcs: vec![VIDEO],
        rtx_ssrcs: vec![(VIDEO, VIDEO_RTX)],
        rids: vec![],
        extensions: vec![
            (id::MID, Extension::Mid),
            (id::RID, Extension::Rid),
            (id::REPAIRED_RID, Extension::RepairedRid),
            (id::TRANSPORT_CC, Extension::TransportCc),
            (id::ABS_SEND_TIME, Extension::AbsSendTime),
            (id::PLAYOUT_DELAY, Extension::PlayoutDelay),
            (id::COLOR_SPACE, Extension::ColorSpace),
        ],
        feedback_ssrc: FEEDBACK,
        nack: true,
        pli: true,
        fir: true,
        reduced_size: false,
        transport_cc: true,
        remb: false,
        parameter_sets: vec![],
        alternatives: Vec::new(),
    }
}

pub(super) fn audio() -> PublishTrack {
    PublishTrack {
        kind: Kind::Audio,
        mid: "0".into(),
        codec: Codec::Opus,
        payload_type: PayloadType(111),
        rtx_payload_type: None,
        clock_rate: 48_000,
        ssrcs: vec![AUDIO],
        rtx_ssrcs: vec![],
        extensions: vec![(id::MID, Extension::Mid), (id::AUDIO_LEVEL, Extension::AudioLevel)],
        feedback_ssrc: FEEDBACK_AUDIO,
        nack: false,
        pli: false,
        fir: false,
        ..video()
    }
}

/// One RTP packet to be.
#[derive(Clone, Debug)]
pub(super) struct Rtp {
    pub(super) ssrc: Ssrc,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
    pub(super) payload: Vec<u8>,
    pub(super) padding: u8,
}

/// A packet in the middle of a VP8 frame.
pub(super) fn vp8(sequence: u16, timestamp: u32) -> Rtp {
    Rtp {
        ssrc: VIDEO,
        payload_type: 96,
        sequence,
        timestamp,
        marker: false,
        extensions: vec![],
        payload: vec![0; 1_000],
        padding: 0,
    }
}

/// The first packet of a VP8 keyframe (RFC 7741 §4.3).
pub(super) fn vp8_key(sequence: u16, timestamp: u32) -> Rtp {
    let mut packet = vp8(sequence, timestamp);
    packet.payload[0] = 0x10;
    packet
}

pub(super) fn opus(sequence: u16, timestamp: u32) -> Rtp {
    Rtp { ssrc: AUDIO, payload_type: 111, payload: vec![7; 80], ..vp8(sequence, timestamp) }
}

/// Padding alone, as libwebrtc's pacer sends it.
pub(super) fn probe(sequence: u16, timestamp: u32) -> Rtp {
    Rtp { payload: vec![], padding: 224, ..vp8(sequence, timestamp) }
}

/// The retransmission of a packet (RFC 4588 §4).
pub(super) fn rtx(original: &Rtp, sequence: u16) -> Rtp {
    let mut payload = original.sequence.to_be_bytes().to_vec();
    payload.extend_from_slice(&original.payload);
    Rtp { ssrc: VIDEO_RTX, payload_type: 97, sequence, payload, ..original.clone() }
}

impl Rtp {
    pub(super) fn marked(self) -> Rtp {
        Rtp { marker: true, ..self }
    }

    pub(super) fn with(mut self, id: u8, value: &[u8]) -> Rtp {
        self.extensions.push((id, value.to_vec()));
        self
    }

    pub(super) fn from(self, ssrc: u32) -> Rtp {
        Rtp { ssrc: Ssrc(ssrc), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let flags = 0x80
            | if self.padding > 0 { 0x20 } else { 0 }
            | if self.extensions.is_empty() { 0 } else { 0x10 };
        let mut out = vec![flags, self.payload_type | u8::from(self.marker) << 7];
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());
        if !self.extensions.is_empty() {
            let mut block = Vec::new();
            for (id, value) in &self.extensions {
                block.extend_from_slice(&[*id, value.len() as u8]);
                block.extend_from_slice(value);
            }
            block.resize(block.len().next_multiple_of(4), 0);
            out.extend_from_slice(&[0x10, 0x00, 0, (block.len() / 4) as u8]);
            out.extend_from_slice(&block);
        }
        out.extend_from_slice(&self.payload);
        if self.padding > 0 {
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
        out
    }
}

/// A source with a clock.
pub(super) struct Rig {
    pub(super) source: Source,
    pub(super) now: Time,
    pub(super) stats: Stats,
}

impl Rig {
    pub(super) fn new(tracks: Vec<PublishTrack>) -> Rig {
        Rig::with(tracks, config())
    }

    pub(super) fn with(tracks: Vec<PublishTrack>, config: SourceConfig) -> Rig {
        let source = Source::new(StreamId(1), SessionId(2), tracks, config);
        Rig { source, now: Time(0), stats: Stats::default() }
    }

    pub(super) fn send(&mut self, packet: Rtp) -> Result<(), Discard> {
        let bytes = packet.bytes();
        let view = View::parse(&bytes)?;
        self.source.handle_rtp(self.now, &view, &bytes, bytes.len() + 16, &mut self.stats)
    }

    /// Sends packets that must be accepted.
    pub(super) fn accept(&mut self, packets: impl IntoIterator<Item = Rtp>) {
        packets.into_iter().for_each(|packet| self.send(packet).unwrap());
    }

    /// Lets time pass; timeouts are served when they are due.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.source.poll_timeout() <= until {
            self.now = self.now.max(self.source.poll_timeout());
            self.source.handle_timeout(self.now, &mut self.stats);
        }
        self.now = until;
    }

    pub(super) fn departures(&mut self) -> Vec<Departure> {
        std::iter::from_fn(|| self.source.poll_departure()).collect()
    }

    /// The packets of all departures that are ready, in order.
    pub(super) fn packets(&mut self) -> Vec<SharedPacket> {
        self.departures().into_iter().flat_map(|departure| departure.packets).collect()
    }

    /// Their positions.
    pub(super) fn positions(&mut self) -> Vec<u64> {
        self.packets().iter().map(|packet| packet.sequence).collect()
    }

    /// Everything that is ready for the publisher.
    pub(super) fn compounds(&mut self) -> Vec<Vec<u8>> {
        let now = self.now;
        let mut compound = || {
            let mut out = Vec::new();
            self.source.poll_rtcp(now, &mut out).then_some(out)
        };
        let compounds: Vec<_> = std::iter::from_fn(&mut compound).take(1_000).collect();
        for compound in &compounds {
            assert!(compound.len() <= 1_200, "{}", compound.len());
            assert_eq!(compound[1], 201, "starts with a report");
            assert!(rtcp::parse(compound).is_ok());
        }
        compounds
    }

    /// What is asked for: (media, sequence numbers).
    pub(super) fn nacks(&mut self) -> Vec<(Ssrc, Vec<u16>)> {
        let mut nacks = Vec::new();
        for compound in self.compounds() {
            for item in rtcp::parse(&compound).unwrap() {
                if let Item::Nack { media, sequences } = item {
                    nacks.push((media, sequences.collect()));
                }
            }
        }
        nacks
    }

    /// Whose keyframes are asked for.
    pub(super) fn plis(&mut self) -> Vec<Ssrc> {
        let mut plis = Vec::new();
        for compound in self.compounds() {
            for item in rtcp::parse(&compound).unwrap() {
                if let Item::Pli { media } = item {
                    plis.push(media);
                }
            }
        }
        plis
    }

    pub(super) fn want_keyframe(&mut self) {
        self.source.request_keyframe(self.now, &mut self.stats);
    }

    pub(super) fn tell(&mut self, item: &Item<'_>) -> Option<ClockUpdate> {
        self.source.handle_rtcp(self.now, item, &mut self.stats)
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.stats.get(counter)
    }
}
