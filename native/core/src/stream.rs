//! A stream as one shard sees it: its publishers, its two tracks and the shard's subscribers of it.
//!
//! The publisher that holds it may live here or on another shard; either way its packets come as
//! [`Departure`]s, placed here on the shard's own timeline. What is placed waits as a [`Batch`]
//! for the next fan-out.

use slab::Slab;

use crate::cache::Cache;
use crate::exchange::Departure;
use crate::figures::Sums;
use crate::ids::{SessionId, ShardIndex, StreamId};
use crate::media::{Codec, Kind};
use crate::pacer::Pacer;
use crate::shedding::{Shed, Turns};
use crate::subscriber::Subscriber;
use crate::time::{Ntp, Time, WallClock};
use crate::track::{Batch, Clock, Start, Track};

/// One who can send the stream.
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
    /// Other shards that have subscribers of it, a bit each.
    pub interested: u64,
    /// The shard's subscribers.
    pub subscribers: Slab<Subscriber>,
    /// Somebody here needs a keyframe; taken after each fan-out, so that many wishes are one.
    pub keyframe_wanted: bool,
    /// It is on the shard's list of streams with something to do.
    pub queued: bool,
    /// When video that is held for its time may leave; never if none is.
    pub next_release: Time,
    /// What was done for its subscribers so far.
    pub sums: Sums,
    /// How many of the subscribers waited for a keyframe after the last fan-out.
    pub waiting: usize,
    /// Ascending; the last one holds the stream.
    publishers: Vec<Publisher>,
    tracks: [Track; 2],
    batches: Vec<Batch>,
    pacer: Pacer,
    turns: Turns,
    turn: usize,
}

impl Stream {
    /// A stream without publisher and subscribers.
    #[must_use]
    ///
    /// See [`Pacer::new`] for its pace.
    pub fn new(id: StreamId, pace_bytes_per_second: u64) -> Stream {
        Stream {
            id,
            interested: 0,
            subscribers: Slab::new(),
            keyframe_wanted: false,
            queued: false,
            sums: Sums::default(),
            waiting: 0,
            publishers: Vec::new(),
            tracks: Kind::ALL.map(Track::new),
            batches: Vec::new(),
            pacer: Pacer::new(pace_bytes_per_second),
            turns: Turns::new(id),
            next_release: Time::NEVER,
            turn: 0,
        }
    }

    /// The packets that NACKs are answered from.
    #[must_use]
    pub fn cache(&self, kind: Kind) -> &Cache {
        self.tracks[kind as usize].cache()
    }

    /// The clocks of both tracks, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn clocks(&self) -> [Option<Clock>; 2] {
        [self.tracks[0].clock(), self.tracks[1].clock()]
    }

    /// Who holds the stream: the newest of those who can send it. Sessions are counted up, so that
    /// shards agree in whatever order they hear of two.
    #[must_use]
    pub fn publisher(&self) -> Option<&Publisher> {
        self.publishers.last()
    }

    /// Somebody can send the stream. True if it is held by another one from now on.
    pub fn add_publisher(&mut self, publisher: Publisher) -> bool {
        let before = self.publisher().map(|holder| holder.session);
        let place = self.publishers.partition_point(|other| other.session < publisher.session);
        self.publishers.insert(place, publisher);
        self.hand_over(before)
    }

    /// Somebody is gone. Where it held the stream, whoever held it before has it again: control
    /// ends a publisher after it has heard that another one took over, and the other one may be
    /// gone by then. True if somebody holds it who did not before.
    pub fn remove_publisher(&mut self, session: SessionId) -> bool {
        let before = self.publisher().map(|holder| holder.session);
        self.publishers.retain(|publisher| publisher.session != session);
        self.hand_over(before)
    }

    /// Viewers go on with the next one's first keyframe, not with what happens to come before it;
    /// both tracks get its clock.
    fn hand_over(&mut self, before: Option<SessionId>) -> bool {
        let now = self.publisher().map(|holder| holder.session);
        if now.is_none() || now == before {
            return false;
        }
        self.tracks.iter_mut().for_each(Track::begin_publisher);
        self.subscribers.iter_mut().for_each(|(_, subscriber)| subscriber.hold());
        self.keyframe_wanted |= !self.subscribers.is_empty();
        true
    }

    /// True if there is a publisher that sends video.
    #[must_use]
    pub fn has_video(&self) -> bool {
        let video = |(kind, _): &(Kind, Codec)| *kind == Kind::Video;
        self.publisher().is_some_and(|publisher| publisher.codecs.iter().any(video))
    }

    /// A subscriber leaves. With the last one everything goes that was kept for them.
    pub fn remove_subscriber(&mut self, slot: usize) -> Option<Subscriber> {
        let subscriber = self.subscribers.try_remove(slot);
        if self.subscribers.is_empty() {
            self.subscribers = Slab::new();
            self.batches = Vec::new();
            self.pacer.clear();
            self.waiting = 0;
            self.turns = Turns::new(self.id);
            self.tracks.iter_mut().for_each(Track::clear);
        }
        subscriber
    }

    /// Where a viewer may start now; see [`Track::start`].
    #[must_use]
    pub fn start(&self, now: Time) -> Option<Start> {
        self.tracks[Kind::Video as usize].start(now, self.pacer.first_held())
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
        self.tracks[kind as usize].set_clock(publisher, rate, ntp, timestamp);
    }

    /// Takes packets of the current publisher; those of any other are ignored.
    pub fn handle_departure(&mut self, now: Time, wall_clock: WallClock, departure: &Departure) {
        let current = self.publisher().is_some_and(|p| p.session == departure.publisher);
        let Some(first) = departure.packets.first().filter(|_| current) else { return };
        let (track, keep) = (&mut self.tracks[first.kind as usize], !self.subscribers.is_empty());
        self.batches.extend(track.place(now, wall_clock, departure, keep));
    }

    /// What fan-out needs: the batches since the last call as far as they may leave, the subscribers
    /// and where to start among them. The start rotates, so that nobody is always last. So many
    /// groups of viewers are left out (see [`crate::shedding`]).
    pub fn take_round(&mut self, now: Time, left_out: u8) -> Round<'_> {
        let batches = seated(self.pacer.pass(now, std::mem::take(&mut self.batches)));
        let (shed, has_video) = self.shed(now, left_out);
        self.next_release = self.pacer.due(now);
        if !batches.is_empty() {
            self.turn = self.turn.wrapping_add(1);
        }
        let [_, video] = &self.tracks;
        let held = self.pacer.first_held();
        let (subscribers, waiting) = (&mut self.subscribers, &mut self.waiting);
        Round { batches, video, held, shed, has_video, subscribers, waiting, turn: self.turn }
    }

    /// Who is left out of the next round, and whether that is video.
    fn shed(&mut self, now: Time, left_out: u8) -> (Shed, bool) {
        let left_out = if self.subscribers.is_empty() { 0 } else { left_out };
        let video = &self.tracks[Kind::Video as usize];
        let (has_video, waits) = (video.flows(now), self.waiting > 0);
        let shed = self.turns.take(now, left_out, video.keyframe(), has_video && waits);
        self.keyframe_wanted |= has_video && waits && self.turns.asks(now, left_out);
        (shed, has_video)
    }

    /// A subscriber needs a keyframe. False if that changes nothing: there is a wish already, or it
    /// is left out, and gets one when its turn ends.
    pub fn want_keyframe(&mut self, slot: usize) -> bool {
        let is_new = !self.keyframe_wanted && !self.turns.shed().covers(slot);
        self.keyframe_wanted |= is_new;
        is_new
    }

    /// A subscriber and the cache of one of the tracks.
    pub fn subscriber(&mut self, slot: usize, kind: Kind) -> Option<(&mut Subscriber, &Cache)> {
        let cache = self.tracks[kind as usize].cache();
        self.subscribers.get_mut(slot).map(|subscriber| (subscriber, cache))
    }
}

/// Puts each packet of audio behind video that leaves with it and whose train it can end: that
/// spares every viewer a message. Nothing waits for the other, and each track keeps its order.
fn seated(batches: Vec<Batch>) -> Vec<Batch> {
    if batches.iter().all(|batch| batch.kind == Kind::Video) {
        return batches;
    }
    let (audio, video): (Vec<_>, Vec<_>) =
        batches.into_iter().partition(|batch| batch.kind == Kind::Audio);
    let mut order = Vec::with_capacity(audio.len() + video.len());
    let mut riders = audio.into_iter().peekable();
    for train in video {
        let rider = riders.next_if(|rider| train.seats(rider));
        order.push(train);
        order.extend(rider);
    }
    order.extend(riders);
    order
}

/// See [`Stream::take_round`].
pub struct Round<'a> {
    /// What is to be sent.
    pub batches: Vec<Batch>,
    /// Where those start who wait for a keyframe.
    pub video: &'a Track,
    /// The first place of video that is not to be sent yet.
    pub held: Option<u64>,
    /// Who gets no video, or no audio where there is no video.
    pub shed: Shed,
    /// Whether video flows.
    pub has_video: bool,
    /// To whom.
    pub subscribers: &'a mut Slab<Subscriber>,
    /// How many of them wait for a keyframe when all is sent.
    pub waiting: &'a mut usize,
    /// Counts rounds.
    pub turn: usize,
}
