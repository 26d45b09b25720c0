//! Events from all shards to control.
//!
//! Bounded: what does not fit stays in its shard, which knows what may be dropped; taking events
//! wakes the shards that are waiting for room.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use pyforward_core::event::Event;

use crate::poll::Doorbell;

/// What has happened and was not yet taken.
#[derive(Debug)]
pub struct Outbox {
    sender: Sender<Event>,
    /// Control's end. Its lock is control's alone: no shard waits while a crowd's events are taken.
    receiver: Mutex<Receiver<Event>>,
    waiting: AtomicUsize,
    capacity: usize,
    bell: Doorbell,
    /// A shard found no room.
    blocked: AtomicBool,
}

impl Outbox {
    /// Holds `capacity` events, or a few more where shards find the last room together.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors.
    pub fn new(capacity: usize) -> io::Result<Arc<Outbox>> {
        let (sender, receiver) = channel();
        Ok(Arc::new(Outbox {
            sender,
            receiver: Mutex::new(receiver),
            waiting: AtomicUsize::new(0),
            capacity: capacity.max(1),
            bell: Doorbell::new()?,
            blocked: AtomicBool::new(false),
        }))
    }

    /// Takes what `next` gives until that is nothing or there is no room. For the shards.
    pub fn fill(&self, mut next: impl FnMut() -> Option<Event>) {
        let mut put = false;
        while self.has_room() {
            let Some(event) = next() else { break };
            // Before: control may take it at once.
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let _ = self.sender.send(event);
            put = true;
        }
        if put {
            self.bell.ring();
        }
    }

    /// At most `limit` events in order, and whether a shard waits for the room that they leave. The
    /// descriptor stays readable while there are more. For control.
    pub fn take(&self, limit: usize) -> (Vec<Event>, bool) {
        self.bell.answer();
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<Event> = receiver.try_iter().take(limit).collect();
        drop(receiver);
        if self.waiting.fetch_sub(taken.len(), Ordering::SeqCst) > taken.len() {
            self.bell.ring();
        }
        (taken, self.blocked.swap(false, Ordering::SeqCst))
    }

    /// How many events wait, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::SeqCst), self.capacity)
    }

    fn has_room(&self) -> bool {
        let room = || self.waiting.load(Ordering::SeqCst) < self.capacity;
        if room() {
            return true;
        }
        self.blocked.store(true, Ordering::SeqCst);
        // Control may have taken everything just before it could see the flag.
        room()
    }
}

impl AsFd for Outbox {
    /// Readable while events wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use pyforward_core::ids::SessionId;

    use super::*;
    use crate::poll::Poller;

    fn events(range: std::ops::Range<u64>) -> impl FnMut() -> Option<Event> {
        let mut sessions = range;
        move || sessions.next().map(|n| Event::Secured { session: SessionId(n) })
    }

    fn sessions(events: &[Event]) -> Vec<u64> {
        let session = |event: &Event| match event {
            Event::Secured { session } => session.0,
            _ => unreachable!(),
        };
        events.iter().map(session).collect()
    }

    #[test]
    fn events_come_in_order_and_the_descriptor_says_when_there_are_more() {
        let outbox = Outbox::new(10).unwrap();
        let mut poller = Poller::new().unwrap();
        poller.watch(&*outbox, 0).unwrap();
        let mut readable = || poller.wait(Some(Duration::ZERO)).unwrap().has(0);
        assert!(!readable());
        outbox.fill(events(0..5));
        assert!(readable());
        assert_eq!(sessions(&outbox.take(3).0), [0, 1, 2]);
        assert!(readable());
        assert_eq!(sessions(&outbox.take(3).0), [3, 4]);
        assert!(!readable());
    }

    #[test]
    fn no_shard_waits_while_control_takes() {
        let outbox = Outbox::new(10).unwrap();
        let taking = outbox.receiver.lock().unwrap();
        outbox.fill(events(0..5));
        drop(taking);
        assert_eq!(sessions(&outbox.take(10).0), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_does_not_fit_stays_and_taking_says_that_somebody_waits() {
        let outbox = Outbox::new(2).unwrap();
        let mut source = events(0..5);
        outbox.fill(&mut source);
        let (taken, blocked) = outbox.take(100);
        assert_eq!((sessions(&taken), blocked), (vec![0, 1], true));
        outbox.fill(&mut source);
        assert_eq!(sessions(&outbox.take(100).0), [2, 3]);
        outbox.fill(&mut source);
        let (taken, blocked) = outbox.take(100);
        assert_eq!((sessions(&taken), blocked), (vec![4], false));
    }
}
