//! The paths of a session that authenticated checks have come by, and which of them it uses.
//!
//! We are ICE-lite (RFC 8445 §2.5): the peer checks and nominates, we follow. USE-CANDIDATE is
//! never waited for: a path is valid after one authenticated check and DTLS is answered there.
//!
//! A restart (RFC 8445 §9) begins the choice anew: whichever path is nominated after it wins over
//! whatever was nominated before. Media keeps to the path that it has until then.

use std::time::Duration;

use arrayvec::ArrayVec;

use crate::path::Path;
use crate::time::Time;

/// Paths of one session that are remembered; a peer with more candidates than this gets the ones
/// that it checked last.
const MAX_PATHS: usize = 8;

/// A nomination of lower priority moves the session only when the current path was not nominated
/// again for so long.
const NOMINATION_HOLD: Duration = Duration::from_secs(1);

/// A peer that restarts and nominates nothing is followed to the path that it checks after this
/// time. Its old one may lead nowhere any more.
const RESTART_HOLD: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Checked {
    path: Path,
    last_check: Time,
    last_nomination: Option<Time>,
    priority: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    checked: ArrayVec<Checked, MAX_PATHS>,
    /// The nominated path.
    nominated: Option<Path>,
    /// Where DTLS came from last.
    dtls: Option<Path>,
    /// Where media went when the peer restarted, and when that was; until the next nomination.
    held: Option<(Path, Time)>,
}

/// What a check changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// A path that is used no more because there were too many.
    pub dropped: Option<Path>,
    /// The path was not known before.
    pub added: bool,
}

impl Paths {
    /// Takes an authenticated check. PRIORITY may be missing (FFmpeg 8.0 sends none).
    pub fn handle_check(
        &mut self,
        now: Time,
        path: Path,
        priority: Option<u32>,
        use_candidate: bool,
    ) -> Changed {
        let mut changed = Changed::default();
        let priority = priority.unwrap_or(0);
        let nomination = use_candidate.then_some(now);
        match self.checked.iter_mut().find(|checked| checked.path == path) {
            Some(checked) => {
                checked.last_check = now;
                checked.priority = priority;
                checked.last_nomination = nomination.or(checked.last_nomination);
            }
            None => {
                changed.added = true;
                changed.dropped = self.make_room();
                let last_nomination = nomination;
                let _ = self.checked.try_push(Checked {
                    path,
                    last_check: now,
                    last_nomination,
                    priority,
                });
            }
        }
        if use_candidate {
            self.nominate(now, path, priority);
        }
        self.held = self.held.filter(|(_, since)| now.since(*since) < RESTART_HOLD);
        changed
    }

    /// The peer's first check after a restart is here: what was nominated before counts no more.
    pub fn restart(&mut self, now: Time) {
        self.held = self.current().map(|path| (path, now));
        self.nominated = None;
        self.dtls = None;
    }

    /// Notes where DTLS came from; media goes there until a path is nominated.
    pub fn handle_dtls(&mut self, path: Path) {
        self.dtls = Some(path);
    }

    /// Another session took the path over.
    pub fn forget(&mut self, path: Path) {
        self.checked.retain(|checked| checked.path != path);
        self.nominated = self.nominated.filter(|nominated| *nominated != path);
        self.dtls = self.dtls.filter(|dtls| *dtls != path);
        self.held = self.held.filter(|(held, _)| *held != path);
    }

    /// Where media goes: the nominated path, before that the one that it had before a restart, then
    /// the one that DTLS used, then the one that was checked last.
    #[must_use]
    pub fn current(&self) -> Option<Path> {
        let held = self.held.map(|(path, _)| path);
        self.nominated.or(held).or(self.dtls).or_else(|| {
            self.checked.iter().max_by_key(|checked| checked.last_check).map(|c| c.path)
        })
    }

    /// Where a handshake goes on: the path that DTLS used, before that as [`Paths::current`].
    #[must_use]
    pub fn dtls_or_current(&self) -> Option<Path> {
        self.dtls.or_else(|| self.current())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Path> + '_ {
        self.checked.iter().map(|checked| checked.path)
    }

    fn nominate(&mut self, now: Time, path: Path, priority: u32) {
        let current = self.checked.iter().find(|checked| Some(checked.path) == self.nominated);
        let held = current.is_some_and(|current| {
            current.path != path
                && priority < current.priority
                && current.last_nomination.is_some_and(|at| now.since(at) < NOMINATION_HOLD)
        });
        if !held {
            self.nominated = Some(path);
            self.held = None;
        }
    }

    fn make_room(&mut self) -> Option<Path> {
        if !self.checked.is_full() {
            return None;
        }
        let used = [self.nominated, self.dtls, self.held.map(|(path, _)| path)];
        let (oldest, _) = self
            .checked
            .iter()
            .enumerate()
            .filter(|(_, c)| !used.contains(&Some(c.path)))
            .min_by_key(|(_, c)| c.last_check)?;
        Some(self.checked.remove(oldest).path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SocketId;

    fn path(port: u16) -> Path {
        Path {
            socket: SocketId::SHARED,
            local: [127, 0, 0, 1].into(),
            remote: ([127, 0, 0, 1], port).into(),
        }
    }

    #[test]
    fn media_follows_nomination_then_dtls_then_the_last_check() {
        let mut paths = Paths::default();
        assert_eq!(paths.current(), None);
        paths.handle_check(Time(1), path(1), Some(10), false);
        paths.handle_check(Time(2), path(2), Some(10), false);
        assert_eq!(paths.current(), Some(path(2)));
        paths.handle_dtls(path(1));
        assert_eq!(paths.current(), Some(path(1)));
        paths.handle_check(Time(3), path(2), None, true);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn a_lower_nomination_waits_until_the_current_one_rests() {
        let mut paths = Paths::default();
        paths.handle_check(Time(0), path(1), Some(100), true);
        paths.handle_check(Time(500_000), path(2), Some(50), true);
        assert_eq!(paths.current(), Some(path(1)));
        paths.handle_check(Time(600_000), path(3), Some(200), true);
        assert_eq!(paths.current(), Some(path(3)), "a higher one moves at once");
        paths.handle_check(Time(1_700_000), path(2), Some(50), true);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn a_restart_holds_the_path_until_any_nomination() {
        let mut paths = Paths::default();
        paths.handle_check(Time(0), path(1), Some(100), true);
        paths.restart(Time(100_000));
        paths.handle_check(Time(100_000), path(2), Some(50), false);
        assert_eq!(paths.current(), Some(path(1)), "valid is not yet nominated");
        paths.handle_check(Time(150_000), path(2), Some(50), true);
        assert_eq!(paths.current(), Some(path(2)), "its lower priority does not matter");
    }

    #[test]
    fn a_peer_that_nominates_nothing_after_a_restart_is_followed_to_what_it_checks() {
        let mut paths = Paths::default();
        paths.handle_check(Time(0), path(1), None, true);
        paths.handle_dtls(path(1));
        paths.restart(Time(100_000));
        paths.handle_check(Time(100_000), path(2), None, false);
        paths.handle_check(Time(1_099_999), path(2), None, false);
        assert_eq!(paths.current(), Some(path(1)));
        paths.handle_check(Time(1_100_000), path(2), None, false);
        assert_eq!(paths.current(), Some(path(2)));
    }

    #[test]
    fn the_oldest_unused_path_makes_room() {
        let mut paths = Paths::default();
        paths.handle_check(Time(0), path(1), None, true);
        for port in 2..=8 {
            paths.handle_check(Time(u64::from(port)), path(port), None, false);
        }
        let changed = paths.handle_check(Time(20), path(9), None, false);
        assert_eq!(changed, Changed { dropped: Some(path(2)), added: true });
        assert_eq!(paths.current(), Some(path(1)));
    }
}
