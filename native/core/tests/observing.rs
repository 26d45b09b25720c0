//! What a shard tells of itself: streams by what was done for them, joins by stage, requests by what
//! stands for them. Nothing of it asks a viewer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::figures::StreamFigures;
use pyforward_core::ids::SessionId;
use pyforward_core::srtp::Profile;
use pyforward_core::stages::{STAGE_BOUNDS, Stage, Stages};
use pyforward_core::stats::Counter;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, Weather};

const PUBLISHER: SessionId = SessionId(1);
const PROFILE: Profile = Profile::AeadAes128Gcm;

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

fn rig() -> Rig {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    let publisher = Publisher::new(PUBLISHER, address(2_000), rig.now, 100);
    rig.publishers.insert(PUBLISHER, publisher);
    rig.run_for(Duration::from_millis(1));
    rig.install_keys(PUBLISHER, PROFILE);
    rig
}

/// A viewer who is answered, checked after a moment and keyed 100 ms later.
fn watch(rig: &mut Rig, session: u64, port: u16) -> SessionId {
    let session = SessionId(session);
    rig.add_session(session, Viewer::subscription(session, true));
    rig.viewers.insert(session, Viewer::new(session, address(port), rig.now, PROFILE));
    rig.run_for(Duration::from_millis(100));
    rig.install_keys(session, PROFILE);
    session
}

/// The one stream, added up over the shards; of publishers the home shard's words.
fn stream(rig: &Rig) -> StreamFigures {
    let rows = rig.shards.iter().flat_map(|shard| shard.stream_figures(rig.now));
    rows.reduce(|one, more| {
        let home = if one.publisher == 0 { more } else { one };
        StreamFigures {
            viewers: one.viewers + more.viewers,
            waiting: one.waiting + more.waiting,
            packets_out: one.packets_out + more.packets_out,
            bytes_out: one.bytes_out + more.bytes_out,
            nacks_in: one.nacks_in + more.nacks_in,
            packets_resent: one.packets_resent + more.packets_resent,
            reports: one.reports + more.reports,
            reported_loss: one.reported_loss + more.reported_loss,
            cache_bytes: one.cache_bytes + more.cache_bytes,
            ..home
        }
    })
    .unwrap()
}

/// How many went through a stage, and how long they took together, in microseconds.
fn stage(rig: &Rig, stage: Stage) -> (u64, u64) {
    let width = STAGE_BOUNDS.len() + 2;
    let words = |stages: &Stages| -> Vec<u64> {
        stages.words().skip(stage as usize * width).take(width).collect()
    };
    rig.shards.iter().map(|shard| words(&shard.stats().stages)).fold((0, 0), |sum, words| {
        let (buckets, total) = words.split_at(width - 1);
        (sum.0 + buckets.iter().sum::<u64>(), sum.1 + total[0])
    })
}

#[test]
fn a_stream_is_told_what_was_done_for_it_on_every_shard() {
    let mut rig = rig();
    for n in 0..4 {
        watch(&mut rig, 10 + n, 3_000 + n as u16);
    }
    rig.run_for(Duration::from_secs(3));
    let told = stream(&rig);
    assert_eq!((told.viewers, told.waiting), (4, 0));
    assert_eq!(told.packets_out, rig.counted(Counter::PacketsOut));
    assert_eq!(told.bytes_out, rig.counted(Counter::BytesOut));
    assert_eq!(told.packets_in, rig.counted(Counter::PacketsIn));
    assert_eq!(told.publisher, PUBLISHER.0);
    assert!(told.keyframes > 1 && told.keyframe_interval_us > 0);
    assert!(told.packet_age_us < 100_000 && told.cache_bytes > 0);
}

#[test]
fn who_asks_again_is_counted_for_the_stream_too() {
    let mut rig = rig();
    rig.weather.loss = 50;
    watch(&mut rig, 10, 3_000);
    rig.run_for(Duration::from_secs(5));
    let told = stream(&rig);
    assert!(told.nacks_in > 0);
    assert_eq!(told.nacks_in, rig.counted(Counter::NacksIn));
    assert!(told.packets_resent > 0);
}

#[test]
fn every_nack_is_served_missed_refused_or_merged() {
    let mut rig = rig();
    // Requests that were sent some time apart come close together.
    rig.weather = Weather { loss: 100, jitter: Duration::from_millis(60), ..Weather::default() };
    for n in 0..3 {
        watch(&mut rig, 10 + n, 3_000 + n as u16);
    }
    rig.run_for(Duration::from_secs(5));
    let counted = |counter| rig.counted(counter);
    let turned_away = counted(Counter::NacksMissed)
        + counted(Counter::NacksRefused)
        + counted(Counter::NacksMerged);
    let asked = counted(Counter::NacksIn);
    assert!(counted(Counter::NacksMerged) > 0);
    // On a lossy way an answer goes out twice, and the last packet once more unasked.
    assert!(turned_away < asked && asked <= turned_away + counted(Counter::NacksServed));
}

#[test]
fn the_stages_of_a_join_follow_one_another() {
    let mut rig = rig();
    watch(&mut rig, 10, 3_000);
    rig.run_for(Duration::from_secs(4));
    let [ice, dtls, packet, keyframe, whole] =
        [Stage::Ice, Stage::Dtls, Stage::Packet, Stage::Keyframe, Stage::Whole]
            .map(|one| stage(&rig, one));
    for (name, (count, _)) in Stage::ALL.iter().zip([ice, dtls, packet, keyframe, whole]) {
        assert_eq!(count, 1, "{name:?}");
    }
    assert_eq!(whole.1, ice.1 + dtls.1 + packet.1 + keyframe.1);
    assert!((90_000..=110_000).contains(&(ice.1 + dtls.1)), "its keys came after 100 ms");
    let exemplars = rig.shards.iter().flat_map(|shard| shard.stats().stages.exemplars());
    let named: Vec<u64> = exemplars.map(|(.., one)| one.session.0).collect();
    assert_eq!(named, [10; 5]);
}

#[test]
fn whoever_waits_for_a_keyframe_is_counted_until_it_comes() {
    let mut rig = rig();
    rig.publishers.get_mut(&PUBLISHER).unwrap().frames_between_keyframes = 1_000_000;
    rig.publishers.get_mut(&PUBLISHER).unwrap().deaf = true;
    rig.run_for(Duration::from_secs(3));
    watch(&mut rig, 10, 3_000);
    watch(&mut rig, 11, 3_001);
    rig.run_for(Duration::from_secs(1));
    assert_eq!((stream(&rig).viewers, stream(&rig).waiting), (2, 2));
    rig.publishers.get_mut(&PUBLISHER).unwrap().frames_between_keyframes = 60;
    rig.run_for(Duration::from_secs(4));
    assert_eq!(stream(&rig).waiting, 0);
    rig.remove(SessionId(10));
    rig.remove(SessionId(11));
    rig.run_for(Duration::from_secs(1));
    assert_eq!((stream(&rig).viewers, stream(&rig).cache_bytes), (0, 0));
}

#[test]
fn wishes_that_one_request_stands_for_are_merged() {
    let mut rig = rig();
    let viewers: Vec<_> = (0..10).map(|n| watch(&mut rig, 10 + n, 3_000 + n as u16)).collect();
    rig.run_for(Duration::from_secs(2));
    let before = (rig.counted(Counter::PlisOut), rig.counted(Counter::KeyframeRequestsMerged));
    for viewer in &viewers {
        rig.viewers.get_mut(viewer).unwrap().pli = true;
    }
    rig.run_for(Duration::from_millis(400));
    assert_eq!(rig.counted(Counter::PlisIn), 10);
    assert_eq!(rig.counted(Counter::KeyframeRequestsIn), 10);
    assert_eq!(rig.counted(Counter::PlisOut) - before.0, 1);
    assert!(rig.counted(Counter::KeyframeRequestsMerged) > before.1);
    assert_eq!(rig.counted(Counter::FirsIn) + rig.counted(Counter::FirsOut), 0);
}

#[test]
fn what_viewers_report_falls_into_buckets_and_into_their_stream_s_sums() {
    let mut rig = rig();
    let viewer = watch(&mut rig, 10, 3_000);
    rig.viewers.get_mut(&viewer).unwrap().tells = Some((64, 900));
    rig.run_for(Duration::from_millis(3_500));
    let told = stream(&rig);
    assert!(told.reports >= 2);
    assert_eq!(told.reported_loss, 64 * told.reports);
    let stats = rig.shards.iter().map(|shard| shard.stats());
    let (loss, jitter) = stats.fold((0, 0), |sum, stats| {
        // A quarter lost, and 10 ms.
        assert_eq!(stats.viewer_loss.above + stats.viewer_jitter.above, 0);
        (sum.0 + stats.viewer_loss.buckets[7], sum.1 + stats.viewer_jitter.buckets[3])
    });
    assert_eq!((loss, jitter), (told.reports, told.reports));
}

#[test]
fn a_round_over_all_viewers_is_timed_once() {
    let mut rig = rig();
    watch(&mut rig, 10, 3_000);
    let rounds = |rig: &Rig| -> u64 {
        rig.shards.iter().map(|shard| shard.stats().fan_out.words().take(11).sum::<u64>()).sum()
    };
    let before = rounds(&rig);
    rig.run_for(Duration::from_secs(1));
    assert!((30..=200).contains(&(rounds(&rig) - before)), "a round for each frame and each word");
}
