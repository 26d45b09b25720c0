//! A stream as one shard sees it: its publishers, its two tracks and the shard's subscribers of it.
//!
//! The publisher that holds it may live here or on another shard; either way its packets come as
//! [`Departure`]s, placed here on the shard's own timeline. What is placed waits as a [`Batch`]
//! until it begins its way around the subscribers.

use std::time::Duration;

use slab::Slab;

use crate::cache::Cache;
use crate::circuit::{Circuit, Cut};
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
    /// Somebody here needs a keyframe; taken once in each drain, so that many wishes are one.
    pub keyframe_wanted: bool,
    /// It is on the shard's list of streams with something new.
    pub queued: bool,
    /// It is on the shard's list of streams with something on its way.
    pub under_way: bool,
    /// When video that is held for its time may leave; never if none is.
    pub next_release: Time,
    /// What was done for its subscribers so far.
    pub sums: Sums,
    /// How many of the subscribers waited for a keyframe when each had its last turn.
    pub waiting: usize,
    /// Ascending; the last one holds the stream.
    publishers: Vec<Publisher>,
    tracks: [Track; 2],
    batches: Vec<Batch>,
    pacer: Pacer,
    circuit: Circuit,
    turns: Turns,
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
            under_way: false,
            sums: Sums::default(),
            waiting: 0,
            publishers: Vec::new(),
            tracks: Kind::ALL.map(Track::new),
            batches: Vec::new(),
            pacer: Pacer::new(pace_bytes_per_second),
            circuit: Circuit::default(),
            turns: Turns::new(id),
            next_release: Time::NEVER,
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
        self.waiting -= usize::from(subscriber.as_ref().is_some_and(Subscriber::counts_as_waiting));
        if self.subscribers.is_empty() {
            self.subscribers = Slab::new();
            self.batches = Vec::new();
            self.pacer.clear();
            self.circuit.clear();
            self.turns = Turns::new(self.id);
            self.tracks.iter_mut().for_each(Track::clear);
        }
        subscriber
    }

    /// Where a viewer may start now; see [`Track::start`].
    #[must_use]
    pub fn start(&self, now: Time) -> Option<Start> {
        // Its turn may come after what is under way.
        self.tracks[Kind::Video as usize].start(now, self.pacer.first_held(), false)
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

    /// The batches since the last call begin their way around the subscribers, as far as they may
    /// leave. So many groups of viewers are left out (see [`crate::shedding`]).
    pub fn send_off(&mut self, now: Time, left_out: u8) {
        let leaving = self.pacer.pass(now, std::mem::take(&mut self.batches));
        self.next_release = self.pacer.due(now);
        let has_video = self.shed(now, left_out);
        let (video, slots) = (&self.tracks[Kind::Video as usize], self.subscribers.capacity());
        let sheds = !self.turns.shed().is_empty();
        for batch in leaving {
            let cut = if sheds { cut(&batch, video, has_video) } else { None };
            self.circuit.enter(now, batch, cut, slots);
        }
    }

    /// Settles who is left out from now on; whether video flows.
    fn shed(&mut self, now: Time, left_out: u8) -> bool {
        let left_out = if self.subscribers.is_empty() { 0 } else { left_out };
        let video = &self.tracks[Kind::Video as usize];
        let (has_video, waits) = (video.flows(now), self.waiting > 0);
        self.turns.take(now, left_out, video.keyframe(), has_video && waits);
        self.keyframe_wanted |= has_video && waits && self.turns.asks(now, left_out);
        has_video
    }

    /// What fan-out needs.
    pub fn round(&mut self) -> Round<'_> {
        Round {
            circuit: &mut self.circuit,
            video: &self.tracks[Kind::Video as usize],
            held: self.pacer.first_held(),
            shed: self.turns.shed(),
            subscribers: &mut self.subscribers,
            waiting: &mut self.waiting,
        }
    }

    /// True if something is on its way.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.circuit.is_idle()
    }

    /// How long the oldest has been on its way.
    #[must_use]
    pub fn behind(&self, now: Time) -> Duration {
        self.circuit.age(now)
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

/// What a batch is to those who are left out; None if it goes to them all the same.
fn cut(batch: &Batch, video: &Track, has_video: bool) -> Option<Cut> {
    match batch.kind {
        Kind::Video if video.begins_frame(batch) => Some(Cut::Here),
        Kind::Video => Some(Cut::Elsewhere),
        Kind::Audio => (!has_video).then_some(Cut::Here),
    }
}

/// See [`Stream::round`].
pub struct Round<'a> {
    /// What is to be sent, and whose turn it is.
    pub circuit: &'a mut Circuit,
    /// Where those start who wait for a keyframe.
    pub video: &'a Track,
    /// The first place of video that is not to be sent yet.
    pub held: Option<u64>,
    /// Who gets no video, or no audio where there is no video.
    pub shed: Shed,
    /// To whom.
    pub subscribers: &'a mut Slab<Subscriber>,
    /// How many of them wait for a keyframe.
    pub waiting: &'a mut usize,
}
