//! Time as the core sees it: an argument, never a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time since the engine started, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// Further away than any deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// Time passed since `earlier`, zero if `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The next whole multiple of `step`, which is a microsecond or more; itself if it is one.
    #[must_use]
    pub fn rounded_up(self, step: Duration) -> Time {
        let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1);
        Time(self.0.checked_next_multiple_of(step).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// NTP timestamp in 32.32 fixed point (RFC 3550 §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The NTP time that lies `passed` after `self`.
    #[must_use]
    pub fn after(self, passed: Duration) -> Ntp {
        let fraction = (u64::from(passed.subsec_nanos()) << 32) / 1_000_000_000;
        Ntp(self.0.wrapping_add((passed.as_secs() << 32) + fraction))
    }

    /// The middle 32 bits, as LSR, LRR and DLSR use them (RFC 3550 §6.4.1).
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Relates [`Time`] to the wall clock; fixed when the engine starts.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// The wall clock at [`Time`] zero.
    pub ntp_at_zero: Ntp,
}

impl WallClock {
    /// Wall clock time at `now`.
    #[must_use]
    pub fn ntp(self, now: Time) -> Ntp {
        self.ntp_at_zero.after(Duration::from_micros(now.0))
    }
}

/// Relates [`Time`] to a clock that all processes of the machine share; fixed when the engine starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MachineClock {
    /// Which machine's, since it was started; 0 if nobody knows.
    pub id: u32,
    /// That clock at [`Time`] zero, in microseconds.
    pub micros_at_zero: u64,
}

impl MachineClock {
    /// That clock at `now`, in microseconds.
    #[must_use]
    pub fn micros(self, now: Time) -> u64 {
        self.micros_at_zero.saturating_add(now.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_up_moves_to_the_next_step_and_no_further() {
        let step = Duration::from_millis(20);
        assert_eq!(Time(40_000).rounded_up(step), Time(40_000));
        assert_eq!(Time(40_001).rounded_up(step), Time(60_000));
        assert_eq!(Time::NEVER.rounded_up(step), Time::NEVER);
    }

    #[test]
    fn ntp_counts_fractions() {
        let start = Ntp(5 << 32);
        assert_eq!(start.after(Duration::from_millis(500)), Ntp((5 << 32) | 0x8000_0000));
        assert_eq!(start.after(Duration::from_secs(2)).middle(), 7 << 16);
    }
}
