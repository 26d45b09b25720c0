//! Who ends what, and what is left: docs/lifetimes.md, sentence by sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::command::{CloseReason, Command};
use pyforward_core::discard::Discard;
use pyforward_core::egress::Outcome;
use pyforward_core::event::Event;
use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::Profile;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, SERVER, check, check_with, server_pwd};

const PUBLISHER: SessionId = SessionId(1);
const VIEWER: SessionId = SessionId(10);
const GCM: Profile = Profile::AeadAes128Gcm;

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// A publisher and a viewer on two shards, both flowing.
fn live() -> Rig {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    rig.publishers.insert(PUBLISHER, Publisher::new(PUBLISHER, address(2_000), rig.now, 0));
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.viewers.insert(VIEWER, Viewer::new(VIEWER, address(3_001), rig.now, GCM));
    rig.run_for(Duration::from_millis(10));
    rig.install_keys(PUBLISHER, GCM);
    rig.install_keys(VIEWER, GCM);
    rig.run_for(Duration::from_secs(2));
    assert!(rig.told(VIEWER).contains(&"flowing"));
    rig
}

fn send(rig: &mut Rig, port: u16, bytes: Vec<u8>) {
    rig.send(address(port), bytes);
    rig.run_for(Duration::from_millis(1));
}

#[test]
fn delete_says_goodbye_and_nothing_follows() {
    let mut rig = live();
    rig.command(Command::KeepFarewell { session: VIEWER, close_notify: vec![21; 39] });
    rig.remove(VIEWER);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Deleted));
    let viewer = &rig.viewers[&VIEWER];
    assert_eq!((viewer.byes, viewer.dtls.len()), (2, 1), "BYE for both tracks, close_notify");
    let (events, packets) = (rig.told(VIEWER).len(), viewer.sealed.len());
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.told(VIEWER).len(), events, "Closed is the last event");
    assert_eq!(rig.viewers[&VIEWER].sealed.len(), packets);
    assert!(rig.discarded(Discard::StunUnknownUfrag) + rig.discarded(Discard::UnknownSession) > 0);
}

#[test]
fn a_second_removal_is_ignored() {
    let mut rig = live();
    rig.remove(VIEWER);
    rig.remove(VIEWER);
    assert_eq!(rig.told(VIEWER).iter().filter(|name| **name == "closed").count(), 1);
}

#[test]
fn silence_closes_after_fifteen_seconds_and_checks_alone_keep_alive() {
    let mut rig = live();
    rig.run_for(Duration::from_secs(40));
    assert_eq!(rig.closed(VIEWER), None);
    let viewer = rig.viewers.remove(&VIEWER).unwrap();
    drop(viewer);
    rig.run_for(Duration::from_secs(14));
    assert_eq!(rig.closed(VIEWER), None);
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Silent));
}

#[test]
fn media_alone_keeps_a_publisher_that_never_checks_again() {
    let mut rig = live();
    // FFmpeg 8.0 sends no checks once it is connected.
    rig.publishers.get_mut(&PUBLISHER).unwrap().checks = false;
    rig.run_for(Duration::from_secs(40));
    assert_eq!(rig.closed(PUBLISHER), None);
}

/// A publisher that has shaken hands and sends, and whose keys are not here yet.
fn ahead_of_its_keys() -> Rig {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    let mut publisher = Publisher::new(PUBLISHER, address(2_000), rig.now, 0);
    publisher.on_air = false;
    // No encoder that is asked would answer within the test.
    publisher.frames_between_keyframes = 1_000;
    rig.publishers.insert(PUBLISHER, publisher);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.viewers.insert(VIEWER, Viewer::new(VIEWER, address(3_001), rig.now, GCM));
    rig.run_for(Duration::from_millis(10));
    rig.install_keys(VIEWER, GCM);
    send(&mut rig, 2_000, vec![22; 60]);
    rig.publishers.get_mut(&PUBLISHER).unwrap().on_air = true;
    rig.run_for(Duration::from_millis(5));
    rig
}

#[test]
fn what_overtakes_the_keys_waits_for_them() {
    // FFmpeg is the DTLS server: its keyframe follows its last flight, and it makes none on request.
    let mut rig = ahead_of_its_keys();
    assert_eq!(rig.discarded(Discard::SrtpNoKeys), 0);
    rig.install_keys(PUBLISHER, GCM);
    rig.run_for(Duration::from_millis(5));
    let sent = &rig.publishers[&PUBLISHER].sent[Kind::Video as usize];
    assert_eq!(sent.len(), 20, "a keyframe");
    assert_eq!(&rig.viewers[&VIEWER].payloads(Kind::Video), sent);
    assert_eq!(rig.told(PUBLISHER).iter().filter(|name| **name == "secured").count(), 1);
}

#[test]
fn what_waits_for_keys_goes_with_its_session() {
    let mut rig = ahead_of_its_keys();
    let waiting = rig.publishers[&PUBLISHER].sent.iter().map(Vec::len).sum::<usize>() as u64;
    rig.publishers.get_mut(&PUBLISHER).unwrap().on_air = false;
    rig.remove(PUBLISHER);
    assert_eq!(rig.discarded(Discard::SrtpNoKeys), waiting);
}

#[test]
fn media_before_any_handshake_does_not_wait() {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    rig.publishers.insert(PUBLISHER, Publisher::new(PUBLISHER, address(2_000), rig.now, 0));
    rig.run_for(Duration::from_millis(5));
    assert!(rig.discarded(Discard::SrtpNoKeys) > 0);
}

#[test]
fn a_viewers_bye_closes_it_soon() {
    let mut rig = live();
    let viewer = rig.viewers.get_mut(&VIEWER).unwrap();
    viewer.bye = true;
    rig.run_for(Duration::from_millis(50));
    rig.viewers.remove(&VIEWER);
    rig.run_for(Duration::from_secs(4));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Bye));
}

#[test]
fn a_publishers_bye_is_a_hint() {
    let mut rig = live();
    rig.publishers.get_mut(&PUBLISHER).unwrap().bye = true;
    rig.run_for(Duration::from_secs(5));
    assert_eq!(rig.closed(PUBLISHER), None, "it goes on sending");
    assert_eq!(rig.viewers[&VIEWER].byes, 0, "and viewers hear nothing of it");
    rig.publishers.get_mut(&PUBLISHER).unwrap().bye = true;
    rig.run_for(Duration::from_millis(10));
    rig.publishers.remove(&PUBLISHER);
    rig.run_for(Duration::from_secs(4));
    assert_eq!(rig.closed(PUBLISHER), Some(CloseReason::Bye));
    assert_eq!(rig.closed(VIEWER), None, "viewers wait for the next one");
}

#[test]
fn a_session_that_nobody_claimed_is_closed_once() {
    let mut rig = Rig::new(2);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.command(Command::RemoveSession { session: VIEWER, reason: CloseReason::NeverConnected });
    assert_eq!(rig.told(VIEWER), ["closed"]);
    send(&mut rig, 3_000, check(VIEWER, 1, true));
    assert_eq!(rig.discarded(Discard::StunUnknownUfrag), 1);
}

#[test]
fn stopping_says_goodbye_to_all() {
    let mut rig = live();
    rig.command(Command::Stop);
    rig.run_for(Duration::from_millis(5));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Stopping));
    assert_eq!(rig.closed(PUBLISHER), Some(CloseReason::Stopping));
    assert_eq!(rig.viewers[&VIEWER].byes, 2);
    let stopped = rig.events.iter().filter(|e| matches!(e, Event::Stopped { .. })).count();
    assert_eq!(stopped, 2);
    let before = rig.viewers[&VIEWER].answers;
    rig.run_for(Duration::from_secs(5));
    assert_eq!(rig.viewers[&VIEWER].answers, before, "nothing is answered any more");
}

#[test]
fn dtls_reaches_control_from_checked_addresses_until_the_farewell() {
    let mut rig = Rig::new(1);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    send(&mut rig, 3_000, vec![22; 60]);
    assert_eq!(rig.discarded(Discard::DtlsUnknownAddress), 1);
    send(&mut rig, 3_000, check(VIEWER, 1, false));
    send(&mut rig, 3_000, vec![22; 60]);
    assert_eq!(rig.told(VIEWER), ["claimed", "dtls"], "without waiting for nomination");
    rig.command(Command::KeepFarewell { session: VIEWER, close_notify: vec![21; 39] });
    send(&mut rig, 3_000, vec![22; 60]);
    assert_eq!(rig.discarded(Discard::DtlsLimit), 1);
    assert_eq!(rig.told(VIEWER), ["claimed", "dtls"]);
}

#[test]
fn a_flood_of_dtls_stops_at_the_limit() {
    let mut rig = Rig::new(1);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    send(&mut rig, 3_000, check(VIEWER, 1, false));
    for _ in 0..1_000 {
        send(&mut rig, 3_000, vec![22; 60]);
    }
    assert_eq!(rig.told(VIEWER).len(), 129);
    assert_eq!(rig.discarded(Discard::DtlsLimit), 872);
}

#[test]
fn a_wrong_password_opens_nothing() {
    let mut rig = Rig::new(1);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    send(&mut rig, 3_000, check_with(VIEWER, 1, true, "wrong-password-wrong-password"));
    assert_eq!(rig.discarded(Discard::StunIntegrity), 1);
    assert_eq!(rig.told(VIEWER), Vec::<&str>::new());
    assert!(!server_pwd(VIEWER).is_empty());
}

#[test]
fn a_path_is_taken_only_from_a_silent_owner() {
    let mut rig = live();
    let newcomer = SessionId(11);
    rig.add_session(newcomer, Viewer::subscription(newcomer, true));
    send(&mut rig, 3_001, check(newcomer, 1, true));
    assert_eq!(rig.discarded(Discard::PathTaken), 1, "its owner is alive");
    rig.viewers.remove(&VIEWER);
    rig.run_for(Duration::from_secs(6));
    send(&mut rig, 3_001, check(newcomer, 2, true));
    assert_eq!(rig.discarded(Discard::PathTaken), 1);
    let path = Path { socket: SocketId::SHARED, local: SERVER, remote: address(3_001) };
    let mut record = vec![22; 60];
    rig::hand(&mut rig.shards[1], rig.now, path, &mut record);
    rig.settle();
    assert_eq!(rig.told(newcomer).last(), Some(&"dtls"), "the path leads to the newcomer");
}

#[test]
fn a_viewer_whose_socket_is_full_waits_for_a_keyframe_and_harms_nobody() {
    let mut rig = live();
    let packets = rig.viewers[&VIEWER].media[1].len();
    rig.outcomes = vec![Outcome::Full; 3];
    rig.run_for(Duration::from_secs(3));
    let viewer = &rig.viewers[&VIEWER];
    assert!(viewer.media[1].len() > packets + 100, "it goes on at the next keyframe");
    assert_eq!(viewer.broken, vec![]);
    let numbers: Vec<u64> = viewer.media[1].keys().copied().collect();
    let gaps = numbers.windows(2).filter(|w| w[1] != w[0] + 1).count();
    assert!(gaps <= 1, "what was held back left no gap: {gaps}");
    assert!(viewer.payloads(Kind::Video).len() > 100);
}

#[test]
fn a_viewer_that_cannot_take_the_next_publishers_codec_is_closed_with_the_reason() {
    let mut rig = live();
    rig.command(Command::RemoveSession { session: PUBLISHER, reason: CloseReason::Replaced });
    rig.publishers.clear();
    let next = SessionId(2);
    rig.add_session(next, Publisher::media_of(pyforward_core::media::Codec::H264));
    rig.publishers.insert(next, Publisher::new(next, address(2_001), rig.now, 0));
    rig.run_for(Duration::from_millis(10));
    rig.install_keys(next, GCM);
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::NoCommonCodec));
}

#[test]
fn a_session_is_reported_from_its_claim_on() {
    let mut rig = Rig::new(2);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    let state = |rig: &mut Rig| {
        let ticket = pyforward_core::ids::Ticket(rig.events.len() as u64);
        rig.command(Command::ReportSessions { ticket, sessions: vec![VIEWER] });
        let rows = rig.events.iter().filter_map(|event| match event {
            Event::Report { ticket: answered, rows, .. } if *answered == ticket => Some(rows),
            _ => None,
        });
        let states: Vec<_> = rows.flatten().map(|row| row.state).collect();
        states
    };
    assert_eq!(state(&mut rig), Vec::<&str>::new(), "it lives nowhere yet");
    send(&mut rig, 3_000, check(VIEWER, 1, true));
    assert_eq!(state(&mut rig), ["connecting"]);
    rig.install_keys(VIEWER, GCM);
    assert_eq!(state(&mut rig), ["starting"]);
    assert_eq!(state(&mut live()), ["live"]);
}
