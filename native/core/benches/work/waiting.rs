//! What passing time costs a shard with so many viewers: nothing by their number.

use std::hint::black_box;

use pyforward_core::time::Time;

use super::Work;
use super::rig::crowd::Crowd;

/// A turn in which nothing is due.
pub struct Idle(Crowd);

impl Idle {
    pub fn new(viewers: u64) -> Idle {
        Idle(Crowd::watching(viewers))
    }
}

impl Work for Idle {
    fn run(&mut self) {
        let Idle(crowd) = self;
        assert!(black_box(crowd.shard.poll_timeout()) > crowd.now);
        crowd.shard.handle_timeout(crowd.now);
        crowd.drain();
    }

    fn packets(&self) -> usize {
        1
    }
}

/// A turn in which one viewer's sender reports are due.
pub struct Due(Crowd);

impl Due {
    pub fn new(viewers: u64) -> Due {
        let mut crowd = Crowd::watching(viewers);
        // It has deadlines too.
        crowd.end();
        Due(crowd)
    }
}

impl Work for Due {
    fn run(&mut self) {
        let Due(crowd) = self;
        crowd.now = crowd.shard.poll_timeout();
        assert!(crowd.now < Time::NEVER);
        crowd.shard.handle_timeout(crowd.now);
        crowd.drain();
    }

    fn packets(&self) -> usize {
        1
    }
}
