//! What passing time costs a shard with so many viewers: a turn and a report cost the same however
//! many there are.

use std::hint::black_box;
use std::time::Duration;

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

/// A second in which viewers' sender reports are due, with the turns that it takes. One turn alone
/// would differ from run to run, because tables are seeded anew each time.
pub struct Due {
    crowd: Crowd,
    viewers: usize,
}

impl Due {
    pub fn new(viewers: u16) -> Due {
        let mut due = Due { crowd: Crowd::watching(viewers.into()), viewers: viewers.into() };
        // Their first reports were at once; after some more they are spread over the seconds.
        due.pass(Duration::from_secs(20));
        due
    }

    fn pass(&mut self, time: Duration) {
        let Due { crowd, .. } = self;
        let until = crowd.now + time;
        while crowd.shard.poll_timeout() <= until {
            crowd.now = crowd.shard.poll_timeout();
            crowd.shard.handle_timeout(crowd.now);
            crowd.drain();
        }
        crowd.now = until;
    }
}

impl Work for Due {
    fn run(&mut self) {
        self.pass(Duration::from_secs(1));
    }

    /// Reports: each viewer's every two to five seconds.
    fn packets(&self) -> usize {
        (2 * self.viewers).div_ceil(7)
    }
}
