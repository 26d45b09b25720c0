//! Shards, a lossy network and peers in virtual time: no socket, no thread, no sleep.
//!
//! A peer does what a browser does once DTLS is done: it checks, opens SRTP, asks for what is
//! missing, reports. What it opens it keeps, so that a test can hold every byte against the
//! publisher's and every nonce against its plaintext.
#![allow(dead_code)]

pub mod checks;
pub mod crowd;
pub mod local;
pub mod pair;
pub mod publisher;
pub mod viewer;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use pyforward_core::claim::{Claim, Proven};
use pyforward_core::command::{AddSession, Command, IceCredentials, Media, RestartIce};
use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::event::Event;
use pyforward_core::exchange::Exchange;
use pyforward_core::ids::{SessionId, ShardIndex, Ssrc, StreamId};
use pyforward_core::media::Kind;
use pyforward_core::path::{Datagram, Path, SocketId};
use pyforward_core::rtp;
use pyforward_core::shard::{Shard, ShardConfig};
use pyforward_core::srtp::{KeyMaterial, Profile};
use pyforward_core::time::{MachineClock, Ntp, Time, WallClock};

use publisher::Publisher;
use viewer::Viewer;

pub const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
pub const STREAM: StreamId = StreamId(1);

/// What the network does to datagrams of each direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a thousand datagrams so many are lost.
    pub loss: u64,
    /// Of a thousand so many come twice.
    pub duplicates: u64,
    /// Each takes up to so much longer, so that they overtake each other.
    pub jitter: Duration,
    /// The least time on the way.
    pub delay: Duration,
}

struct Flying {
    shard: Option<usize>,
    path: Path,
    bytes: Vec<u8>,
}

/// Datagrams that are read before shards send, where time passes meanwhile.
const BATCH: usize = 32;

pub struct Rig {
    pub now: Time,
    pub shards: Vec<Shard>,
    pub weather: Weather,
    pub publishers: BTreeMap<SessionId, Publisher>,
    pub viewers: BTreeMap<SessionId, Viewer>,
    pub events: Vec<Event>,
    /// Where datagrams from a remote address arrive; by port otherwise.
    pub landing: BTreeMap<SocketAddr, usize>,
    /// Datagrams per message that left the server.
    pub trains: Vec<u32>,
    /// What the next messages come to instead of being sent.
    pub outcomes: Vec<Outcome>,
    /// How long it takes to send a message, by the clock of who sends.
    pub toll: Duration,
    /// While a shard sends, time passes for everybody.
    pub time_passes: bool,
    /// How long datagrams wait for the shards to read them, at least.
    pub wait: Duration,
    /// Nonces under which two byte strings were sealed. Empty, always.
    pub broken: Vec<(SocketAddr, Ssrc, u64)>,
    sealed: HashMap<(Ssrc, u64), u64>,
    sealed_rtcp: HashMap<(SessionId, Ssrc, u64), u64>,
    profiles: HashMap<SessionId, Profile>,
    newest: HashMap<Ssrc, u64>,
    network: BinaryHeap<Reverse<(Time, u64)>>,
    flying: BTreeMap<u64, Flying>,
    serial: u64,
    random: u64,
}

pub fn config(index: u8, shards: u8) -> ShardConfig {
    ShardConfig {
        index: ShardIndex(index),
        shards,
        wall_clock: WallClock { ntp_at_zero: Ntp(3_900_000_000 << 32) },
        machine_clock: MachineClock { id: 1, micros_at_zero: 5_000_000_000 },
        seed: [7 + index; 32],
        gso: true,
        train_packets: 16,
        padding: true,
        riders: true,
        slice: Duration::from_micros(250),
        frame_window: Duration::from_millis(4),
        idle_window: Duration::from_millis(4),
        shed_after: Duration::from_millis(200),
        pace_bytes_per_second: 0,
        repeats: true,
        keyframe_interval: Duration::from_millis(500),
        silence: Duration::from_secs(15),
        publisher_bitrate_bps: 20_000_000,
        max_events: 1_000,
    }
}

impl Rig {
    pub fn new(shards: u8) -> Rig {
        Rig::with(shards, |_| {})
    }

    pub fn with(shards: u8, change: impl Fn(&mut ShardConfig)) -> Rig {
        let mut rig = Rig {
            now: Time(1_000_000),
            shards: (0..shards)
                .map(|index| {
                    let mut config = config(index, shards);
                    change(&mut config);
                    Shard::new(config)
                })
                .collect(),
            weather: Weather::default(),
            publishers: BTreeMap::new(),
            viewers: BTreeMap::new(),
            events: Vec::new(),
            landing: BTreeMap::new(),
            trains: Vec::new(),
            outcomes: Vec::new(),
            toll: Duration::ZERO,
            time_passes: false,
            wait: Duration::ZERO,
            broken: Vec::new(),
            sealed: HashMap::new(),
            sealed_rtcp: HashMap::new(),
            profiles: HashMap::new(),
            newest: HashMap::new(),
            network: BinaryHeap::new(),
            flying: BTreeMap::new(),
            serial: 0,
            random: 0x2545_F491_4F6C_DD1D,
        };
        rig.command(Command::AddStream { stream: STREAM });
        rig
    }

    /// Gives a command to every shard, as the engine does.
    pub fn command(&mut self, command: Command) {
        for shard in 0..self.shards.len() {
            self.shards[shard].apply(self.now, command.clone());
        }
        self.settle();
    }

    pub fn add_session(&mut self, session: SessionId, media: Media) {
        let ice = Some(credentials(session, 0));
        let claim = Claim::default();
        self.command(Command::AddSession(Box::new(AddSession {
            session,
            ice,
            media: media.into(),
            candidates: Vec::new(),
            trial: None,
            claim,
        })));
    }

    /// Tells every shard of a restart, the first of them first.
    pub fn restart_ice(&mut self, session: SessionId, generation: u32) {
        self.command(restart_ice(session, generation));
    }

    /// Installs keys on both sides of a session, as a handshake would.
    pub fn install_keys(&mut self, session: SessionId, profile: Profile) {
        self.hand_keys(session, profile);
        self.settle();
    }

    /// The same, and no shard has sent anything since.
    pub fn hand_keys(&mut self, session: SessionId, profile: Profile) {
        let (local, remote) = (keys(profile, session, 1), keys(profile, session, 2));
        self.profiles.insert(session, profile);
        for shard in &mut self.shards {
            let (local, remote) = (local.clone(), remote.clone());
            shard.apply(self.now, Command::InstallKeys { session, profile, local, remote });
        }
    }

    pub fn remove(&mut self, session: SessionId) {
        let reason = pyforward_core::command::CloseReason::Deleted;
        self.command(Command::RemoveSession { session, reason });
    }

    /// A datagram leaves a peer.
    pub fn send(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let shard = self.landing.get(&from).copied();
        let shard = shard.unwrap_or(usize::from(from.port()) % self.shards.len());
        self.fly(
            Some(shard),
            Path { socket: SocketId::SHARED, local: SERVER, remote: from },
            bytes,
        );
    }

    /// Lets time pass until `until`, doing whatever becomes due.
    pub fn run_until(&mut self, until: Time) {
        loop {
            let due = self.next_due();
            if due.max(self.now) > until {
                self.now = self.now.max(until);
                return;
            }
            self.now = self.now.max(due);
            self.step();
        }
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// The events of one session, by name.
    pub fn told(&self, session: SessionId) -> Vec<&'static str> {
        self.events.iter().filter_map(|event| named(event, session)).collect()
    }

    pub fn closed(&self, session: SessionId) -> Option<pyforward_core::command::CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed { session: s, reason } if *s == session => Some(*reason),
            _ => None,
        })
    }

    pub fn discarded(&self, reason: pyforward_core::discard::Discard) -> u64 {
        self.shards.iter().map(|shard| shard.stats().discarded(reason)).sum()
    }

    pub fn counted(&self, counter: pyforward_core::stats::Counter) -> u64 {
        self.shards.iter().map(|shard| shard.stats().get(counter)).sum()
    }

    /// Holds what a viewer got against what was sent: an unbroken run of its payloads, to the end.
    pub fn assert_whole(&self, publisher: SessionId, session: SessionId, kind: Kind) {
        let viewer = &self.viewers[&session];
        assert_eq!(viewer.broken, vec![], "no nonce sealed two byte strings");
        assert_eq!(viewer.missing(kind), Vec::<u64>::new(), "{session} {kind:?}");
        let sent = &self.publishers[&publisher].sent[kind as usize];
        let got = viewer.payloads(kind);
        assert!(got.len() > 40, "{session} got {} of {}", got.len(), sent.len());
        let first = sent.iter().position(|payload| *payload == got[0]).expect("a payload of its");
        assert_eq!(got.len(), sent.len() - first, "to the end");
        assert!(got.iter().eq(sent[first..].iter()), "byte by byte");
    }

    /// The newest number that left under this SSRC.
    pub fn newest(&self, ssrc: Ssrc) -> Option<u16> {
        self.newest.get(&ssrc).map(|index| *index as u16)
    }

    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn next_due(&self) -> Time {
        let network = self.network.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
        let shards = self.shards.iter().map(Shard::poll_timeout);
        let publishers = self.publishers.values().map(Publisher::due);
        let viewers = self.viewers.values().map(Viewer::due);
        shards.chain(publishers).chain(viewers).fold(network, Time::min)
    }

    fn step(&mut self) {
        let mut read = 0;
        while let Some(Reverse((at, serial))) = self.network.peek().copied() {
            if at > self.now || self.time_passes && read == BATCH {
                break;
            }
            self.network.pop();
            if let Some(flying) = self.flying.remove(&serial) {
                read += usize::from(flying.shard.is_some());
                self.land(at, flying);
            }
        }
        for index in 0..self.shards.len() {
            self.shards[index].handle_timeout(self.now);
        }
        self.settle();
        self.let_publishers_act();
        for session in self.viewers.keys().copied().collect::<Vec<_>>() {
            let Some(mut viewer) = self.viewers.remove(&session) else { continue };
            for (from, bytes) in viewer.act(self.now) {
                self.send(from, bytes);
            }
            self.viewers.insert(session, viewer);
        }
    }

    /// Publishers do not wait for shards for which time has passed.
    fn let_publishers_act(&mut self) {
        let now = self.now;
        for session in self.publishers.keys().copied().collect::<Vec<_>>() {
            let Some(mut publisher) = self.publishers.remove(&session) else { continue };
            let mut sends = !self.time_passes || publisher.due() <= now;
            while sends {
                self.now = if self.time_passes { publisher.due().min(now) } else { now };
                for (from, bytes) in publisher.act(self.now) {
                    self.send(from, bytes);
                }
                sends = self.time_passes && publisher.due() <= now;
            }
            self.publishers.insert(session, publisher);
        }
        self.now = now;
    }

    fn land(&mut self, at: Time, mut flying: Flying) {
        match flying.shard {
            Some(shard) => {
                let Flying { path, ref mut bytes, .. } = flying;
                let datagram = Datagram { path, received: at - self.wait, bytes };
                self.shards[shard].handle_datagram(self.now, datagram);
                if !self.time_passes {
                    self.settle();
                }
            }
            None => {
                let to = flying.path.remote;
                let now = self.now;
                if let Some(viewer) = self.viewers.values_mut().find(|v| v.owns(to)) {
                    viewer.receive(now, flying.bytes);
                } else if let Some(publisher) = self.publishers.values_mut().find(|p| p.owns(to)) {
                    publisher.receive(now, flying.bytes);
                }
            }
        }
    }

    /// Drains every shard until none has anything left for another.
    pub fn settle(&mut self) {
        loop {
            let mut crossing: Vec<(ShardIndex, Exchange)> = Vec::new();
            for index in 0..self.shards.len() {
                let mut out = Out {
                    now: self.now,
                    toll: self.toll,
                    sent: Vec::new(),
                    outcomes: &mut self.outcomes,
                    trains: &mut self.trains,
                };
                self.shards[index].drain(self.now, &mut out);
                let (sent, ended) = (out.sent, out.now);
                if self.time_passes {
                    self.now = ended;
                }
                for (path, bytes) in sent {
                    self.hold_against_nonce(path.remote, &bytes);
                    self.fly(None, path, bytes);
                }
                while let Some(message) = self.shards[index].poll_exchange(self.now) {
                    crossing.push(message);
                }
                while let Some(event) = self.shards[index].poll_event() {
                    self.events.push(event);
                }
            }
            if crossing.is_empty() {
                return;
            }
            for (to, message) in crossing {
                self.shards[usize::from(to.0)].handle_exchange(self.now, message);
            }
        }
    }

    /// Whatever leaves, before the network loses any of it: the same nonce, the same bytes. One
    /// key seals everything of one SSRC, and what is sealed equal was equal before.
    pub fn hold_against_nonce(&mut self, to: SocketAddr, bytes: &[u8]) {
        if !(128..192).contains(&bytes[0]) {
            return;
        }
        if pyforward_core::rtcp::is_rtcp(bytes) {
            self.hold_compound_against_nonce(to, bytes);
            return;
        }
        let view = rtp::View::parse(bytes).expect("the server sends valid RTP");
        let newest = self.newest.entry(view.ssrc).or_insert(u64::from(view.sequence));
        let ahead = view.sequence.wrapping_sub(*newest as u16) as i16;
        let index = newest.wrapping_add_signed(i64::from(ahead));
        *newest = index.max(*newest);
        let digest = digest(bytes);
        if *self.sealed.entry((view.ssrc, index)).or_insert(digest) != digest {
            self.broken.push((to, view.ssrc, index));
        }
    }

    /// SRTCP tells its index itself (RFC 3711 §3.4, RFC 7714 §9.2), and has one key for each session.
    fn hold_compound_against_nonce(&mut self, to: SocketAddr, bytes: &[u8]) {
        let viewers = self.viewers.iter().filter(|(_, viewer)| viewer.owns(to));
        let publishers = self.publishers.iter().filter(|(_, publisher)| publisher.owns(to));
        let owner = viewers.map(|(id, _)| *id).chain(publishers.map(|(id, _)| *id)).next();
        // Nobody is there any more to know the session by.
        let Some(session) = owner else { return };
        let behind = match self.profiles[&session] {
            Profile::Aes128CmSha1_80 => 10,
            _ => 0,
        };
        let word = |at: usize| {
            u32::from_be_bytes(bytes[at..at + 4].try_into().expect("valid SRTCP is longer"))
        };
        let index = word(bytes.len() - behind - 4);
        assert!(index >> 31 == 1, "it is encrypted");
        let (ssrc, index, digest) = (Ssrc(word(4)), u64::from(index & 0x7fff_ffff), digest(bytes));
        if *self.sealed_rtcp.entry((session, ssrc, index)).or_insert(digest) != digest {
            self.broken.push((to, ssrc, index));
        }
    }

    /// SRTCP datagrams that were held so.
    pub fn compounds(&self) -> usize {
        self.sealed_rtcp.len()
    }

    fn fly(&mut self, shard: Option<usize>, path: Path, bytes: Vec<u8>) {
        let weather = self.weather;
        if self.random() % 1_000 < weather.loss {
            return;
        }
        let copies = if self.random() % 1_000 < weather.duplicates { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.random() % (weather.jitter.as_micros() as u64 + 1);
            let at = self.now + weather.delay + Duration::from_micros(jitter);
            self.serial += 1;
            self.network.push(Reverse((at, self.serial)));
            self.flying.insert(self.serial, Flying { shard, path, bytes: bytes.clone() });
        }
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A datagram that is read as it comes.
pub fn hand(shard: &mut Shard, now: Time, path: Path, bytes: &mut [u8]) {
    shard.handle_datagram(now, Datagram { path, received: now, bytes });
}

/// What a shard has to send, by a kernel that takes everything.
pub fn drain(shard: &mut Shard, now: Time) -> Vec<(Path, Vec<u8>)> {
    let (outcomes, trains) = (&mut Vec::new(), &mut Vec::new());
    let mut out = Out { now, toll: Duration::ZERO, sent: Vec::new(), outcomes, trains };
    shard.drain(now, &mut out);
    out.sent
}

/// Collects what a shard sends.
struct Out<'a> {
    now: Time,
    toll: Duration,
    sent: Vec<(Path, Vec<u8>)>,
    outcomes: &'a mut Vec<Outcome>,
    trains: &'a mut Vec<u32>,
}

impl Transmit for Out<'_> {
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        for message in messages {
            self.now = self.now + self.toll;
            let outcome = self.outcomes.pop().unwrap_or(Outcome::Sent);
            outcomes.push(outcome);
            if matches!(outcome, Outcome::Full | Outcome::Refused) {
                continue;
            }
            self.trains.push(message.datagrams());
            let bytes = &arena[message.start as usize..(message.start + message.len) as usize];
            for datagram in bytes.chunks(usize::from(message.segment)) {
                self.sent.push((message.path, datagram.to_vec()));
            }
        }
        1
    }

    fn now(&self) -> Time {
        self.now
    }
}

pub fn named(event: &Event, wanted: SessionId) -> Option<&'static str> {
    let (session, name) = match event {
        Event::Opened { session, .. } => (*session, "opened"),
        Event::Claimed { session, .. } => (*session, "claimed"),
        Event::DtlsReceived { session, .. } => (*session, "dtls"),
        Event::Secured { session } => (*session, "secured"),
        Event::Flowing { session } => (*session, "flowing"),
        Event::Closed { session, .. } => (*session, "closed"),
        Event::Report { .. } | Event::Records { .. } | Event::Stopped { .. } => return None,
    };
    (session == wanted).then_some(name)
}

pub fn server_pwd(session: SessionId) -> String {
    format!("server-password-of-session-{session}")
}

pub fn keys(profile: Profile, session: SessionId, side: u8) -> KeyMaterial {
    let byte = side.wrapping_mul(101).wrapping_add(session.0 as u8);
    let key = vec![byte; profile.key_len()];
    let salt = vec![byte ^ 0x55; profile.salt_len()];
    KeyMaterial::new(profile, &key, &salt).unwrap()
}

/// Of a session's first ICE session, or of a later one.
fn generation_of(name: String, generation: u32) -> String {
    if generation == 0 { name } else { format!("{name}-{generation}") }
}

pub fn credentials(session: SessionId, generation: u32) -> IceCredentials {
    IceCredentials {
        local_ufrag: generation_of(format!("server{session}"), generation),
        local_pwd: generation_of(server_pwd(session), generation),
        remote_ufrag: format!("peer{session}"),
        remote_pwd: "unused-unused-unused-unused".into(),
    }
}

pub fn restart_ice(session: SessionId, generation: u32) -> Command {
    let (ice, proven) = (credentials(session, generation), Proven::default());
    Command::RestartIce(Box::new(RestartIce { session, ice, proven }))
}

/// A binding request as a browser sends it (RFC 8445 §7.2).
pub fn check(session: SessionId, transaction: u64, use_candidate: bool) -> Vec<u8> {
    check_of(session, 0, transaction, use_candidate)
}

/// The same after so many restarts.
pub fn check_of(session: SessionId, generation: u32, transaction: u64, nominate: bool) -> Vec<u8> {
    binding_request(&credentials(session, generation), transaction, nominate)
}

pub fn check_of_with(session: SessionId, generation: u32, pwd: &str) -> Vec<u8> {
    let ice = IceCredentials { local_pwd: pwd.into(), ..credentials(session, generation) };
    binding_request(&ice, 1, true)
}

pub fn check_with(session: SessionId, transaction: u64, nominate: bool, pwd: &str) -> Vec<u8> {
    let ice = IceCredentials { local_pwd: pwd.into(), ..credentials(session, 0) };
    binding_request(&ice, transaction, nominate)
}

fn binding_request(ice: &IceCredentials, transaction: u64, nominate: bool) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0];
    message.extend(transaction.to_be_bytes());
    let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
    attribute(&mut message, 0x0006, username.as_bytes());
    attribute(&mut message, 0x0024, &0x6E00_01FFu32.to_be_bytes());
    attribute(&mut message, 0x802A, &0x1234_5678_9ABC_DEF0u64.to_be_bytes());
    if nominate {
        attribute(&mut message, 0x0025, &[]);
    }
    let len = (message.len() - 20 + 24) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(ice.local_pwd.as_bytes()).unwrap();
    mac.update(&message);
    attribute(&mut message, 0x0008, &mac.finalize().into_bytes());
    let len = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let fingerprint = crc32fast::hash(&message) ^ 0x5354_554E;
    attribute(&mut message, 0x8028, &fingerprint.to_be_bytes());
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    while !message.len().is_multiple_of(4) {
        message.push(0);
    }
}
