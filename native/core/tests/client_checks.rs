//! A session in the client role on one shard, with a peer by hand that is a full agent or worse:
//! what opens the way to it, what does not, and what is left behind at its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::claim::{Claim, Proven};
use pyforward_core::command::{
    AddSession, CloseReason, Command, RemoteCandidate, RestartIce, Trial,
};
use pyforward_core::discard::Discard;
use pyforward_core::event::Event;
use pyforward_core::ids::SessionId;
use pyforward_core::path::{Path, SocketId, SocketRequest};
use pyforward_core::shard::{NoSocket, Shard};
use pyforward_core::srtp::Profile;
use pyforward_core::stun::{self, Check, ErrorCode, IntegrityKey};
use pyforward_core::time::Time;
use rig::pair::{credentials, turned};
use rig::viewer::Viewer;
use rig::{SERVER, STREAM, config, keys};

const OURS: SessionId = SessionId(10);
const NEXT: SessionId = SessionId(11);
/// A role that is not ours, whatever the tie-breakers.
const CONTROLLED: (bool, u64) = (false, 5);

/// One shard, and in place of io the test.
struct Alone {
    shard: Shard,
    now: Time,
    sent: Vec<(Path, Vec<u8>)>,
    events: Vec<Event>,
    open: BTreeMap<SocketId, u16>,
    ports: u16,
}

/// A check that arrives on the shared port.
fn on_the_shared_port(username: &str, pwd: &str) -> (Path, Vec<u8>) {
    let check =
        Check { username, priority: 9, controlling: true, tie_breaker: 1, use_candidate: true };
    let mut bytes = Vec::new();
    stun::request([7; 12], &check, &IntegrityKey::new(pwd), &mut bytes);
    (Path { socket: SocketId::SHARED, local: SERVER, remote: peer(3) }, bytes)
}

impl Alone {
    fn new() -> Alone {
        let mut alone = Alone {
            shard: Shard::new(config(0, 1)),
            now: Time(1_000_000),
            sent: Vec::new(),
            events: Vec::new(),
            open: BTreeMap::new(),
            ports: 50_000,
        };
        alone.shard.apply(alone.now, Command::AddStream { stream: STREAM });
        alone
    }

    /// With a session that has its socket and has sent its first check.
    fn checking() -> Alone {
        let mut alone = Alone::new();
        alone.shard.apply(alone.now, add(OURS));
        alone.turn();
        alone.turn();
        assert_eq!(alone.requests().len(), 1);
        alone
    }

    /// With one that was answered, and whose nomination was.
    fn nominated() -> Alone {
        let mut alone = Alone::checking();
        alone.answer_last();
        alone.run(Duration::from_millis(60));
        assert_eq!(alone.requests().len(), 2);
        alone.answer_last();
        alone
    }

    /// What the contract asks before waiting.
    fn turn(&mut self) {
        self.shard.handle_timeout(self.now);
        let before = self.sent.len();
        self.sent.extend(rig::drain(&mut self.shard, self.now));
        for (path, _) in &self.sent[before..] {
            let shared = path.socket == SocketId::SHARED;
            assert!(shared || self.open.contains_key(&path.socket), "by a socket that is closed");
        }
        while let Some(request) = self.shard.poll_socket() {
            match request {
                SocketRequest::Open { socket, .. } => {
                    self.ports += 1;
                    assert_eq!(self.open.insert(socket, self.ports), None, "opened twice");
                    self.shard.handle_socket(self.now, socket, Ok(self.ports));
                }
                SocketRequest::Close(id) => drop(self.open.remove(&id)),
            }
        }
        while let Some(event) = self.shard.poll_event() {
            self.events.push(event);
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.shard.poll_timeout() <= until {
            self.now = self.now.max(self.shard.poll_timeout());
            self.turn();
        }
        self.now = until;
    }

    fn socket(&self) -> SocketId {
        *self.open.keys().next().unwrap()
    }

    fn receive(&mut self, from: SocketAddr, mut bytes: Vec<u8>) {
        let path = Path::own(self.socket(), from);
        rig::hand(&mut self.shard, self.now, path, &mut bytes);
        self.turn();
    }

    /// The peer answers our last check.
    fn answer_last(&mut self) {
        let (to, transaction) = *self.requests().last().unwrap();
        let mut bytes = Vec::new();
        let key = IntegrityKey::new(&turned(credentials(OURS)).remote_pwd);
        stun::success(transaction, ([10, 9, 9, 9], 50_001).into(), &key, &mut bytes);
        self.receive(to, bytes);
    }

    /// The peer checks us in this role.
    fn check(&mut self, from: SocketAddr, (controlling, tie_breaker): (bool, u64)) {
        let ice = turned(credentials(OURS));
        let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
        let use_candidate = controlling;
        let check =
            Check { username: &username, priority: 9, controlling, tie_breaker, use_candidate };
        let mut bytes = Vec::new();
        stun::request([7; 12], &check, &IntegrityKey::new(&ice.local_pwd), &mut bytes);
        self.receive(from, bytes);
    }

    /// Our checks: where they went, and their transactions.
    fn requests(&self) -> Vec<(SocketAddr, stun::TransactionId)> {
        let of = |(path, bytes): &(Path, Vec<u8>)| {
            stun::parse(bytes).ok().map(|request| (path.remote, request.transaction))
        };
        self.sent.iter().filter_map(of).collect()
    }

    fn told(&self, session: SessionId) -> Vec<&'static str> {
        self.events.iter().filter_map(|event| rig::named(event, session)).collect()
    }

    fn discarded(&self, reason: Discard) -> u64 {
        self.shard.stats().discarded(reason)
    }

    fn remove(&mut self, session: SessionId) {
        let reason = CloseReason::Deleted;
        self.shard.apply(self.now, Command::RemoveSession { session, reason });
    }

    fn install_keys(&mut self, session: SessionId) {
        let profile = Profile::AeadAes128Gcm;
        let (local, remote) = (keys(profile, session, 2), keys(profile, session, 1));
        self.shard.apply(self.now, Command::InstallKeys { session, profile, local, remote });
    }
}

fn add(session: SessionId) -> Command {
    Command::AddSession(Box::new(AddSession {
        session,
        ice: Some(turned(credentials(session))),
        media: Viewer::subscription(session, true).into(),
        candidates: vec![RemoteCandidate { address: peer(1), priority: 100 }],
        trial: None,
        claim: Claim::default(),
    }))
}

fn peer(port: u16) -> SocketAddr {
    (SERVER, port).into()
}

const HELLO: [u8; 60] = [22; 60];

#[test]
fn a_peers_check_alone_opens_no_way_for_anything_but_answers() {
    let mut alone = Alone::checking();
    // It has the password; where it comes from nobody knows.
    alone.check(peer(2), CONTROLLED);
    assert_eq!(alone.told(OURS), ["opened"]);
    alone.receive(peer(2), HELLO.to_vec());
    assert_eq!(alone.discarded(Discard::DtlsUnknownAddress), 1);
    let before = alone.sent.len();
    let datagrams = vec![HELLO.to_vec()];
    alone.shard.apply(alone.now, Command::SendDtls { session: OURS, datagrams });
    alone.turn();
    assert_eq!(alone.sent.len(), before, "nobody has consented");

    // It is checked in its turn, and its answer opens the way.
    alone.run(Duration::from_millis(60));
    assert_eq!(alone.requests().last().unwrap().0, peer(2));
    alone.answer_last();
    alone.receive(peer(2), HELLO.to_vec());
    assert_eq!(alone.told(OURS), ["opened", "claimed", "dtls"]);
}

#[test]
fn a_peers_checks_are_answered_and_a_conflict_is_told() {
    let mut alone = Alone::checking();
    let answer = |alone: &Alone| {
        let (path, bytes) = alone.sent.last().unwrap();
        let response = stun::parse_response(bytes).unwrap();
        let key = IntegrityKey::new(&turned(credentials(OURS)).local_pwd);
        assert_eq!(response.verify(&key), Ok(()));
        assert_eq!(response.transaction, [7; 12]);
        (path.remote, response.error)
    };
    alone.check(peer(1), CONTROLLED);
    assert_eq!(answer(&alone), (peer(1), None));
    alone.check(peer(1), (true, 0));
    assert_eq!(answer(&alone), (peer(1), Some(487)));
    alone.check(peer(1), (true, u64::MAX));
    assert_eq!(answer(&alone), (peer(1), None));
    // Controlled from here on: its nomination is followed.
    alone.answer_last();
    let nominations = alone.requests().len();
    alone.run(Duration::from_secs(3));
    assert_eq!(alone.requests().len(), nominations, "we nominate nothing");
    let wrong = IntegrityKey::new("not-the-password-of-anybody");
    let check = Check {
        username: "client10:server10",
        priority: 1,
        controlling: true,
        tie_breaker: 1,
        use_candidate: true,
    };
    let mut bytes = Vec::new();
    stun::request([7; 12], &check, &wrong, &mut bytes);
    let sent = alone.sent.len();
    alone.receive(peer(1), bytes);
    assert_eq!((alone.sent.len(), alone.discarded(Discard::StunIntegrity)), (sent, 1));
}

#[test]
fn a_thousand_addresses_that_nominate_leave_nothing_behind() {
    let mut alone = Alone::nominated();
    for port in 1_000..2_000 {
        alone.check(peer(port), (true, u64::MAX));
    }
    let checked = alone.requests().len();
    alone.run(Duration::from_secs(3));
    assert_eq!(alone.requests().len(), checked);
    alone.receive(peer(1_500), HELLO.to_vec());
    assert_eq!(alone.discarded(Discard::DtlsUnknownAddress), 1);
    alone.receive(peer(1), HELLO.to_vec());
    assert_eq!(alone.told(OURS).last(), Some(&"dtls"));
}

#[test]
fn nothing_is_sent_once_consent_has_expired() {
    let mut alone = Alone::nominated();
    alone.install_keys(OURS);
    let close_notify = vec![21; 39];
    alone.shard.apply(alone.now, Command::KeepFarewell { session: OURS, close_notify });
    let mut before = alone.sent.len();
    // The peer checks and so is there; it answers nothing.
    while alone.told(OURS).last() != Some(&"closed") {
        before = alone.sent.len();
        alone.check(peer(1), CONTROLLED);
        alone.run(Duration::from_secs(1));
        assert!(alone.now < Time(60_000_000));
    }
    let Some(Event::Closed { reason, .. }) = alone.events.last() else { panic!() };
    assert_eq!(*reason, CloseReason::ConsentExpired);
    let last: Vec<&Vec<u8>> = alone.sent[before..].iter().map(|(_, bytes)| bytes).collect();
    assert!(last.iter().all(|bytes| bytes[0] < 4), "checks and answers, no BYE, no record");
    assert!(alone.open.is_empty());
    // Where it was deleted instead, both go.
    let mut alone = Alone::nominated();
    alone.install_keys(OURS);
    let close_notify = vec![21; 39];
    alone.shard.apply(alone.now, Command::KeepFarewell { session: OURS, close_notify });
    alone.remove(OURS);
    alone.turn();
    assert_eq!(alone.sent.last().unwrap().1, [21; 39]);
    assert!(alone.open.is_empty());
}

#[test]
fn one_that_is_removed_before_its_socket_is_open_tells_its_successor_nothing() {
    let mut alone = Alone::new();
    alone.shard.apply(alone.now, add(OURS));
    alone.remove(OURS);
    // It gets the same slot.
    alone.shard.apply(alone.now, add(NEXT));
    alone.turn();
    assert_eq!(alone.told(OURS), ["closed"]);
    assert_eq!(alone.told(NEXT), ["opened"]);
    assert_eq!(alone.open.len(), 1);
    alone.remove(NEXT);
    alone.turn();
    assert!(alone.open.is_empty());
}

#[test]
fn a_slot_that_is_used_again_gets_a_socket_of_its_own() {
    let mut alone = Alone::nominated();
    let (old, answer) = (alone.open.clone(), alone.requests()[0]);
    alone.remove(OURS);
    alone.shard.apply(alone.now, add(NEXT));
    // On its way to the old one while io still has that socket.
    alone.receive(answer.0, HELLO.to_vec());
    assert_eq!(alone.discarded(Discard::DtlsUnknownAddress), 1);
    assert_eq!(alone.open.keys().collect::<Vec<_>>(), old.keys().collect::<Vec<_>>());
    assert_ne!(alone.open, old);
    assert_eq!(alone.told(NEXT), ["opened"]);
}

#[test]
fn an_id_that_is_added_twice_is_one_session() {
    let mut alone = Alone::new();
    let command = add(OURS);
    alone.shard.apply(alone.now, command.clone());
    alone.shard.apply(alone.now, command);
    alone.shard.apply(alone.now, add(OURS));
    alone.turn();
    assert_eq!((alone.told(OURS), alone.open.len()), (vec!["opened"], 1));
    alone.remove(OURS);
    alone.turn();
    assert_eq!((alone.told(OURS), alone.open.len()), (vec!["opened", "closed"], 0));
}

#[test]
fn a_restart_puts_nothing_on_the_shared_port() {
    let mut alone = Alone::nominated();
    let ice = turned(credentials(NEXT));
    let restart = RestartIce { session: OURS, ice: ice.clone(), proven: Proven::default() };
    alone.shard.apply(alone.now, Command::RestartIce(Box::new(restart)));
    let username = format!("{}:{}", ice.local_ufrag, ice.remote_ufrag);
    let (path, mut bytes) = on_the_shared_port(&username, &ice.local_pwd);
    let sent = alone.sent.len();
    rig::hand(&mut alone.shard, alone.now, path, &mut bytes);
    alone.turn();
    assert_eq!((alone.sent.len(), alone.discarded(Discard::StunUnknownUfrag)), (sent, 1));
}

#[test]
fn keys_before_the_first_answer_wait_for_it() {
    let mut alone = Alone::checking();
    alone.install_keys(OURS);
    alone.turn();
    alone.run(Duration::from_millis(400));
    assert_eq!(alone.requests().len(), alone.sent.len(), "checks and nothing else");
    alone.answer_last();
    assert_eq!(alone.told(OURS), ["opened", "claimed"]);
    alone.remove(OURS);
    alone.turn();
    assert_eq!(alone.told(OURS).last(), Some(&"closed"));
}

#[test]
fn without_a_socket_or_when_all_stops_nothing_stays_open() {
    let mut alone = Alone::new();
    alone.shard.apply(alone.now, add(OURS));
    let Some(SocketRequest::Open { socket, .. }) = alone.shard.poll_socket() else { panic!() };
    alone.shard.handle_socket(alone.now, socket, Err(NoSocket));
    alone.turn();
    assert_eq!((alone.told(OURS), alone.open.len()), (vec!["closed"], 0));

    let mut alone = Alone::nominated();
    alone.shard.apply(alone.now, add(NEXT));
    alone.shard.apply(alone.now, Command::Stop);
    alone.turn();
    assert_eq!((alone.told(OURS).last(), alone.told(NEXT)), (Some(&"closed"), vec!["closed"]));
    assert!(alone.open.is_empty());
    alone.run(Duration::from_secs(60));
    assert_eq!(alone.shard.poll_timeout(), Time::NEVER);
}

#[test]
fn the_kernel_is_asked_for_times_where_there_are_records() {
    for record_as in [None, Some(3)] {
        let mut alone = Alone::new();
        let Command::AddSession(mut added) = add(OURS) else { panic!() };
        added.trial = Some(Box::new(Trial { record_as, ..Trial::default() }));
        alone.shard.apply(alone.now, Command::AddSession(added));
        let Some(SocketRequest::Open { timed, .. }) = alone.shard.poll_socket() else { panic!() };
        assert_eq!(timed, record_as.is_some());
    }
}

#[test]
fn a_name_that_a_session_here_and_one_on_the_shared_port_have_stays_with_the_latter() {
    let mut alone = Alone::checking();
    let mut ice = credentials(NEXT);
    ice.local_ufrag = turned(credentials(OURS)).local_ufrag;
    let served = AddSession {
        session: NEXT,
        ice: Some(ice.clone()),
        media: Viewer::subscription(NEXT, true).into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    };
    alone.shard.apply(alone.now, Command::AddSession(Box::new(served)));
    alone.remove(OURS);
    alone.turn();
    let username = format!("{}:x", ice.local_ufrag);
    let (path, mut bytes) = on_the_shared_port(&username, &ice.local_pwd);
    rig::hand(&mut alone.shard, alone.now, path, &mut bytes);
    alone.turn();
    assert_eq!(alone.told(NEXT), ["claimed"]);
}

#[test]
fn one_that_never_answers_is_not_kept_by_its_own_checks() {
    let mut alone = Alone::checking();
    while alone.told(OURS).last() != Some(&"closed") {
        alone.check(peer(1), CONTROLLED);
        alone.run(Duration::from_millis(500));
        assert!(alone.now < Time(20_000_000));
    }
    let Some(Event::Closed { reason, .. }) = alone.events.last() else { panic!() };
    assert_eq!(*reason, CloseReason::NeverConnected);
}

#[test]
fn a_conflict_that_never_ends_ends_with_the_session() {
    let mut alone = Alone::checking();
    let key = IntegrityKey::new(&turned(credentials(OURS)).remote_pwd);
    while alone.told(OURS).last() != Some(&"closed") {
        let (to, transaction) = *alone.requests().last().unwrap();
        let mut bytes = Vec::new();
        stun::error(transaction, ErrorCode::RoleConflict, &[], Some(&key), &mut bytes);
        alone.receive(to, bytes);
        alone.run(Duration::from_millis(10));
        assert!(alone.now < Time(20_000_000));
    }
    let Some(Event::Closed { reason, .. }) = alone.events.last() else { panic!() };
    assert_eq!(*reason, CloseReason::NeverConnected);
    assert!(alone.requests().len() <= 15 * 20 + 1);
}
