//! A lossy way: 40 ms of round trip and 5 % lost each way. How soon each packet is there, and what a
//! storm of requests for a packet that the stream lacks costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::HashMap;
use std::time::Duration;

use pyforward_core::ids::{SessionId, Ssrc};
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::{Limits, Opener, Profile, Sealer};
use pyforward_core::stats::Counter;
use pyforward_core::time::Time;
use pyforward_core::{rtcp, rtp};
use rig::pair::{End, Film, Pair, server, watched};
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, STREAM};

const FILM: SessionId = SessionId(1);
const WATCHING: SessionId = SessionId(10);
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// When each packet of a track left for the first time, and when it first arrived.
#[derive(Default)]
struct Times(HashMap<(Ssrc, u16), (Time, Option<Time>)>);

impl Times {
    /// Opens everything that left the server; `arrives` says when, if ever.
    fn read(pair: &Pair) -> Times {
        let mut times = Times::default();
        let limits = Limits { max_ssrcs: 8, window: 8_192 };
        let keys = rig::keys(pair.profile, WATCHING, 1);
        let mut opener = Opener::new(pair.profile, &keys, limits);
        let rtx = Viewer::rtx_ssrc(WATCHING);
        for (left, arrives, bytes) in &pair.served {
            let mut bytes = bytes.clone();
            let is_rtp = (128..192).contains(&bytes[0]) && !(192..224).contains(&bytes[1]);
            let Some(view) = is_rtp.then(|| rtp::View::parse(&bytes).ok()).flatten() else {
                continue;
            };
            let opened = opener.open_rtp(&mut bytes, view.header_len, view.ssrc, view.sequence);
            let (ssrc, number) = match opened {
                // The same again, as where RTX was not negotiated.
                Err(_) => (view.ssrc, view.sequence),
                Ok(_) if view.ssrc == rtx => {
                    let osn = [bytes[view.header_len], bytes[view.header_len + 1]];
                    (Viewer::ssrc(WATCHING, Kind::Video), u16::from_be_bytes(osn))
                }
                Ok(_) => (view.ssrc, view.sequence),
            };
            let entry = times.0.entry((ssrc, number)).or_insert((*left, None));
            entry.1 = match (entry.1, arrives) {
                (Some(before), Some(now)) => Some(before.min(*now)),
                (before, now) => before.or(*now),
            };
        }
        times
    }

    /// The share of packets that are there within so long of their first transmission.
    fn within(&self, limit: Duration) -> f64 {
        let there = self
            .0
            .values()
            .filter(|(left, arrived)| arrived.is_some_and(|arrived| arrived.since(*left) <= limit));
        there.count() as f64 / self.0.len() as f64
    }
}

/// A film on the server and somebody at the other end who watches it.
fn watching() -> (Pair, Film) {
    let mut pair = Pair::new(1);
    let film = Film::new(&mut pair, End::Server, FILM, STREAM);
    let serves = Viewer::subscription(WATCHING, true);
    pair.join(WATCHING, serves, watched(WATCHING), &[(server(), 1)]);
    pair.run_for(Duration::from_millis(100));
    pair.install_keys(WATCHING);
    (pair, film)
}

#[test]
fn nearly_everything_is_there_within_two_round_trips_and_all_of_it_finally() {
    let (mut pair, mut film) = watching();
    pair.loss = 50;
    // The first reports tell the loss.
    film.play(&mut pair, End::Server, Duration::from_secs(3));
    pair.served.clear();
    film.play(&mut pair, End::Server, Duration::from_secs(60));
    pair.loss = 0;
    film.play(&mut pair, End::Server, Duration::from_secs(2));
    let times = Times::read(&pair);
    let soon = times.within(ROUND_TRIP * 2);
    let finally = times.within(Duration::from_secs(5));
    let first = times.within(ROUND_TRIP / 2);
    println!("{} packets: {first:.5} at once, {soon:.5} soon, {finally:.6} finally", times.0.len());
    let row = pair.report(End::Server, WATCHING);
    println!("{} first, {} again, {} asked for", row.packets, row.repaired, row.nacks);
    assert!(first < 0.96, "the way is lossy");
    assert!(soon >= 0.999, "{soon}");
    assert!(finally >= 0.9999, "{finally}");
}

#[test]
fn a_way_without_losses_carries_nothing_twice() {
    let (mut pair, mut film) = watching();
    film.play(&mut pair, End::Server, Duration::from_secs(10));
    let row = pair.report(End::Server, WATCHING);
    assert_eq!((row.nacks, row.repaired), (0, 0));
    // Nor does one that loses half: that is congestion.
    pair.loss = 500;
    film.play(&mut pair, End::Server, Duration::from_secs(3));
    let before = pair.report(End::Server, WATCHING);
    film.play(&mut pair, End::Server, Duration::from_secs(10));
    let row = pair.report(End::Server, WATCHING);
    assert!(row.repaired - before.repaired <= row.nacks - before.nacks, "only what was asked for");
}

/// What a thousand viewers cost that ask for a packet which the stream lacks, as libwebrtc asks:
/// every round trip, ten times.
#[test]
#[ignore = "measures time: make soak"]
fn a_storm_of_requests_for_what_the_stream_lacks_is_cheap() {
    const VIEWERS: u64 = 1_000;
    const TRIES: u64 = 10;
    let mut rig = Rig::new(1);
    let publisher = SessionId(1);
    rig.add_session(publisher, Publisher::media());
    let source = Publisher::new(publisher, address(2_000), rig.now, 100);
    rig.publishers.insert(publisher, source);
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(publisher, Profile::AeadAes128Gcm);
    let sessions: Vec<SessionId> = (10..10 + VIEWERS).map(SessionId).collect();
    for session in &sessions {
        rig.add_session(*session, Viewer::subscription(*session, true));
        rig.send(address(session.0 as u16 + 3_000), rig::check(*session, 1, true));
    }
    rig.run_for(Duration::from_millis(10));
    for session in &sessions {
        rig.install_keys(*session, Profile::AeadAes128Gcm);
    }
    if let Some(publisher) = rig.publishers.get_mut(&publisher) {
        publisher.lost_for_good = Some(200);
    }
    rig.run_for(Duration::from_secs(3));
    let requests: Vec<Vec<(Path, Vec<u8>)>> = storm(&rig, &sessions, TRIES);
    let begun = std::time::Instant::now();
    for round in requests {
        for (path, mut bytes) in round {
            rig::hand(&mut rig.shards[0], rig.now, path, &mut bytes);
        }
        rig.settle();
    }
    let spent = begun.elapsed();
    let each = spent / (VIEWERS * TRIES) as u32;
    // Ten rounds of 40 ms.
    let share = spent.as_secs_f64() / 0.4;
    println!("{each:?} for each request, {:.1} % of a core", share * 100.0);
    assert_eq!(rig.counted(Counter::NacksMissed), VIEWERS * TRIES);
    assert!(share < 0.05);
}

/// Requests of everybody for a number that was never sent, by rounds.
fn storm(rig: &Rig, sessions: &[SessionId], tries: u64) -> Vec<Vec<(Path, Vec<u8>)>> {
    let profile = Profile::AeadAes128Gcm;
    let mut sealers: Vec<Sealer> = sessions
        .iter()
        .map(|session| Sealer::new(profile, &rig::keys(profile, *session, 2)))
        .collect();
    let request = |session: &SessionId, sealer: &mut Sealer| {
        let media = Viewer::ssrc(*session, Kind::Video);
        let lacking = rig.newest(media).unwrap_or(0).wrapping_add(1_000);
        let mut compound = Vec::new();
        let mut writer = rtcp::Writer::new(&mut compound);
        writer.receiver_report(Ssrc(9), &[]).nack(Ssrc(9), media, &[lacking]);
        sealer.seal_rtcp(&mut compound);
        let remote = address(session.0 as u16 + 3_000);
        (Path { socket: SocketId::SHARED, local: rig::SERVER, remote }, compound)
    };
    (0..tries)
        .map(|_| sessions.iter().zip(&mut sealers).map(|(s, sealer)| request(s, sealer)).collect())
        .collect()
}

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}
