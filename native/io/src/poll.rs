//! Waiting: sockets, a doorbell and a deadline at once (epoll, eventfd).
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use libc::{c_int, epoll_event};

/// Wakes whoever waits for it; any thread may ring.
///
/// Ringing twice before it is answered is ringing once, and costs no system call the second time.
#[derive(Clone, Debug)]
pub struct Doorbell(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    event: File,
    rung: AtomicBool,
}

impl Doorbell {
    /// A bell that has not been rung.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors.
    pub fn new() -> io::Result<Doorbell> {
        // SAFETY: eventfd(2) takes no pointer.
        let event = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Doorbell(Arc::new(Bell { event: event.into(), rung: AtomicBool::new(false) })))
    }

    /// Call after what the other side is to find was put where it looks.
    pub fn ring(&self) {
        // AcqRel on both sides: whoever finds the bell rung already has been preceded by an answer
        // that is still to come, and that answer sees what was put before this.
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            let _ = (&self.0.event).write(&1u64.to_ne_bytes());
        }
    }

    /// Call before looking; whatever is put there afterwards rings anew.
    pub fn answer(&self) {
        let _ = (&self.0.event).read(&mut [0; 8]);
        self.0.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

/// Which descriptors can be read, by their numbers; the kernel tells of the others the next time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ready(ArrayVec<u64, EVENTS>);

impl Ready {
    /// Whether the one that was added under this number can.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.0.contains(&number)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }
}

/// Waits for several descriptors.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    /// The kernel has epoll_pwait2 (Linux 5.11) and nothing between us and it refuses it.
    precise: bool,
}

/// Most descriptors of one wait.
const EVENTS: usize = 64;

impl Poller {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: epoll_create1(2) takes no pointer.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Poller { epoll, precise: true })
    }

    /// Also waits until `descriptor` can be read; `number` says so in [`Ready`]. The
    /// descriptor leaves by being closed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, descriptor: &impl AsFd, number: u64) -> io::Result<()> {
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: number };
        // SAFETY: both descriptors are open as long as they are borrowed; the event lives across
        // the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                descriptor.as_fd().as_raw_fd(),
                &raw mut event,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits until something can be read or the time is over, which is no error; forever without
    /// a timeout. A signal may end it early.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut events = [epoll_event { events: 0, u64: 0 }; EVENTS];
        let mut result = self.wait_once(&mut events, timeout);
        if self.precise
            && let Err(error) = &result
            && matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
        {
            self.precise = false;
            result = self.wait_once(&mut events, timeout);
        }
        match result {
            Ok(count) => Ok(Ready(events.iter().take(count).map(|event| event.u64).collect())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::default()),
            Err(error) => Err(error),
        }
    }

    fn wait_once(
        &self,
        events: &mut [epoll_event; EVENTS],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let (epoll, room) = (self.epoll.as_raw_fd(), EVENTS as c_int);
        let count = if self.precise {
            let limit = timeout.map(timespec);
            let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: `events` has `room` entries; the time is null or lives across the call;
            // without a signal mask its size is not looked at.
            unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    events.as_mut_ptr(),
                    room,
                    limit,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                ) as c_int
            }
        } else {
            // SAFETY: `events` has `room` entries.
            unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, milliseconds(timeout)) }
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Rounded up, so that a deadline has passed when the wait ends.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    timeout.map_or(-1, |duration| {
        c_int::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX)
    })
}

/// Takes the descriptor that a system call returned.
fn own(descriptor: c_int) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::*;

    fn poller(bells: &[&Doorbell]) -> Poller {
        let poller = Poller::new().unwrap();
        for (number, bell) in bells.iter().enumerate() {
            poller.add(*bell, number as u64).unwrap();
        }
        poller
    }

    #[test]
    fn a_bell_rung_from_another_thread_ends_the_wait() {
        let (bell, silent) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        let mut poller = poller(&[&silent, &bell]);
        let ringer = bell.clone();
        let thread = std::thread::spawn(move || ringer.ring());
        let ready = poller.wait(None).unwrap();
        thread.join().unwrap();
        assert!(ready.has(1) && !ready.has(0));
    }

    #[test]
    fn an_answered_bell_is_silent_until_it_is_rung_again() {
        let bell = Doorbell::new().unwrap();
        let mut poller = poller(&[&bell]);
        let now = Some(Duration::ZERO);
        for _ in 0..3 {
            bell.ring();
            bell.ring();
            assert!(poller.wait(now).unwrap().has(0));
            bell.answer();
            assert_eq!(poller.wait(now).unwrap(), Ready::default());
        }
    }

    #[test]
    fn a_deadline_is_never_early_with_and_without_epoll_pwait2() {
        for precise in [true, false] {
            let mut poller = poller(&[]);
            poller.precise = precise;
            let start = Instant::now();
            let wait = Duration::from_micros(1_300);
            assert_eq!(poller.wait(Some(wait)).unwrap(), Ready::default());
            assert!(start.elapsed() >= wait);
        }
        assert_eq!(milliseconds(Some(Duration::from_micros(1))), 1);
        assert_eq!(milliseconds(None), -1);
    }
}
