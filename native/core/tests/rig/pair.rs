//! Two engines facing each other in virtual time: one serves, the other is turned round. Between
//! them a network with a delay and losses, and instead of DTLS the keys.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{
    AddSession, CloseReason, Command, IceCredentials, Media, PublishTrack, RemoteCandidate, Trial,
};
use pyforward_core::event::{Event, SessionReport};
use pyforward_core::exchange::Exchange;
use pyforward_core::ids::{PayloadType, SessionId, ShardIndex, Ssrc, StreamId, Ticket};
use pyforward_core::media::{Extension, Kind};
use pyforward_core::path::{Datagram, Path, SocketId, SocketRequest};
use pyforward_core::shard::{NoSocket, Shard, ShardConfig};
use pyforward_core::srtp::Profile;
use pyforward_core::time::Time;

use super::publisher::Publisher;
use super::viewer::Viewer;
use super::{SERVER, config, drain, keys};

pub const SERVER_PORT: u16 = 8_189;
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9));

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Server,
    Client,
}

/// One engine.
pub struct Engine {
    pub shards: Vec<Shard>,
    pub events: Vec<(Time, Event)>,
    /// Ports of sessions' own sockets, by shard.
    ports: BTreeMap<u16, (usize, SocketId)>,
    /// Those of which the kernel tells when datagrams came.
    timed: BTreeSet<u16>,
    next_port: u16,
    /// The kernel has no more sockets.
    pub exhausted: bool,
    pub open: usize,
}

struct Flying {
    arrives: Time,
    to: End,
    from: SocketAddr,
    port: u16,
    bytes: Vec<u8>,
}

pub struct Pair {
    pub now: Time,
    pub server: Engine,
    pub client: Engine,
    pub delay: Duration,
    /// How long what comes waits at the client before it is read.
    pub waits: Duration,
    /// Of a thousand datagrams each way.
    pub loss: u64,
    /// Says what never arrives.
    pub blocked: fn(End, &[u8]) -> bool,
    /// Every datagram that left the client: when, where to, what.
    pub sent: Vec<(Time, SocketAddr, Vec<u8>)>,
    /// Every datagram that left the server: when, when it arrives if it does, what.
    pub served: Vec<(Time, Option<Time>, Vec<u8>)>,
    pub profile: Profile,
    /// What the client's sessions are put to from now on.
    pub trial: Option<Trial>,
    network: BinaryHeap<Reverse<(Time, u64)>>,
    flying: BTreeMap<u64, Flying>,
    serial: u64,
    random: u64,
}

impl Engine {
    fn new(shards: u8, seed: u8, change: impl Fn(&mut ShardConfig)) -> Engine {
        let shard = |index| {
            let mut config = ShardConfig { seed: [seed + index; 32], ..config(index, shards) };
            change(&mut config);
            Shard::new(config)
        };
        Engine {
            shards: (0..shards).map(shard).collect(),
            events: Vec::new(),
            ports: BTreeMap::new(),
            timed: BTreeSet::new(),
            next_port: 50_000,
            exhausted: false,
            open: 0,
        }
    }

    fn apply(&mut self, now: Time, command: &Command) {
        for shard in &mut self.shards {
            shard.apply(now, command.clone());
        }
    }

    fn due(&self) -> Time {
        self.shards.iter().map(Shard::poll_timeout).fold(Time::NEVER, Time::min)
    }

    /// Does what the contract asks; what leaves, from which port.
    fn turn(&mut self, now: Time) -> Vec<(u16, Path, Vec<u8>)> {
        let mut left = Vec::new();
        loop {
            let mut crossing: Vec<(ShardIndex, Exchange)> = Vec::new();
            for index in 0..self.shards.len() {
                let sent = drain(&mut self.shards[index], now);
                left.extend(
                    sent.into_iter()
                        .map(|(path, bytes)| (self.port_of(index, path.socket), path, bytes)),
                );
                while let Some(request) = self.shards[index].poll_socket() {
                    self.serve(now, index, request);
                }
                while let Some(message) = self.shards[index].poll_exchange(now) {
                    crossing.push(message);
                }
                while let Some(event) = self.shards[index].poll_event() {
                    self.events.push((now, event));
                }
            }
            if crossing.is_empty() {
                return left;
            }
            for (to, message) in crossing {
                self.shards[usize::from(to.0)].handle_exchange(now, message);
            }
        }
    }

    fn serve(&mut self, now: Time, index: usize, request: SocketRequest) {
        match request {
            SocketRequest::Open { socket, .. } if self.exhausted => {
                self.shards[index].handle_socket(now, socket, Err(NoSocket));
            }
            SocketRequest::Open { socket, timed } => {
                self.next_port += 1;
                self.open += 1;
                self.ports.insert(self.next_port, (index, socket));
                self.timed.extend(timed.then_some(self.next_port));
                self.shards[index].handle_socket(now, socket, Ok(self.next_port));
            }
            SocketRequest::Close(id) => {
                let before = self.ports.len();
                self.ports.retain(|_, socket| *socket != (index, id));
                self.open -= before - self.ports.len();
            }
        }
    }

    fn port_of(&self, index: usize, socket: SocketId) -> u16 {
        let own = self.ports.iter().find(|(_, held)| **held == (index, socket));
        own.map_or(SERVER_PORT, |(port, _)| *port)
    }

    /// What came at `arrived` is read now.
    fn receive(&mut self, now: Time, arrived: Time, port: u16, from: SocketAddr, bytes: &mut [u8]) {
        if let Some((index, socket)) = self.ports.get(&port).copied() {
            let received = if self.timed.contains(&port) { arrived } else { now };
            let datagram = Datagram { path: Path::own(socket, from), received, bytes };
            self.shards[index].handle_datagram(now, datagram);
        } else if port == SERVER_PORT {
            let path = Path { socket: SocketId::SHARED, local: SERVER, remote: from };
            let index = usize::from(from.port()) % self.shards.len();
            super::hand(&mut self.shards[index], now, path, bytes);
        }
    }

    pub fn closed(&self, session: SessionId) -> Option<CloseReason> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Closed { session: s, reason } if *s == session => Some(*reason),
            _ => None,
        })
    }

    pub fn told(&self, session: SessionId) -> Vec<&'static str> {
        let named = |(_, event): &(Time, Event)| super::named(event, session);
        self.events.iter().filter_map(named).collect()
    }

    pub fn discarded(&self, reason: pyforward_core::discard::Discard) -> u64 {
        self.shards.iter().map(|shard| shard.stats().discarded(reason)).sum()
    }
}

impl Pair {
    pub fn new(shards: u8) -> Pair {
        Pair::with(shards, |_, _| {})
    }

    pub fn with(shards: u8, change: impl Fn(End, &mut ShardConfig)) -> Pair {
        let mut pair = Pair {
            now: Time(1_000_000),
            server: Engine::new(shards, 7, |config| change(End::Server, config)),
            client: Engine::new(shards, 90, |config| change(End::Client, config)),
            delay: Duration::from_millis(20),
            waits: Duration::ZERO,
            loss: 0,
            blocked: |_, _| false,
            sent: Vec::new(),
            served: Vec::new(),
            profile: Profile::AeadAes128Gcm,
            trial: None,
            network: BinaryHeap::new(),
            flying: BTreeMap::new(),
            serial: 0,
            random: 0x2545_F491_4F6C_DD1D,
        };
        pair.command(End::Server, Command::AddStream { stream: super::STREAM });
        pair
    }

    pub fn engine(&mut self, end: End) -> &mut Engine {
        match end {
            End::Server => &mut self.server,
            End::Client => &mut self.client,
        }
    }

    pub fn command(&mut self, end: End, command: Command) {
        let now = self.now;
        self.engine(end).apply(now, &command);
        self.settle();
    }

    /// A session that one end serves and the other one begins, by these candidates.
    pub fn join(
        &mut self,
        session: SessionId,
        serves: Media,
        begins: Media,
        candidates: &[(SocketAddr, u32)],
    ) {
        let server = AddSession {
            session,
            ice: Some(credentials(session)),
            media: serves.into(),
            candidates: Vec::new(),
            trial: None,
            claim: Claim::default(),
        };
        self.command(End::Server, Command::AddSession(Box::new(server)));
        self.begin(session, begins, candidates);
    }

    /// The client's half of it.
    pub fn begin(&mut self, session: SessionId, media: Media, candidates: &[(SocketAddr, u32)]) {
        let trial = self.trial.map(Box::new);
        let candidate = |(address, priority): &(SocketAddr, u32)| RemoteCandidate {
            address: *address,
            priority: *priority,
        };
        let client = AddSession {
            session,
            ice: Some(turned(credentials(session))),
            media: media.into(),
            candidates: candidates.iter().map(candidate).collect(),
            trial,
            claim: Claim::default(),
        };
        self.command(End::Client, Command::AddSession(Box::new(client)));
    }

    /// Installs keys on both sides, as a handshake would.
    pub fn install_keys(&mut self, session: SessionId) {
        self.install_keys_at(End::Server, session);
        self.install_keys_at(End::Client, session);
    }

    /// On one of them.
    pub fn install_keys_at(&mut self, end: End, session: SessionId) {
        let profile = self.profile;
        let side = |side| keys(profile, session, side);
        let (local, remote) = match end {
            End::Server => (side(1), side(2)),
            End::Client => (side(2), side(1)),
        };
        self.command(end, Command::InstallKeys { session, profile, local, remote });
    }

    pub fn remove(&mut self, end: End, session: SessionId) {
        self.command(end, Command::RemoveSession { session, reason: CloseReason::Deleted });
    }

    /// The figures of a session at one end.
    pub fn report(&mut self, end: End, session: SessionId) -> SessionReport {
        let ticket = Ticket(self.serial + 1_000_000);
        self.serial += 1;
        self.command(end, Command::ReportSessions { ticket, sessions: vec![session] });
        let mut rows = self.engine(end).events.iter().rev().filter_map(|(_, event)| match event {
            Event::Report { ticket: t, rows, .. } if *t == ticket => rows.first().cloned(),
            _ => None,
        });
        rows.next().expect("a shard that owns it")
    }

    /// A datagram from an address to a port of one end.
    pub fn deliver(&mut self, end: End, port: u16, from: SocketAddr, mut bytes: Vec<u8>) {
        let now = self.now;
        self.engine(end).receive(now, now, port, from, &mut bytes);
        self.settle();
    }

    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let network = self.network.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
            let due = network.min(self.server.due()).min(self.client.due());
            if due > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(due);
            self.step();
        }
    }

    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn step(&mut self) {
        while let Some(Reverse((at, serial))) = self.network.peek().copied() {
            if at > self.now {
                break;
            }
            self.network.pop();
            if let Some(flying) = self.flying.remove(&serial) {
                let Flying { arrives, to, from, port, mut bytes } = flying;
                let now = self.now;
                self.engine(to).receive(now, arrives, port, from, &mut bytes);
            }
        }
        let now = self.now;
        for end in [End::Server, End::Client] {
            self.engine(end).shards.iter_mut().for_each(|shard| shard.handle_timeout(now));
        }
        self.settle();
    }

    fn settle(&mut self) {
        let now = self.now;
        for (end, ip) in [(End::Server, SERVER), (End::Client, CLIENT)] {
            for (port, path, bytes) in self.engine(end).turn(now) {
                if end == End::Client {
                    self.sent.push((now, path.remote, bytes.clone()));
                }
                self.fly(end, (ip, port).into(), path.remote, bytes);
            }
        }
    }

    fn fly(&mut self, end: End, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let lost = self.random() % 1_000 < self.loss;
        let to_end = match to.ip() {
            SERVER => End::Server,
            CLIENT => End::Client,
            _ => return,
        };
        let arrives = (!lost && !(self.blocked)(end, &bytes)).then_some(self.now + self.delay);
        if end == End::Server {
            self.served.push((self.now, arrives, bytes.clone()));
        }
        let Some(arrives) = arrives else { return };
        self.serial += 1;
        let waits = if to_end == End::Client { self.waits } else { Duration::ZERO };
        self.network.push(Reverse((arrives + waits, self.serial)));
        let flying = Flying { arrives, to: to_end, from, port: to.port(), bytes };
        self.flying.insert(self.serial, flying);
    }
}

/// As the server has them.
pub fn credentials(session: SessionId) -> IceCredentials {
    IceCredentials {
        local_ufrag: format!("server{session}"),
        local_pwd: format!("server-password-of-session-{session}"),
        remote_ufrag: format!("client{session}"),
        remote_pwd: format!("client-password-of-session-{session}"),
    }
}

/// As the other side has them.
pub fn turned(ice: IceCredentials) -> IceCredentials {
    IceCredentials {
        local_ufrag: ice.remote_ufrag,
        local_pwd: ice.remote_pwd,
        remote_ufrag: ice.local_ufrag,
        remote_pwd: ice.local_pwd,
    }
}

/// What `Viewer::subscription` is from the other side.
pub fn watched(session: SessionId) -> Media {
    let Media::Publish { tracks, .. } = Publisher::media() else { unreachable!() };
    let turned = |track: PublishTrack| {
        let (payload_type, mid) = match track.kind {
            Kind::Audio => (101, "a"),
            Kind::Video => (102, "v"),
        };
        let rtx = track.kind == Kind::Video;
        let ssrc = Viewer::ssrc(session, track.kind);
        PublishTrack {
            mid: mid.into(),
            payload_type: PayloadType(payload_type),
            rtx_payload_type: rtx.then_some(PayloadType(payload_type + 1)),
            ssrcs: vec![ssrc],
            rtx_ssrcs: if rtx { vec![(ssrc, Viewer::rtx_ssrc(session))] } else { Vec::new() },
            extensions: vec![(9, Extension::Mid)],
            feedback_ssrc: Ssrc(99),
            ..track
        }
    };
    let tracks = tracks.into_iter().map(turned).collect();
    Media::Publish { stream: StreamId::NOWHERE, tracks }
}

pub fn server() -> SocketAddr {
    (SERVER, SERVER_PORT).into()
}

/// A stream at one end, whose packets are injected there.
pub struct Film {
    pub session: SessionId,
    pub stream: StreamId,
    pub packets: [u64; 2],
    pub frames: u64,
    audio: u64,
}

impl Film {
    pub fn new(pair: &mut Pair, end: End, session: SessionId, stream: StreamId) -> Film {
        let Media::Publish { tracks, .. } = Publisher::media() else { unreachable!() };
        pair.command(end, Command::AddStream { stream });
        let added = AddSession {
            session,
            ice: None,
            media: Media::Publish { stream, tracks }.into(),
            candidates: Vec::new(),
            trial: None,
            claim: Claim::default(),
        };
        pair.command(end, Command::AddSession(Box::new(added)));
        Film { session, stream, packets: [0; 2], frames: 0, audio: 0 }
    }

    /// Plays for so long: 30 frames and 50 packets of audio a second, a keyframe every two seconds.
    pub fn play(&mut self, pair: &mut Pair, end: End, duration: Duration) {
        let until = pair.now + duration;
        let start = pair.now;
        let (frames, audio) = (self.frames, self.audio);
        while pair.now < until {
            let next_frame = start + Duration::from_micros((self.frames - frames) * 33_333);
            let next_audio = start + Duration::from_micros((self.audio - audio) * 20_000);
            let next = next_frame.min(next_audio).min(until);
            pair.run_for(next.since(pair.now));
            if next == until {
                break;
            }
            let packets = if next == next_frame { self.frame() } else { self.sound() };
            let session = self.session;
            pair.command(end, Command::InjectRtp { session, packets, stamped: false });
        }
    }

    fn frame(&mut self) -> Vec<Vec<u8>> {
        let key = self.frames.is_multiple_of(60);
        let count = if key { 20 } else { 5 };
        let timestamp = (self.frames * 3_000) as u32;
        self.frames += 1;
        (0..count)
            .map(|n| {
                self.packets[1] += 1;
                let first = [if n == 0 { 0x10 } else { 0 }, u8::from(!key)];
                let marker = n + 1 == count;
                rtp(96, marker, self.packets[1], timestamp, super::publisher::VIDEO.0, first, 1_100)
            })
            .collect()
    }

    fn sound(&mut self) -> Vec<Vec<u8>> {
        let timestamp = (self.audio * 960) as u32;
        self.audio += 1;
        self.packets[0] += 1;
        let ssrc = super::publisher::AUDIO.0;
        vec![rtp(111, false, self.packets[0], timestamp, ssrc, [1, 2], 90)]
    }
}

fn rtp(
    payload_type: u8,
    marker: bool,
    sequence: u64,
    timestamp: u32,
    ssrc: u32,
    first: [u8; 2],
    len: usize,
) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
    packet.extend((sequence as u16).to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(first);
    packet.extend(sequence.to_be_bytes());
    packet.resize(12 + len, 7);
    packet
}
