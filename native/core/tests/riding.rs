//! Audio that leaves in the round of a video train is the train's last, shorter segment: one message
//! for both. Neither waits for the other, and what goes wrong is counted by track.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::egress::Outcome;
use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::stats::Counter;
use rig::Rig;
use rig::local::{frame, publishing, send, sound, watch};

/// Two viewers that have a keyframe, and a packet of audio each.
fn watched() -> (Rig, [SessionId; 2]) {
    watched_with(true)
}

fn watched_with(riders: bool) -> (Rig, [SessionId; 2]) {
    let mut rig = publishing(|config| config.riders = riders);
    let viewers = [watch(&mut rig, 10), watch(&mut rig, 11)];
    send(&mut rig, frame(1, 0..4, true));
    send(&mut rig, vec![sound(1)]);
    rig.run_for(Duration::from_millis(20));
    rig.trains.clear();
    (rig, viewers)
}

/// Every payload once and in order, under nonces that sealed nothing else.
fn assert_got(rig: &Rig, viewer: SessionId, video: usize, audio: usize) {
    let viewer = &rig.viewers[&viewer];
    assert_eq!(viewer.payloads(Kind::Video).len(), video);
    assert_eq!(viewer.payloads(Kind::Audio), vec![vec![7; 40]; audio]);
    assert!(Kind::ALL.iter().all(|kind| viewer.missing(*kind).is_empty()));
    assert!(rig.broken.is_empty() && viewer.broken.is_empty());
}

#[test]
fn audio_that_leaves_with_a_frame_ends_its_train() {
    let (mut rig, viewers) = watched();
    let before = rig.shards[0].stats().clone();
    // It came in the middle of the frame.
    let mut packets = frame(2, 4..9, false);
    packets.insert(2, sound(2));
    send(&mut rig, packets);
    assert_eq!(rig.trains, [6, 6], "one message for each viewer");
    let stats = rig.shards[0].stats();
    assert_eq!(stats.train_packets.sum - before.train_packets.sum, 12, "told by the metric");
    let observed = |stats: &pyforward_core::stats::Stats| -> u64 {
        stats.forward_latency.buckets.iter().sum()
    };
    assert_eq!(observed(stats) - observed(&before), 12, "a latency of each packet");
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 9, 2));
}

#[test]
fn without_riders_it_is_a_message_of_its_own() {
    let (mut rig, viewers) = watched_with(false);
    let mut packets = frame(2, 4..9, false);
    packets.insert(2, sound(2));
    send(&mut rig, packets);
    rig.trains.sort_unstable();
    assert_eq!(rig.trains, [1, 1, 5, 5]);
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 9, 2));
}

#[test]
fn audio_waits_for_no_frame() {
    let (mut rig, viewers) = watched();
    let mut whole = frame(2, 4..9, false);
    let rest = whole.split_off(3);
    send(&mut rig, whole);
    send(&mut rig, vec![sound(2)]);
    assert_eq!(rig.trains, [1, 1], "it has left, and the frame waits for its marker");
    send(&mut rig, rest);
    assert_eq!(rig.trains, [1, 1, 5, 5]);
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 9, 2));
}

#[test]
fn nothing_rides_behind_a_shorter_last_segment_or_is_larger_than_one() {
    let (mut rig, viewers) = watched();
    let mut packets = frame(2, 4..9, false);
    packets.last_mut().unwrap().truncate(600);
    packets.push(sound(2));
    send(&mut rig, packets);
    rig.trains.sort_unstable();
    assert_eq!(rig.trains, [1, 1, 5, 5]);
    rig.trains.clear();
    let mut packets = frame(3, 9..11, false);
    packets.iter_mut().for_each(|packet| packet.truncate(12 + 30));
    packets.push(sound(3));
    send(&mut rig, packets);
    rig.trains.sort_unstable();
    assert_eq!(rig.trains, [1, 1, 2, 2]);
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 11, 3));
}

#[test]
fn nothing_rides_on_what_is_too_large_for_a_segment() {
    let (mut rig, viewers) = watched();
    let mut packets = frame(2, 4..5, false);
    packets[0].resize(1_300, 0);
    packets.push(sound(2));
    send(&mut rig, packets);
    assert_eq!(rig.trains, [1; 4]);
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 5, 2));
}

#[test]
fn each_rider_has_a_train_of_its_own_and_looks_for_one_that_it_can_end() {
    let (mut rig, viewers) = watched();
    // Two frames at once, as after a long turn, of which the first ends shorter; and a full train.
    let mut packets = [sound(2), sound(3)].to_vec();
    packets.extend(frame(2, 4..7, false));
    packets.last_mut().unwrap().truncate(600);
    packets.extend(frame(3, 7..10, false));
    send(&mut rig, packets);
    assert_eq!(rig.trains, [3, 4, 1, 3, 4, 1]);
    rig.trains.clear();
    let mut packets = frame(4, 10..26, false);
    packets.push(sound(4));
    send(&mut rig, packets);
    assert_eq!(rig.trains, [16, 1, 16, 1]);
    rig.run_for(Duration::from_millis(20));
    viewers.iter().for_each(|viewer| assert_got(&rig, *viewer, 26, 4));
}

#[test]
fn what_did_not_fit_the_socket_is_counted_by_track_and_audio_goes_on() {
    let (mut rig, [first, second]) = watched();
    // The first that is sent meets a full socket; the start rotates.
    rig.outcomes = vec![Outcome::Full];
    let mut packets = frame(2, 4..9, false);
    packets.push(sound(2));
    send(&mut rig, packets);
    assert_eq!(rig.counted(Counter::SendDropsFull), 6);
    send(&mut rig, [frame(3, 9..12, false), vec![sound(3)]].concat());
    rig.run_for(Duration::from_millis(20));
    let got = |viewer, kind| rig.viewers[&viewer].payloads(kind).len();
    let mut video = [first, second].map(|viewer| got(viewer, Kind::Video));
    let mut audio = [first, second].map(|viewer| got(viewer, Kind::Audio));
    video.sort_unstable();
    audio.sort_unstable();
    assert_eq!(video, [4, 12], "what references a lost frame is not sent");
    assert_eq!(audio, [2, 3]);
}

#[test]
fn without_trains_nothing_rides() {
    let mut rig = publishing(|config| config.gso = false);
    let viewer = watch(&mut rig, 10);
    send(&mut rig, [frame(1, 0..4, true), vec![sound(1)]].concat());
    rig.run_for(Duration::from_millis(20));
    assert_eq!(rig.trains.iter().filter(|train| **train > 1).count(), 0);
    assert_got(&rig, viewer, 4, 1);
}
