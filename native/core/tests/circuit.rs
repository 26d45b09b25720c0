//! What comes while a shard is sending: it waits for nobody's turn but one's own, leaves with what is
//! still on its way, and does not change what anybody gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::HashMap;
use std::time::Duration;

use pyforward_core::command::{AddSession, CloseReason, Command, Media};
use pyforward_core::event::Event;
use pyforward_core::ids::{SessionId, StreamId};
use pyforward_core::media::Kind;
use pyforward_core::shard::ShardConfig;
use pyforward_core::srtp::Profile;
use pyforward_core::stats::{Counter, FAN_OUT_BOUNDS};
use pyforward_core::time::Time;
use rig::Rig;
use rig::local::{frame, publish, publishing, send, sound, watch};
use rig::publisher::Publisher;
use rig::viewer::Viewer;

const MS: Duration = Duration::from_millis(1);
const GCM: Profile = Profile::AeadAes128Gcm;

/// It takes so long to send a message.
const TOLL: Duration = Duration::from_micros(20);

/// Of these a shard serves a part before it looks what has come.
const VIEWERS: u64 = 150;

/// That many viewers who have a keyframe.
fn crowd() -> (Rig, Vec<SessionId>) {
    crowd_with(|_| ())
}

fn crowd_with(change: impl Fn(&mut ShardConfig)) -> (Rig, Vec<SessionId>) {
    let mut rig = publishing(|config| {
        config.frame_window = Duration::ZERO;
        change(config);
    });
    let viewers: Vec<SessionId> = (0..VIEWERS).map(|n| watch(&mut rig, 10 + n)).collect();
    send(&mut rig, frame(1, 0..4, true));
    rig.run_for(20 * MS);
    rig.trains.clear();
    (rig.toll, rig.time_passes) = (TOLL, true);
    (rig, viewers)
}

/// A viewer that lacks keys alone.
fn connected(rig: &mut Rig, session: u64) -> SessionId {
    let session = SessionId(session);
    rig.add_session(session, Viewer::subscription(session, true));
    let address = ([10, 0, 1, 1], 3_000 + session.0 as u16).into();
    rig.viewers.insert(session, Viewer::new(session, address, rig.now, GCM));
    rig.run_for(MS);
    session
}

fn is_sending(rig: &Rig) -> bool {
    rig.shards[0].poll_timeout() == Time(0)
}

fn finish(rig: &mut Rig) {
    while is_sending(rig) {
        rig.settle();
    }
    rig.run_for(20 * MS);
}

/// How many messages there were of so many packets.
fn trains(rig: &Rig) -> HashMap<u32, u64> {
    let mut counted = HashMap::new();
    for train in &rig.trains {
        *counted.entry(*train).or_default() += 1;
    }
    counted
}

/// Everybody got so many packets of video, each once and in order.
fn assert_got(rig: &Rig, viewers: &[SessionId], packets: usize) {
    assert!(rig.broken.is_empty());
    for viewer in viewers {
        let viewer = &rig.viewers[viewer];
        let numbers: Vec<u8> = viewer.payloads(Kind::Video).iter().map(|p| p[3]).collect();
        assert_eq!(numbers, (0..packets as u8).collect::<Vec<_>>());
        assert!(viewer.missing(Kind::Video).is_empty() && viewer.broken.is_empty());
    }
}

#[test]
fn what_comes_while_a_frame_is_sent_leaves_with_it_where_that_has_not_left() {
    let (mut rig, viewers) = crowd();
    let mut first = frame(2, 4..9, false);
    let rest = first.split_off(3);
    send(&mut rig, first);
    rig.run_for(Duration::ZERO);
    assert!(is_sending(&rig));
    let served = rig.trains.len() as u64;
    assert!(0 < served && served < VIEWERS / 2, "{served}");
    send(&mut rig, rest);
    finish(&mut rig);
    assert_eq!(trains(&rig), HashMap::from([(3, served), (5, VIEWERS - served), (2, served)]));
    assert_got(&rig, &viewers, 9);
}

#[test]
fn without_slices_everybody_is_served_before_anything_is_taken() {
    let (mut rig, viewers) = crowd_with(|config| config.slice = Duration::ZERO);
    let mut first = frame(2, 4..9, false);
    let rest = first.split_off(3);
    send(&mut rig, first);
    rig.run_for(Duration::ZERO);
    assert!(!is_sending(&rig));
    send(&mut rig, rest);
    finish(&mut rig);
    assert_eq!(trains(&rig), HashMap::from([(3, VIEWERS), (2, VIEWERS)]));
    assert_got(&rig, &viewers, 9);
}

#[test]
fn nothing_takes_longer_than_once_around() {
    let (mut rig, viewers) = crowd();
    let before = rig.shards[0].stats().fan_out.clone();
    for number in 2..8 {
        let begin = 4 + 2 * (number as u16 - 2);
        send(&mut rig, frame(number, begin..begin + 2, false));
        assert!(is_sending(&rig));
    }
    finish(&mut rig);
    let told = &rig.shards[0].stats().fan_out;
    let count = |of: &[u64]| of.iter().sum::<u64>();
    assert_eq!(count(&told.buckets) - count(&before.buckets), 6, "each is told by the metric");
    // What is handed over at once is one step.
    let most = u64::from(TOLL.as_micros() as u32) * (VIEWERS + 64);
    let bound = FAN_OUT_BOUNDS.iter().position(|bound| *bound >= most).unwrap();
    let longer: u64 = told.buckets[bound + 1..].iter().sum();
    assert_eq!(longer, before.buckets[bound + 1..].iter().sum(), "{:?}", told.buckets);
    assert_got(&rig, &viewers, 16);
}

#[test]
fn audio_goes_with_it_and_both_are_counted_as_what_they_are() {
    let (mut rig, viewers) = crowd();
    let before = rig.shards[0].stats().clone();
    send(&mut rig, frame(2, 4..7, false));
    send(&mut rig, vec![sound(1)]);
    send(&mut rig, frame(3, 7..9, false));
    finish(&mut rig);
    assert_got(&rig, &viewers, 9);
    for viewer in &viewers {
        assert_eq!(rig.viewers[viewer].payloads(Kind::Audio).len(), 1);
    }
    assert!((rig.trains.len() as u64) < 2 * VIEWERS, "not three for each: {:?}", trains(&rig));
    let stats = rig.shards[0].stats();
    let observed =
        |of: &pyforward_core::stats::Stats| -> u64 { of.forward_latency.buckets.iter().sum() };
    assert_eq!(observed(stats) - observed(&before), 6 * VIEWERS, "a latency of each packet");
    assert_eq!(stats.train_packets.sum - before.train_packets.sum, 6 * VIEWERS);
}

#[test]
fn who_comes_and_goes_meanwhile_disturbs_nobody() {
    let (mut rig, mut viewers) = crowd();
    // They have all but keys, and more of them than the table has room for.
    let late: Vec<SessionId> = (0..120).map(|n| connected(&mut rig, 1_000 + n)).collect();
    send(&mut rig, frame(2, 4..7, true));
    let (now, shard) = (rig.now, &mut rig.shards[0]);
    for session in [149, 80, 3, 0].map(|place| viewers.remove(place)) {
        shard.apply(now, Command::RemoveSession { session, reason: CloseReason::Deleted });
    }
    late.iter().for_each(|session| rig.hand_keys(*session, GCM));
    assert!(is_sending(&rig));
    send(&mut rig, frame(3, 7..10, false));
    finish(&mut rig);
    send(&mut rig, frame(4, 10..13, false));
    finish(&mut rig);
    assert_got(&rig, &viewers, 13);
    for viewer in late {
        let viewer = &rig.viewers[&viewer];
        let numbers: Vec<u8> = viewer.payloads(Kind::Video).iter().map(|p| p[3]).collect();
        assert_eq!(numbers, (4..13).collect::<Vec<_>>(), "from the keyframe on, and once");
        assert!(viewer.missing(Kind::Video).is_empty() && viewer.broken.is_empty());
    }
}

#[test]
fn with_the_last_viewer_goes_what_was_on_its_way() {
    let (mut rig, viewers) = crowd();
    send(&mut rig, frame(2, 4..7, false));
    assert!(is_sending(&rig));
    let sent = rig.counted(Counter::PacketsOut);
    for session in viewers {
        let reason = CloseReason::Deleted;
        let (now, shard) = (rig.now, &mut rig.shards[0]);
        shard.apply(now, Command::RemoveSession { session, reason });
    }
    finish(&mut rig);
    assert_eq!(rig.counted(Counter::PacketsOut), sent);
}

#[test]
fn another_publisher_takes_over_in_the_middle() {
    let (mut rig, viewers) = crowd();
    send(&mut rig, frame(2, 4..7, false));
    assert!(is_sending(&rig));
    publish(&mut rig, SessionId(2));
    let packets = frame(9, 500..503, true);
    rig.command(Command::InjectRtp { session: SessionId(2), packets, stamped: false });
    finish(&mut rig);
    for viewer in viewers {
        let viewer = &rig.viewers[&viewer];
        assert!(viewer.missing(Kind::Video).is_empty() && viewer.broken.is_empty());
        let got = viewer.payloads(Kind::Video);
        let numbers: Vec<u16> = got.iter().map(|p| u16::from_be_bytes([p[2], p[3]])).collect();
        assert!(numbers.starts_with(&[0, 1, 2, 3]) && numbers.ends_with(&[500, 501, 502]));
        assert!([7, 10].contains(&numbers.len()), "the frame is whole or not there: {numbers:?}");
    }
    assert!(rig.broken.is_empty());
}

/// One more stream with a publisher and a viewer of its own, which has keys.
fn another_stream(rig: &mut Rig, number: u64) -> (SessionId, SessionId) {
    let (stream, publisher) = (StreamId(number), SessionId(1_000 + number));
    rig.command(Command::AddStream { stream });
    let Media::Publish { tracks, .. } = Publisher::media() else { panic!("it publishes") };
    let media = Media::Publish { stream, tracks };
    rig.command(Command::AddSession(Box::new(AddSession {
        session: publisher,
        ice: None,
        media: media.into(),
        candidates: Vec::new(),
        trial: None,
        claim: Default::default(),
    })));
    let viewer = SessionId(2_000 + number);
    let Media::Subscribe { tracks, cname, .. } = Viewer::subscription(viewer, true) else {
        panic!("it watches")
    };
    rig.add_session(viewer, Media::Subscribe { stream, tracks, cname });
    let address = ([10, 0, 1, 1], 9_000 + number as u16).into();
    rig.viewers.insert(viewer, Viewer::new(viewer, address, rig.now, GCM));
    rig.run_for(MS);
    rig.install_keys(viewer, GCM);
    (publisher, viewer)
}

#[test]
fn two_streams_are_sent_in_turns() {
    let (mut rig, viewers) = crowd();
    let (second, viewer) = another_stream(&mut rig, 2);
    send(&mut rig, frame(2, 4..7, false));
    assert!(is_sending(&rig));
    let packets = frame(1, 0..2, true);
    rig.command(Command::InjectRtp { session: second, packets, stamped: false });
    rig.settle();
    assert!(is_sending(&rig), "the first one is not done");
    rig.run_for(Duration::from_micros(1));
    assert_eq!(rig.viewers[&viewer].payloads(Kind::Video).len(), 2, "and the second one is");
    finish(&mut rig);
    assert_got(&rig, &viewers, 7);
}

#[test]
fn no_stream_loses_its_place_to_the_end_of_a_part() {
    let (mut rig, _) = crowd();
    let streams: Vec<_> = (2..150).map(|number| another_stream(&mut rig, number)).collect();
    for (session, _) in &streams {
        let packets = frame(1, 0..2, true);
        let inject = Command::InjectRtp { session: *session, packets, stamped: false };
        rig.shards[0].apply(rig.now, inject);
    }
    rig.settle();
    assert!(is_sending(&rig), "it takes several");
    finish(&mut rig);
    let served = rig.events.iter().filter_map(|event| match event {
        Event::Flowing { session } => Some(*session).filter(|session| session.0 > 2_000),
        _ => None,
    });
    assert!(served.eq(streams.iter().map(|(_, viewer)| *viewer)), "in the order of their packets");
}

#[test]
fn a_shard_that_is_late_takes_nothing_more_before_all_has_left() {
    let (mut rig, viewers) = crowd();
    rig.toll = MS;
    send(&mut rig, frame(2, 4..7, false));
    let mut drains = 1;
    while is_sending(&rig) {
        rig.settle();
        drains += 1;
    }
    // Two parts take more than fifty milliseconds, and the third is all the rest.
    assert_eq!(drains, 3);
    finish(&mut rig);
    assert_got(&rig, &viewers, 7);
}

/// A crowd of them that a publisher on the network has, for a second.
fn live(viewers: u64) -> (Rig, SessionId, Vec<SessionId>) {
    let mut rig = Rig::with(1, |config| config.frame_window = MS);
    let publisher = SessionId(1);
    rig.add_session(publisher, Publisher::media());
    let mut peer = Publisher::new(publisher, ([10, 0, 2, 1], 2_000).into(), rig.now, 100);
    peer.frame_packets = (4, 20);
    rig.publishers.insert(publisher, peer);
    let viewers = (0..viewers).map(|n| watch(&mut rig, 10 + n)).collect();
    rig.install_keys(publisher, GCM);
    rig.run_for(Duration::from_secs(1));
    rig.time_passes = true;
    (rig, publisher, viewers)
}

#[test]
fn a_load_beyond_what_it_can_is_shed_and_nothing_grows() {
    // Of laps that are one slice, and of laps that are several.
    for (viewers, toll) in [(16, 8 * MS), (150, MS)] {
        let (mut rig, publisher, viewers) = live(viewers);
        // A second has 170 packets for each of them, which are eleven messages at the least.
        rig.toll = toll;
        rig.run_for(Duration::from_secs(2));
        let shed = rig.counted(Counter::SendDropsShed);
        assert!(shed > 0, "{} viewers: before anything is seconds late", viewers.len());
        rig.run_for(Duration::from_secs(8));
        let began = rig.now;
        rig.toll = Duration::from_micros(10);
        rig.run_for(Duration::from_secs(1));
        assert!(rig.now.since(began) < Duration::from_secs(2), "it is over");
        rig.run_for(Duration::from_secs(3));
        let shed = rig.counted(Counter::SendDropsShed);
        rig.run_for(Duration::from_secs(3));
        assert_eq!(rig.counted(Counter::SendDropsShed), shed, "nobody is left out any more");
        let sent = &rig.publishers[&publisher].sent[Kind::Video as usize];
        for viewer in &viewers {
            let viewer = &rig.viewers[viewer];
            assert_eq!(viewer.missing(Kind::Video), Vec::<u64>::new());
            assert!(viewer.broken.is_empty());
            let got = viewer.payloads(Kind::Video).len() as f64 / sent.len() as f64;
            assert!((0.3..1.0).contains(&got), "{} viewers: {got}", viewers.len());
        }
        assert!(rig.broken.is_empty());
    }
}

#[test]
fn who_waits_starts_with_a_large_keyframe_also_where_the_next_frame_comes_meanwhile() {
    let (mut rig, viewers) = crowd();
    // All of them wait, as when another publisher takes over.
    publish(&mut rig, SessionId(2));
    let other = |packets| Command::InjectRtp { session: SessionId(2), packets, stamped: false };
    rig.command(other(frame(9, 0..120, true)));
    assert!(is_sending(&rig));
    rig.command(other(frame(10, 120..123, false)));
    finish(&mut rig);
    for viewer in &viewers {
        let viewer = &rig.viewers[viewer];
        assert_eq!(viewer.payloads(Kind::Video).len(), 4 + 123);
        assert!(viewer.missing(Kind::Video).is_empty() && viewer.broken.is_empty());
    }
    assert!(rig.broken.is_empty());
}
