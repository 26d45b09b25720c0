//! What a publisher sends, every viewer gets: over two shards, a lossy network and a change of
//! address, nothing is lost that repair can bring and every payload is the publisher's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{AddSession, CloseReason, Command, Media};
use pyforward_core::event::Event;
use pyforward_core::ids::{SessionId, StreamId, Ticket};
use pyforward_core::media::Kind;
use pyforward_core::srtp::Profile;
use pyforward_core::stats::Counter;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, Weather};

const PUBLISHER: SessionId = SessionId(1);

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// Two shards; the publisher lives on shard 0.
fn rig(shards: u8) -> Rig {
    let mut rig = Rig::new(shards);
    publish(&mut rig, PUBLISHER, 2_000, 100);
    rig
}

fn publish(rig: &mut Rig, session: SessionId, port: u16, first: u64) {
    rig.add_session(session, Publisher::media());
    rig.publishers.insert(session, Publisher::new(session, address(port), rig.now, first));
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(session, Profile::AeadAes128Gcm);
}

fn watch(rig: &mut Rig, session: u64, port: u16, profile: Profile, rtx: bool) -> SessionId {
    let session = SessionId(session);
    rig.add_session(session, Viewer::subscription(session, rtx));
    let mut viewer = Viewer::new(session, address(port), rig.now, profile);
    viewer.rtx = rtx;
    rig.viewers.insert(session, viewer);
    rig.run_for(Duration::from_millis(100));
    rig.install_keys(session, profile);
    session
}

fn assert_whole(rig: &Rig, session: SessionId, kind: Kind) {
    rig.assert_whole(PUBLISHER, session, kind);
}

#[test]
fn every_viewer_gets_what_is_sent_on_either_shard() {
    let mut rig = rig(2);
    let viewers = [
        watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true),
        watch(&mut rig, 11, 3_001, Profile::AeadAes256Gcm, true),
        watch(&mut rig, 12, 3_002, Profile::Aes128CmSha1_80, false),
        watch(&mut rig, 13, 3_003, Profile::Aes128CmSha1_80, true),
    ];
    rig.run_for(Duration::from_secs(5));
    end_of_stream(&mut rig);
    for viewer in viewers {
        assert_eq!(rig.told(viewer), ["claimed", "flowing", "secured"], "{viewer}");
        for kind in Kind::ALL {
            assert_whole(&rig, viewer, kind);
        }
        let mids: Vec<_> = rig.viewers[&viewer].mids.iter().cloned().collect();
        assert_eq!(mids, [b"a".to_vec(), b"v".to_vec()]);
    }
}

#[test]
fn nothing_is_lost_that_repair_can_bring() {
    let mut rig = rig(2);
    rig.weather = Weather {
        loss: 50,
        duplicates: 20,
        jitter: Duration::from_millis(12),
        delay: Duration::from_millis(10),
    };
    let viewers = [
        watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true),
        watch(&mut rig, 11, 3_001, Profile::AeadAes128Gcm, false),
        watch(&mut rig, 12, 3_003, Profile::Aes128CmSha1_80, true),
    ];
    rig.run_for(Duration::from_secs(6));
    // To another address, whose datagrams land on the other shard.
    let now = rig.now;
    rig.viewers.get_mut(&viewers[1]).unwrap().move_to(now, address(4_000));
    rig.run_for(Duration::from_secs(6));
    end_of_stream(&mut rig);
    for viewer in viewers {
        for kind in Kind::ALL {
            assert_whole(&rig, viewer, kind);
        }
        assert!(rig.viewers[&viewer].sealed.len() > 500);
    }
    assert!(rig.counted(Counter::NacksServed) > 50);
    assert!(rig.publishers[&PUBLISHER].nacked > 20);
}

/// Stops the media and lets repairs end on a quiet network.
fn end_of_stream(rig: &mut Rig) {
    rig.run_for(Duration::from_millis(5));
    rig.weather.loss = 0;
    rig.run_for(Duration::from_millis(500));
    rig.publishers.values_mut().for_each(|publisher| publisher.on_air = false);
    rig.run_for(Duration::from_secs(2));
}

#[test]
fn the_first_check_on_one_shard_and_the_rest_on_the_other() {
    let mut rig = rig(2);
    let session = SessionId(10);
    let (home, away) = (address(3_000), address(3_001));
    rig.landing.insert(home, 0);
    rig.landing.insert(away, 1);
    rig.add_session(session, Viewer::subscription(session, true));
    let viewer = Viewer::new(session, home, rig.now, Profile::AeadAes128Gcm);
    rig.viewers.insert(session, viewer);
    rig.run_for(Duration::from_millis(20));
    // Claimed by shard 0; from now on it is only heard on shard 1.
    let now = rig.now;
    rig.viewers.get_mut(&session).unwrap().move_to(now, away);
    rig.run_for(Duration::from_millis(20));
    rig.install_keys(session, Profile::AeadAes128Gcm);
    rig.run_for(Duration::from_secs(20));
    end_of_stream(&mut rig);
    assert!(rig.closed(session).is_none(), "its checks keep it alive over the ring");
    assert_whole(&rig, session, Kind::Video);
    assert!(rig.shards[1].stats().get(Counter::ExchangedOut) > 10);
}

#[test]
fn a_late_viewer_starts_at_a_keyframe_that_was_asked_for() {
    let mut rig = rig(1);
    rig.publishers.get_mut(&PUBLISHER).unwrap().frames_between_keyframes = 1_000_000;
    rig.run_for(Duration::from_secs(3));
    let viewer = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(2));
    let first = &rig.viewers[&viewer].payloads(Kind::Video)[0];
    assert_eq!(first[1] & 1, 0, "its first packet is a keyframe's first");
    assert_eq!(first[0], 0x10);
    let (index, _) = rig.viewers[&viewer].media[1].first_key_value().unwrap();
    assert!(*index < 1 << 15, "a first number whose rollover cannot be guessed wrong");
    assert!(rig.publishers[&PUBLISHER].keyframe_requests >= 1);
}

#[test]
fn who_starts_out_of_the_cache_asks_for_no_keyframe() {
    let mut rig = rig(1);
    rig.publishers.get_mut(&PUBLISHER).unwrap().frames_between_keyframes = 1_000_000;
    watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_millis(60));
    let asked = rig.publishers[&PUBLISHER].keyframe_requests;
    let viewer = watch(&mut rig, 11, 3_001, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(1));
    assert!(rig.viewers[&viewer].payloads(Kind::Video).len() > 100);
    assert_eq!(rig.publishers[&PUBLISHER].keyframe_requests, asked);
    end_of_stream(&mut rig);
    assert_whole(&rig, viewer, Kind::Video);
}

#[test]
fn many_wishes_for_a_keyframe_are_one_request() {
    let mut rig = rig(2);
    let viewers: Vec<_> = (0..20)
        .map(|n| watch(&mut rig, 10 + n, 3_000 + n as u16, Profile::AeadAes128Gcm, true))
        .collect();
    rig.run_for(Duration::from_secs(2));
    let before = rig.publishers[&PUBLISHER].keyframe_requests;
    for viewer in &viewers {
        rig.viewers.get_mut(viewer).unwrap().pli = true;
    }
    rig.run_for(Duration::from_millis(400));
    assert_eq!(rig.publishers[&PUBLISHER].keyframe_requests - before, 1);
}

#[test]
fn frames_leave_as_trains() {
    let mut rig = rig(1);
    watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(1));
    rig.trains.clear();
    rig.run_for(Duration::from_secs(2));
    let (datagrams, messages) = rig
        .trains
        .iter()
        .filter(|train| **train > 1)
        .fold((0, 0), |(d, m), train| (d + train, m + 1));
    assert!(messages >= 55, "each of sixty frames is a message: {messages}");
    assert!(datagrams >= 4 * messages, "of four packets, a byte apart: {datagrams}");
}

#[test]
fn with_the_switch_off_each_packet_is_a_message() {
    let mut rig = Rig::with(1, |config| config.gso = false);
    publish(&mut rig, PUBLISHER, 2_000, 100);
    let viewer = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(2));
    assert!(rig.trains.iter().all(|train| *train == 1));
    end_of_stream(&mut rig);
    assert_whole(&rig, viewer, Kind::Video);
}

#[test]
fn a_publisher_that_is_replaced_continues_the_same_viewers() {
    replaced(true);
}

#[test]
fn a_publisher_that_begins_with_a_keyframe_leaves_no_gap_before_it() {
    replaced(false);
}

fn replaced(between_keyframes: bool) {
    let mut rig = rig(2);
    let viewer = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(2));
    let next = SessionId(2);
    rig.command(Command::RemoveSession { session: PUBLISHER, reason: CloseReason::Replaced });
    // On the other shard, with other numbers, perhaps in the middle of a group of pictures.
    rig.add_session(next, Publisher::media());
    let mut publisher = Publisher::new(next, address(2_001), rig.now, 60_000);
    if between_keyframes {
        publisher.begin_between_keyframes();
    }
    rig.publishers.insert(next, publisher);
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(next, Profile::AeadAes128Gcm);
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.closed(PUBLISHER), Some(CloseReason::Replaced));
    let viewer = &rig.viewers[&viewer];
    assert_eq!(viewer.missing(Kind::Video), Vec::<u64>::new());
    assert_eq!(viewer.broken, vec![]);
    let old = &rig.publishers[&PUBLISHER].sent[1];
    let resumed = viewer.payloads(Kind::Video).into_iter().find(|payload| !old.contains(payload));
    assert_eq!(resumed.unwrap()[..2], [0x10, 0], "its video resumes on a keyframe's first packet");
    let sent = &rig.publishers[&next].sent[1];
    assert!(viewer.payloads(Kind::Video).contains(sent.last().unwrap()));
    let timestamps: Vec<u32> = viewer.media[1].values().map(|opened| opened.timestamp).collect();
    assert!(timestamps.windows(2).all(|w| w[1].wrapping_sub(w[0]) < 90_000), "time goes on");
}

#[test]
fn sender_reports_keep_both_tracks_on_one_clock() {
    let mut rig = rig(1);
    let session = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(10));
    let viewer = &rig.viewers[&session];
    for kind in Kind::ALL {
        let ssrc = Viewer::ssrc(session, kind);
        let reports: Vec<_> = viewer.sender_reports.iter().filter(|r| r.0 == ssrc).collect();
        assert!((2..=6).contains(&reports.len()), "one at the start, then every 2 to 5 s");
        let rate = if kind == Kind::Audio { 48_000.0 } else { 90_000.0 };
        let (first, last) = (reports[0], reports[reports.len() - 1]);
        let seconds = (last.1 - first.1) as f64 / (1u64 << 32) as f64;
        let ticks = f64::from(last.2.wrapping_sub(first.2));
        assert!((ticks / seconds / rate - 1.0).abs() < 0.001, "{kind:?} runs at its rate");
    }
}

/// How far the last sender report of a track is from its newest packet, in seconds: what a viewer
/// would be off in lip sync.
fn off_by(rig: &Rig, session: SessionId, kind: Kind) -> f64 {
    let viewer = &rig.viewers[&session];
    let ssrc = Viewer::ssrc(session, kind);
    let (_, ntp, timestamp) = viewer.sender_reports.iter().rfind(|r| r.0 == ssrc).unwrap();
    let now = rig::config(0, 1).wall_clock.ntp(rig.now).0;
    let passed = now.wrapping_sub(*ntp) as f64 / (1u64 << 32) as f64;
    let newest = viewer.media[kind as usize].last_key_value().unwrap().1.timestamp;
    let rate = if kind == Kind::Audio { 48_000.0 } else { 90_000.0 };
    passed - f64::from(newest.wrapping_sub(*timestamp).cast_signed()) / rate
}

#[test]
fn lips_are_in_sync_with_the_next_publisher_too() {
    let mut rig = rig(2);
    let viewer = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(6));
    let in_sync = |rig: &Rig| Kind::ALL.map(|kind| off_by(rig, viewer, kind).abs() < 0.05);
    assert_eq!(in_sync(&rig), [true; 2]);
    rig.command(Command::RemoveSession { session: PUBLISHER, reason: CloseReason::Replaced });
    rig.run_for(Duration::from_secs(20));
    publish(&mut rig, SessionId(2), 2_001, 60_000);
    rig.run_for(Duration::from_secs(6));
    assert_eq!(in_sync(&rig), [true; 2]);
}

#[test]
fn who_gets_nothing_has_no_bitrate() {
    let mut rig = rig(1);
    let viewer = watch(&mut rig, 10, 3_000, Profile::AeadAes128Gcm, true);
    rig.run_for(Duration::from_secs(3));
    let bitrate = |rig: &mut Rig| {
        rig.events.clear();
        rig.command(Command::ReportSessions { ticket: Ticket(1), sessions: vec![viewer] });
        let Event::Report { rows, .. } = &rig.events[0] else { panic!("{:?}", rig.events) };
        rows[0].bitrate_bps
    };
    let live = bitrate(&mut rig);
    assert!((1_000_000..2_500_000).contains(&live), "{live}: 30 frames of 4.4 kB a second");
    rig.publishers.get_mut(&PUBLISHER).unwrap().on_air = false;
    rig.run_for(Duration::from_secs(3));
    assert_eq!(bitrate(&mut rig), 0);
}

#[test]
fn a_shard_may_hear_of_a_stream_from_another_before_control_tells_it() {
    let mut rig = Rig::new(2);
    let stream = StreamId(2);
    let Media::Publish { tracks, .. } = Publisher::media() else { panic!("it publishes") };
    let added = AddSession {
        session: PUBLISHER,
        ice: None,
        media: Media::Publish { stream, tracks }.into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    };
    let commands = [Command::AddStream { stream }, Command::AddSession(Box::new(added))];
    for shard in 0..2 {
        for command in &commands {
            rig.shards[shard].apply(rig.now, command.clone());
        }
        rig.settle();
    }
    let session = SessionId(10);
    let Media::Subscribe { tracks, cname, .. } = Viewer::subscription(session, true) else {
        panic!("it watches")
    };
    rig.add_session(session, Media::Subscribe { stream, tracks, cname });
    let viewer = Viewer::new(session, address(3_001), rig.now, Profile::AeadAes128Gcm);
    rig.viewers.insert(session, viewer);
    rig.run_for(Duration::from_millis(10));
    rig.install_keys(session, Profile::AeadAes128Gcm);
    let mut packet = vec![0x80, 111, 0, 7, 0, 0, 0, 0];
    packet.extend(rig::publisher::AUDIO.0.to_be_bytes());
    packet.extend([1; 40]);
    rig.command(Command::InjectRtp { session: PUBLISHER, packets: vec![packet], stamped: false });
    rig.run_for(Duration::from_millis(10));
    assert_eq!(rig.viewers[&session].payloads(Kind::Audio), [vec![1; 40]]);
}
