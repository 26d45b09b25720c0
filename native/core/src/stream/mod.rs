//! A stream as one shard sees it: its timeline, its cache and the shard's subscribers of it.
//!
//! The publisher may live here or on another shard; either way its packets come as
//! [`Departure`]s, placed here on the shard's own timeline. What is placed waits as a [`Batch`]
//! for the next fan-out.

mod timeline;

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
    /// Where a viewer that waits may start, if it may start with these.
    pub start: Option<u64>,
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

/// One track of the stream.
#[derive(Debug)]
pub struct Track {
    timeline: Timeline,
    cache: Cache,
    clock: Option<Clock>,
    /// The clock comes from a sender report; otherwise from the first packet's arrival.
    clock_reported: bool,
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

    /// Another publisher takes over, or the first one comes. Its pictures refer to none that
    /// viewers have, so their video goes on with its first keyframe.
    pub fn set_publisher(&mut self, publisher: Publisher) {
        for (_, subscriber) in &mut self.subscribers {
            subscriber.await_keyframe();
        }
        for track in &mut self.tracks {
            track.clock_reported = false;
        }
        self.publisher = Some(publisher);
        self.keyframe_wanted |= !self.subscribers.is_empty();
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

    /// Places the packets on the timeline. Those of a publisher that is not the current one are
    /// ignored; a repeat is left out.
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
            start: None,
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
            if !track.cache.insert(entry.clone()) {
                continue;
            }
            if batch.entries.is_empty() || departure.trains.contains(&(position as u8)) {
                batch.trains.push(batch.entries.len() as u8);
            }
            batch.room += packet.bytes.len() + crate::subscriber::MAX_ADDED;
            batch.start = batch.start.or_else(|| starting_point(&track.cache, &entry));
            batch.entries.push(entry);
        }
        if !batch.entries.is_empty() && !self.subscribers.is_empty() {
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
        let [audio, video] = &self.tracks;
        Round {
            batches,
            caches: [&audio.cache, &video.cache],
            subscribers: &mut self.subscribers,
            turn: self.turn,
        }
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
    /// The caches of audio and video.
    pub caches: [&'a Cache; 2],
    /// To whom.
    pub subscribers: &'a mut Slab<Subscriber>,
    /// Counts rounds.
    pub turn: usize,
}

/// Where a viewer that waits may start, if this packet lets it: audio anywhere, video with the
/// first packet of a keyframe's timestamp.
fn starting_point(cache: &Cache, entry: &Entry) -> Option<u64> {
    match entry.packet.kind {
        Kind::Audio => entry.late_at.is_none().then_some(entry.sequence),
        Kind::Video => entry.packet.keyframe.then(|| cache.frame_start(entry.sequence)),
    }
}
