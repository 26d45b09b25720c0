//! Retransmission to a viewer: what its NACKs get, and how much.
//!
//! A NACK is answered from the shard's cache, as RTX where that was negotiated (RFC 4588),
//! otherwise by the same bytes again; everything that it asks for leaves as one train. Three things
//! are not answered: what the stream itself lacks, what was sent less than a round trip ago and what
//! exceeds the budget of viewer or shard.
//!
//! On a lossy way answers go twice, and so does the last packet of each video frame without being
//! asked for, because nothing else tells in time that it is missing. The second ones ride in the
//! trains of the first: a segment more costs a fraction of what a message more does. A viewer that
//! asks for ends of frames by itself, as our own do, gets none twice unasked.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::{Numbers, Subscriber, Track, seal, write_payload};
use crate::cache::{Cache, Entry};
use crate::egress::{Budget, Content, Egress, MAX_TRAIN, Train};
use crate::ids::Ssrc;
use crate::media::Kind;
use crate::srtp::Sealer;
use crate::stats::{Counter, Stats};
use crate::time::Time;
use crate::track::Batch;

/// A viewer's retransmissions: a steady share of what a large stream sends, and a lost keyframe at
/// once.
const BYTES_PER_SECOND: u64 = 1_000_000;
const BURST_BYTES: u64 = 500_000;

/// Assumed while no report has told the round trip.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(10);
/// A viewer asks again after its own estimate, which may be a little under ours.
const ROUND_TRIP_SHARE: (u32, u32) = (4, 5);
/// Whatever a viewer's reports tell.
const ROUND_TRIP_MOST: Duration = Duration::from_secs(1);

/// A viewer whose reports tell this fraction of loss is on a lossy way. More is congestion, which
/// sending more would feed.
const LOSSY: std::ops::RangeInclusive<f64> = 0.01..=0.15;
/// What a report tells holds for so long.
const LOSSY_FOR: Duration = Duration::from_secs(10);
/// Numbers that are remembered as sent again.
const REMEMBERED: usize = 64;

pub(super) fn budget(now: Time) -> Budget {
    Budget::new(now, BYTES_PER_SECOND, BURST_BYTES)
}

/// The last retransmissions of a viewer. A fixed ring, made with the first of them: an entry that was
/// pushed out may be asked for once more than it should.
#[derive(Debug, Default)]
pub(super) struct Resent {
    ring: Option<Box<[(Ssrc, u16, Time); REMEMBERED]>>,
    next: usize,
}

impl Resent {
    fn lately(&self, now: Time, ssrc: Ssrc, number: u16, within: Duration) -> bool {
        self.ring.iter().flat_map(|ring| ring.iter()).any(|(s, n, at)| {
            *s == ssrc && *n == number && *at != Time::NEVER && now.since(*at) < within
        })
    }

    fn remember(&mut self, now: Time, ssrc: Ssrc, number: u16) {
        let unused = || Box::new([(Ssrc(0), 0, Time::NEVER); REMEMBERED]);
        self.ring.get_or_insert_with(unused)[self.next] = (ssrc, number, now);
        self.next = (self.next + 1) % REMEMBERED;
    }
}

/// What was sent again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Again {
    packets: u64,
    bytes: u64,
}

impl std::ops::AddAssign for Again {
    fn add_assign(&mut self, more: Again) {
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

impl Subscriber {
    /// What a report tells of the way.
    pub(super) fn judge_way(&mut self, now: Time) {
        let loss = self.loss();
        if self.repeats && LOSSY.contains(&loss) {
            self.lossy_until = now + LOSSY_FOR;
        } else if loss > *LOSSY.end() {
            self.lossy_until = now;
        }
    }

    /// True if packets get lost on the way to it.
    #[must_use]
    pub fn is_lossy(&self, now: Time) -> bool {
        now < self.lossy_until
    }

    /// The packet of a batch that goes twice: on a lossy way the last one of a video frame. Of each
    /// other one what follows at once tells that it is missing, of audio the next packet soon enough.
    pub(super) fn end_to_repeat<'b>(&mut self, now: Time, batch: &'b Batch) -> Option<&'b Entry> {
        if batch.kind != Kind::Video || !self.is_lossy(now) {
            return None;
        }
        let track = self.tracks[Kind::Video as usize].as_ref();
        let helps = track.is_some_and(|track| track.answers_nack) && now >= self.misses_ends_until;
        let last = batch.entries.last().filter(|_| helps)?;
        let ends = last.packet.marker && last.late_at.is_none();
        (ends && self.repair_budget.take(now, last.room())).then_some(last)
    }

    /// Answers one generic NACK (RFC 4585 §6.2.1) about the track with this SSRC.
    #[allow(clippy::too_many_arguments)]
    pub fn handle_nack(
        &mut self,
        now: Time,
        media: Ssrc,
        numbers: impl Iterator<Item = u16>,
        cache: &Cache,
        shard_budget: &mut Budget,
        egress: &mut Egress,
        stats: &mut Stats,
    ) {
        let quiet = self
            .round_trip
            .map_or(ROUND_TRIP_UNKNOWN, |rtt| rtt * ROUND_TRIP_SHARE.0 / ROUND_TRIP_SHARE.1)
            .min(ROUND_TRIP_MOST);
        let mut spent = self.path.is_none();
        let mut granted = ArrayVec::<&Entry, MAX_TRAIN>::new();
        for number in numbers {
            self.figures.nacks += 1;
            stats.add(Counter::NacksIn, 1);
            let Some(entry) = self.wanted(media, number, cache) else {
                stats.add(Counter::NacksMissed, 1);
                continue;
            };
            // Once a budget is spent the rest of a long list costs nothing.
            if spent {
                stats.add(Counter::NacksRefused, 1);
                continue;
            }
            self.judge_request(now, entry, cache, quiet);
            let crossed = entry.late_at.is_some_and(|at| now.since(at) < quiet);
            if crossed || self.resent.lately(now, media, number, quiet) {
                stats.add(Counter::NacksMerged, 1);
                continue;
            }
            let bytes = entry.room();
            spent = !self.repair_budget.take(now, bytes) || !shard_budget.take(now, bytes);
            if spent {
                stats.add(Counter::NacksRefused, 1);
                continue;
            }
            self.resent.remember(now, media, number);
            granted.push(entry);
            if granted.is_full() {
                self.answer(now, media, &granted, egress, stats);
                granted.clear();
            }
        }
        if !granted.is_empty() {
            self.answer(now, media, &granted, egress, stats);
        }
    }

    /// Sends what was asked for; on a lossy way all of it once and then all of it again, because
    /// a retransmission that gets lost costs the viewer a whole round trip more.
    fn answer(
        &mut self,
        now: Time,
        media: Ssrc,
        granted: &[&Entry],
        egress: &mut Egress,
        stats: &mut Stats,
    ) {
        let (cap, Some(path), owner) = (self.segment_cap(now), self.path, self.owner) else {
            return;
        };
        let bytes: usize = granted.iter().map(|entry| entry.room()).sum();
        let times = if self.is_lossy(now) && self.repair_budget.take(now, bytes) { 2 } else { 1 };
        let sealer = &self.sealer;
        let Some(track) = self.tracks.iter_mut().flatten().find(|t| t.ssrc == media) else {
            return;
        };
        let mut train = egress.train(path, owner, cap, Content::Other, bytes * times);
        let mut sent = Again::default();
        for _ in 0..times {
            for entry in granted {
                sent += resend(&mut train, track, sealer, entry);
            }
        }
        drop(train);
        stats.add(Counter::NacksServed, sent.packets / times as u64);
        self.count_again(sent, stats);
    }

    pub(super) fn count_again(&mut self, sent: Again, stats: &mut Stats) {
        self.figures.repaired += sent.packets;
        stats.add(Counter::PacketsOutRetransmission, sent.packets);
        stats.add(Counter::BytesOutRetransmission, sent.bytes);
    }

    /// Whoever asks for the end of a frame before it can have seen what follows misses ends by itself.
    fn judge_request(&mut self, now: Time, entry: &Entry, cache: &Cache, round_trip: Duration) {
        let seen = |next: &Entry| now.since(next.packet.arrival) >= round_trip;
        let ends = entry.packet.kind == Kind::Video && entry.packet.marker;
        if ends && !cache.get(entry.sequence + 1).is_some_and(seen) {
            self.misses_ends_until = now + LOSSY_FOR;
        }
    }

    fn wanted<'a>(&self, media: Ssrc, number: u16, cache: &'a Cache) -> Option<&'a Entry> {
        let track = self.tracks.iter().flatten().find(|t| t.ssrc == media && t.answers_nack)?;
        cache.get(track.numbering.sequence(number)?)
    }
}

/// Adds a packet to a train once more, as RTX where that was negotiated.
pub(super) fn resend(
    train: &mut Train<'_>,
    track: &mut Track,
    sealer: &Sealer,
    entry: &Entry,
) -> Again {
    let Some(index) = track.numbering.index(entry.sequence) else { return Again::default() };
    let len =
        train.segment(entry.room(), |buffer| match seal_rtx(track, sealer, entry, index, buffer) {
            0 => seal(track, sealer, entry, index, buffer),
            len => len,
        });
    Again { packets: u64::from(len > 0), bytes: len as u64 }
}

/// Writes the packet as RTX: its own SSRC and numbers, the original sequence number before the
/// payload (RFC 4588 §4), the same padding, so that those of a train are equal too. Zero if RTX was
/// not negotiated for this codec.
fn seal_rtx(
    track: &mut Track,
    sealer: &Sealer,
    entry: &Entry,
    index: u64,
    buffer: &mut [u8],
) -> usize {
    let packet = &*entry.packet;
    let rtx_type = track.template.format(packet.codec).and_then(|f| f.rtx_payload_type);
    let (Some(rtx), Some(payload_type)) = (track.rtx.as_mut(), rtx_type) else { return 0 };
    let numbers = Numbers {
        ssrc: rtx.ssrc,
        sequence: rtx.next_index as u16,
        timestamp: entry.timestamp.wrapping_add(track.timestamp_offset),
        payload_type: payload_type.0,
    };
    let header = track.template.write_rtx_header(packet, numbers, buffer);
    let original = (index as u16).to_be_bytes();
    let payload = header + original.len();
    let Some(target) = buffer.get_mut(header..payload) else { return 0 };
    target.copy_from_slice(&original);
    let Some(end) = write_payload(packet, payload, buffer) else { return 0 };
    let rtx_index = rtx.next_index;
    rtx.next_index += 1;
    sealer.seal_rtp(rtx_index, buffer, header, end)
}
