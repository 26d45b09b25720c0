//! Retransmission to a viewer: what its NACKs get, and how much.
//!
//! A NACK is answered from the shard's cache, as RTX where that was negotiated (RFC 4588),
//! otherwise by the same bytes again. Three things are not answered: what the stream itself lacks,
//! what was sent less than a round trip ago and what exceeds the budget of viewer or shard.

use std::time::Duration;

use super::{Numbers, Subscriber, Track, seal};
use crate::cache::{Cache, Entry};
use crate::egress::{Budget, Content, Egress};
use crate::ids::Ssrc;
use crate::media::Kind;
use crate::packet::MAX_ADDED;
use crate::srtp::Sealer;
use crate::stats::{Counter, Stats};
use crate::time::Time;

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
/// On a lossy way the last packet goes out once more when nothing has followed it for so long:
/// nothing else would tell the viewer that it, or what came just before it, is missing.
const TAIL_WAIT: Duration = Duration::from_millis(10);

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

/// The last packet of each track that was sent over a lossy way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tails([Option<Tail>; 2]);

#[derive(Clone, Copy, Debug)]
struct Tail {
    sequence: u64,
    due: Time,
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

    /// A packet was sent, the newest of its track.
    pub(super) fn remember_tail(&mut self, now: Time, kind: Kind, sequence: u64) {
        if self.is_lossy(now) {
            self.tails.0[kind as usize] = Some(Tail { sequence, due: now + TAIL_WAIT });
        }
    }

    /// When [`Subscriber::send_tail`] has something to do; [`Time::NEVER`] on a way without losses.
    #[must_use]
    pub fn tail_due(&self) -> Time {
        self.tails.0.iter().flatten().map(|tail| tail.due).fold(Time::NEVER, Time::min)
    }

    /// Sends the last packet of a track again if nothing has followed it for long enough.
    pub fn send_tail(
        &mut self,
        now: Time,
        kind: Kind,
        cache: &Cache,
        shard_budget: &mut Budget,
        egress: &mut Egress,
        stats: &mut Stats,
    ) {
        let Some(tail) = self.tails.0[kind as usize].take_if(|tail| tail.due <= now) else {
            return;
        };
        let track = self.tracks[kind as usize].as_ref().filter(|track| track.answers_nack);
        let (Some(track), Some(entry)) = (track, cache.get(tail.sequence)) else { return };
        let (media, bytes) = (track.ssrc, entry.packet.bytes.len() + MAX_ADDED);
        if self.repair_budget.take(now, bytes) && shard_budget.take(now, bytes) {
            self.resend(media, entry, egress, stats);
        }
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
            let crossed = entry.late_at.is_some_and(|at| now.since(at) < quiet);
            if crossed || self.resent.lately(now, media, number, quiet) {
                stats.add(Counter::NacksMerged, 1);
                continue;
            }
            let bytes = entry.packet.bytes.len() + MAX_ADDED;
            spent = !self.repair_budget.take(now, bytes) || !shard_budget.take(now, bytes);
            if spent {
                stats.add(Counter::NacksRefused, 1);
                continue;
            }
            self.resent.remember(now, media, number);
            self.resend(media, entry, egress, stats);
            // A retransmission that gets lost costs the viewer a whole round trip more.
            if self.is_lossy(now) && self.repair_budget.take(now, bytes) {
                self.resend(media, entry, egress, stats);
            }
        }
    }

    fn wanted<'a>(&self, media: Ssrc, number: u16, cache: &'a Cache) -> Option<&'a Entry> {
        let track = self.tracks.iter().flatten().find(|t| t.ssrc == media && t.answers_nack)?;
        cache.get(track.numbering.sequence(number)?)
    }

    fn resend(&mut self, media: Ssrc, entry: &Entry, egress: &mut Egress, stats: &mut Stats) {
        let (Some(path), owner) = (self.path, self.owner) else { return };
        let sealer = &self.sealer;
        let Some(track) = self.tracks.iter_mut().flatten().find(|t| t.ssrc == media) else {
            return;
        };
        let Some(index) = track.numbering.index(entry.sequence) else { return };
        let room = entry.packet.bytes.len() + MAX_ADDED;
        let mut train = egress.train(path, owner, 0, Content::Other, room);
        let len =
            train.segment(room, |buffer| match seal_rtx(track, sealer, entry, index, buffer) {
                0 => seal(track, sealer, entry, index, buffer),
                len => len,
            });
        drop(train);
        if len == 0 {
            return;
        }
        self.figures.repaired += 1;
        stats.add(Counter::NacksServed, 1);
        stats.add(Counter::PacketsOutRetransmission, 1);
        stats.add(Counter::BytesOutRetransmission, len as u64);
    }
}

/// Writes the packet as RTX: its own SSRC and numbers, the original sequence number before the
/// payload (RFC 4588 §4). Zero if RTX was not negotiated for this codec.
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
    let header = track.template.write_header(packet, numbers, false, buffer);
    let (payload, original) = (packet.payload(), (index as u16).to_be_bytes());
    let end = header + original.len() + payload.len();
    let Some(target) = buffer.get_mut(header..end) else { return 0 };
    let (start, rest) = target.split_at_mut(original.len());
    start.copy_from_slice(&original);
    rest.copy_from_slice(payload);
    let rtx_index = rtx.next_index;
    rtx.next_index += 1;
    sealer.seal_rtp(rtx_index, buffer, header, end)
}
