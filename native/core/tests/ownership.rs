//! Who may end, take or change what: paths, keys, claims and publishers, when messages come late,
//! twice or in another order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{AddSession, CloseReason, Command, IceCredentials, Media};
use pyforward_core::discard::Discard;
use pyforward_core::exchange::Exchange;
use pyforward_core::ids::{SessionId, ShardIndex};
use pyforward_core::media::{Codec, Kind};
use pyforward_core::srtp::Profile;
use pyforward_core::stats::Counter;
use pyforward_core::time::Time;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, STREAM, check, server_pwd};

const PUBLISHER: SessionId = SessionId(5);
const VIEWER: SessionId = SessionId(10);
const GCM: Profile = Profile::AeadAes128Gcm;

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// A publisher on shard 0 and a viewer on shard 1, both flowing.
fn live() -> Rig {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    rig.publishers.insert(PUBLISHER, Publisher::new(PUBLISHER, address(2_000), rig.now, 0));
    watch(&mut rig, VIEWER, 3_001);
    rig.install_keys(PUBLISHER, GCM);
    rig.run_for(Duration::from_secs(1));
    assert!(rig.told(VIEWER).contains(&"flowing"));
    rig
}

fn watch(rig: &mut Rig, session: SessionId, port: u16) {
    rig.add_session(session, Viewer::subscription(session, true));
    rig.viewers.insert(session, Viewer::new(session, address(port), rig.now, GCM));
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(session, GCM);
}

fn source_up(rig: &mut Rig, shard: usize, publisher: SessionId, home: u8) {
    let codecs = vec![(Kind::Audio, Codec::Opus), (Kind::Video, Codec::Vp8)];
    let shard_index = ShardIndex(home);
    let up = Exchange::SourceUp { stream: STREAM, publisher, shard: shard_index, codecs };
    rig.shards[shard].handle_exchange(rig.now, up);
    rig.settle();
}

#[test]
fn whose_path_was_taken_sends_there_no_more() {
    let mut rig = live();
    let viewer = rig.viewers.remove(&VIEWER).unwrap();
    rig.run_for(Duration::from_secs(6));
    // A newcomer behind the same address: it gets nothing that was the other's.
    let newcomer = SessionId(11);
    rig.add_session(newcomer, Viewer::subscription(newcomer, true));
    rig.viewers.insert(newcomer, Viewer::new(newcomer, viewer.ice.address, rig.now, GCM));
    rig.run_for(Duration::from_millis(1));
    let sent = rig.counted(Counter::PacketsOut);
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.counted(Counter::PacketsOut), sent, "the newcomer has no keys yet");
    rig.install_keys(newcomer, GCM);
    rig.run_for(Duration::from_secs(1));
    assert!(rig.told(newcomer).contains(&"flowing"));
    // It comes back by another way, and goes on without a gap.
    let mut viewer = viewer;
    viewer.move_to(rig.now, address(3_003));
    let before = viewer.media[Kind::Video as usize].len();
    rig.viewers.insert(VIEWER, viewer);
    rig.run_for(Duration::from_secs(3));
    let viewer = &rig.viewers[&VIEWER];
    assert!(viewer.media[Kind::Video as usize].len() > before + 50, "it starts again");
    assert_eq!((rig.closed(VIEWER), viewer.broken.len()), (None, 0));
    assert_eq!(rig.broken, vec![]);
}

#[test]
fn keys_are_installed_once() {
    let mut rig = live();
    rig.run_for(Duration::from_secs(10));
    let asked = rig.publishers[&PUBLISHER].keyframe_requests;
    // The same keys in a second sealer would count from zero again: the publisher would refuse
    // all of it as replayed, if its nonces were not given away first.
    rig.install_keys(PUBLISHER, GCM);
    rig.viewers.get_mut(&VIEWER).unwrap().pli = true;
    rig.run_for(Duration::from_secs(1));
    assert!(rig.publishers[&PUBLISHER].keyframe_requests > asked);
}

#[test]
fn a_session_that_came_and_went_is_not_kept_by_a_slower_shard() {
    let mut rig = Rig::new(2);
    let added = AddSession {
        session: VIEWER,
        ice: Some(IceCredentials {
            local_ufrag: format!("server{VIEWER}"),
            local_pwd: server_pwd(VIEWER),
            remote_ufrag: "peer".into(),
            remote_pwd: "unused-unused-unused-unused".into(),
        }),
        media: Viewer::subscription(VIEWER, true).into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    };
    rig.shards[0].apply(rig.now, Command::AddSession(Box::new(added.clone())));
    rig.landing.insert(address(3_000), 0);
    rig.send(address(3_000), check(VIEWER, 1, true));
    rig.run_for(Duration::from_secs(20));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Silent));
    rig.shards[1].apply(rig.now, Command::AddSession(Box::new(added)));
    rig.send(address(3_001), check(VIEWER, 2, true));
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.discarded(Discard::StunUnknownUfrag), 1);
    assert_eq!(rig.told(VIEWER), ["claimed", "closed"]);
}

#[test]
fn the_newest_publisher_holds_the_stream_whoever_is_heard_last() {
    let mut rig = live();
    // A rumour of a publisher that was replaced long ago, and the news of its end.
    source_up(&mut rig, 1, SessionId(2), 0);
    let down = Exchange::SourceDown { stream: STREAM, publisher: SessionId(2) };
    rig.shards[1].handle_exchange(rig.now, down);
    let before = rig.viewers[&VIEWER].media[1].len();
    rig.run_for(Duration::from_secs(1));
    assert!(rig.viewers[&VIEWER].media[1].len() > before + 50);
    // Of a newer one: from now on it is the only one.
    source_up(&mut rig, 1, SessionId(7), 0);
    rig.run_for(Duration::from_millis(1));
    let before = rig.viewers[&VIEWER].media[1].len();
    rig.run_for(Duration::from_secs(1));
    assert_eq!(rig.viewers[&VIEWER].media[1].len(), before);
}

#[test]
fn a_stream_that_goes_before_its_sessions_harms_nobody() {
    let mut rig = live();
    rig.command(Command::KeepFarewell { session: VIEWER, close_notify: vec![21; 39] });
    rig.command(Command::RemoveStream { stream: STREAM });
    rig.viewers.get_mut(&VIEWER).unwrap().pli = true;
    rig.run_for(Duration::from_secs(5));
    rig.remove(VIEWER);
    rig.remove(PUBLISHER);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.closed(VIEWER), Some(CloseReason::Deleted));
    assert_eq!(rig.closed(PUBLISHER), Some(CloseReason::Deleted));
    assert_eq!(rig.viewers[&VIEWER].dtls.len(), 1, "its farewell came");
}

#[test]
fn nobody_waits_for_the_keyframe_of_a_publisher_without_video() {
    let mut rig = Rig::new(1);
    let Media::Publish { stream, mut tracks } = Publisher::media() else { panic!("it publishes") };
    tracks.retain(|track| track.kind == Kind::Audio);
    let media = Media::Publish { stream, tracks };
    let added = AddSession {
        session: PUBLISHER,
        ice: None,
        media: media.into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    };
    rig.command(Command::AddSession(Box::new(added)));
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.send(address(3_000), check(VIEWER, 1, true));
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(VIEWER, GCM);
    rig.run_for(Duration::from_millis(600));
    assert!(
        rig.shards[0].poll_timeout() > rig.now + Duration::from_secs(10),
        "only silence is due"
    );
}

#[test]
fn an_interval_of_zero_ends_no_loop() {
    let mut rig = Rig::with(1, |config| config.keyframe_interval = Duration::ZERO);
    rig.add_session(PUBLISHER, Publisher::media());
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.send(address(2_000), check(PUBLISHER, 1, true));
    rig.send(address(3_000), check(VIEWER, 1, true));
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(PUBLISHER, GCM);
    rig.install_keys(VIEWER, GCM);
    rig.shards[0].handle_timeout(rig.now);
    assert!(rig.shards[0].poll_timeout() > rig.now);
    assert!(rig.shards[0].poll_timeout() < Time::NEVER);
}

#[test]
fn a_reference_time_is_answered_in_the_next_report() {
    let mut rig = live();
    rig.viewers.get_mut(&VIEWER).unwrap().reference_time = true;
    rig.run_for(Duration::from_secs(6));
    let viewer = &rig.viewers[&VIEWER];
    let [(last_rr, delay)] = viewer.round_trips[..] else { panic!("one answer") };
    assert_eq!(last_rr, 0x1234_5678);
    // The answer says how long it took, so that the viewer can tell its round trip.
    let seconds = f64::from(delay) / 65_536.0;
    assert!((0.0..6.0).contains(&seconds), "{seconds}");
}
