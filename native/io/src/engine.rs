//! The engine as control has it: start, submit, events, counters, stop.
//!
//! Starting binds the shared port for every shard and takes its lock, so that what can fail fails
//! here, with a sentence. From then on each shard has a thread of its own, and nothing here blocks
//! but [`Engine::stop`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyforward_core::command::Command;
use pyforward_core::event::Event;
use pyforward_core::figures::StreamFigures;
use pyforward_core::ids::ShardIndex;
use pyforward_core::shard::{Shard, ShardConfig};
use pyforward_core::stages::Exemplar;
use pyforward_core::time::WallClock;

pub use crate::bind::StartError;
use crate::bind::{bind, failed};
use crate::clock::{self, Clock, seed};
use crate::exchange::{RING, neighbours};
use crate::gso::{self, Sender};
use crate::lock::PortLock;
use crate::mailbox::{Slot, mailbox};
use crate::outbox::Outbox;
use crate::pin;
use crate::poll::Doorbell;
use crate::published::{EVERY, Published, Telling};
use crate::receive;
use crate::send::Kernel;
use crate::slice;
use crate::udp::{BUFFER_BYTES, Buffers, Reach, UdpSocket};
use crate::worker::{Worker, guarded, poller};

/// Most shards of an engine.
pub const MAX_SHARDS: u8 = 64;

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Addresses to bind; none, or `::`, is all of both families, `0.0.0.0` all of IPv4.
    pub addresses: Vec<IpAddr>,
    /// The shared port; 0: the kernel chooses.
    pub port: u16,
    /// How many shards; 0: one a core.
    pub shards: u8,
    /// Trains leave as one message, where the kernel knows how.
    pub gso: bool,
    /// See [`ShardConfig::train_packets`].
    pub train_packets: usize,
    /// RTP padding evens out packets of a train.
    pub padding: bool,
    /// Many messages leave with one system call.
    pub sendmmsg: bool,
    /// Many datagrams are received with one system call.
    pub recvmmsg: bool,
    /// See [`ShardConfig::riders`].
    pub riders: bool,
    /// See [`ShardConfig::slice`].
    pub slice: Duration,
    /// The kernel is asked for short turns of the shards, which then come soon.
    pub short_turns: bool,
    /// How long a video frame's packets wait for its last one where a shard is busy.
    pub frame_window: Duration,
    /// The same where it is not; at most as long.
    pub idle_window: Duration,
    /// See [`ShardConfig::shed_after`].
    pub shed_after: Duration,
    /// How fast a viewer's video leaves after a burst, in bytes a second; 0: at once.
    pub pace_bytes_per_second: u64,
    /// See [`ShardConfig::repeats`].
    pub repeats: bool,
    /// Cores that the shards are pinned to, in turn; none: wherever the kernel runs them.
    pub cores: Vec<u16>,
    /// At most one keyframe request goes to a publisher in this time.
    pub keyframe_interval: Duration,
    /// A session that is silent for so long is closed.
    pub silence: Duration,
    /// What REMB tells a publisher, in bits a second.
    pub publisher_bitrate_bps: u64,
    /// Events that wait for control.
    pub max_events: usize,
    /// Where sessions in the client role send from; none: as the route says.
    pub source_address: Option<IpAddr>,
}

/// The engine was stopped and takes no more commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

/// Told why, when a shard ends against its will. Nothing is forwarded then; the process has to end.
pub type Fatal = Arc<dyn Fn(String) + Send + Sync>;

/// A running engine. Dropping it stops it.
pub struct Engine {
    addresses: Vec<SocketAddr>,
    notes: Vec<String>,
    outbox: Arc<Outbox>,
    published: Vec<Arc<Published>>,
    clock: Clock,
    stopping: Arc<AtomicBool>,
    /// The shards' mailboxes. Locked so that commands reach every shard in the same order.
    slots: Mutex<Vec<Slot>>,
    running: Mutex<Option<Running>>,
}

/// What a stopped engine has let go.
struct Running {
    threads: Vec<JoinHandle<()>>,
    lock: PortLock,
}

impl Engine {
    /// Binds, and starts the shards.
    ///
    /// # Errors
    /// A sentence that names the address, the port and who holds it.
    pub fn start(config: &EngineConfig, fatal: Fatal) -> Result<Engine, StartError> {
        let shards = shard_count(config.shards)?;
        pin::check(&config.cores)?;
        let (sockets, lock) = bind(&config.addresses, config.port, shards)?;
        let addresses = sockets.first().into_iter().flatten().map(UdpSocket::bound).collect();
        let notes = notes(config, sockets.iter().flatten());
        if !config.shed_after.is_zero() {
            // Where the kernel does not tell, media came as it was read, and never waited.
            sockets.iter().flatten().for_each(|socket| drop(socket.tell_times()));
        }

        let bells: Vec<Doorbell> = (0..shards)
            .map(|_| Doorbell::new())
            .collect::<io::Result<_>>()
            .map_err(failed("making an eventfd"))?;
        let (clock, wall_clock) = Clock::start();
        let mut engine = Engine {
            addresses,
            notes,
            outbox: Outbox::new(config.max_events).map_err(failed("making an eventfd"))?,
            published: Vec::new(),
            clock,
            stopping: Arc::default(),
            slots: Mutex::default(),
            running: Mutex::new(Some(Running { threads: Vec::new(), lock })),
        };
        let sides = bells.iter().zip(neighbours(&bells)).zip(sockets);
        for (index, ((bell, neighbours), sockets)) in (0..).zip(sides) {
            let shard = shard_config(config, ShardIndex(index), shards, (&clock, wall_clock))?;
            let sockets: Arc<[UdpSocket]> = sockets.into();
            let mut kernel = Kernel::new(Arc::clone(&sockets));
            kernel.own.send_from(config.source_address);
            let (slot, mailbox) = mailbox(bell.clone());
            let worker = Worker {
                sender: Sender::new(kernel, clock, shard.gso, config.sendmmsg),
                shard: Shard::new(shard),
                poller: poller(bell, &sockets).map_err(failed("waiting for sockets"))?,
                clock,
                sockets,
                bell: bell.clone(),
                mailbox,
                neighbours,
                outbox: Arc::clone(&engine.outbox),
                published: Arc::default(),
                stopping: Arc::clone(&engine.stopping),
                telling: Telling::default(),
                batch: if config.recvmmsg { receive::BATCH } else { 1 },
            };
            let core = config.cores.iter().cycle().nth(index.into()).copied();
            let place = Place { core, short_turns: config.short_turns };
            engine.launch(index, place, worker, slot, Arc::clone(&fatal))?;
        }
        Ok(engine)
    }

    /// Where it is bound, with the real port. A wildcard address stands for every address.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is worse on this host than it could be, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Hands commands to every shard, in order. Never blocks.
    ///
    /// # Errors
    /// The engine was stopped.
    pub fn submit(&self, commands: Vec<Command>) -> Result<(), Stopped> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, others) = slots.split_last().ok_or(Stopped)?;
        for (index, slot) in others.iter().enumerate() {
            // A local publisher lives on shard 0; nobody else needs its packets.
            let concerned = |command: &&Command| index == 0 || !is_local_media(command);
            slot.put(commands.iter().filter(concerned).cloned());
        }
        let alone = others.is_empty();
        last.put(commands.into_iter().filter(|command| alone || !is_local_media(command)));
        Ok(())
    }

    /// At most `limit` events, in order.
    pub fn take_events(&self, limit: usize) -> Vec<Event> {
        let (events, blocked) = self.outbox.take(limit);
        if blocked {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().for_each(Slot::ring);
        }
        events
    }

    /// Readable while events wait.
    #[must_use]
    pub fn event_descriptor(&self) -> BorrowedFd<'_> {
        self.outbox.as_fd()
    }

    /// The words of [`pyforward_core::stats::Stats`], by shard.
    #[must_use]
    pub fn stats(&self) -> Vec<Vec<u64>> {
        self.published.iter().map(|published| published.read()).collect()
    }

    /// What each shard told last of each of its streams. Ages are of this moment, less the time that a
    /// shard may be silent about what it does: in that time something may have come.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamFigures> {
        let now = self.clock.now();
        let told = self.published.iter().map(|published| published.told());
        told.flat_map(|told| {
            let late = now.since(told.at).saturating_sub(EVERY).as_micros() as u64;
            told.streams.iter().map(|stream| stream.aged(late)).collect::<Vec<_>>()
        })
        .collect()
    }

    /// One viewer of each shard for each bucket of each stage of joining: the two numbers, and who.
    #[must_use]
    pub fn exemplars(&self) -> Vec<(usize, usize, Exemplar)> {
        self.published.iter().flat_map(|published| published.told().exemplars.clone()).collect()
    }

    /// What waits between control and the shards, by queue: how much in the fullest of its kind, and
    /// how much may; none where that has no bound.
    #[must_use]
    pub fn queues(&self) -> [(&'static str, usize, Option<usize>); 3] {
        let (events, may_wait) = self.outbox.depth();
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = slots.iter().map(Slot::waiting).max().unwrap_or(0);
        let exchanges = self.published.iter().map(|published| published.told().exchanges);
        [
            ("events", events, Some(may_wait)),
            ("commands", commands, None),
            ("exchanges", exchanges.max().unwrap_or(0), Some(RING)),
        ]
    }

    /// Ends every shard after its current turn, waits for their threads and frees the port. Events
    /// that are waiting can still be taken. A second call does nothing.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        slots.iter().for_each(Slot::ring);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { threads, lock }) = running {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            // The sockets are closed by now; only then may the next engine have the port.
            drop(lock);
        }
    }

    fn launch(
        &mut self,
        index: u8,
        place: Place,
        worker: Worker,
        slot: Slot,
        fatal: Fatal,
    ) -> Result<(), StartError> {
        self.published.push(Arc::clone(&worker.published));
        let run = move || {
            if let Some(reason) = guarded(|| place.take().and_then(|()| worker.run())) {
                fatal(format!("shard {index} {reason}"));
            }
        };
        let thread = thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(run)
            .map_err(failed("starting a thread"))?;
        self.slots.get_mut().unwrap_or_else(PoisonError::into_inner).push(slot);
        if let Some(running) = self.running.get_mut().unwrap_or_else(PoisonError::into_inner) {
            running.threads.push(thread);
        }
        Ok(())
    }
}

/// Where a shard runs, and how its turns are.
#[derive(Clone, Copy)]
struct Place {
    core: Option<u16>,
    short_turns: bool,
}

impl Place {
    /// Puts the calling thread there.
    fn take(self) -> io::Result<()> {
        if self.short_turns {
            // A sandbox may forbid it; media waits longer for its turn then.
            drop(slice::shorten());
        }
        self.core.map_or(Ok(()), pin::pin)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Packets of a local publisher.
fn is_local_media(command: &Command) -> bool {
    matches!(command, Command::InjectRtp { .. })
}

fn shard_config(
    config: &EngineConfig,
    index: ShardIndex,
    shards: u8,
    (clock, wall_clock): (&Clock, WallClock),
) -> Result<ShardConfig, StartError> {
    Ok(ShardConfig {
        index,
        shards,
        wall_clock,
        machine_clock: clock::machine(clock),
        seed: seed().map_err(failed("getting random bytes"))?,
        gso: config.gso && gso::probe(),
        train_packets: config.train_packets,
        padding: config.padding,
        riders: config.riders,
        slice: config.slice,
        frame_window: config.frame_window,
        idle_window: config.idle_window,
        shed_after: config.shed_after,
        pace_bytes_per_second: config.pace_bytes_per_second,
        repeats: config.repeats,
        keyframe_interval: config.keyframe_interval,
        silence: config.silence,
        publisher_bitrate_bps: config.publisher_bitrate_bps,
        max_events: config.max_events,
    })
}

fn shard_count(wanted: u8) -> Result<u8, StartError> {
    match wanted {
        0 => {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            Ok(u8::try_from(cores).unwrap_or(MAX_SHARDS).min(MAX_SHARDS))
        }
        1..=MAX_SHARDS => Ok(wanted),
        _ => Err(StartError::new(
            libc::EINVAL,
            format!("{wanted} shards are too many: at most {MAX_SHARDS}"),
        )),
    }
}

fn notes<'a>(
    config: &EngineConfig,
    sockets: impl Iterator<Item = &'a UdpSocket> + Clone,
) -> Vec<String> {
    let mut notes = Vec::new();
    if config.gso && !gso::probe() {
        notes.push(
            "this kernel has no UDP segmentation offload (Linux 4.18): each packet is sent alone, \
             which costs several times the CPU"
                .to_owned(),
        );
    }
    let everywhere = config.addresses.is_empty() || config.addresses.iter().any(is_v6_wildcard);
    if everywhere && sockets.clone().all(|socket| socket.reach() == Reach::V4) {
        notes.push("this host has no IPv6: media is served over IPv4 alone".to_owned());
    }
    notes.extend(sockets.map(UdpSocket::buffers).reduce(Buffers::least).iter().flat_map(short));
    notes
}

/// What to do about buffers that are smaller than what was asked for.
fn short(granted: &Buffers) -> Vec<String> {
    let ways = [
        ("receive", granted.receive, "net.core.rmem_max"),
        ("send", granted.send, "net.core.wmem_max"),
    ];
    let short = ways.into_iter().filter(|(_, granted, _)| *granted < BUFFER_BYTES);
    let note = |(way, granted, limit)| {
        format!(
            "the kernel grants a {way} buffer of {granted} bytes where {BUFFER_BYTES} were asked \
             for, so that bursts may be lost: sysctl -w {limit}={BUFFER_BYTES}"
        )
    };
    short.map(note).collect()
}

fn is_v6_wildcard(address: &IpAddr) -> bool {
    address.is_ipv6() && address.is_unspecified()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_are_short_only_where_that_is_asked_for() {
        let told = |short_turns| {
            let there = move || {
                Place { core: None, short_turns }.take()?;
                slice::attributes()
            };
            thread::spawn(there).join().unwrap().unwrap().sched_runtime
        };
        let (usual, asked) = (told(false), told(true));
        // Before Linux 6.12 neither says anything.
        assert!(if usual == 0 { asked == 0 } else { asked < usual }, "{usual} {asked}");
    }

    #[test]
    fn a_buffer_that_is_short_says_which_limit_to_raise() {
        let whole = Buffers { receive: BUFFER_BYTES, send: BUFFER_BYTES };
        assert_eq!(short(&whole), [""; 0]);
        let notes = short(&Buffers { receive: BUFFER_BYTES - 1, ..whole });
        assert_eq!(
            notes,
            [
                "the kernel grants a receive buffer of 4194303 bytes where 4194304 were asked for, so \
              that bursts may be lost: sysctl -w net.core.rmem_max=4194304"
            ]
        );
        let notes = short(&Buffers { send: 212_992, ..whole });
        assert!(notes.len() == 1 && notes[0].ends_with("net.core.wmem_max=4194304"), "{notes:?}");
    }
}
