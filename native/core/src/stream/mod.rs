//! A stream as one shard sees it: its timeline, its cache and the shard's subscribers of it.
//!
//! The publisher may live here or on another shard; either way its packets come as
//! [`Departure`]s, placed here on the shard's own timeline. What is placed waits as a [`Batch`]
//! for the next fan-out.

mod timeline;

use std::time::Duration;

use slab::Slab;

pub use timeline::Timeline;

use crate::cache::{Cache, Entry};
use crate::exchange::Departure;
use crate::ids::{SessionId, ShardIndex, StreamId};
use crate::media::{Codec, Kind};
use crate::subscriber::Subscriber;
use crate::time::{Ntp, Time, WallClock};

/// Packets and bytes that the cache of a track holds: a second at 20 Mbit/s.
const VIDEO_CACHE: (usize, usize) = (2_048, 4 << 20);
const AUDIO_CACHE: (usize, usize) = (256, 256 << 10);

/// A viewer starts with a keyframe that is not the newest frame any more if it came within this
/// time, and if it and what followed are at most so many packets: a large keyframe's burst.
const START_AGE: Duration = Duration::from_millis(300);
const START_PACKETS: u64 = 96;

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
    /// Bytes that a train of all of them needs at most.
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
    /// What the keyframe carries.
    pub codec: Codec,
    /// Bytes that everything from there on needs at most.
    pub room: usize,
}

/// One track of the stream.
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

/// The publisher of the moment.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Its session.
    pub session: SessionId,
    /// Where it lives.
    pub shard: ShardIndex,
    /// What it sends.
    pub codecs: Vec<(Kind, Codec)>,
}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// Who publishes it now.
    pub publisher: Option<Publisher>,
    /// Other shards that have subscribers of it, a bit each.
    pub interested: u64,
    /// The shard's subscribers.
    pub subscribers: Slab<Subscriber>,
    /// Somebody here needs a keyframe; taken after each fan-out, so that many wishes are one.
    pub keyframe_wanted: bool,
    /// It is on the shard's list of streams with something to do.
    pub queued: bool,
    tracks: [Track; 2],
    batches: Vec<Batch>,
    turn: usize,
}

impl Stream {
    /// A stream without publisher and subscribers.
    #[must_use]
    pub fn new(id: StreamId) -> Stream {
        let track = |(packets, bytes)| Track {
            timeline: Timeline::default(),
            cache: Cache::new(packets, bytes),
            clock: None,
            clock_reported: false,
            keyframe: None,
        };
        Stream {
            id,
            publisher: None,
            interested: 0,
            subscribers: Slab::new(),
            keyframe_wanted: false,
            queued: false,
            tracks: [track(AUDIO_CACHE), track(VIDEO_CACHE)],
            batches: Vec::new(),
            turn: 0,
        }
    }

    /// The packets that NACKs are answered from.
    #[must_use]
    pub fn cache(&self, kind: Kind) -> &Cache {
        &self.tracks[kind as usize].cache
    }

    /// The clocks of both tracks, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn clocks(&self) -> [Option<Clock>; 2] {
        [self.tracks[0].clock, self.tracks[1].clock]
    }

    /// Another publisher takes over, or the first one comes. Viewers go on with its first keyframe,
    /// not with what happens to come before it; both tracks get its clock.
    ///
    /// Shards may hear of two publishers in different orders, and must agree: sessions are counted
    /// up, and the newest holds the stream. False if this is not the newest.
    pub fn set_publisher(&mut self, publisher: Publisher) -> bool {
        if self.publisher.as_ref().is_some_and(|current| current.session >= publisher.session) {
            return false;
        }
        for track in &mut self.tracks {
            (track.clock, track.clock_reported, track.keyframe) = (None, false, None);
        }
        self.subscribers.iter_mut().for_each(|(_, subscriber)| subscriber.hold());
        self.publisher = Some(publisher);
        self.keyframe_wanted |= !self.subscribers.is_empty();
        true
    }

    /// True if there is a publisher that sends video.
    #[must_use]
    pub fn has_video(&self) -> bool {
        let video = |(kind, _): &(Kind, Codec)| *kind == Kind::Video;
        self.publisher.as_ref().is_some_and(|publisher| publisher.codecs.iter().any(video))
    }

    /// A subscriber leaves. With the last one everything goes that was kept for them.
    pub fn remove_subscriber(&mut self, slot: usize) -> Option<Subscriber> {
        let subscriber = self.subscribers.try_remove(slot);
        if self.subscribers.is_empty() {
            self.subscribers = Slab::new();
            self.batches = Vec::new();
            for track in &mut self.tracks {
                track.cache.clear();
                track.keyframe = None;
            }
        }
        subscriber
    }

    /// Where a viewer may start now; see [`Track::start`].
    #[must_use]
    pub fn start(&self, now: Time) -> Option<Start> {
        self.tracks[Kind::Video as usize].start(now)
    }

    /// What a sender report told (RFC 3550 §6.4.1).
    pub fn set_clock(
        &mut self,
        publisher: SessionId,
        kind: Kind,
        rate: u32,
        ntp: Ntp,
        timestamp: u32,
    ) {
        let track = &mut self.tracks[kind as usize];
        if let Some(timestamp) = track.timeline.timestamp(publisher, timestamp) {
            track.clock = Some(Clock { ntp, timestamp, rate });
            track.clock_reported = true;
        }
    }

    /// Places the packets on the timeline, and keeps them if anybody here watches. Those of a
    /// publisher that is not the current one are ignored; a repeat is left out.
    pub fn handle_departure(&mut self, now: Time, wall_clock: WallClock, departure: &Departure) {
        let current = self.publisher.as_ref().is_some_and(|p| p.session == departure.publisher);
        let Some(first) = departure.packets.first().filter(|_| current) else { return };
        let (kind, codec) = (first.kind, first.codec);
        let rate = codec.clock_rate();
        let track = &mut self.tracks[kind as usize];
        let mut batch = Batch {
            kind,
            codec,
            entries: Vec::with_capacity(departure.packets.len()),
            trains: Vec::with_capacity(departure.trains.len()),
            room: 0,
        };
        for (position, packet) in departure.packets.iter().enumerate() {
            let newest = track.timeline.highest();
            let (sequence, timestamp) = track.timeline.place(departure.publisher, rate, packet);
            let late_at = (newest.is_some_and(|newest| sequence < newest)).then_some(now);
            if !track.clock_reported && (track.clock.is_none() || packet.keyframe) {
                let ntp = wall_clock.ntp(packet.arrival);
                track.clock = Some(Clock { ntp, timestamp, rate });
            }
            let entry = Entry { sequence, timestamp, late_at, packet: packet.clone() };
            if self.subscribers.is_empty() || !track.cache.insert(entry.clone()) {
                continue;
            }
            if batch.entries.is_empty() || departure.trains.contains(&(position as u8)) {
                batch.trains.push(batch.entries.len() as u8);
            }
            batch.room += room(&entry);
            if packet.keyframe {
                track.see_keyframe(sequence, timestamp);
            }
            batch.entries.push(entry);
        }
        if !batch.entries.is_empty() {
            self.batches.push(batch);
        }
    }

    /// What fan-out needs: the batches since the last call, the subscribers and where to start
    /// among them. The start rotates, so that nobody is always last.
    pub fn take_round(&mut self) -> Round<'_> {
        let batches = std::mem::take(&mut self.batches);
        if !batches.is_empty() {
            self.turn = self.turn.wrapping_add(1);
        }
        let [_, video] = &self.tracks;
        Round { batches, video, subscribers: &mut self.subscribers, turn: self.turn }
    }

    /// A subscriber and the cache of one of the tracks.
    pub fn subscriber(&mut self, slot: usize, kind: Kind) -> Option<(&mut Subscriber, &Cache)> {
        let cache = &self.tracks[kind as usize].cache;
        self.subscribers.get_mut(slot).map(|subscriber| (subscriber, cache))
    }
}

/// See [`Stream::take_round`].
pub struct Round<'a> {
    /// What is to be sent.
    pub batches: Vec<Batch>,
    /// Where those start who wait for a keyframe.
    pub video: &'a Track,
    /// To whom.
    pub subscribers: &'a mut Slab<Subscriber>,
    /// Counts rounds.
    pub turn: usize,
}

impl Track {
    /// The packets that NACKs are answered from and viewers start with.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Where a viewer may start now. While the keyframe is arriving, always: what is missing of it
    /// is on its way. Later only if nothing is missing since, and if that is recent and little
    /// enough to be sent at once; those who come later wait for the next one.
    #[must_use]
    pub fn start(&self, now: Time) -> Option<Start> {
        let shown = self.cache.get(self.keyframe?)?;
        let (place, end) = (self.cache.frame_start(shown.sequence), self.cache.end());
        let arriving = self.cache.get(end.wrapping_sub(1))?.timestamp == shown.timestamp;
        if !arriving {
            let little = end - place <= START_PACKETS;
            let recent = now.since(shown.packet.arrival) <= START_AGE;
            let whole = || (place..end).all(|place| self.cache.get(place).is_some());
            if !(little && recent && whole()) {
                return None;
            }
        }
        let room = self.cache.range(place..end).map(room).sum();
        Some(Start { place, codec: shown.packet.codec, room })
    }

    fn see_keyframe(&mut self, sequence: u64, timestamp: u32) {
        let shown = self.keyframe.and_then(|keyframe| self.cache.get(keyframe));
        if shown.is_none_or(|shown| shown.sequence < sequence && shown.timestamp != timestamp) {
            self.keyframe = Some(sequence);
        }
    }
}

/// Bytes that a packet needs at most on its way to a viewer.
fn room(entry: &Entry) -> usize {
    entry.packet.bytes.len() + crate::subscriber::MAX_ADDED
}
