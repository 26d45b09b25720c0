//! The one clock that the shards of an engine share, and the kernel's random bytes.
#![allow(unsafe_code)]

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pyforward_core::time::{MachineClock, Ntp, Time, WallClock};

/// Seconds from 1900, where NTP counts from, to 1970 (RFC 5905 §6).
const NTP_EPOCH_OFFSET: u64 = 2_208_988_800;

/// Monotonic time since the engine started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

/// Whoever asks when datagrams came does not let them wait longer. What seems to have waited longer
/// came before the wall clock was put forward.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// One moment by both clocks, so that what the wall clock showed shortly before can be told by ours.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By ours.
    pub now: Time,
    /// By the wall clock, since 1970.
    wall: Duration,
}

impl Clock {
    /// Starts now; with what relates it to the wall clock of this moment.
    #[must_use]
    pub fn start() -> (Clock, WallClock) {
        let clock = Clock { start: Instant::now() };
        (clock, WallClock { ntp_at_zero: ntp(SystemTime::now()) })
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// This moment. The wall clock is read first: a thread that loses its core in between takes what
    /// came before for later than it was, never for earlier.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { now: self.now(), wall }
    }
}

impl Moment {
    /// When the wall clock showed `wall`, at the latest now. None if it was set since then: that
    /// time lies ahead, or too far back.
    fn time_of(self, wall: Duration) -> Option<Time> {
        let ago = self.wall.checked_sub(wall).filter(|ago| *ago <= LONGEST_WAIT)?;
        Some(self.now - ago)
    }
}

/// When the datagrams of one socket came.
#[derive(Clone, Copy, Default, Debug)]
pub struct Arrivals {
    newest: Time,
}

impl Arrivals {
    /// Takes the next one, which was read at this moment; `wall` is what the wall clock showed when
    /// it came, if the kernel told. Without that it came as it was read. None came before the one
    /// before it, whoever sets the wall clock.
    pub fn next(&mut self, read: Moment, wall: Option<Duration>) -> Time {
        let came = wall.and_then(|wall| read.time_of(wall)).unwrap_or(read.now);
        self.newest = self.newest.max(came);
        self.newest
    }
}

/// Relates an engine's time to CLOCK_MONOTONIC, which all processes of the machine share until it is
/// started anew; without a name for that time nothing is comparable, and the id is 0.
#[must_use]
pub fn machine(clock: &Clock) -> MachineClock {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives across the call, and this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let passed = clock.now().0;
    let micros = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000;
    MachineClock { id: boot_id(), micros_at_zero: micros.saturating_sub(passed) }
}

/// CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives across the call, and every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// A number for this start of the machine (random(4), boot_id).
fn boot_id() -> u32 {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // FNV-1a.
    let hash = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    if id.is_empty() { 0 } else { id.iter().fold(0x811C_9DC5, hash).max(1) }
}

/// 32 bytes that nobody can guess (getrandom(2)).
///
/// # Errors
/// What the kernel says.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    // SAFETY: the buffer is as long as we say and lives across the call.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    // Up to 256 bytes come whole (getrandom(2)).
    if got == 32 { Ok(seed) } else { Err(io::Error::last_os_error()) }
}

fn ntp(wall: SystemTime) -> Ntp {
    let passed = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ntp(NTP_EPOCH_OFFSET << 32).after(passed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ntp_counts_from_1900() {
        // RFC 5905 figure 4: 1 January 1970 is 2,208,988,800 s of era 0.
        assert_eq!(ntp(UNIX_EPOCH), Ntp(2_208_988_800 << 32));
        let later = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(ntp(later), Ntp((2_208_988_801 << 32) | 0x8000_0000));
    }

    #[test]
    fn arrivals_are_in_order_and_never_after_their_reading() {
        let wall = Duration::from_secs(1_700_000_000);
        let ms = |ms: u64| wall + Duration::from_millis(ms);
        let (early, late) =
            (Moment { now: Time(2_000_000), wall }, Moment { now: Time(2_050_000), wall: ms(50) });
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.next(early, Some(wall - Duration::from_millis(30))), Time(1_970_000));
        assert_eq!(arrivals.next(late, Some(ms(10))), Time(2_010_000));
        // The kernel did not tell; the wall clock was put back, or forward.
        for told in [None, Some(ms(51)), Some(wall - Duration::from_secs(60))] {
            assert_eq!({ arrivals }.next(late, told), Time(2_050_000));
        }
        // It was put forward by less than anybody could tell.
        assert_eq!(arrivals.next(late, Some(wall - Duration::from_millis(300))), Time(2_010_000));
        assert_eq!(arrivals.next(late, None), Time(2_050_000));
        assert_eq!(arrivals.next(late, Some(ms(40))), Time(2_050_000));
    }

    #[test]
    fn what_the_wall_clock_showed_is_told_by_ours_unless_it_was_set() {
        let us = Duration::from_micros(1);
        let wall = Duration::from_secs(1_700_000_000);
        let moment = Moment { now: Time(15_000_000), wall };
        assert_eq!(moment.time_of(wall), Some(Time(15_000_000)));
        assert_eq!(moment.time_of(wall - 30_000 * us), Some(Time(14_970_000)));
        assert_eq!(moment.time_of(wall - LONGEST_WAIT), Some(Time(5_000_000)));
        assert_eq!(moment.time_of(wall - LONGEST_WAIT - us), None);
        assert_eq!(moment.time_of(wall + us), None);
        assert_eq!(moment.time_of(Duration::ZERO), None);
        // An engine that has just begun.
        let moment = Moment { now: Time(7), wall };
        assert_eq!(moment.time_of(wall - LONGEST_WAIT), Some(Time(0)));
    }

    #[test]
    fn a_moment_is_the_same_by_both_clocks() {
        let (clock, _) = Clock::start();
        let (before, moment, after) = (clock.moment(), clock.moment(), clock.moment());
        let told = after.time_of(moment.wall).unwrap();
        assert!((before.now..=after.now).contains(&told), "{told:?} of {before:?} to {after:?}");
    }

    #[test]
    fn two_engines_of_one_machine_agree_on_its_clock() {
        let (first, _) = Clock::start();
        std::thread::yield_now();
        let (second, _) = Clock::start();
        let (a, b) = (machine(&first), machine(&second));
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, 0);
        let apart = a.micros(first.now()).abs_diff(b.micros(second.now()));
        assert!(apart < 100_000, "{apart} us apart");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
