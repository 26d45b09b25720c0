//! Large keyframes are spread over time, in order and for everybody; audio passes them by, and whoever
//! joins meanwhile gets everything once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::stats::Counter;
use rig::Rig;
use rig::local::{self, send, sound, watch};

/// 100 Mbit/s.
const PACE: u64 = 12_500_000;
/// Ten milliseconds of it beyond the burst.
const KEYFRAME: u16 = 150;

fn rig(pace: u64) -> Rig {
    local::publishing(|config| config.pace_bytes_per_second = pace)
}

/// A frame of 1,100 B packets, all at once.
fn frame(rig: &mut Rig, frame: u32, numbers: std::ops::Range<u16>, keyframe: bool) {
    send(rig, local::frame(frame, numbers, keyframe));
}

fn talk(rig: &mut Rig, number: u16) {
    send(rig, vec![sound(number)]);
}

fn numbers(rig: &Rig, viewer: SessionId) -> Vec<u16> {
    let number = |payload: &Vec<u8>| u16::from_be_bytes([payload[2], payload[3]]);
    rig.viewers[&viewer].payloads(Kind::Video).iter().map(number).collect()
}

#[test]
fn a_large_keyframe_leaves_no_faster_than_the_pace() {
    let mut rig = rig(PACE);
    let viewers = [watch(&mut rig, 10), watch(&mut rig, 11)];
    frame(&mut rig, 1, 0..KEYFRAME, true);
    let mut arrived = Vec::new();
    for _ in 0..15 {
        rig.run_for(Duration::from_millis(1));
        arrived.push(numbers(&rig, viewers[0]).len());
    }
    assert!((32..=44).contains(&arrived[0]), "the burst: {arrived:?}");
    for pair in arrived.windows(2) {
        // A millisecond is eleven packets, and trains have sixteen.
        assert!(pair[1] - pair[0] <= 16, "{arrived:?}");
    }
    for viewer in viewers {
        assert_eq!(numbers(&rig, viewer), (0..KEYFRAME).collect::<Vec<_>>());
    }
    assert_eq!(rig.counted(Counter::PacketsOut), 2 * u64::from(KEYFRAME));
}

#[test]
fn without_a_pace_it_leaves_at_once() {
    let mut rig = rig(0);
    let viewer = watch(&mut rig, 10);
    frame(&mut rig, 1, 0..KEYFRAME, true);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(numbers(&rig, viewer).len(), usize::from(KEYFRAME));
}

#[test]
fn audio_passes_a_keyframe_by() {
    let mut rig = rig(PACE);
    let viewer = watch(&mut rig, 10);
    frame(&mut rig, 1, 0..KEYFRAME, true);
    talk(&mut rig, 1);
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.viewers[&viewer].payloads(Kind::Audio).len(), 1);
    assert!(numbers(&rig, viewer).len() < usize::from(KEYFRAME));
}

#[test]
fn frames_behind_a_keyframe_keep_their_place() {
    let mut rig = rig(PACE);
    let viewer = watch(&mut rig, 10);
    frame(&mut rig, 1, 0..KEYFRAME, true);
    frame(&mut rig, 2, KEYFRAME..KEYFRAME + 5, false);
    rig.run_for(Duration::from_millis(20));
    assert_eq!(numbers(&rig, viewer), (0..KEYFRAME + 5).collect::<Vec<_>>());
}

#[test]
fn who_joins_while_it_is_held_gets_everything_once() {
    let mut rig = rig(PACE);
    let first = watch(&mut rig, 10);
    frame(&mut rig, 1, 0..KEYFRAME, true);
    let second = watch(&mut rig, 11);
    assert!(numbers(&rig, first).len() < usize::from(KEYFRAME));
    rig.run_for(Duration::from_millis(30));
    for viewer in [first, second] {
        assert_eq!(numbers(&rig, viewer), (0..KEYFRAME).collect::<Vec<_>>(), "{viewer}");
    }
    assert_eq!(rig.counted(Counter::PacketsOut), 2 * u64::from(KEYFRAME));
}

#[test]
fn a_stream_that_is_faster_than_the_pace_is_late_by_a_bounded_time() {
    let mut rig = rig(PACE / 10);
    let viewer = watch(&mut rig, 10);
    // 26 Mbit/s by a pace of 10.
    for n in 0..60_u16 {
        frame(&mut rig, n.into(), n * 100..(n + 1) * 100, n == 0);
        rig.run_for(Duration::from_millis(33));
        let behind = usize::from(n + 1) * 100 - numbers(&rig, viewer).len();
        assert!(behind <= 200, "{behind} packets wait after frame {n}");
    }
    rig.run_for(Duration::from_millis(50));
    assert_eq!(numbers(&rig, viewer), (0..6_000).collect::<Vec<_>>());
}
