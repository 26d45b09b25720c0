//! Spreads a large keyframe over time: what a stream's viewers may get in a burst, and how fast after
//! that.
//!
//! The viewers of a stream get the same packets at the same time, so that one budget stands for all
//! of theirs. Video waits here, in order and never for long; audio passes it by. A viewer that
//! starts late gets a bounded burst from the cache, and retransmissions have a budget of their own.

use std::collections::VecDeque;
use std::time::Duration;

use crate::egress::Budget;
use crate::media::Kind;
use crate::time::Time;
use crate::track::Batch;

/// What leaves at once after a pause, in bytes: two trains and a half.
pub const BURST_BYTES: u64 = 48 * 1024;

/// A stream that is faster than the pace is not held up by more than this.
const PATIENCE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Pacer {
    budget: Budget,
    held: VecDeque<Batch>,
}

impl Pacer {
    /// Lets `bytes_per_second` through, without a limit if that is zero.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Pacer {
        let budget = match bytes_per_second {
            0 => Budget::UNLIMITED,
            rate => Budget::new(Time(0), rate, BURST_BYTES),
        };
        Pacer { budget, held: VecDeque::new() }
    }

    /// Takes batches that are ready to leave and gives back those that leave now, in order.
    pub fn pass(&mut self, now: Time, ready: Vec<Batch>) -> Vec<Batch> {
        if self.held.is_empty() && self.budget.is_unlimited() {
            return ready;
        }
        let (mut leaving, video): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|batch| batch.kind == Kind::Audio);
        self.held.extend(video);
        while self.held.front().is_some_and(|batch| leaves(&mut self.budget, now, batch)) {
            leaving.extend(self.held.pop_front());
        }
        leaving
    }

    /// When something that is held leaves; [`Time::NEVER`] if nothing is.
    #[must_use]
    pub fn due(&self, now: Time) -> Time {
        let Some(next) = self.held.front() else { return Time::NEVER };
        (now + self.budget.wait(next.room)).min(arrival(next) + PATIENCE)
    }

    /// The first place of the timeline that is held, and everything behind it with it: a packet that
    /// is late belongs before others that have left.
    #[must_use]
    pub fn first_held(&self) -> Option<u64> {
        let held = self.held.iter().flat_map(|batch| &batch.entries);
        held.filter(|entry| entry.late_at.is_none()).map(|entry| entry.sequence).min()
    }

    /// Nobody waits for it any more.
    pub fn clear(&mut self) {
        self.held = VecDeque::new();
    }
}

fn leaves(budget: &mut Budget, now: Time, batch: &Batch) -> bool {
    budget.take(now, batch.room) || arrival(batch) + PATIENCE <= now
}

fn arrival(batch: &Batch) -> Time {
    batch.entries.first().map_or(Time(0), |entry| entry.packet.arrival)
}
