//! Deadlines without walking sessions: whoever has something to do later says when.
//!
//! One entry in the heap for each armed deadline. A deadline that moves away is not taken out: the
//! owner remembers what it armed last, and an entry that says otherwise is stale. A deadline that
//! only moves away (liveness) therefore costs nothing until it would have fired.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::SessionId;
use crate::time::Time;

/// What one owner remembers of its armed deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Armed(Time);

impl Default for Armed {
    fn default() -> Self {
        Armed(Time::NEVER)
    }
}

/// The deadlines of one shard.
#[derive(Debug, Default)]
pub struct Wake {
    heap: BinaryHeap<Reverse<(Time, SessionId)>>,
}

impl Wake {
    /// Wakes `owner` at `at` or earlier; nothing changes if it is to be woken by then already.
    pub fn arm(&mut self, armed: &mut Armed, owner: SessionId, at: Time) {
        if at < armed.0 {
            armed.0 = at;
            self.heap.push(Reverse((at, owner)));
        }
    }

    /// When the next owner is due.
    #[must_use]
    pub fn next(&self) -> Time {
        self.heap.peek().map_or(Time::NEVER, |Reverse((at, _))| *at)
    }

    /// The next owner that is due, with its deadline; see [`Wake::confirm`].
    pub fn due(&mut self, now: Time) -> Option<(Time, SessionId)> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// True if the popped deadline is the one that the owner armed; it is then disarmed.
    pub fn confirm(armed: &mut Armed, at: Time) -> bool {
        let current = armed.0 == at;
        if current {
            armed.0 = Time::NEVER;
        }
        current
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_deadline_makes_the_later_one_stale() {
        let (mut wake, mut armed) = (Wake::default(), Armed::default());
        wake.arm(&mut armed, SessionId(1), Time(50));
        wake.arm(&mut armed, SessionId(1), Time(90));
        wake.arm(&mut armed, SessionId(1), Time(20));
        assert_eq!(wake.next(), Time(20));
        let (at, owner) = wake.due(Time(60)).unwrap();
        assert_eq!((at, owner), (Time(20), SessionId(1)));
        assert!(Wake::confirm(&mut armed, at));
        let (at, _) = wake.due(Time(60)).unwrap();
        assert!(!Wake::confirm(&mut armed, at), "50 was superseded by 20");
        assert!(wake.due(Time(60)).is_none(), "90 was never armed");
    }
}
