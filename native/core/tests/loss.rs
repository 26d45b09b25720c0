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
/// 49,275 packets of video, each under a number of its own.
const LONG: Duration = Duration::from_secs(300);

/// Of each packet: when it left for the first time, when it first arrived, and how often it arrived
/// besides.
#[derive(Default)]
struct Packets(HashMap<(Ssrc, u16), Packet>);

struct Packet {
    left: Time,
    arrived: Option<Time>,
    /// The first time it was lost.
    lost: bool,
    again: u64,
}

impl Packets {
    /// Opens everything that left the server.
    fn read(pair: &Pair) -> Packets {
        let mut packets = Packets::default();
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
            let first =
                Packet { left: *left, arrived: *arrives, lost: arrives.is_none(), again: 0 };
            packets
                .0
                .entry((ssrc, number))
                .and_modify(|packet| {
                    packet.again += 1;
                    packet.arrived = match (packet.arrived, arrives) {
                        (Some(before), Some(now)) => Some(before.min(*now)),
                        (before, now) => before.or(*now),
                    };
                })
                .or_insert(first);
        }
        packets
    }

    fn of(&self, kind: Kind) -> Vec<&Packet> {
        let ssrc = Viewer::ssrc(WATCHING, kind);
        self.0.iter().filter(|((of, _), _)| *of == ssrc).map(|(_, packet)| packet).collect()
    }

    /// The share of a track that is there within so long of its first transmission.
    fn within(&self, kind: Kind, limit: Duration) -> f64 {
        let packets = self.of(kind);
        let in_time = |packet: &&&Packet| {
            packet.arrived.is_some_and(|arrived| arrived.since(packet.left) <= limit)
        };
        packets.iter().filter(in_time).count() as f64 / packets.len() as f64
    }

    /// Retransmissions of a track for each of its packets that were lost at first.
    fn retransmissions(&self, kind: Kind) -> f64 {
        let packets = self.of(kind);
        let lost = packets.iter().filter(|packet| packet.lost).count();
        packets.iter().map(|packet| packet.again).sum::<u64>() as f64 / lost as f64
    }
}

/// What became of five minutes of film over a way with losses, by a viewer that does what ours do
/// beyond plain NACK, or does not.
struct Outcome {
    /// Of video: shares that are there at once, within two round trips, finally.
    there: [f64; 3],
    retransmissions: f64,
}

fn watched_over(loss: u64, repeats: [bool; 2]) -> Outcome {
    let (mut pair, mut film) = watching(repeats);
    pair.loss = loss;
    // The first reports tell the loss.
    film.play(&mut pair, End::Server, Duration::from_secs(3));
    pair.served.clear();
    film.play(&mut pair, End::Server, LONG);
    pair.loss = 0;
    film.play(&mut pair, End::Server, Duration::from_secs(2));
    let packets = Packets::read(&pair);
    let limits = [ROUND_TRIP / 2, ROUND_TRIP * 2, Duration::from_secs(5)];
    let there = limits.map(|limit| packets.within(Kind::Video, limit));
    let retransmissions = packets.retransmissions(Kind::Video);
    println!(
        "server {}, viewer {}: {there:.5?} of {} video packets, {retransmissions:.2} \
         retransmissions for each lost one; audio {:.5?}",
        repeats[0],
        repeats[1],
        packets.of(Kind::Video).len(),
        limits.map(|limit| packets.within(Kind::Audio, limit)),
    );
    Outcome { there, retransmissions }
}

/// A film on the server and somebody at the other end who watches it; whether each of the two ends
/// does more on a lossy way than to ask once a round trip and to answer once.
fn watching(repeats: [bool; 2]) -> (Pair, Film) {
    let mut pair = Pair::with(1, |end, config| config.repeats = repeats[end as usize]);
    let film = Film::new(&mut pair, End::Server, FILM, STREAM);
    let serves = Viewer::subscription(WATCHING, true);
    pair.join(WATCHING, serves, watched(WATCHING), &[(server(), 1)]);
    pair.run_for(Duration::from_millis(100));
    pair.install_keys(WATCHING);
    (pair, film)
}

#[test]
fn nearly_everything_is_there_within_two_round_trips_and_all_of_it_finally() {
    let Outcome { there: [at_once, soon, finally], retransmissions } =
        watched_over(50, [true, true]);
    assert!(at_once < 0.96, "the way is lossy");
    assert!(soon >= 0.999, "{soon}");
    assert!(finally >= 0.9999, "{finally}");
    // Two for each, and few in vain.
    assert!(retransmissions < 2.3, "{retransmissions}");
}

/// It asks once and again after a round trip, and nothing of it tells that the end of a frame is
/// missing before the next frame does, as libwebrtc's NackRequester: what of a request or two is lost
/// comes later than we can help. What we can do for it keeps most of that away.
#[test]
fn a_viewer_that_asks_as_libwebrtc_does_gets_ends_of_frames_twice() {
    let plain = watched_over(50, [false, false]);
    let helped = watched_over(50, [true, false]);
    assert!(plain.retransmissions < 1.3, "{}", plain.retransmissions);
    // Two for each that it asks for, and one for each frame.
    assert!(helped.retransmissions < 6.0, "{}", helped.retransmissions);
    let [plain, helped] = [plain, helped].map(|outcome| 1.0 - outcome.there[1]);
    assert!(helped < 0.005 && helped < plain / 3.0, "{helped} late, without help {plain}");
}

#[test]
fn a_way_without_losses_carries_nothing_twice() {
    let (mut pair, mut film) = watching([true, true]);
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

/// A viewer on a way that its reports call lossy or not, and what seals its requests.
fn reporting(lost: u8) -> (Rig, Sealer) {
    let mut rig = Rig::new(1);
    let publisher = SessionId(1);
    rig.add_session(publisher, Publisher::media());
    let mut source = Publisher::new(publisher, address(2_000), rig.now, 100);
    source.frame_packets = (6, 12);
    rig.publishers.insert(publisher, source);
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(publisher, Profile::AeadAes128Gcm);
    rig.add_session(WATCHING, Viewer::subscription(WATCHING, true));
    let mut viewer = Viewer::new(WATCHING, address(3_000), rig.now, Profile::AeadAes128Gcm);
    (viewer.tells, viewer.wants_repair) = (Some((lost, 0)), false);
    rig.viewers.insert(WATCHING, viewer);
    rig.run_for(Duration::from_millis(20));
    rig.install_keys(WATCHING, Profile::AeadAes128Gcm);
    rig.run_for(Duration::from_secs(3));
    let keys = rig::keys(Profile::AeadAes128Gcm, WATCHING, 2);
    // The indices of SRTCP are counted up, and the viewer has used the first ones itself.
    let mut sealer = Sealer::new(Profile::AeadAes128Gcm, &keys);
    (0..100).for_each(|_| sealer.seal_rtcp(&mut rtcp_of(&[])));
    (rig, sealer)
}

/// A request for these packets of the viewer's video.
fn rtcp_of(numbers: &[u16]) -> Vec<u8> {
    let mut compound = Vec::new();
    let mut writer = rtcp::Writer::new(&mut compound);
    writer.receiver_report(Ssrc(9), &[]);
    if !numbers.is_empty() {
        writer.nack(Ssrc(9), Viewer::ssrc(WATCHING, Kind::Video), numbers);
    }
    compound
}

#[test]
fn what_one_request_names_leaves_as_one_train_and_twice_on_a_lossy_way() {
    for (lost, expected) in [(0, 3), (13, 6)] {
        let (mut rig, mut sealer) = reporting(lost);
        let newest = rig.newest(Viewer::ssrc(WATCHING, Kind::Video)).unwrap();
        let mut request = rtcp_of(&[newest - 9, newest - 8, newest - 7]);
        sealer.seal_rtcp(&mut request);
        rig.trains.clear();
        let path = Path { socket: SocketId::SHARED, local: rig::SERVER, remote: address(3_000) };
        rig::hand(&mut rig.shards[0], rig.now, path, &mut request);
        rig.settle();
        assert_eq!(rig.trains, [expected], "{lost}/256 lost");
        assert_eq!(rig.counted(Counter::NacksServed), 3);
    }
}

#[test]
fn on_a_lossy_way_the_end_of_a_frame_rides_twice_in_its_train() {
    for (lost, expected) in [(0, 6), (13, 7)] {
        let (mut rig, _) = reporting(lost);
        let again = rig.counted(Counter::PacketsOutRetransmission);
        rig.trains.clear();
        rig.run_for(Duration::from_secs(1));
        let longest = rig.trains.iter().filter(|datagrams| **datagrams == expected).count();
        assert!(longest > 20, "{lost}/256 lost: {:?}", rig.trains);
        let again = rig.counted(Counter::PacketsOutRetransmission) - again;
        assert_eq!(again > 20, lost > 0, "{again}");
        // Nobody asked, and what it got is right: a number has one packet.
        assert_eq!(rig.counted(Counter::NacksServed), 0);
        assert!(lost == 0 || rig.viewers[&WATCHING].repaired > 20);
    }
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
