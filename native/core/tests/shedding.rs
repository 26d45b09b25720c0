//! A shard that cannot keep up leaves video of some viewers out, in turns: whole frames, up to a
//! keyframe, and as much of everybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::HashMap;
use std::time::Duration;

use pyforward_core::command::Media;
use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::srtp::Profile;
use pyforward_core::stats::Counter;
use rig::Rig;
use rig::local::watch;
use rig::publisher::Publisher;

const MS: Duration = Duration::from_millis(1);
const PUBLISHER: SessionId = SessionId(1);

/// Who publishes to whom.
struct Scene {
    media: Media,
    frames_between_keyframes: u64,
    shards: u8,
    viewers: u64,
    shed_after: Duration,
}

impl Default for Scene {
    fn default() -> Scene {
        Scene {
            media: Publisher::media(),
            frames_between_keyframes: 60,
            shards: 1,
            viewers: 16,
            shed_after: 200 * MS,
        }
    }
}

impl Scene {
    /// A publisher on the network, and viewers who have seen a second of it.
    fn begin(self) -> (Rig, Vec<SessionId>) {
        let mut rig = Rig::with(self.shards, |config| config.shed_after = self.shed_after);
        rig.add_session(PUBLISHER, self.media);
        let mut peer = Publisher::new(PUBLISHER, ([10, 0, 2, 1], 2_000).into(), rig.now, 100);
        peer.frame_packets = (4, 20);
        peer.frames_between_keyframes = self.frames_between_keyframes;
        rig.publishers.insert(PUBLISHER, peer);
        let viewers = (0..self.viewers).map(|viewer| watch(&mut rig, 10 + viewer)).collect();
        rig.install_keys(PUBLISHER, Profile::AeadAes128Gcm);
        rig.run_for(Duration::from_secs(1));
        (rig, viewers)
    }
}

/// The places, in what was sent, of what a viewer got.
fn places(rig: &Rig, viewer: SessionId, kind: Kind) -> Vec<usize> {
    let sent = rig.publishers[&PUBLISHER].sent[kind as usize].iter();
    let place: HashMap<_, _> = sent.enumerate().map(|(place, payload)| (payload, place)).collect();
    rig.viewers[&viewer].payloads(kind).iter().map(|payload| place[payload]).collect()
}

/// Whether a frame begins with a payload, and whether it is a keyframe's (RFC 7741 §4.2 and 4.3).
fn begins(payload: &[u8]) -> (bool, bool) {
    (payload[0] & 0x10 != 0, payload[1] & 1 == 0)
}

/// Media waits too long until six of sixteen groups are left out, and then just not.
fn overload(rig: &mut Rig, duration: Duration) {
    rig.wait = 300 * MS;
    rig.run_for(350 * MS);
    rig.wait = 150 * MS;
    rig.run_for(duration);
}

fn assert_unharmed(rig: &Rig, viewers: &[SessionId]) {
    assert!(rig.broken.is_empty());
    for viewer in viewers {
        assert!(rig.viewers[viewer].broken.is_empty());
        for kind in Kind::ALL {
            assert_eq!(rig.viewers[viewer].missing(kind), Vec::<u64>::new(), "numbers have no gap");
        }
    }
}

#[test]
fn frames_are_left_out_whole_up_to_a_keyframe_and_in_turns() {
    let (mut rig, viewers) = Scene::default().begin();
    overload(&mut rig, Duration::from_secs(36));
    assert_unharmed(&rig, &viewers);
    let sent = &rig.publishers[&PUBLISHER].sent[Kind::Video as usize];
    let mut shares = Vec::new();
    for viewer in &viewers {
        let places = places(&rig, *viewer, Kind::Video);
        let pauses = places.windows(2).filter(|pair| pair[1] != pair[0] + 1);
        for pause in pauses.clone() {
            assert!(begins(&sent[pause[0] + 1]).0, "the frame before is whole");
            assert_eq!(begins(&sent[pause[1]]), (true, true), "it goes on with a keyframe");
        }
        assert!((4..=9).contains(&pauses.count()), "in 18 turns");
        shares.push(places.len() as f64 / sent.len() as f64);
        rig.assert_whole(PUBLISHER, *viewer, Kind::Audio);
    }
    let (least, most) = shares.iter().fold((1.0, 0.0), |(a, b), s| (s.min(a), s.max(b)));
    assert!(least > 0.55 && most < 0.75, "ten of sixteen groups at a time: {least} to {most}");
    let packets = rig.counted(Counter::PacketsOut) as f64;
    let shed = rig.counted(Counter::SendDropsShed) as f64;
    assert!((0.25..0.36).contains(&(shed / (packets + shed))), "{shed} beside {packets}");
}

#[test]
fn everybody_gets_everything_once_there_is_time() {
    let (mut rig, viewers) = Scene::default().begin();
    overload(&mut rig, Duration::from_secs(4));
    let asked = rig.publishers[&PUBLISHER].keyframe_requests;
    rig.wait = Duration::ZERO;
    rig.run_for(Duration::from_millis(1_600));
    assert!(rig.publishers[&PUBLISHER].keyframe_requests > asked, "nobody waits for one by chance");
    let shed = rig.counted(Counter::SendDropsShed);
    let sent = rig.publishers[&PUBLISHER].sent[Kind::Video as usize].len();
    rig.run_for(Duration::from_secs(3));
    assert_eq!(rig.counted(Counter::SendDropsShed), shed);
    assert_unharmed(&rig, &viewers);
    let all = rig.publishers[&PUBLISHER].sent[Kind::Video as usize].len();
    for viewer in viewers {
        let places = places(&rig, viewer, Kind::Video);
        assert_eq!(places[places.len() - (all - sent)..], (sent..all).collect::<Vec<_>>());
    }
}

#[test]
fn a_publisher_without_keyframes_of_its_own_is_asked_for_them() {
    let scene = Scene { frames_between_keyframes: u64::MAX, ..Scene::default() };
    let (mut rig, viewers) = scene.begin();
    overload(&mut rig, Duration::from_secs(36));
    let asked = rig.publishers[&PUBLISHER].keyframe_requests;
    assert!((13..=16).contains(&asked), "one for each turn, not {asked}");
    for viewer in &viewers {
        let share = places(&rig, *viewer, Kind::Video).len() as f64
            / rig.publishers[&PUBLISHER].sent[Kind::Video as usize].len() as f64;
        assert!((0.5..0.8).contains(&share), "{share}");
    }
    assert_unharmed(&rig, &viewers);
}

#[test]
fn sound_alone_is_left_out_by_time() {
    let Media::Publish { stream, mut tracks } = Publisher::media() else { panic!("it publishes") };
    tracks.retain(|track| track.kind == Kind::Audio);
    let scene = Scene { media: Media::Publish { stream, tracks }, ..Scene::default() };
    let (mut rig, viewers) = scene.begin();
    overload(&mut rig, Duration::from_secs(36));
    assert_unharmed(&rig, &viewers);
    let sent = rig.publishers[&PUBLISHER].sent[Kind::Audio as usize].len() as f64;
    for viewer in viewers {
        let share = places(&rig, viewer, Kind::Audio).len() as f64 / sent;
        assert!((0.55..0.75).contains(&share), "{share}");
    }
}

#[test]
fn who_does_not_want_it_is_late_for_everybody() {
    let (mut rig, viewers) = Scene { shed_after: Duration::ZERO, ..Scene::default() }.begin();
    overload(&mut rig, Duration::from_secs(4));
    assert_eq!(rig.counted(Counter::SendDropsShed), 0);
    for viewer in viewers {
        rig.assert_whole(PUBLISHER, viewer, Kind::Video);
    }
}

#[test]
fn a_shard_that_keeps_up_leaves_nobody_out() {
    let (mut rig, viewers) = Scene { shards: 2, viewers: 32, ..Scene::default() }.begin();
    overload(&mut rig, Duration::from_secs(10));
    assert_unharmed(&rig, &viewers);
    let sent = rig.publishers[&PUBLISHER].sent[Kind::Video as usize].len();
    for (number, viewer) in viewers.into_iter().enumerate() {
        let share = places(&rig, viewer, Kind::Video).len() as f64 / sent as f64;
        // The publisher's shard is the even ones'.
        assert_eq!(share < 0.8, number % 2 == 0, "{number}: {share}");
    }
}

#[test]
fn nobody_is_asked_for_a_keyframe_that_nobody_waits_for() {
    let (mut rig, _) = Scene { viewers: 0, ..Scene::default() }.begin();
    overload(&mut rig, Duration::from_secs(10));
    assert_eq!(rig.publishers[&PUBLISHER].keyframe_requests, 0);
    let viewer = watch(&mut rig, 10);
    rig.run_for(Duration::from_secs(10));
    assert!(rig.publishers[&PUBLISHER].keyframe_requests <= 6, "a turn in three at most");
    assert_unharmed(&rig, &[viewer]);
}

#[test]
fn frames_stay_whole_also_where_packets_overtake_each_other() {
    let (mut rig, viewers) = Scene::default().begin();
    (rig.weather.jitter, rig.weather.loss) = (8 * MS, 5);
    overload(&mut rig, Duration::from_secs(20));
    (rig.weather.jitter, rig.weather.loss, rig.wait) = (Duration::ZERO, 0, Duration::ZERO);
    rig.run_for(Duration::from_secs(1));
    let sent = &rig.publishers[&PUBLISHER].sent[Kind::Video as usize];
    for viewer in viewers {
        let places = places(&rig, viewer, Kind::Video);
        let pauses = places.windows(2).filter(|pair| pair[1] > pair[0] + 4);
        let cut = pauses.filter(|pause| !begins(&sent[pause[0] + 1]).0).count();
        assert_eq!(cut, 0, "{viewer}");
    }
    assert!(rig.broken.is_empty());
}
