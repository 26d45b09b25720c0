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
    /// Hands out at most `limit` commands; true if there may be more.
    pub fn receive(&mut self, limit: usize, mut take: impl FnMut(Command)) -> bool {
        for _ in 0..limit {
            let Ok(command) = self.receiver.try_recv() else { return false };
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            take(command);
        }
        true
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
        poller.watch(&bell, 0).unwrap();
        let (slot, mut mailbox) = mailbox(bell.clone());
        slot.put((0..5).map(|n| Command::AddStream { stream: StreamId(n) }));

        assert!(poller.wait(None).unwrap().has(0));
        bell.answer();
        assert_eq!(slot.waiting(), 5);
        assert_eq!(taken(&mut mailbox, 5), (vec![0, 1, 2, 3, 4], true));
        assert_eq!(taken(&mut mailbox, 5), (vec![], false));
        assert_eq!(slot.waiting(), 0);
    }

    #[test]
    fn a_turn_takes_a_bounded_number_of_a_storm() {
        let (slot, mut mailbox) = mailbox(Doorbell::new().unwrap());
        slot.put((0..5).map(|n| Command::AddStream { stream: StreamId(n) }));
        assert_eq!(taken(&mut mailbox, 3), (vec![0, 1, 2], true));
        assert_eq!(slot.waiting(), 2);
        assert_eq!(taken(&mut mailbox, 3), (vec![3, 4], false));
    }

    /// The streams of one turn's commands, and whether there may be more.
    fn taken(mailbox: &mut Mailbox, limit: usize) -> (Vec<u64>, bool) {
        let mut streams = Vec::new();
        let more = mailbox.receive(limit, |command| {
            let Command::AddStream { stream } = command else { unreachable!() };
            streams.push(stream.0);
        });
        (streams, more)
    }

    #[test]
    fn a_shard_that_has_ended_is_no_error() {
        let (slot, mailbox) = mailbox(Doorbell::new().unwrap());
        drop(mailbox);
        slot.put([Command::Stop]);
    }
}
