//! The machine: bytes, commands and the time in; messages, events and exchanges out.
//!
//! This file is its contract and its turn; `network` takes datagrams, `control` takes commands,
//! `peers` takes what other shards say, `publishers` decides who holds a stream, `duties` does what
//! is due, `early` keeps what comes before its keys, `client` is what sessions in the client role do
//! besides, `figures` tells how streams do.

mod client;
mod control;
mod duties;
mod early;
mod figures;
mod network;
mod peers;
mod publishers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use slab::Slab;

use crate::command::Command;
use crate::discard::Discard;
use crate::egress::{Budget, Egress, Transmit};
use crate::event::Event;
use crate::exchange::{Departure, Exchange};
use crate::fanout::{Afterwards, Out, fan_out};
use crate::figures::{Mark, Sums};
use crate::ids::{SessionId, ShardIndex, StreamId};
use crate::link::Impaired;
use crate::path::{Datagram, Path, SocketRequest};
use crate::patience::Patience;
use crate::random::Random;
use crate::record::Recorder;
use crate::session::{Part, Session};
use crate::shedding::{Done, Shedding};
use crate::source::SourceConfig;
use crate::stats::{Counter, Stats};
use crate::stream::Stream;
use crate::time::{MachineClock, Time, WallClock};
use crate::wake::Wake;

pub use client::NoSocket;

/// What every shard of an engine is told at its start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Who this is.
    pub index: ShardIndex,
    /// How many shards there are.
    pub shards: u8,
    /// Relates the engine's time to the wall clock.
    pub wall_clock: WallClock,
    /// Relates the engine's time to the machine's clock.
    pub machine_clock: MachineClock,
    /// 32 random bytes: seeds for hashing, first sequence numbers and timestamps.
    pub seed: [u8; 32],
    /// Trains leave as one message (UDP_SEGMENT); off: each packet is its own message.
    pub gso: bool,
    /// Packets of a train at most, see [`crate::egress::MAX_TRAIN`].
    pub train_packets: usize,
    /// RTP padding evens out packets of a train.
    pub padding: bool,
    /// Audio and second copies leave as the last segments of the same viewer's train.
    pub riders: bool,
    /// So long a shard sends before it looks what has come; zero: until everything has left.
    pub slice: Duration,
    /// How long a video frame's packets wait for its last one where the shard is busy; zero: they
    /// leave as they came.
    pub frame_window: Duration,
    /// The same where it is not; at most as long.
    pub idle_window: Duration,
    /// How long media may wait for the shard before viewers are left out; zero: as long as it may.
    pub shed_after: Duration,
    /// How fast a viewer's video leaves after a burst of [`crate::pacer::BURST_BYTES`]; 0: at once.
    pub pace_bytes_per_second: u64,
    /// On lossy ways requests and answers go twice, and the end of a frame is seen to before the
    /// next one shows that it is missing.
    pub repeats: bool,
    /// At most one keyframe request goes to a publisher in this time.
    pub keyframe_interval: Duration,
    /// A session without an authenticated check or packet for so long is closed.
    pub silence: Duration,
    /// What REMB tells a publisher that negotiated it, in bits a second.
    pub publisher_bitrate_bps: u64,
    /// Events that wait for control; beyond, `DtlsReceived` and `Records` are dropped and counted.
    pub max_events: usize,
}

/// A shard that is so far behind, or to which something came so late, takes nothing more before
/// everything has left: what waits does so in its sockets, which are of a size, and stands there
/// where it is seen (see [`crate::shedding`]).
const LATE: Duration = Duration::from_millis(50);

/// Retransmissions of one shard to all of its viewers together.
const REPAIR_BYTES_PER_SECOND: u64 = 50_000_000;
const REPAIR_BURST_BYTES: u64 = 10_000_000;

/// Keyed, because peers choose their ports.
type Map<K, V> = HashMap<K, V, SeedableRandomState>;

/// One shard.
///
/// The contract: call any of `apply`, `handle_datagram`, `handle_exchange`, `handle_timeout` with
/// a `now` that never goes back; then, before waiting, call [`Shard::drain`] once, do what
/// `poll_socket` asks and take what `poll_exchange` and `poll_event` give until they give nothing;
/// then wait no longer than `poll_timeout` says.
pub struct Shard {
    config: ShardConfig,
    stats: Stats,
    sessions: Slab<Session>,
    by_id: Map<SessionId, usize>,
    by_ufrag: Map<Box<str>, usize>,
    by_path: Map<Path, PathUse>,
    streams: Map<StreamId, Stream>,
    /// The highest id that control has added; what lies above was told by a quicker shard.
    newest_stream: StreamId,
    egress: Egress,
    events: VecDeque<Event>,
    exchanges: VecDeque<(ShardIndex, Exchange)>,
    sockets: VecDeque<SocketRequest>,
    wake: Wake,
    /// Sessions whose source may have something to send.
    sources_ready: Vec<usize>,
    /// Streams with batches or wishes.
    streams_ready: Vec<StreamId>,
    /// Streams with something on its way to their viewers, the next one first.
    streams_under_way: VecDeque<StreamId>,
    /// Streams that hold video for its time.
    streams_holding: Vec<StreamId>,
    repair_budget: Budget,
    patience: Patience,
    shedding: Shedding,
    random: Random,
    /// Links of sessions that are tried under loss and delay.
    links: Impaired,
    recorder: Recorder,
    /// Datagrams that sessions hold until they have keys, all together.
    early: usize,
    stopped: bool,
}

/// Which session a path leads to.
#[derive(Clone, Copy, Debug)]
struct PathUse {
    slot: usize,
    /// The last authenticated check on it.
    last_check: Time,
}

impl Shard {
    /// A shard without sessions.
    #[must_use]
    pub fn new(config: ShardConfig) -> Shard {
        let mut random = Random::new(&config.seed);
        let shared = SharedSeed::global_random();
        let mut state = || SeedableRandomState::with_seed(random.draw(), shared);
        let (by_id, by_ufrag, by_path, streams) = (
            Map::with_hasher(state()),
            Map::with_hasher(state()),
            Map::with_hasher(state()),
            Map::with_hasher(state()),
        );
        Shard {
            egress: Egress::new(config.gso, config.riders, config.train_packets),
            patience: Patience::new(config.idle_window, config.frame_window),
            shedding: Shedding::new(config.shed_after),
            config,
            stats: Stats::default(),
            sessions: Slab::new(),
            by_id,
            by_ufrag,
            by_path,
            streams,
            newest_stream: StreamId(0),
            events: VecDeque::new(),
            exchanges: VecDeque::new(),
            sockets: VecDeque::new(),
            wake: Wake::default(),
            sources_ready: Vec::new(),
            streams_ready: Vec::new(),
            streams_under_way: VecDeque::new(),
            streams_holding: Vec::new(),
            repair_budget: Budget::new(Time(0), REPAIR_BYTES_PER_SECOND, REPAIR_BURST_BYTES),
            random,
            links: Impaired::default(),
            recorder: Recorder::default(),
            early: 0,
            stopped: false,
        }
    }

    /// Carries out a request of control.
    pub fn apply(&mut self, now: Time, command: Command) {
        if !self.stopped {
            self.apply_command(now, command);
        }
    }

    /// Takes a datagram, which was received no later than `now`.
    pub fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>) {
        self.stats.add(Counter::DatagramsIn, 1);
        if self.stopped {
            return;
        }
        if self.links.receive(&datagram) {
            self.take_datagram(now, datagram);
        }
    }

    /// Takes a message of another shard.
    pub fn handle_exchange(&mut self, now: Time, message: Exchange) {
        if !self.stopped {
            self.take_exchange(now, message);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, session)) = self.wake.due(now) {
            self.do_duties(now, at, session);
        }
        self.release_streams(now);
        while let Some((received, path, mut bytes)) = self.links.poll_inbound(now) {
            self.take_datagram(now, Datagram { path, received, bytes: &mut bytes });
        }
    }

    /// When `handle_timeout` is due next; [`Time::NEVER`] if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        if !self.streams_under_way.is_empty() {
            return Time(0);
        }
        let streams = self.streams_holding.iter().filter_map(|id| self.streams.get(id));
        let held = streams.map(|stream| stream.next_release).fold(Time::NEVER, Time::min);
        self.wake.next().min(held).min(self.links.due()).min(self.recorder.due())
    }

    /// Fans out what has arrived and sends everything that is ready, for [`ShardConfig::slice`] at most: what is
    /// on its way then goes on with the next call, which is due at once.
    pub fn drain(&mut self, now: Time, transmit: &mut impl Transmit) {
        self.request_keyframes(now);
        for slot in std::mem::take(&mut self.sources_ready) {
            self.drain_source(now, slot);
        }
        for id in std::mem::take(&mut self.streams_ready) {
            self.send_off(now, id);
        }
        self.links.release(now, transmit);
        if self.streams_under_way.is_empty() {
            self.egress.flush(&mut self.links.over(transmit), &mut self.stats);
        } else {
            self.send(now, transmit);
        }
        self.tell_outcomes(now);
        if let Some(records) = self.recorder.take(now) {
            self.tell(Event::Records { shard: self.config.index, records });
        }
    }

    /// The next message for another shard, which gets it from now on.
    pub fn poll_exchange(&mut self, now: Time) -> Option<(ShardIndex, Exchange)> {
        let mut message = self.exchanges.pop_front();
        if let Some((_, Exchange::Media { given, .. })) = &mut message {
            *given = now;
        }
        self.stats.add(Counter::ExchangedOut, u64::from(message.is_some()));
        message
    }

    /// The next event for control.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A ring to another shard was full and a message was lost there.
    pub fn exchange_lost(&mut self) {
        self.stats.discard(Discard::ExchangeFull);
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

    pub(super) fn source_config(&self) -> SourceConfig {
        SourceConfig {
            frame_window: self.patience.window(),
            trains: self.config.gso,
            padding: self.config.padding,
            keyframe_interval: self.config.keyframe_interval,
            bitrate_bps: self.config.publisher_bitrate_bps,
            wall_clock: self.config.wall_clock,
            machine_clock: self.config.machine_clock,
            record_as: None,
            report_interval: None,
            repeats: self.config.repeats,
        }
    }

    /// Streams whose video has waited long enough are looked at in the next drain.
    fn release_streams(&mut self, now: Time) {
        let (streams, ready) = (&mut self.streams, &mut self.streams_ready);
        self.streams_holding.retain(|id| match streams.get_mut(id) {
            Some(stream) if stream.next_release > now => true,
            Some(stream) => {
                mark_ready(stream, ready);
                false
            }
            None => false,
        });
    }

    fn take_datagram(&mut self, now: Time, datagram: Datagram<'_>) {
        if let Err(reason) = self.route(now, datagram) {
            self.stats.discard(reason);
        }
    }

    /// Sends what a publisher's source has ready: media to all who watch, feedback to it.
    fn drain_source(&mut self, now: Time, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(association) = session.association.as_deref_mut() else { return };
        let Part::Publisher { source, .. } = &mut association.part else { return };
        association.queued = false;
        let mut departures = Vec::new();
        while let Some(departure) = source.poll_departure() {
            departures.push(Arc::new(departure));
        }
        let departures = self.admit(now, slot, departures);
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(association) = session.association.as_deref_mut() else { return };
        let Part::Publisher { source, .. } = &mut association.part else { return };
        let mut compound = Vec::new();
        let way_back = association.paths.current().zip(association.sealer.as_mut());
        if let Some((path, sealer)) = way_back {
            while source.poll_rtcp(now, &mut compound) {
                sealer.seal_rtcp(&mut compound);
                self.egress.datagram(path, u32::MAX, &compound);
                compound.clear();
            }
        }
        let counted = source.is_only_counted_and_has_begun();
        let due = source.poll_timeout().min(association.silent_at(self.config.silence));
        self.wake.arm(&mut association.armed, session.id, due);
        let flows = !departures.is_empty() || counted;
        if flows && !std::mem::replace(&mut association.flowing, true) {
            let session = session.id;
            self.tell(Event::Flowing { session });
        }
        for departure in departures {
            self.depart(now, departure);
        }
    }

    /// What a stream has begins its way to its viewers.
    fn send_off(&mut self, now: Time, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.queued = false;
        stream.send_off(now, self.shedding.level());
        if stream.next_release != Time::NEVER && !self.streams_holding.contains(&id) {
            self.streams_holding.push(id);
        }
        if stream.is_sending() && !std::mem::replace(&mut stream.under_way, true) {
            self.streams_under_way.push_back(id);
        }
    }

    /// Sends what is on its way, of one stream after the other, until [`ShardConfig::slice`] is over.
    fn send(&mut self, now: Time, transmit: &mut impl Transmit) {
        let transmit = &mut self.links.over(transmit);
        // What is ready already is none of the slice.
        self.egress.flush(transmit, &mut self.stats);
        let (began, start) = (transmit.now(), Mark::of(&self.stats));
        let first = self.streams_under_way.front().and_then(|id| self.streams.get(id));
        let behind = first.map_or(Duration::ZERO, |stream| stream.behind(now));
        let is_late = behind.max(self.shedding.waited()) > LATE;
        let slice = self.config.slice;
        let until = if is_late || slice.is_zero() { Time::NEVER } else { began + slice };
        let afterwards = &mut Afterwards::default();
        let (egress, stats) = (&mut self.egress, &mut self.stats);
        let mut out = Out { egress, transmit, stats, afterwards, handed_over: false };
        while let Some(id) = self.streams_under_way.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let before = Mark::of(out.stats);
            let is_over = fan_out(now, until, stream.round(), &mut out);
            stream.sums.add_since(before, out.stats);
            stream.under_way = stream.is_sending();
            if stream.under_way {
                self.streams_under_way.push_back(id);
            }
            if is_over {
                break;
            }
        }
        out.egress.flush(out.transmit, out.stats);
        let ended = out.observe_gone_round();
        self.judge(now, began, ended, start);
        for session in std::mem::take(&mut afterwards.flowing) {
            self.begin_reports(now, session);
        }
    }

    /// What has been sent since `began`, and how long it took.
    fn judge(&mut self, now: Time, began: Time, ended: Time, start: Mark) {
        let took = ended.since(began);
        self.patience.spend(ended, took);
        let mut sums = Sums::default();
        sums.add_since(start, &self.stats);
        let Sums { packets_out: sent, send_drops: left_out, .. } = sums;
        self.shedding.judge(now, Done { took, sent, left_out });
    }

    /// Hands packets to the stream's subscribers here and on every shard that has some.
    fn depart(&mut self, now: Time, departure: Arc<Departure>) {
        let Some(stream) = self.streams.get_mut(&departure.stream) else { return };
        let interested = stream.interested;
        stream.handle_departure(now, self.config.wall_clock, &departure);
        mark_ready(stream, &mut self.streams_ready);
        for shard in 0..self.config.shards {
            if interested & (1 << shard) != 0 {
                let media = Exchange::Media { departure: Arc::clone(&departure), given: now };
                self.exchanges.push_back((ShardIndex(shard), media));
            }
        }
    }

    /// Tells subscribers what became of their messages.
    fn tell_outcomes(&mut self, now: Time) {
        for trouble in self.egress.take_troubles() {
            let session = self.sessions.get(trouble.owner as usize);
            let part = session.and_then(|s| s.association.as_ref()).map(|a| &a.part);
            let Some(Part::Viewer { stream, slot: Some(slot) }) = part else { continue };
            let Some(stream) = self.streams.get_mut(stream) else { continue };
            if let Some(subscriber) = stream.subscribers.get_mut(*slot) {
                subscriber.handle_trouble(now, trouble);
                stream.sums.send_drops += trouble.dropped();
                if subscriber.waits_for_keyframe() {
                    stream.want_keyframe(*slot);
                    mark_ready(stream, &mut self.streams_ready);
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let droppable = matches!(event, Event::DtlsReceived { .. } | Event::Records { .. });
        if droppable && self.events.len() >= self.config.max_events {
            self.stats.add(Counter::EventsDropped, 1);
        } else {
            self.events.push_back(event);
        }
    }

    fn broadcast(&mut self, message: &Exchange) {
        for shard in (0..self.config.shards).filter(|shard| *shard != self.config.index.0) {
            self.exchanges.push_back((ShardIndex(shard), message.clone()));
        }
    }
}

/// Puts a stream on the list of those that the next drain looks at.
fn mark_ready(stream: &mut Stream, ready: &mut Vec<StreamId>) {
    if !std::mem::replace(&mut stream.queued, true) {
        ready.push(stream.id);
    }
}
