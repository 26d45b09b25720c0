//! The thread of one shard: its loop.
//!
//! It follows the contract of [`Shard`] and decides nothing about a packet. It ends when the engine
//! is stopped; when the shard panics or the kernel fails it, the engine is told why, and ends.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pyforward_core::path::{SocketId, SocketRequest};
use pyforward_core::shard::{NoSocket, Shard};
use pyforward_core::stats::{Counter, TURN_BOUNDS};
use pyforward_core::time::Time;

use crate::clock::{Clock, thread_cpu};
use crate::exchange::{Neighbours, RETRY};
use crate::gso::Sender;
use crate::mailbox::Mailbox;
use crate::outbox::Outbox;
use crate::poll::{Doorbell, Poller, Ready};
use crate::published::{Published, Snapshot, Telling};
use crate::receive::{Batch, Inlet};
use crate::send::Kernel;
use crate::udp::UdpSocket;

/// Most commands of one turn: a storm of joins is spread over turns that also send.
const COMMANDS: usize = 64;

/// Most messages of one turn from each neighbour.
const EXCHANGES: usize = 256;

/// The bell's number at the poller; the sockets of the shared port follow it.
const BELL: u64 = 0;

/// The number of the first slot's own socket; the other slots' follow it.
const OWN: u64 = 1 << 32;

/// A shard and everything that it needs around it.
pub(crate) struct Worker {
    pub shard: Shard,
    pub clock: Clock,
    pub sockets: Arc<[UdpSocket]>,
    pub sender: Sender<Kernel>,
    pub poller: Poller,
    pub bell: Doorbell,
    pub mailbox: Mailbox,
    pub neighbours: Neighbours,
    pub outbox: Arc<Outbox>,
    pub published: Arc<Published>,
    pub stopping: Arc<AtomicBool>,
    pub telling: Telling,
    /// Most datagrams that one call receives.
    pub batch: usize,
}

/// What a worker waits with: the bell that commands and other shards ring, and its sockets.
pub(crate) fn poller(bell: &Doorbell, sockets: &[UdpSocket]) -> io::Result<Poller> {
    let mut poller = Poller::new()?;
    poller.watch(bell, BELL)?;
    for (socket, number) in sockets.iter().zip(BELL + 1..) {
        poller.watch(socket, number)?;
    }
    Ok(poller)
}

impl Worker {
    /// Runs until the engine stops.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut inlets: Vec<(Batch, Inlet)> = (self.sockets.iter())
            .map(|_| (Batch::new(self.batch), Inlet::new(SocketId::SHARED)))
            .collect();
        let mut own = Batch::new(self.batch);
        let mut pace = Pace::default();
        while !self.stopping.load(Ordering::Acquire) {
            let patience = pace.patience(self.clock.now(), self.due());
            let ready = self.poller.wait(patience)?;
            let woken = self.clock.now();
            pace = Pace::default();
            if ready.has(BELL) {
                self.bell.answer();
            }
            pace.more |= self.receive(&ready, &mut inlets)?;
            // Between the two: a peer's first check may be here as soon as its answer was sent, and
            // the command that makes its session was given before that.
            pace.more |= self.take_commands();
            self.take_datagrams(&mut inlets);
            pace.more |= self.take_own_datagrams(&ready, &mut own);
            pace.more |= self.take_exchanges();
            self.take_timeouts();
            self.shard.drain(self.clock.now(), &mut self.sender);
            self.serve_sockets();
            pace.retry |= self.give_exchanges();
            self.outbox.fill(|| self.shard.poll_event());
            self.publish(woken);
        }
        Ok(())
    }

    /// One batch of each socket; true if more may wait.
    fn receive(&mut self, ready: &Ready, inlets: &mut [(Batch, Inlet)]) -> io::Result<bool> {
        let mut more = false;
        for ((socket, (batch, _)), number) in self.sockets.iter().zip(inlets).zip(BELL + 1..) {
            if ready.has(number) {
                batch.receive(socket)?;
                more |= batch.is_full();
            }
        }
        Ok(more)
    }

    /// What was received.
    fn take_datagrams(&mut self, inlets: &mut [(Batch, Inlet)]) {
        for (socket, (batch, inlet)) in self.sockets.iter().zip(inlets) {
            let read = self.clock.moment();
            let dropped = batch.each(socket, inlet, read, |datagram| {
                self.shard.handle_datagram(read.now, datagram);
            });
            self.shard.stats_mut().add(Counter::DatagramsDropped, dropped.into());
        }
    }

    /// One batch of each session's own socket that has something; true if more may wait.
    fn take_own_datagrams(&mut self, ready: &Ready, batch: &mut Batch) -> bool {
        let mut more = false;
        for number in ready.iter().filter_map(|number| number.checked_sub(OWN)) {
            let (own, shard) = (&mut self.sender.wire_mut().own, &mut self.shard);
            let slot = number as usize;
            let taken = own.receive(slot, batch, &self.clock, |now, datagram| {
                shard.handle_datagram(now, datagram);
            });
            match taken {
                Ok((full, dropped)) => {
                    more |= full;
                    self.shard.stats_mut().add(Counter::DatagramsDropped, dropped.into());
                }
                // A socket that is of no use ends its session, never the shard.
                Err(_) => {
                    let now = self.clock.now();
                    shard.handle_socket(now, SocketId::of_slot(slot), Err(NoSocket));
                }
            }
        }
        more
    }

    /// Opens and closes what the shard asks for. What was to leave by a socket has left.
    fn serve_sockets(&mut self) {
        while let Some(request) = self.shard.poll_socket() {
            let own = &mut self.sender.wire_mut().own;
            match request {
                SocketRequest::Open { socket, timed } => {
                    let number = OWN + socket.slot().unwrap_or_default() as u64;
                    let opened = own.open(socket, timed, &mut self.poller, number);
                    let opened = opened.map_err(|_| NoSocket);
                    self.shard.handle_socket(self.clock.now(), socket, opened);
                }
                SocketRequest::Close(id) => own.close(id),
            }
        }
    }

    fn take_commands(&mut self) -> bool {
        let (clock, shard) = (self.clock, &mut self.shard);
        self.mailbox.receive(COMMANDS, |command| shard.apply(clock.now(), command))
    }

    fn take_exchanges(&mut self) -> bool {
        let (now, shard) = (self.clock.now(), &mut self.shard);
        self.neighbours.receive(EXCHANGES, |message| shard.handle_exchange(now, message))
    }

    /// When there is something to do if nothing comes.
    fn due(&self) -> Time {
        self.shard.poll_timeout().min(self.telling.due())
    }

    fn take_timeouts(&mut self) {
        let now = self.clock.now();
        if self.shard.poll_timeout() <= now {
            self.shard.handle_timeout(now);
        }
    }

    /// True if some of it has to be tried again.
    fn give_exchanges(&mut self) -> bool {
        let now = self.clock.now();
        while let Some((to, message)) = self.shard.poll_exchange(now) {
            if !self.neighbours.send(to, message) {
                self.shard.exchange_lost();
            }
        }
        self.neighbours.flush()
    }

    fn publish(&mut self, woken: Time) {
        let now = self.clock.now();
        if self.telling.turn(now) {
            let used = thread_cpu().as_micros() as u64;
            let stats = self.shard.stats_mut();
            stats.add(Counter::CpuMicros, used.saturating_sub(stats.get(Counter::CpuMicros)));
            let exchanges = self.neighbours.waiting();
            self.published.tell(Snapshot::of(now, &self.shard, exchanges));
        }
        let busy = now.since(woken).as_micros();
        let busy = u64::try_from(busy).unwrap_or(u64::MAX);
        let stats = self.shard.stats_mut();
        stats.add(Counter::BusyMicros, busy);
        stats.turns.observe(&TURN_BOUNDS, busy, 1);
        self.published.publish(self.shard.stats());
    }
}

/// What one turn left for the next.
#[derive(Default)]
struct Pace {
    /// Input is waiting already.
    more: bool,
    /// A ring was full.
    retry: bool,
}

impl Pace {
    /// How long to wait for input at most.
    fn patience(&self, now: Time, deadline: Time) -> Option<Duration> {
        let until = (deadline != Time::NEVER).then(|| deadline.since(now));
        match (self.more, self.retry) {
            (true, _) => Some(Duration::ZERO),
            (false, true) => Some(until.map_or(RETRY, |until| until.min(RETRY))),
            (false, false) => until,
        }
    }
}

/// Runs what a thread does; why it ended if that was not its own will.
pub(crate) fn guarded(run: impl FnOnce() -> io::Result<()>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("failed: {error}")),
        Err(panic) => Some(format!("panicked: {}", words(panic.as_ref()))),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn the_end_of_a_thread_is_told_with_its_reason() {
        assert_eq!(guarded(|| Ok(())), None);
        let refused = || Err(io::Error::other("no more descriptors"));
        assert_eq!(guarded(refused).as_deref(), Some("failed: no more descriptors"));
        let told = guarded(|| panic!("index {} is out of range", 7));
        assert_eq!(told.as_deref(), Some("panicked: index 7 is out of range"));
    }

    #[test]
    fn nothing_to_do_waits_for_the_deadline_and_something_does_not() {
        let (now, soon) = (Time(1_000), Time(1_400));
        let idle = Pace::default();
        assert_eq!(idle.patience(now, Time::NEVER), None);
        assert_eq!(idle.patience(now, soon), Some(Duration::from_micros(400)));
        assert_eq!(idle.patience(now, Time(5)), Some(Duration::ZERO));
        let retrying = Pace { more: false, retry: true };
        assert_eq!(retrying.patience(now, Time::NEVER), Some(RETRY));
        assert_eq!(retrying.patience(now, soon), Some(Duration::from_micros(400)));
        assert_eq!(Pace { more: true, retry: true }.patience(now, soon), Some(Duration::ZERO));
    }
}
