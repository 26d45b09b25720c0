//! One track of a publisher: its encodings, the one that is forwarded, and what is to be asked of
//! the publisher about it.

use std::time::Duration;

use super::header::PLAYOUT_DELAY_LEN;
use super::keyframes::Keyframes;
use super::layers::Layers;
use super::parameter_sets::ParameterSets;
use super::timeline::Timeline;
use crate::command::PublishTrack;
use crate::event::TrackReport;
use crate::ids::{PayloadType, Ssrc};
use crate::jitter::{Jitter, MAX_MISSING};
use crate::media::{Format, Kind};
use crate::stats::{Counter, Stats};
use crate::time::{Ntp, Time};

/// Two reckonings of one timestamp further apart than this: one of the clocks is wrong.
const CLOCKS_AGREE: Duration = Duration::from_secs(2);

/// One SSRC of media.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) ssrc: Ssrc,
    /// Index into [`PublishTrack::rids`].
    pub(super) rid: Option<usize>,
    pub(super) jitter: Jitter,
    /// Since layers were last compared.
    pub(super) bytes: u64,
    pub(super) last_report: Option<SenderReport>,
}

/// What a sender report said, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderReport {
    pub(super) ntp: Ntp,
    pub(super) rtp_timestamp: u32,
    pub(super) arrival: Time,
}

/// One track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) config: PublishTrack,
    pub(super) encodings: Vec<Encoding>,
    pub(super) layers: Layers,
    pub(super) timeline: Timeline,
    pub(super) keyframes: Keyframes,
    pub(super) parameter_sets: ParameterSets,
    /// State of the stream, repeated with every keyframe for those who join there.
    pub(super) playout_delay: Option<[u8; PLAYOUT_DELAY_LEN]>,
    /// The RTP timestamp of the last keyframe, of its parameter sets on.
    pub(super) keyframe_timestamp: Option<u32>,
    /// The RTP timestamp of the last keyframe that was counted.
    pub(super) counted_keyframe: Option<u32>,
    /// Arrival and timestamp, as viewers see it, of the newest packet.
    pub(super) newest: Option<(Time, u32)>,
    /// Sequence numbers to be asked for in the next compound, of the encoding that is forwarded.
    pub(super) nacks: Vec<u16>,
    /// A keyframe is to be asked for in the next compound.
    pub(super) keyframe_request: bool,
    /// Of the last full intra request (RFC 5104 §4.3.1.1).
    pub(super) fir_sequence: u8,
    pub(super) counts: TrackCounts,
}

/// What was received of a track, beside what its encodings count.
#[derive(Debug, Default)]
pub(super) struct TrackCounts {
    pub(super) repaired: u64,
    pub(super) lost: u64,
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) keyframes: u64,
    pub(super) first_packet: Option<Time>,
    /// When the last packet of the first keyframe came.
    pub(super) first_keyframe: Option<Time>,
    /// The RTP timestamp of the last frame that was counted.
    frame: Option<u32>,
}

impl TrackCounts {
    /// A packet is here; `newest` if none with a higher number came before it.
    pub(super) fn packet(&mut self, now: Time, timestamp: u32, newest: bool, wire_len: usize) {
        self.bytes += wire_len as u64;
        self.first_packet.get_or_insert(now);
        if newest && self.frame.replace(timestamp) != Some(timestamp) {
            self.frames += 1;
        }
    }
}

/// What became of the wants of a track.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    pub(super) asked: u64,
    pub(super) lost: u64,
}

impl Track {
    pub(super) fn new(config: PublishTrack, keyframe_interval: Duration) -> Track {
        Track {
            encodings: Vec::with_capacity(1),
            layers: Layers::new(config.rids.len() > 1),
            timeline: Timeline::new(),
            keyframes: Keyframes::new(keyframe_interval),
            parameter_sets: ParameterSets::new(&config.parameter_sets),
            playout_delay: None,
            keyframe_timestamp: None,
            counted_keyframe: None,
            newest: None,
            nacks: Vec::new(),
            keyframe_request: false,
            fir_sequence: 0,
            counts: TrackCounts::default(),
            config,
        }
    }

    pub(super) fn is_simulcast(&self) -> bool {
        self.config.rids.len() > 1
    }

    pub(super) fn add_encoding(&mut self, now: Time, ssrc: Ssrc, rid: Option<usize>) -> usize {
        let encoding = self.encodings.len();
        let jitter = Jitter::new(self.config.clock_rate, self.config.nack);
        self.encodings.push(Encoding { ssrc, rid, jitter, bytes: 0, last_report: None });
        self.layers.add(now, encoding);
        encoding
    }

    /// The encoding that is forwarded.
    pub(super) fn forwarded(&self) -> Option<&Encoding> {
        self.encodings.get(self.layers.forwarded()?)
    }

    /// Its newest packet has this payload type: from here on it carries what that stands for.
    pub(super) fn adopt(&mut self, payload_type: PayloadType) {
        let config = &mut self.config;
        if config.payload_type == payload_type {
            return;
        }
        let named = |format: &&mut Format| format.payload_type == payload_type;
        let Some(format) = config.alternatives.iter_mut().find(named) else { return };
        std::mem::swap(&mut config.codec, &mut format.codec);
        std::mem::swap(&mut config.payload_type, &mut format.payload_type);
        std::mem::swap(&mut config.rtx_payload_type, &mut format.rtx_payload_type);
        self.parameter_sets = ParameterSets::new(&[]);
        self.keyframe_timestamp = None;
    }

    /// `encoding` is forwarded from its packet with this extended sequence number and timestamp
    /// on, instead of `previous`.
    pub(super) fn switch(
        &mut self,
        now: Time,
        previous: Option<usize>,
        encoding: usize,
        sequence: u64,
        timestamp: u32,
    ) {
        if let Some(previous) = previous {
            let as_seen = self.as_seen(now, previous, encoding, timestamp);
            self.timeline.restart(sequence, 0);
            self.timeline.align(timestamp, as_seen);
            self.nacks.clear();
            // Another encoding's parameter sets would be wrong, not merely old.
            self.parameter_sets = ParameterSets::new(&self.config.parameter_sets);
            if let Some(previous) = self.encodings.get_mut(previous) {
                previous.jitter.set_wanted(false);
            }
        }
        if let Some(encoding) = self.encodings.get_mut(encoding) {
            encoding.jitter.set_wanted(true);
        }
    }

    /// Lists what is to be asked for again and gives up what was asked for long enough.
    pub(super) fn ask_missing(
        &mut self,
        now: Time,
        round_trip: Duration,
        stats: &mut Stats,
    ) -> Wants {
        let mut wants = Wants::default();
        for encoding in &mut self.encodings {
            if encoding.jitter.due() <= now {
                // Nobody has taken the last ones: a publisher without a way back.
                if self.nacks.len() >= MAX_MISSING {
                    self.nacks.clear();
                }
                let asked = encoding.jitter.ask(now, round_trip, &mut self.nacks);
                wants.asked += asked.asked;
                wants.lost += asked.lost;
            }
        }
        self.counts.lost += wants.lost;
        stats.add(Counter::NacksOut, wants.asked);
        stats.add(Counter::PacketsLost, wants.lost);
        if wants.lost > 0 {
            self.request_keyframe(now, stats);
        }
        wants
    }

    /// Somebody needs a keyframe.
    pub(super) fn request_keyframe(&mut self, now: Time, stats: &mut Stats) {
        if !self.can_ask_for_keyframes() {
            return;
        }
        if self.layers.wanted().is_none() {
            self.keyframes.want_later();
        } else if self.keyframes.want(now) {
            self.ask_for_keyframe(stats);
        } else {
            stats.add(Counter::KeyframeRequestsMerged, 1);
        }
    }

    /// There is somebody to ask now for the keyframe that was wanted before.
    pub(super) fn repeat_keyframe_request(&mut self, now: Time, stats: &mut Stats) {
        if self.keyframes.is_wanted() {
            self.request_keyframe(now, stats);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, stats: &mut Stats) {
        if self.layers.due() <= now {
            let bytes =
                self.encodings.iter_mut().map(|encoding| std::mem::take(&mut encoding.bytes));
            if self.layers.compare(now, bytes) {
                self.request_keyframe(now, stats);
            }
        }
        if self.keyframes.due() <= now && self.keyframes.handle_timeout(now) {
            self.ask_for_keyframe(stats);
        }
    }

    /// When `handle_timeout` or `ask_missing` has something to do next.
    pub(super) fn due(&self) -> Time {
        let missing = self.encodings.iter().map(|encoding| encoding.jitter.due());
        missing.fold(self.layers.due().min(self.keyframes.due()), Time::min)
    }

    /// What was received, with times counted from `since`.
    pub(super) fn report(&self, since: Time) -> TrackReport {
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        let totals = self.encodings.iter().map(|encoding| encoding.jitter.totals());
        let (expected, received) =
            totals.fold((0, 0), |sum, totals| (sum.0 + totals.expected, sum.1 + totals.received));
        TrackReport {
            kind: self.config.kind,
            codec: self.config.codec,
            packets_expected: expected,
            packets_received: received,
            packets_repaired: self.counts.repaired,
            packets_lost: self.counts.lost,
            bytes: self.counts.bytes,
            jitter_ms: self.jitter().map(ms),
            frames: self.counts.frames,
            keyframes: self.counts.keyframes,
            first_packet_ms: self.counts.first_packet.map(|at| ms(at.since(since))),
            first_keyframe_ms: self.counts.first_keyframe.map(|at| ms(at.since(since))),
        }
    }

    /// Interarrival jitter of what is forwarded; none before the first packet.
    pub(super) fn jitter(&self) -> Option<Duration> {
        self.forwarded().map(|encoding| encoding.jitter.totals().jitter)
    }

    fn can_ask_for_keyframes(&self) -> bool {
        self.config.kind == Kind::Video && (self.config.pli || self.config.fir)
    }

    fn ask_for_keyframe(&mut self, stats: &mut Stats) {
        stats.add(Counter::KeyframeRequestsOut, 1);
        stats.add(if self.config.pli { Counter::PlisOut } else { Counter::FirsOut }, 1);
        self.keyframe_request = true;
        self.fir_sequence = self.fir_sequence.wrapping_add(1);
    }

    /// What viewers, who have seen `previous` until now, are to see for `timestamp` of `encoding`:
    /// by the publisher's own clock where sender reports of both tell it, otherwise by arrival.
    fn as_seen(&self, now: Time, previous: usize, encoding: usize, timestamp: u32) -> u32 {
        let rate = u64::from(self.config.clock_rate);
        let (arrival, newest) = self.newest.unwrap_or((now, self.timeline.timestamp(timestamp)));
        let passed = (u128::from(now.since(arrival).as_micros() as u64) * u128::from(rate)
            / 1_000_000) as u32;
        let by_arrival = newest.wrapping_add(passed.max(1));
        let report = |of: usize| self.encodings.get(of).and_then(|encoding| encoding.last_report);
        let (Some(old), Some(new)) = (report(previous), report(encoding)) else {
            return by_arrival;
        };
        let between = new.ntp.0.wrapping_sub(old.ntp.0).cast_signed();
        let between = (i128::from(between) * i128::from(rate)) >> 32;
        let by_reports = old
            .rtp_timestamp
            .wrapping_add(between as u32)
            .wrapping_add(timestamp.wrapping_sub(new.rtp_timestamp));
        let by_reports = self.timeline.timestamp(by_reports);
        let apart = by_reports.wrapping_sub(by_arrival).cast_signed().unsigned_abs();
        let goes_on = by_reports.wrapping_sub(newest).cast_signed() > 0;
        if goes_on && u64::from(apart) < rate * CLOCKS_AGREE.as_secs() {
            by_reports
        } else {
            by_arrival
        }
    }
}
