//! The fan-out: viewer outside, packet inside.
//!
//! The kernel's path costs nine tenths of a packet, so one viewer's packets are kept together and
//! leave as trains; keys and templates of a viewer are touched once a turn.

use std::cell::OnceCell;

use crate::circuit::{Circuit, Cut, UnderWay};
use crate::egress::{Egress, Transmit};
use crate::ids::SessionId;
use crate::stats::{Counter, FAN_OUT_BOUNDS, Stats};
use crate::stream::Round;
use crate::subscriber::Subscriber;
use crate::time::Time;
use crate::track::{Start, Track};

/// What the shard has to see to afterwards.
#[derive(Debug, Default)]
pub struct Afterwards {
    /// They got their first packet.
    pub flowing: Vec<SessionId>,
    /// When batches came that have gone round.
    pub gone_round: Vec<Time>,
}

/// Where packets go, and what is counted on the way.
pub struct Out<'a, T> {
    /// What is being sent.
    pub egress: &'a mut Egress,
    /// The way out.
    pub transmit: &'a mut T,
    /// The shard's counters.
    pub stats: &'a mut Stats,
    /// What is left to do.
    pub afterwards: &'a mut Afterwards,
    /// Something was handed over since the time was looked at.
    pub handed_over: bool,
}

impl<T: Transmit> Out<'_, T> {
    /// Hands over what has been collected if so many bytes do not fit behind it.
    fn make_room(&mut self, room: usize) {
        if self.egress.is_full(room) {
            self.egress.flush(self.transmit, self.stats);
            self.handed_over = true;
        }
    }

    /// True if the time is over, which is looked at once something was handed over.
    fn is_over(&mut self, until: Time) -> bool {
        std::mem::take(&mut self.handed_over) && self.observe_gone_round() >= until
    }

    /// Tells how long it took of what has gone round; the time at this moment.
    pub fn observe_gone_round(&mut self) -> Time {
        let now = self.transmit.now();
        for came in self.afterwards.gone_round.drain(..) {
            let took = now.since(came).as_micros() as u64;
            self.stats.fan_out.observe(&FAN_OUT_BOUNDS, took, 1);
        }
        now
    }
}

/// Sends what is on its way to whoever's turn it is, one after the other, until all has gone round
/// or the time `until` is over, which is looked at whenever something is handed over; whether it is.
/// Those who wait for a keyframe and may start get what has come since.
pub fn fan_out<T: Transmit>(
    now: Time,
    until: Time,
    round: Round<'_>,
    out: &mut Out<'_, T>,
) -> bool {
    let Round { circuit, video, held, shed, subscribers, waiting } = round;
    // Looked for once somebody waits.
    let start = OnceCell::new();
    let slots = subscribers.capacity();
    let mut anybody = false;
    while let Some(slot) = circuit.turn() {
        // For all of a turn at once, so that it can be one message.
        out.make_room(circuit.room());
        // Before the turn, so that nothing is left over; but a stream that has its place has one
        // turn at least, or it would lose that place for nothing.
        if std::mem::replace(&mut anybody, true) && out.is_over(until) {
            return true;
        }
        if let Some(subscriber) = subscribers.get_mut(slot) {
            let mut turn = Turn { now, held, subscriber, is_left_out: shed.covers(slot) };
            turn.take(circuit, &start, video, waiting, out);
        }
        circuit.pass_on(slots, |came| out.afterwards.gone_round.push(came));
    }
    out.is_over(until)
}

/// A viewer's.
struct Turn<'a> {
    now: Time,
    held: Option<u64>,
    subscriber: &'a mut Subscriber,
    is_left_out: bool,
}

impl Turn<'_> {
    fn take<T: Transmit>(
        &mut self,
        circuit: &Circuit,
        start: &OnceCell<Option<Start>>,
        video: &Track,
        waiting: &mut usize,
        out: &mut Out<'_, T>,
    ) {
        self.subscriber.learn_route(out.transmit);
        let mut first_packet = false;
        for UnderWay { batch, cut, .. } in circuit.due() {
            let cut = cut.filter(|_| self.is_left_out);
            let left_out = cut.map_or(0, |cut| self.subscriber.leave_out(batch, cut == Cut::Here));
            if left_out > 0 {
                out.stats.add(Counter::SendDropsShed, left_out as u64);
                continue;
            }
            out.make_room(batch.room);
            first_packet |= self.subscriber.forward(self.now, batch, out.egress, out.stats);
        }
        // Behind the batches: what of them went before the start was not for it, and everything
        // from the start on is in the cache, so that nothing is sent to it twice.
        let may_start = !self.is_left_out && self.subscriber.waits_for_keyframe();
        let find = || self.start(circuit, video);
        if let Some(start) = may_start.then(|| *start.get_or_init(find)).flatten() {
            out.make_room(start.room);
            let (egress, stats) = (&mut *out.egress, &mut *out.stats);
            first_packet |= self.subscriber.start(self.now, start, video.cache(), egress, stats);
        }
        self.subscriber.count_waiting(waiting);
        if first_packet {
            out.afterwards.flowing.push(self.subscriber.session);
        }
    }

    /// Where those who wait may start.
    fn start(&self, circuit: &Circuit, video: &Track) -> Option<Start> {
        let under_way = video.keyframe_start().is_some_and(|place| circuit.has(place));
        video.start(self.now, self.held, under_way)
    }
}
