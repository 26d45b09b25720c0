//! The client role: the same engine turned round. Two of them face each other over a network with
//! delay and losses; one serves, the other checks, nominates, watches and publishes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::command::{CloseReason, Media};
use pyforward_core::discard::Discard;
use pyforward_core::ids::{SessionId, StreamId};
use pyforward_core::time::Time;
use rig::STREAM;
use rig::pair::{End, Film, Pair, SERVER_PORT, server, watched};
use rig::viewer::Viewer;

const FILM: SessionId = SessionId(1);
const WATCHING: SessionId = SessionId(10);
const BEST: u32 = 2_130_706_431;

/// A film on the server and somebody at the other end who watches it.
fn watching(shards: u8) -> (Pair, Film) {
    let mut pair = Pair::new(shards);
    let film = Film::new(&mut pair, End::Server, FILM, STREAM);
    watch(&mut pair, WATCHING);
    (pair, film)
}

fn watch(pair: &mut Pair, session: SessionId) {
    let serves = Viewer::subscription(session, true);
    pair.join(session, serves, watched(session), &[(server(), BEST)]);
    pair.run_for(Duration::from_millis(45));
    assert_eq!(pair.client.told(session), ["opened", "claimed"]);
    pair.install_keys(session);
}

/// A film at the client's end, published to the server.
fn publishing(pair: &mut Pair) -> Film {
    let local = StreamId(5);
    let film = Film::new(pair, End::Client, FILM, local);
    let Media::Subscribe { tracks, cname, .. } = Viewer::subscription(WATCHING, true) else {
        unreachable!()
    };
    let begins = Media::Subscribe { stream: local, tracks, cname };
    let Media::Publish { tracks, .. } = watched(WATCHING) else { unreachable!() };
    pair.join(WATCHING, Media::Publish { stream: STREAM, tracks }, begins, &[(server(), BEST)]);
    pair.run_for(Duration::from_millis(60));
    pair.install_keys(WATCHING);
    film
}

/// The binding requests that left the client: when, where to, and whether they nominate.
fn checks(pair: &Pair) -> Vec<(u64, SocketAddr, bool)> {
    let requests = pair.sent.iter().filter(|(_, _, bytes)| bytes.starts_with(&[0, 1]));
    let nominates = |bytes: &[u8]| bytes.windows(4).any(|four| four == [0, 0x25, 0, 0]);
    requests
        .map(|(at, to, bytes)| {
            (at.since(Time(1_000_000)).as_millis() as u64, *to, nominates(bytes))
        })
        .collect()
}

#[test]
fn what_is_published_is_received_and_counted() {
    for shards in [1, 2] {
        let (mut pair, mut film) = watching(shards);
        film.play(&mut pair, End::Server, Duration::from_secs(5));
        pair.run_for(Duration::from_millis(100));
        let row = pair.report(End::Client, WATCHING);
        assert_eq!(row.state, "live");
        let [audio, video] = &row.tracks[..] else { panic!("{row:?}") };
        assert_eq!(audio.packets_received, film.packets[0]);
        assert_eq!(video.packets_received, film.packets[1]);
        assert_eq!((video.packets_expected, video.packets_lost), (film.packets[1], 0));
        assert_eq!((video.frames, video.keyframes), (film.frames, 3));
        assert_eq!(audio.frames, film.packets[0]);
        assert!(video.first_packet_ms.unwrap() <= video.first_keyframe_ms.unwrap());
        assert!(video.first_keyframe_ms.unwrap() < 200.0, "{row:?}");
    }
}

#[test]
fn what_comes_before_the_keys_is_held() {
    let mut pair = Pair::new(1);
    let mut film = Film::new(&mut pair, End::Server, FILM, STREAM);
    let serves = Viewer::subscription(WATCHING, true);
    pair.join(WATCHING, serves, watched(WATCHING), &[(server(), BEST)]);
    pair.run_for(Duration::from_millis(60));
    pair.install_keys_at(End::Server, WATCHING);
    film.play(&mut pair, End::Server, Duration::from_millis(500));
    pair.install_keys_at(End::Client, WATCHING);
    film.play(&mut pair, End::Server, Duration::from_secs(1));
    pair.run_for(Duration::from_millis(100));
    let row = pair.report(End::Client, WATCHING);
    let received: Vec<u64> = row.tracks.iter().map(|track| track.packets_received).collect();
    assert_eq!(received, film.packets);
    assert_eq!(row.tracks[1].packets_expected, film.packets[1]);
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_and_comes() {
    let (mut pair, mut film) = watching(2);
    pair.loss = 50;
    film.play(&mut pair, End::Server, Duration::from_secs(20));
    pair.loss = 0;
    film.play(&mut pair, End::Server, Duration::from_secs(2));
    let row = pair.report(End::Client, WATCHING);
    for track in &row.tracks {
        assert_eq!((track.packets_received, track.packets_lost), (track.packets_expected, 0));
    }
    // 5 % of 50 packets of audio a second, and of 150 of video; most of the audio came again unasked.
    let repaired: Vec<u64> = row.tracks.iter().map(|track| track.packets_repaired).collect();
    assert!(repaired[0] > 0 && repaired[1] > 100, "{repaired:?}");
}

#[test]
fn a_stream_is_published_from_the_other_end() {
    let mut pair = Pair::new(2);
    let mut film = publishing(&mut pair);
    pair.loss = 50;
    film.play(&mut pair, End::Client, Duration::from_secs(10));
    pair.loss = 0;
    film.play(&mut pair, End::Client, Duration::from_secs(2));
    let row = pair.report(End::Server, WATCHING);
    for (track, sent) in row.tracks.iter().zip(film.packets) {
        // The first packets may be lost before anybody knows that they were.
        assert!(track.packets_expected + 20 >= sent);
        assert_eq!((track.packets_received, track.packets_lost), (track.packets_expected, 0));
    }
    pair.remove(End::Client, WATCHING);
    assert_eq!(pair.client.open, 0);
}

#[test]
fn who_is_told_bye_goes_at_once_whichever_way_media_went() {
    let (mut pair, mut film) = watching(1);
    film.play(&mut pair, End::Server, Duration::from_secs(1));
    pair.remove(End::Server, WATCHING);
    pair.run_for(Duration::from_millis(25));
    assert_eq!(pair.client.closed(WATCHING), Some(CloseReason::Bye));

    let mut pair = Pair::new(1);
    let mut film = publishing(&mut pair);
    film.play(&mut pair, End::Client, Duration::from_secs(1));
    pair.remove(End::Server, WATCHING);
    pair.run_for(Duration::from_millis(25));
    assert_eq!(pair.client.closed(WATCHING), Some(CloseReason::Bye));
}

#[test]
fn candidates_are_checked_in_their_order_and_the_best_that_answers_is_nominated() {
    let mut pair = Pair::new(1);
    let film = Film::new(&mut pair, End::Server, FILM, STREAM);
    let dead: SocketAddr = ([192, 0, 2, 1], 9).into();
    let serves = Viewer::subscription(WATCHING, true);
    pair.join(WATCHING, serves, watched(WATCHING), &[(server(), 5), (dead, BEST)]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(
        checks(&pair),
        [
            (0, dead, false),
            (50, server(), false),
            // It answered at 90 ms; the better one has 200 ms more.
            (290, server(), true),
        ]
    );
    let _ = film;
}

#[test]
fn an_unanswered_check_is_repeated_at_growing_distances() {
    let mut pair = Pair::new(1);
    let dead: SocketAddr = ([192, 0, 2, 1], 9).into();
    pair.begin(WATCHING, watched(WATCHING), &[(dead, BEST)]);
    pair.run_for(Duration::from_secs(14));
    let times: Vec<u64> = checks(&pair).iter().map(|(at, _, _)| *at).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500]);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.client.closed(WATCHING), Some(CloseReason::NeverConnected));
    assert_eq!(pair.client.open, 0);
}

#[test]
fn consent_is_asked_for_and_ends_though_media_flows() {
    // Before the nomination was answered, and after.
    for nominated_ms in [0, 200] {
        let (mut pair, mut film) = watching(1);
        film.play(&mut pair, End::Server, Duration::from_millis(nominated_ms));
        pair.blocked = |end, bytes| end == End::Server && bytes[0] < 4;
        film.play(&mut pair, End::Server, Duration::from_millis(29_500));
        assert_eq!(pair.client.closed(WATCHING), None);
        film.play(&mut pair, End::Server, Duration::from_secs(1));
        assert_eq!(pair.client.closed(WATCHING), Some(CloseReason::ConsentExpired));
        assert_eq!(pair.client.open, 0);
    }
}

#[test]
fn consent_is_asked_for_every_four_to_six_seconds() {
    let (mut pair, _) = watching(1);
    pair.run_for(Duration::from_secs(60));
    let times: Vec<u64> = checks(&pair).iter().skip(1).map(|(at, _, _)| *at).collect();
    let apart: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() >= 10 && apart.iter().all(|ms| (4_000..=6_100).contains(ms)), "{apart:?}");
    assert!(apart.iter().any(|ms| *ms != apart[0]), "not in step with others");
}

#[test]
fn a_peer_that_goes_on_answering_keeps_a_silent_session() {
    let (mut pair, _) = watching(1);
    pair.run_for(Duration::from_secs(120));
    assert_eq!(pair.client.closed(WATCHING), None);
    assert_eq!(pair.server.closed(WATCHING), None);
}

#[test]
fn without_a_socket_there_is_no_session() {
    let mut pair = Pair::new(1);
    pair.client.exhausted = true;
    pair.begin(WATCHING, watched(WATCHING), &[(server(), BEST)]);
    assert_eq!(pair.client.closed(WATCHING), Some(CloseReason::NoSocket));
}

#[test]
fn what_strangers_send_to_a_sessions_own_socket_is_counted_and_nothing_more() {
    let (mut pair, mut film) = watching(1);
    film.play(&mut pair, End::Server, Duration::from_secs(1));
    let stranger: SocketAddr = ([203, 0, 113, 5], 4_000).into();
    let port = 50_001;
    for (bytes, reason) in [
        (vec![0x80; 200], Discard::UnknownSession),
        (vec![22; 100], Discard::DtlsUnknownAddress),
        (vec![0, 1, 0, 0], Discard::StunMalformed),
        (vec![1, 1, 0, 0], Discard::StunMalformed),
    ] {
        let before = pair.client.discarded(reason);
        pair.deliver(End::Client, port, stranger, bytes);
        assert_eq!(pair.client.discarded(reason), before + 1, "{reason:?}");
    }
    // The server's own datagrams, but from elsewhere.
    let row = pair.report(End::Client, WATCHING);
    assert_eq!(row.address, Some(server()));
    film.play(&mut pair, End::Server, Duration::from_secs(1));
    assert_eq!(pair.report(End::Client, WATCHING).tracks[1].packets_lost, 0);
    assert_eq!(SERVER_PORT, 8_189);
}
