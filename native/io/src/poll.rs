//! Waiting: sockets, a doorbell and a deadline at once (ppoll, epoll, eventfd).
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrayvec::ArrayVec;
use libc::{c_int, epoll_event, pollfd};

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

/// Waits for several descriptors: for few that are used all the time by ppoll(2), for any number of
/// others by epoll(7).
///
/// An epoll stays with its sockets. For each packet that the kernel is done with it is told that
/// there is room to send, with interrupts off, whether or not anybody asked for that: 5 % of the CPU
/// of a shard. ppoll is with its sockets only while it waits (docs/decisions/0028).
#[derive(Debug)]
pub struct Poller {
    /// In the order of `watched`; the epoll is the last one once there is something in it.
    polled: Vec<pollfd>,
    /// With their numbers. They are ours, so that they stay open.
    watched: Vec<(OwnedFd, u64)>,
    epoll: OwnedFd,
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
        Ok(Poller { polled: Vec::new(), watched: Vec::new(), epoll })
    }

    /// Also waits until `descriptor` can be read, which it is looked at for with each wait; `number`
    /// says so in [`Ready`]. It stays open for as long as this waits.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors.
    pub fn watch(&mut self, descriptor: &impl AsFd, number: u64) -> io::Result<()> {
        let watched = descriptor.as_fd().try_clone_to_owned()?;
        self.polled.insert(self.watched.len(), readable(&watched));
        self.watched.push((watched, number));
        Ok(())
    }

    /// Also waits until `descriptor` can be read, of which there may be many; `number` says so in
    /// [`Ready`]. The descriptor leaves by being closed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&mut self, descriptor: &impl AsFd, number: u64) -> io::Result<()> {
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
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        if self.polled.len() == self.watched.len() {
            self.polled.push(readable(&self.epoll));
        }
        Ok(())
    }

    /// Waits until something can be read or the time is over, which is no error; forever without
    /// a timeout. A signal may end it early.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut ready = Ready::default();
        match self.poll(timeout) {
            Ok(0) => return Ok(ready),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(ready),
            Err(error) => return Err(error),
        }
        let (watched, epoll) = self.polled.split_at(self.watched.len());
        let told = watched.iter().zip(&self.watched).filter(|(poll, _)| poll.revents != 0);
        ready.0.extend(told.map(|(_, (_, number))| *number).take(EVENTS));
        if epoll.iter().any(|poll| poll.revents != 0) {
            self.take_added(&mut ready)?;
        }
        Ok(ready)
    }

    /// How many of `polled` can be read.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let limit = timeout.map(timespec);
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (polled, count) = (self.polled.as_mut_ptr(), self.polled.len() as libc::nfds_t);
        // SAFETY: `polled` has `count` entries; the time is null or lives across the call; the
        // signal mask stays as it is.
        let found = unsafe { libc::ppoll(polled, count, limit, std::ptr::null()) };
        usize::try_from(found).map_err(|_| io::Error::last_os_error())
    }

    /// Those in the epoll that can be read, as many as there is room for.
    fn take_added(&self, ready: &mut Ready) -> io::Result<()> {
        let mut events = [epoll_event { events: 0, u64: 0 }; EVENTS];
        let room = ready.0.remaining_capacity();
        if room == 0 {
            return Ok(());
        }
        // SAFETY: `events` has at least `room` entries, which is more than none.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), room as c_int, 0)
        };
        match usize::try_from(count) {
            Ok(count) => ready.0.extend(events.iter().take(count.min(room)).map(|event| event.u64)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
        Ok(())
    }
}

fn readable(descriptor: &OwnedFd) -> pollfd {
    pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
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

    fn watching(bells: &[&Doorbell]) -> Poller {
        let mut poller = Poller::new().unwrap();
        for (number, bell) in bells.iter().enumerate() {
            poller.watch(*bell, number as u64).unwrap();
        }
        poller
    }

    #[test]
    fn a_bell_rung_from_another_thread_ends_the_wait() {
        let (bell, silent) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        let mut poller = watching(&[&silent, &bell]);
        let ringer = bell.clone();
        let thread = std::thread::spawn(move || ringer.ring());
        let ready = poller.wait(None).unwrap();
        thread.join().unwrap();
        assert!(ready.has(1) && !ready.has(0));
    }

    #[test]
    fn an_answered_bell_is_silent_until_it_is_rung_again() {
        let bell = Doorbell::new().unwrap();
        let mut poller = watching(&[&bell]);
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
    fn what_was_added_is_told_beside_what_is_watched() {
        let bells: Vec<_> = (0..100).map(|_| Doorbell::new().unwrap()).collect();
        let mut poller = watching(&[&bells[0]]);
        for (bell, number) in bells.iter().zip(0..).skip(1) {
            poller.add(bell, number).unwrap();
        }
        // In any order: what is watched stays where it is.
        let late = Doorbell::new().unwrap();
        poller.watch(&late, 100).unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(poller.wait(now).unwrap(), Ready::default());
        bells[7].ring();
        late.ring();
        assert_eq!(poller.wait(None).unwrap().iter().collect::<Vec<_>>(), [100, 7]);
        late.answer();
        bells.iter().for_each(Doorbell::ring);
        let mut told = std::collections::BTreeSet::new();
        while told.len() < bells.len() {
            let ready = poller.wait(now).unwrap();
            assert!(ready.iter().count() <= EVENTS);
            for number in ready.iter() {
                assert!(told.insert(number), "{number} is told twice");
                bells[number as usize].answer();
            }
        }
    }

    #[test]
    fn what_is_closed_is_told_no_more() {
        let (bell, silent) = (Doorbell::new().unwrap(), Doorbell::new().unwrap());
        let mut poller = watching(&[&silent]);
        poller.add(&bell, 1).unwrap();
        bell.ring();
        assert!(poller.wait(None).unwrap().has(1));
        drop(bell);
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), Ready::default());
    }

    #[test]
    fn a_deadline_is_never_early() {
        let mut poller = watching(&[]);
        let start = Instant::now();
        let wait = Duration::from_micros(1_300);
        assert_eq!(poller.wait(Some(wait)).unwrap(), Ready::default());
        assert!(start.elapsed() >= wait);
    }
}
