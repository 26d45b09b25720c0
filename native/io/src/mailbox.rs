//! Commands from control to a shard.
//!
//! Unbounded on purpose: a command must neither be lost nor make control wait, and control is
//! trusted. The shard takes a bounded number in a turn, so that joining never stands in the way of
//! sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use pyforward_core::command::Command;

use crate::poll::Doorbell;

/// Control's end.
#[derive(Debug)]
pub struct Slot {
    sender: Sender<Command>,
    bell: Doorbell,
    waiting: Arc<AtomicUsize>,
}

/// The shard's end.
#[derive(Debug)]
pub struct Mailbox {
    receiver: Receiver<Command>,
    waiting: Arc<AtomicUsize>,
}

/// A mailbox; putting something in rings the bell.
#[must_use]
pub fn mailbox(bell: Doorbell) -> (Slot, Mailbox) {
    let (sender, receiver) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Slot { sender, bell, waiting: Arc::clone(&waiting) }, Mailbox { receiver, waiting })
}

impl Slot {
    /// Puts commands in, in order, and rings once. Those for a shard that has ended are dropped.
    pub fn put(&self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            // Before: the shard may take it at once.
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = self.sender.send(command);
        }
        self.bell.ring();
    }

    /// How many wait for the shard's next turns.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Rings without a command.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

impl Mailbox {
    /// The next command.
    pub fn take(&mut self) -> Option<Command> {
        let command = self.receiver.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(command)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pyforward_core::ids::StreamId;

    use super::*;
    use crate::poll::Poller;

    #[test]
    fn commands_come_in_order_and_ring_once() {
        let bell = Doorbell::new().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&bell, 0).unwrap();
        let (slot, mut mailbox) = mailbox(bell.clone());
        slot.put((0..5).map(|n| Command::AddStream { stream: StreamId(n) }));

        assert!(poller.wait(None).unwrap().has(0));
        bell.answer();
        assert_eq!(slot.waiting(), 5);
        for expected in 0..5 {
            let Some(Command::AddStream { stream }) = mailbox.take() else { unreachable!() };
            assert_eq!(stream, StreamId(expected));
        }
        assert!(mailbox.take().is_none());
        assert_eq!(slot.waiting(), 0);
    }

    #[test]
    fn a_shard_that_has_ended_is_no_error() {
        let (slot, mailbox) = mailbox(Doorbell::new().unwrap());
        drop(mailbox);
        slot.put([Command::Stop]);
    }
}
