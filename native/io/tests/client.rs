//! Two engines with their threads over loopback: a session in the client role of one reaches a
//! session that the other serves. What happens when descriptors run out is tried here too, since
//! that limit is the process's.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyforward_core::claim::Claim;
use pyforward_core::command::{
    AddSession, CloseReason, Command, IceCredentials, Media, RemoteCandidate,
};
use pyforward_core::event::Event;
use pyforward_core::ids::{SessionId, StreamId};
use pyforward_io::engine::{Engine, EngineConfig};

/// One after the other: one of them takes the process's descriptors away.
static TURN: Mutex<()> = Mutex::new(());

fn engine(shards: u8) -> Engine {
    let config = EngineConfig {
        source_address: None,
        pace_bytes_per_second: 0,
        repeats: true,
        cores: Vec::new(),
        addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        port: 0,
        shards,
        gso: true,
        train_packets: 16,
        padding: true,
        sendmmsg: true,
        recvmmsg: true,
        riders: true,
        slice: Duration::from_micros(250),
        short_turns: true,
        frame_window: Duration::from_millis(4),
        idle_window: Duration::from_millis(4),
        shed_after: Duration::from_millis(200),
        keyframe_interval: Duration::from_millis(500),
        silence: Duration::from_secs(15),
        publisher_bitrate_bps: 20_000_000,
        max_events: 1_000,
    };
    Engine::start(&config, Arc::new(|reason| panic!("{reason}"))).unwrap()
}

/// Takes events until one is as wanted; that one. In vain it fails, with what came instead.
fn wait(engine: &Engine, seen: &mut Vec<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let start = Instant::now();
    loop {
        if let Some(at) = seen.iter().position(&wanted) {
            return seen.remove(at);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "in vain: {seen:?}");
        seen.extend(engine.take_events(100));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn credentials(side: &str, session: SessionId) -> (String, String) {
    (format!("{side}{session}"), format!("password-of-the-{side}-of-{session}"))
}

/// A session of one side; in the client role with candidates.
fn add(session: SessionId, sides: [&str; 2], candidates: &[SocketAddr]) -> Command {
    let [(local_ufrag, local_pwd), (remote_ufrag, remote_pwd)] =
        sides.map(|side| credentials(side, session));
    let media = Media::Publish { stream: StreamId::NOWHERE, tracks: Vec::new() };
    let candidate =
        |(address, priority): (&SocketAddr, u32)| RemoteCandidate { address: *address, priority };
    Command::AddSession(Box::new(AddSession {
        session,
        ice: Some(IceCredentials { local_ufrag, local_pwd, remote_ufrag, remote_pwd }),
        media: media.into(),
        candidates: candidates.iter().zip(1..).map(candidate).collect(),
        trial: None,
        claim: Claim::default(),
    }))
}

#[test]
fn a_session_of_one_engine_reaches_one_of_another() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, client) = (engine(2), engine(2));
    let [v4, v6] = *server.addresses() else { panic!("two addresses") };
    // Of both families, on both shards of the client; the best candidate of the last leads nowhere.
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    for (id, candidates) in [(1, vec![v4]), (2, vec![v6]), (3, vec![v4, v6]), (4, vec![v4, dead])] {
        let session = SessionId(id);
        let of = |event: &Event, name: &str| match event {
            Event::Opened { session: s, .. } => *s == session && name == "opened",
            Event::Claimed { session: s, .. } => *s == session && name == "claimed",
            Event::DtlsReceived { session: s, .. } => *s == session && name == "dtls",
            Event::Closed { session: s, .. } => *s == session && name == "closed",
            _ => false,
        };
        server.submit(vec![add(session, ["server", "client"], &[])]).unwrap();
        client.submit(vec![add(session, ["client", "server"], &candidates)]).unwrap();
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());

        let opened = wait(&client, &mut at_client, |event| of(event, "opened"));
        let Event::Opened { port, .. } = opened else { panic!() };
        let claimed = wait(&client, &mut at_client, |event| of(event, "claimed"));
        let Event::Claimed { address, .. } = claimed else { panic!() };
        assert!(candidates.contains(&address) && address != dead);
        let claimed = wait(&server, &mut at_server, |event| of(event, "claimed"));
        let Event::Claimed { address, .. } = claimed else { panic!() };
        assert_eq!(address.port(), port);
        assert!(address.ip().is_loopback());

        // DTLS goes both ways from here.
        for (from, to, seen) in
            [(&client, &server, &mut at_server), (&server, &client, &mut at_client)]
        {
            let datagrams = vec![vec![22; 100 + id as usize]];
            from.submit(vec![Command::SendDtls { session, datagrams }]).unwrap();
            let Event::DtlsReceived { datagram, .. } = wait(to, seen, |event| of(event, "dtls"))
            else {
                panic!()
            };
            assert_eq!(datagram, vec![22; 100 + id as usize]);
        }
        for (engine, seen) in [(&client, &mut at_client), (&server, &mut at_server)] {
            let reason = CloseReason::Deleted;
            engine.submit(vec![Command::RemoveSession { session, reason }]).unwrap();
            wait(engine, seen, |event| of(event, "closed"));
        }
    }
}

#[test]
fn two_sessions_that_both_check_agree_who_nominates() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let engines = [engine(1), engine(1)];
    let session = SessionId(1);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    // Nobody knows the other's port before it is open: the first hears of the second by its checks.
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    engines[0].submit(vec![add(session, ["left", "right"], &[dead])]).unwrap();
    let opened = wait(&engines[0], &mut first, |event| matches!(event, Event::Opened { .. }));
    let Event::Opened { port, .. } = opened else { panic!() };
    let known = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    engines[1].submit(vec![add(session, ["right", "left"], &[known])]).unwrap();
    let opened = wait(&engines[1], &mut second, |event| matches!(event, Event::Opened { .. }));
    let Event::Opened { port, .. } = opened else { panic!() };
    let claimed = |event: &Event| matches!(event, Event::Claimed { .. });
    for (engine, seen, peer) in
        [(&engines[0], &mut first, port), (&engines[1], &mut second, known.port())]
    {
        let Event::Claimed { address, .. } = wait(engine, seen, claimed) else { panic!() };
        assert_eq!(address.port(), peer);
    }
}

#[test]
fn many_sessions_come_and_go_and_leave_no_descriptor_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, client) = (engine(1), engine(2));
    let v4 = server.addresses()[0];
    let before = descriptors();
    let mut seen = Vec::new();
    for round in 0..3 {
        let sessions: Vec<SessionId> = (0..100).map(|id| SessionId(round * 100 + id)).collect();
        for session in &sessions {
            server.submit(vec![add(*session, ["server", "client"], &[])]).unwrap();
            client.submit(vec![add(*session, ["client", "server"], &[v4])]).unwrap();
        }
        for session in &sessions {
            let claimed =
                |event: &Event| matches!(event, Event::Claimed { session: s, .. } if s == session);
            wait(&client, &mut seen, claimed);
        }
        assert_eq!(descriptors(), before + sessions.len());
        for session in &sessions {
            // At the server too: it gives a path to nobody else for 5 s, and ports come again.
            for engine in [&client, &server] {
                let (session, reason) = (*session, CloseReason::Deleted);
                engine.submit(vec![Command::RemoveSession { session, reason }]).unwrap();
            }
        }
        for session in &sessions {
            let closed =
                |event: &Event| matches!(event, Event::Closed { session: s, .. } if s == session);
            wait(&client, &mut seen, closed);
        }
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn without_descriptors_a_session_is_closed_and_the_engine_goes_on() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (server, client) = (engine(1), engine(1));
    let v4 = server.addresses()[0];
    let (first, second) = (SessionId(1), SessionId(2));
    let mut seen = Vec::new();
    let before = limit_descriptors(3);
    client.submit(vec![add(first, ["client", "server"], &[v4])]).unwrap();
    let refused =
        |event: &Event| matches!(event, Event::Closed { session, .. } if *session == first);
    let closed = wait(&client, &mut seen, refused);
    limit_descriptors(before);
    let Event::Closed { reason, .. } = closed else { panic!() };
    assert_eq!(reason, CloseReason::NoSocket);
    assert!(seen.is_empty());
    client.submit(vec![add(second, ["client", "server"], &[v4])]).unwrap();
    wait(&client, &mut seen, |event| matches!(event, Event::Opened { .. }));
}

/// How many descriptors the process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sets how many there may be; how many it was before. Open ones stay.
fn limit_descriptors(most: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a structure that lives across them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = most;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}
