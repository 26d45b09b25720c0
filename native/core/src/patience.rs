//! How long a video frame's packets wait for its last one, by how busy the shard is.
//!
//! A frame that leaves whole costs the least: a shard that is busy waits for it, because what it saves
//! is what everybody waits for. A shard that has time hardly waits: what it sends in parts has left
//! when the last packet comes, so that the frame is complete sooner.

use std::time::Duration;

use crate::time::Time;

/// So long it looks before it judges: some groups of frames, since a keyframe is several times as
/// much as another frame.
const PERIOD: Duration = Duration::from_secs(1);

/// Shares of the time that go into sending, of 100: from the first on a shard is busy, and below the
/// second one no more. Frames that leave whole take up to 1.8 times less than those that leave in
/// parts, so that the two must be further apart than that.
const BUSY: u32 = 50;
const IDLE: u32 = 25;

/// See the module.
#[derive(Debug)]
pub struct Patience {
    idle_window: Duration,
    busy_window: Duration,
    is_busy: bool,
    since: Time,
    spent: Duration,
}

impl Patience {
    /// Of a shard that has sent nothing. The window of an idle one is at most that of a busy one.
    #[must_use]
    pub fn new(idle_window: Duration, busy_window: Duration) -> Patience {
        Patience {
            idle_window: idle_window.min(busy_window),
            busy_window,
            is_busy: false,
            since: Time(0),
            spent: Duration::ZERO,
        }
    }

    /// How long packets wait that come now.
    #[must_use]
    pub fn window(&self) -> Duration {
        if self.is_busy { self.busy_window } else { self.idle_window }
    }

    /// The shard has sent for so long, until now.
    pub fn spend(&mut self, now: Time, duration: Duration) {
        self.spent += duration;
        let passed = now.since(self.since);
        if passed >= PERIOD {
            let least = if self.is_busy { IDLE } else { BUSY };
            self.is_busy = self.spent * 100 >= passed * least;
            (self.since, self.spent) = (now, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Rounds of 10 ms that take this share of it each, of 100, for some seconds.
    fn spend(patience: &mut Patience, at: &mut Time, share: u32, seconds: u32) {
        for _ in 0..100 * seconds {
            *at = *at + 10 * MS;
            patience.spend(*at, 10 * MS * share / 100);
        }
    }

    #[test]
    fn whoever_is_busy_waits_until_it_is_clearly_not() {
        let (mut patience, mut at) = (Patience::new(MS, 15 * MS), Time(5_000_000));
        let mut window_at = |share| {
            spend(&mut patience, &mut at, share, 3);
            patience.window()
        };
        assert_eq!(window_at(49), MS);
        assert_eq!(window_at(51), 15 * MS);
        assert_eq!(window_at(26), 15 * MS, "the same load, sent in whole frames");
        assert_eq!(window_at(24), MS);
        assert_eq!(window_at(49), MS, "and back again");
    }

    #[test]
    fn one_keyframe_makes_nobody_busy() {
        let (mut patience, mut at) = (Patience::new(MS, 15 * MS), Time(0));
        spend(&mut patience, &mut at, 40, 1);
        patience.spend(at + 100 * MS, 100 * MS);
        at = at + 100 * MS;
        spend(&mut patience, &mut at, 40, 3);
        assert_eq!(patience.window(), MS);
    }

    #[test]
    fn a_long_pause_was_no_work() {
        let (mut patience, mut at) = (Patience::new(MS, 15 * MS), Time(0));
        spend(&mut patience, &mut at, 90, 3);
        assert_eq!(patience.window(), 15 * MS);
        patience.spend(at + Duration::from_secs(60), 10 * MS);
        assert_eq!(patience.window(), MS);
    }

    #[test]
    fn nobody_waits_longer_while_idle() {
        assert_eq!(Patience::new(4 * MS, Duration::ZERO).window(), Duration::ZERO);
    }
}
