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
