//! A shard that is busy waits for whole frames; one that has time sends what there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::ids::SessionId;
use pyforward_core::media::Kind;
use pyforward_core::srtp::Profile;
use rig::Rig;
use rig::local::{frame, publishing, send, watch};
use rig::publisher::Publisher;

const MS: Duration = Duration::from_millis(1);

/// Packets of a frame, which a publisher's pacer spreads: three of them every four milliseconds.
const FRAME: u16 = 9;

/// Frames of so many seconds; how many packets left in each message in the end.
fn paced(rig: &mut Rig, begin: u32, seconds: u32) -> Vec<u32> {
    for number in begin..begin + 30 * seconds {
        rig.trains.clear();
        let first = number as u16 * FRAME;
        for group in frame(number, first..first + FRAME, number == 1).chunks(3) {
            send(rig, group.to_vec());
            rig.run_for(4 * MS);
        }
        rig.run_for(21 * MS);
    }
    rig.trains.clone()
}

#[test]
fn frames_leave_whole_where_the_shard_is_busy() {
    let mut rig = publishing(|config| {
        (config.idle_window, config.frame_window) = (MS, 15 * MS);
    });
    let viewers = [watch(&mut rig, 10), watch(&mut rig, 11)];
    assert_eq!(paced(&mut rig, 1, 3), [3; 6], "there is time");
    // Four fifths of it where frames leave in parts, a quarter and a bit where they leave whole.
    rig.toll = Duration::from_micros(4_500);
    assert_eq!(paced(&mut rig, 91, 5), [9; 2], "two viewers, a message each");
    rig.toll = MS;
    assert_eq!(paced(&mut rig, 241, 3), [3; 6], "there is time again");
    for viewer in viewers {
        let got = rig.viewers[&viewer].payloads(Kind::Video).len();
        assert_eq!(got, usize::from(FRAME) * 330);
    }
}

#[test]
fn so_do_those_of_a_publisher_on_the_network() {
    let mut rig = Rig::with(1, |config| {
        (config.idle_window, config.frame_window) = (MS, 15 * MS);
    });
    let publisher = SessionId(1);
    rig.add_session(publisher, Publisher::media());
    let mut peer = Publisher::new(publisher, ([10, 0, 1, 1], 2_000).into(), rig.now, 100);
    (peer.pace, peer.frame_packets) = (3 * MS, (4, 4));
    rig.publishers.insert(publisher, peer);
    rig.run_for(MS);
    rig.install_keys(publisher, Profile::AeadAes128Gcm);
    let viewers = [watch(&mut rig, 10), watch(&mut rig, 11)];
    let mut whole_frames = |toll| {
        rig.toll = toll;
        rig.run_for(Duration::from_secs(4));
        rig.trains.clear();
        rig.run_for(Duration::from_secs(1));
        rig.trains.iter().filter(|train| **train >= 4).count()
    };
    assert_eq!(whole_frames(Duration::ZERO), 0);
    assert!((55..=65).contains(&whole_frames(2 * MS)), "of thirty frames to two viewers");
    rig.run_for(Duration::from_millis(5));
    for viewer in viewers {
        assert!(rig.viewers[&viewer].missing(Kind::Video).is_empty());
        assert!(rig.viewers[&viewer].broken.is_empty() && rig.broken.is_empty());
    }
}
