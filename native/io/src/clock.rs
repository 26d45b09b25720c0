//! The one clock that the shards of an engine share, and the kernel's random bytes.
#![allow(unsafe_code)]

use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pyforward_core::time::{Ntp, Time, WallClock};

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
    use std::time::Duration;

    use super::*;

    #[test]
    fn ntp_counts_from_1900() {
        // RFC 5905 figure 4: 1 January 1970 is 2,208,988,800 s of era 0.
        assert_eq!(ntp(UNIX_EPOCH), Ntp(2_208_988_800 << 32));
        let later = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(ntp(later), Ntp((2_208_988_801 << 32) | 0x8000_0000));
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
