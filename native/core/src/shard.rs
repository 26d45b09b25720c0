//! The machine: bytes, commands and the time in; messages, events and exchanges out.

use crate::command::Command;
use crate::egress::Transmit;
use crate::event::Event;
use crate::exchange::Exchange;
use crate::ids::ShardIndex;
use crate::path::Path;
use crate::stats::Stats;
use crate::time::{Time, WallClock};

/// What every shard of an engine is told at its start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Who this is.
    pub index: ShardIndex,
    /// How many shards there are.
    pub shards: u8,
    /// Relates the engine's time to the wall clock.
    pub wall_clock: WallClock,
    /// 32 random bytes: seeds for hashing, first sequence numbers and timestamps.
    pub seed: [u8; 32],
    /// Trains leave as one message (UDP_SEGMENT); off: each packet is its own message.
    pub gso: bool,
    /// RTP padding evens out packets of a train.
    pub padding: bool,
    /// How long a video frame's packets wait for its last one; zero: they leave as they came.
    pub frame_window: std::time::Duration,
    /// At most one keyframe request goes to a publisher in this time.
    pub keyframe_interval: std::time::Duration,
    /// A session without an authenticated check or packet for so long is closed.
    pub silence: std::time::Duration,
    /// What REMB tells a publisher that negotiated it, in bits a second.
    pub publisher_bitrate_bps: u64,
    /// Events that wait for control; beyond, `DtlsReceived` is dropped and counted.
    pub max_events: usize,
}

/// One shard.
///
/// The contract: call any of `apply`, `handle_datagram`, `handle_exchange`, `handle_timeout` with
/// a `now` that never goes back; then, before waiting, call [`Shard::drain`] once and take what
/// `poll_exchange` and `poll_event` give until they give nothing; then wait no longer than
/// `poll_timeout` says.
pub struct Shard {
    config: ShardConfig,
    stats: Stats,
}

impl Shard {
    /// A shard without sessions.
    #[must_use]
    pub fn new(config: ShardConfig) -> Shard {
        Shard { config, stats: Stats::default() }
    }

    /// Carries out a request of control.
    pub fn apply(&mut self, now: Time, command: Command) {
        let _ = (now, command, &self.config);
    }

    /// Takes a datagram. `datagram` is opened in place, so its content is lost.
    pub fn handle_datagram(&mut self, now: Time, path: Path, datagram: &mut [u8]) {
        let _ = (now, path, datagram);
    }

    /// Takes a message of another shard.
    pub fn handle_exchange(&mut self, now: Time, message: Exchange) {
        let _ = (now, message);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let _ = now;
    }

    /// When `handle_timeout` is due next; [`Time::NEVER`] if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        Time::NEVER
    }

    /// Fans out what has arrived and sends everything that is ready.
    pub fn drain(&mut self, now: Time, transmit: &mut impl Transmit) {
        let _ = (now, transmit);
    }

    /// The next message for another shard.
    pub fn poll_exchange(&mut self) -> Option<(ShardIndex, Exchange)> {
        None
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// A ring to another shard was full and a message was lost there.
    pub fn exchange_lost(&mut self) {
        self.stats.discard(crate::discard::Discard::ExchangeFull);
    }

    /// What it has counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// For the counters that only the caller can know (busy time, system calls).
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }
}
