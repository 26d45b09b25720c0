//! Where a viewer's video starts, and what makes it start anew: packet by packet, from a local
//! publisher whose every packet the test chooses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::command::{CloseReason, Command};
use pyforward_core::egress::Outcome;
use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::stats::Counter;
use rig::Rig;
use rig::local::{publish, watch};
use rig::publisher::{AUDIO, VIDEO};

const LOCAL: SessionId = SessionId(1);

/// A packet of VP8: its number is its payload.
#[derive(Clone, Copy)]
struct Packet {
    number: u16,
    frame: u32,
    keyframe: bool,
    first: bool,
    last: bool,
}

/// The packets of one frame of three.
fn frame(first: u16, frame: u32, keyframe: bool) -> [Packet; 3] {
    [0, 1, 2].map(|n| Packet { number: first + n, frame, keyframe, first: n == 0, last: n == 2 })
}

fn send(rig: &mut Rig, session: SessionId, packets: &[Packet]) {
    let bytes = |packet: &Packet| {
        let mut bytes = vec![0x80, (u8::from(packet.last) << 7) | 96];
        bytes.extend(packet.number.to_be_bytes());
        bytes.extend((packet.frame * 3_000).to_be_bytes());
        bytes.extend(VIDEO.0.to_be_bytes());
        bytes.extend([u8::from(packet.first) << 4, u8::from(!packet.keyframe)]);
        bytes.extend(packet.number.to_be_bytes());
        bytes.extend([0; 96]);
        bytes
    };
    let packets = packets.iter().map(bytes).collect();
    rig.command(Command::InjectRtp { session, packets, stamped: false });
    rig.run_for(Duration::from_millis(5));
}

fn talk(rig: &mut Rig, number: u16, timestamp: u32) {
    let mut bytes = vec![0x80, 111];
    bytes.extend(number.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(AUDIO.0.to_be_bytes());
    bytes.extend([7; 40]);
    rig.command(Command::InjectRtp { session: LOCAL, packets: vec![bytes], stamped: false });
    rig.run_for(Duration::from_millis(1));
}

/// The numbers that the publisher gave to what a viewer has, in the viewer's order.
fn numbers(rig: &Rig, viewer: SessionId) -> Vec<u16> {
    let number = |payload: &Vec<u8>| u16::from_be_bytes([payload[2], payload[3]]);
    rig.viewers[&viewer].payloads(Kind::Video).iter().map(number).collect()
}

#[test]
fn a_keyframe_whose_first_packet_comes_late_is_sent_once_and_whole() {
    let mut rig = Rig::new(2);
    publish(&mut rig, LOCAL);
    let viewer = watch(&mut rig, 10);
    let [first, second, third] = frame(10, 2, true);
    send(&mut rig, LOCAL, &frame(7, 1, false));
    send(&mut rig, LOCAL, &[second, third]);
    send(&mut rig, LOCAL, &frame(13, 3, false));
    assert_eq!(numbers(&rig, viewer), [0; 0], "nothing shows a keyframe");
    // Between whole frames, all in one round.
    let alone = |number, frame| Packet { number, frame, keyframe: false, first: true, last: true };
    send(&mut rig, LOCAL, &[alone(16, 4), first, alone(17, 5)]);
    assert_eq!(numbers(&rig, viewer), (10..=17).collect::<Vec<_>>());
    assert_eq!(rig.counted(Counter::PacketsOut), 8, "each of them once");
    assert_eq!(rig.viewers[&viewer].missing(Kind::Video), [0; 0]);
}

#[test]
fn a_viewer_starts_at_once_at_a_keyframe_of_a_moment_ago() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    let witness = watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(10, 1, true));
    send(&mut rig, LOCAL, &frame(13, 2, false));
    let viewer = watch(&mut rig, 11);
    send(&mut rig, LOCAL, &frame(16, 3, false));
    assert_eq!(numbers(&rig, viewer), (10..=18).collect::<Vec<_>>());
    assert_eq!(numbers(&rig, viewer), numbers(&rig, witness));
    assert_eq!(rig.trains.iter().max(), Some(&9), "three frames out of the cache are one message");
    rig.run_for(Duration::from_millis(400));
    let late = watch(&mut rig, 12);
    send(&mut rig, LOCAL, &frame(19, 4, false));
    assert_eq!(numbers(&rig, late), [0; 0], "too long ago");
    send(&mut rig, LOCAL, &frame(22, 5, true));
    assert_eq!(numbers(&rig, late), [22, 23, 24]);
}

#[test]
fn nobody_starts_at_a_keyframe_after_which_something_is_missing() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    let witness = watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(10, 1, true));
    let [first, second, third] = frame(13, 2, false);
    send(&mut rig, LOCAL, &[first, third]);
    let viewer = watch(&mut rig, 11);
    send(&mut rig, LOCAL, &frame(16, 3, false));
    assert_eq!((numbers(&rig, viewer).len(), numbers(&rig, witness).len()), (0, 8));
    send(&mut rig, LOCAL, &[second]);
    assert_eq!(numbers(&rig, viewer), (10..=18).collect::<Vec<_>>(), "now it is whole");
}

#[test]
fn a_late_packet_from_before_a_keyframe_lets_nobody_start_there() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(7, 1, true));
    let [first, second, third] = frame(10, 2, false);
    send(&mut rig, LOCAL, &[first, third]);
    send(&mut rig, LOCAL, &frame(13, 3, true));
    rig.run_for(Duration::from_millis(400));
    let viewer = watch(&mut rig, 11);
    // Both are under way together, and the keyframe lies between them.
    let [fourth, fifth, sixth] = frame(16, 4, false);
    send(&mut rig, LOCAL, &[second, fourth, fifth, sixth]);
    assert_eq!(numbers(&rig, viewer), [0; 0], "too long ago");
}

#[test]
fn a_full_socket_holds_video_until_a_keyframe_and_only_if_video_was_lost() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    let viewer = watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(10, 1, true));
    rig.outcomes = vec![Outcome::Full];
    talk(&mut rig, 5, 5);
    assert_eq!(rig.counted(Counter::SendDropsFull), 1);
    send(&mut rig, LOCAL, &frame(13, 2, false));
    assert_eq!(numbers(&rig, viewer), (10..=15).collect::<Vec<_>>(), "a lost word holds nothing");
    rig.viewers.get_mut(&viewer).unwrap().wants_repair = false;
    rig.outcomes = vec![Outcome::Full];
    send(&mut rig, LOCAL, &frame(16, 3, false));
    send(&mut rig, LOCAL, &frame(19, 4, false));
    assert_eq!(numbers(&rig, viewer), (10..=15).collect::<Vec<_>>(), "nothing that refers to it");
    send(&mut rig, LOCAL, &frame(22, 5, true));
    assert_eq!(numbers(&rig, viewer), [10, 11, 12, 13, 14, 15, 22, 23, 24]);
    assert_eq!(rig.viewers[&viewer].missing(Kind::Video).len(), 3, "those that were refused");
}

#[test]
fn the_next_publishers_viewers_wait_for_its_keyframe_and_get_what_it_overtook() {
    let mut rig = Rig::new(2);
    publish(&mut rig, LOCAL);
    let viewer = watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(10, 1, true));
    let reason = CloseReason::Replaced;
    rig.command(Command::RemoveSession { session: LOCAL, reason });
    let next = SessionId(20);
    publish(&mut rig, next);
    send(&mut rig, next, &frame(300, 7, false));
    assert_eq!(numbers(&rig, viewer), [10, 11, 12], "it cannot be decoded");
    let [first, second, third] = frame(303, 8, true);
    send(&mut rig, next, &[second, first, third]);
    assert_eq!(numbers(&rig, viewer), [10, 11, 12, 303, 304, 305]);
    assert_eq!(rig.viewers[&viewer].missing(Kind::Video), [0; 0]);

    let third_publisher = SessionId(21);
    rig.command(Command::RemoveSession { session: next, reason });
    publish(&mut rig, third_publisher);
    let [first, second, third] = frame(40_000, 1, true);
    send(&mut rig, third_publisher, &[second, third, first]);
    let all = numbers(&rig, viewer);
    assert_eq!(all[6..], [40_000, 40_001, 40_002], "its very first packet was overtaken");
}

#[test]
fn an_audience_of_one_leaves_nothing_behind() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    let viewer = watch(&mut rig, 10);
    send(&mut rig, LOCAL, &frame(10, 1, true));
    rig.remove(viewer);
    send(&mut rig, LOCAL, &frame(13, 2, false));
    let next = watch(&mut rig, 11);
    send(&mut rig, LOCAL, &frame(16, 3, false));
    assert_eq!(numbers(&rig, next), [0; 0], "the keyframe went with the last viewer");
    send(&mut rig, LOCAL, &frame(19, 4, true));
    assert_eq!(numbers(&rig, next), [19, 20, 21]);
}

#[test]
fn silence_is_not_absence() {
    let mut rig = Rig::new(1);
    publish(&mut rig, LOCAL);
    let viewer = watch(&mut rig, 10);
    talk(&mut rig, 5, 960);
    // DTX: nothing for a minute, then the timestamp says how long.
    rig.run_for(Duration::from_secs(60));
    talk(&mut rig, 6, 960 + 60 * 48_000);
    assert_eq!((rig.closed(LOCAL), rig.closed(viewer)), (None, None));
    let heard: Vec<_> = rig.viewers[&viewer].media[Kind::Audio as usize].iter().collect();
    let [(first, before), (second, after)] = heard[..] else { panic!("two packets: {heard:?}") };
    assert_eq!(second - first, 1, "no gap");
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 60 * 48_000);
}
