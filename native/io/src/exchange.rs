//! Messages between shards: one single-producer ring for each ordered pair, one wake a batch.
//!
//! Where a ring is full, media and strays are lost at once, as a full socket would lose them. Every
//! other message says how things stand and is kept until there is room.

use std::collections::VecDeque;
use std::time::Duration;

use pyforward_core::exchange::Exchange;
use pyforward_core::ids::ShardIndex;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::poll::Doorbell;

/// Messages that a ring holds: a departure is a train or a few, so this is a second of a busy
/// publisher.
pub const RING: usize = 1_024;

/// Messages that are kept beside a full ring. A shard that is so far behind has stopped working.
pub const KEPT: usize = 65_536;

/// How soon a full ring is tried again.
pub const RETRY: Duration = Duration::from_millis(1);

/// One shard's side of all its rings.
#[derive(Debug)]
pub struct Neighbours {
    lanes: Vec<Option<Lane>>,
    inbound: Vec<Consumer<Exchange>>,
}

/// The way to one other shard.
#[derive(Debug)]
struct Lane {
    ring: Producer<Exchange>,
    kept: VecDeque<Exchange>,
    bell: Doorbell,
    /// Something was put since the bell was last rung.
    put: bool,
}

/// The sides of all shards, in their order; `bells` wakes each.
#[must_use]
pub fn neighbours(bells: &[Doorbell]) -> Vec<Neighbours> {
    let mut all: Vec<Neighbours> =
        bells.iter().map(|_| Neighbours { lanes: Vec::new(), inbound: Vec::new() }).collect();
    for from in 0..bells.len() {
        for (to, bell) in bells.iter().enumerate() {
            let lane = (from != to).then(|| {
                let (ring, consumer) = RingBuffer::new(RING);
                all[to].inbound.push(consumer);
                Lane { ring, kept: VecDeque::new(), bell: bell.clone(), put: false }
            });
            all[from].lanes.push(lane);
        }
    }
    all
}

impl Neighbours {
    /// Puts a message for `to`; false if it is lost. It is not seen before [`Neighbours::flush`].
    #[must_use]
    pub fn send(&mut self, to: ShardIndex, message: Exchange) -> bool {
        match self.lanes.get_mut(usize::from(to.0)) {
            Some(Some(lane)) => lane.send(message),
            _ => false,
        }
    }

    /// Wakes everybody who has got something. True if messages are kept that have to be flushed
    /// again after [`RETRY`].
    pub fn flush(&mut self) -> bool {
        let mut kept = false;
        for lane in self.lanes.iter_mut().flatten() {
            lane.retry();
            if std::mem::take(&mut lane.put) {
                lane.bell.ring();
            }
            kept |= !lane.kept.is_empty();
        }
        kept
    }

    /// Messages of the neighbour that has most of them waiting here; a ring holds [`RING`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbound.iter().map(Consumer::slots).max().unwrap_or(0)
    }

    /// Hands out at most `limit` messages of each neighbour; true if there are more.
    pub fn receive(&mut self, limit: usize, mut take: impl FnMut(Exchange)) -> bool {
        let mut more = false;
        for ring in &mut self.inbound {
            for _ in 0..limit {
                let Ok(message) = ring.pop() else { break };
                take(message);
            }
            more |= !ring.is_empty();
        }
        more
    }
}

impl Lane {
    fn send(&mut self, message: Exchange) -> bool {
        self.retry();
        // Nothing overtakes what is kept, even if there is room again by now.
        let pushed = if self.kept.is_empty() { self.push(message) } else { Err(message) };
        match pushed {
            Ok(()) => true,
            Err(message) if may_be_lost(&message) || self.kept.len() >= KEPT => false,
            Err(message) => {
                self.kept.push_back(message);
                true
            }
        }
    }

    fn retry(&mut self) {
        while let Some(message) = self.kept.pop_front() {
            if let Err(message) = self.push(message) {
                self.kept.push_front(message);
                break;
            }
        }
    }

    fn push(&mut self, message: Exchange) -> Result<(), Exchange> {
        self.ring.push(message).map_err(|PushError::Full(message)| message)?;
        self.put = true;
        Ok(())
    }
}

fn may_be_lost(message: &Exchange) -> bool {
    match message {
        Exchange::Media { .. } | Exchange::Stray { .. } => true,
        Exchange::Interest { .. }
        | Exchange::KeyframeWanted { .. }
        | Exchange::Clock { .. }
        | Exchange::SourceUp { .. }
        | Exchange::SourceDown { .. }
        | Exchange::Forget { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use pyforward_core::exchange::Departure;
    use pyforward_core::ids::{SessionId, StreamId};
    use pyforward_core::time::Time;

    use super::*;
    use crate::poll::Poller;

    fn forget(n: usize) -> Exchange {
        Exchange::Forget { session: SessionId(n as u64) }
    }

    fn media() -> Exchange {
        let (stream, publisher) = (StreamId(1), SessionId(1));
        let (packets, trains) = (Vec::new(), Vec::new());
        let departure = Arc::new(Departure { stream, publisher, packets, trains });
        Exchange::Media { departure, given: Time(0) }
    }

    fn bells(count: usize) -> Vec<Doorbell> {
        (0..count).map(|_| Doorbell::new().unwrap()).collect()
    }

    fn received(side: &mut Neighbours) -> Vec<u64> {
        let mut sessions = Vec::new();
        side.receive(usize::MAX, |message| {
            if let Exchange::Forget { session } = message {
                sessions.push(session.0);
            }
        });
        sessions
    }

    #[test]
    fn each_pair_has_its_ring_and_one_wake_a_batch() {
        let bells = bells(3);
        let mut sides = neighbours(&bells);
        let mut poller = Poller::new().unwrap();
        bells.iter().zip(0..).for_each(|(bell, n)| poller.watch(bell, n).unwrap());
        assert!(sides[0].send(ShardIndex(2), forget(1)));
        assert!(sides[0].send(ShardIndex(2), forget(2)));
        assert!(sides[1].send(ShardIndex(2), forget(3)));
        assert!(!sides[0].flush());
        let ready = poller.wait(Some(Duration::ZERO)).unwrap();
        assert!(ready.has(2) && !ready.has(0) && !ready.has(1));
        assert!(!sides[1].flush());
        assert_eq!(received(&mut sides[2]), [1, 2, 3]);
        assert_eq!(received(&mut sides[0]), [0; 0]);
        assert!(!sides[0].send(ShardIndex(0), forget(4)), "nobody is his own neighbour");
        assert!(!sides[0].send(ShardIndex(9), forget(4)));
    }

    #[test]
    fn a_full_ring_loses_media_and_keeps_the_rest_in_order() {
        let bells = bells(2);
        let mut sides = neighbours(&bells);
        for n in 0..RING {
            assert!(sides[0].send(ShardIndex(1), forget(n)));
        }
        assert!(!sides[0].send(ShardIndex(1), media()));
        for n in RING..RING + 10 {
            assert!(sides[0].send(ShardIndex(1), forget(n)));
        }
        assert!(sides[0].flush(), "something is kept");
        assert_eq!(received(&mut sides[1]).len(), RING);
        assert!(sides[0].send(ShardIndex(1), forget(RING + 10)));
        assert!(sides[0].send(ShardIndex(1), media()));
        assert!(!sides[0].flush());
        let rest: Vec<u64> = (RING as u64..RING as u64 + 11).collect();
        assert_eq!(received(&mut sides[1]), rest);
    }

    #[test]
    fn even_what_is_kept_has_a_bound() {
        let mut sides = neighbours(&bells(2));
        for n in 0..RING + KEPT {
            assert!(sides[0].send(ShardIndex(1), forget(n)));
        }
        assert!(!sides[0].send(ShardIndex(1), forget(0)));
    }

    #[test]
    fn a_turn_takes_a_bounded_number() {
        let mut sides = neighbours(&bells(2));
        (0..5).for_each(|n| assert!(sides[0].send(ShardIndex(1), forget(n))));
        assert!(sides[1].receive(3, |_| ()));
        assert!(!sides[1].receive(3, |_| ()));
    }

    #[test]
    fn between_two_threads_nothing_is_lost_or_reordered() {
        const COUNT: usize = 50_000;
        let bells = bells(2);
        let mut sides = neighbours(&bells);
        let (mut to, mut from) = (sides.pop().unwrap(), sides.pop().unwrap());
        let bell = bells[1].clone();
        let receiver = std::thread::spawn(move || {
            let mut poller = Poller::new().unwrap();
            poller.watch(&bell, 0).unwrap();
            let mut got = Vec::new();
            while got.len() < COUNT {
                // A lost wake would make this wait in vain.
                let ready = poller.wait(Some(Duration::from_secs(10))).unwrap();
                assert!(ready.has(0), "no wake after {}", got.len());
                bell.answer();
                got.append(&mut received(&mut to));
            }
            got
        });
        for n in 0..COUNT {
            assert!(from.send(ShardIndex(1), forget(n)));
            if n % 7 == 0 {
                from.flush();
            }
        }
        while from.flush() {
            std::thread::yield_now();
        }
        assert_eq!(receiver.join().unwrap(), (0..COUNT as u64).collect::<Vec<_>>());
    }
}
