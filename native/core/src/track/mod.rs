//! One track of a stream as one shard sees it: its timeline, its recent packets, its clock.
//!
//! Packets come as [`Departure`]s in the publisher's numbers and leave as a [`Batch`] in the
//! shard's. Nothing here knows a viewer.

mod timeline;

use std::time::Duration;

pub use timeline::Timeline;

use crate::cache::{Cache, Entry};
use crate::exchange::Departure;
use crate::ids::SessionId;
use crate::media::{Codec, Kind};
use crate::time::{Ntp, Time, WallClock};

/// Packets and bytes that the cache of a track holds: a second at 20 Mbit/s.
const VIDEO_CACHE: (usize, usize) = (2_048, 4 << 20);
const AUDIO_CACHE: (usize, usize) = (256, 256 << 10);

/// A viewer starts with a keyframe that is not the newest frame any more if it came within this
/// time, and if it and what followed are at most so many packets: a large keyframe's burst.
const START_AGE: Duration = Duration::from_millis(300);
const START_PACKETS: u64 = 96;

/// A track of which nothing came for so long has paused.
const FLOWS: Duration = Duration::from_secs(2);

/// Packets that leave together, placed on the timeline.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Audio or video.
    pub kind: Kind,
    /// What they carry.
    pub codec: Codec,
    /// In sending order; at most [`crate::egress::MAX_TRAIN`].
    pub entries: Vec<Entry>,
    /// Where trains start in `entries`; see [`Departure::trains`].
    pub trains: Vec<u8>,
    /// Bytes that they and the last one of them once more need at most.
    pub room: usize,
}

/// Relates a track's RTP clock to ours.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// A moment by our wall clock.
    pub ntp: Ntp,
    /// The timeline's RTP timestamp of that moment.
    pub timestamp: u32,
    /// Ticks a second.
    pub rate: u32,
}

/// Where a viewer that waits for a keyframe may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The first place that it gets.
    pub place: u64,
    /// One beyond the last that it gets now.
    pub end: u64,
    /// What the keyframe carries.
    pub codec: Codec,
    /// Bytes that everything from there on needs at most.
    pub room: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Track {
    timeline: Timeline,
    cache: Cache,
    clock: Option<Clock>,
    /// The clock comes from a sender report; otherwise from the first packet's arrival.
    clock_reported: bool,
    /// The first place of the newest keyframe that shows it.
    keyframe: Option<u64>,
}

impl Track {
    /// One that has seen no packet.
    #[must_use]
    pub fn new(kind: Kind) -> Track {
        let (packets, bytes) = match kind {
            Kind::Audio => AUDIO_CACHE,
            Kind::Video => VIDEO_CACHE,
        };
        Track {
            timeline: Timeline::default(),
            cache: Cache::new(packets, bytes),
            clock: None,
            clock_reported: false,
            keyframe: None,
        }
    }

    /// The packets that NACKs are answered from and viewers start with.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What relates its RTP clock to ours, once a packet or a report has told.
    #[must_use]
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// The place of the newest keyframe, if there was one.
    #[must_use]
    pub fn keyframe(&self) -> Option<u64> {
        self.keyframe
    }

    /// True if something came lately.
    #[must_use]
    pub fn flows(&self, now: Time) -> bool {
        let newest = self.cache.get(self.cache.end().wrapping_sub(1));
        newest.is_some_and(|newest| now.since(newest.packet.arrival) < FLOWS)
    }

    /// True if a frame begins with this batch, of which nothing has been sent: a first packet that is
    /// late begins none.
    #[must_use]
    pub fn begins_frame(&self, batch: &Batch) -> bool {
        let first = batch.entries.first().filter(|entry| entry.late_at.is_none());
        first.is_some_and(|first| self.cache.frame_start(first.sequence) == first.sequence)
    }

    /// Another publisher comes, with a clock and keyframes of its own.
    pub fn begin_publisher(&mut self) {
        (self.clock, self.clock_reported, self.keyframe) = (None, false, None);
    }

    /// Nobody watches any more: what was kept for viewers goes.
    pub fn clear(&mut self) {
        self.cache.clear();
        self.keyframe = None;
    }

    /// What a sender report told (RFC 3550 §6.4.1).
    pub fn set_clock(&mut self, publisher: SessionId, rate: u32, ntp: Ntp, timestamp: u32) {
        if let Some(timestamp) = self.timeline.timestamp(publisher, timestamp) {
            self.clock = Some(Clock { ntp, timestamp, rate });
            self.clock_reported = true;
        }
    }

    /// Places packets on the timeline and, if anybody watches, keeps them; a repeat is left out.
    pub fn place(
        &mut self,
        now: Time,
        wall_clock: WallClock,
        departure: &Departure,
        keep: bool,
    ) -> Option<Batch> {
        let first = departure.packets.first()?;
        let (kind, codec) = (first.kind, first.codec);
        let rate = codec.clock_rate();
        let mut batch = Batch {
            kind,
            codec,
            entries: Vec::with_capacity(departure.packets.len()),
            trains: Vec::with_capacity(departure.trains.len()),
            room: 0,
        };
        for (position, packet) in departure.packets.iter().enumerate() {
            let newest = self.timeline.highest();
            let (sequence, timestamp) = self.timeline.place(departure.publisher, rate, packet);
            let late_at = (newest.is_some_and(|newest| sequence < newest)).then_some(now);
            if !self.clock_reported && (self.clock.is_none() || packet.keyframe) {
                let ntp = wall_clock.ntp(packet.arrival);
                self.clock = Some(Clock { ntp, timestamp, rate });
            }
            let entry = Entry { sequence, timestamp, late_at, packet: packet.clone() };
            if !keep || !self.cache.insert(entry.clone()) {
                continue;
            }
            if batch.entries.is_empty() || departure.trains.contains(&(position as u8)) {
                batch.trains.push(batch.entries.len() as u8);
            }
            batch.room += entry.room();
            if packet.keyframe {
                self.see_keyframe(sequence, timestamp);
            }
            batch.entries.push(entry);
        }
        batch.room += batch.entries.last()?.room();
        Some(batch)
    }

    /// The first place of the newest keyframe that is kept.
    #[must_use]
    pub fn keyframe_start(&self) -> Option<u64> {
        let shown = self.cache.get(self.keyframe?)?;
        // The places that were left free before a publisher's first packet are no part of its frame.
        Some(self.cache.frame_start(shown.sequence).max(self.timeline.lowest()))
    }

    /// Where a viewer may start now. While the keyframe is arriving, always: what is missing of it
    /// is on its way. Also while its beginning is `under_way` to viewers: whoever waits has not had
    /// its turn since then. Later only if nothing is missing since, and if that is recent and little
    /// enough to be sent at once; those who come later wait for the next one.
    /// What lies from `held` on is not to be sent yet.
    #[must_use]
    pub fn start(&self, now: Time, held: Option<u64>, under_way: bool) -> Option<Start> {
        let shown = self.cache.get(self.keyframe?)?;
        let place = self.keyframe_start()?;
        let end = held.map_or(self.cache.end(), |held| held.min(self.cache.end()));
        if end <= place {
            return None;
        }
        let arriving = self.cache.get(end.wrapping_sub(1))?.timestamp == shown.timestamp;
        if !arriving && !under_way {
            let little = end - place <= START_PACKETS;
            let recent = now.since(shown.packet.arrival) <= START_AGE;
            let whole = || (place..end).all(|place| self.cache.get(place).is_some());
            if !(little && recent && whole()) {
                return None;
            }
        }
        let room = self.cache.range(place..end).map(Entry::room).sum();
        Some(Start { place, end, codec: shown.packet.codec, room })
    }

    fn see_keyframe(&mut self, sequence: u64, timestamp: u32) {
        let shown = self.keyframe.and_then(|keyframe| self.cache.get(keyframe));
        if shown.is_none_or(|shown| shown.sequence < sequence && shown.timestamp != timestamp) {
            self.keyframe = Some(sequence);
        }
    }
}
