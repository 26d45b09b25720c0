//! What a session costs in memory, by what the process has resident: nothing else runs in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::command::{Command, Media};
use pyforward_core::ids::{SessionId, StreamId};
use pyforward_core::path::{Path, SocketId};
use pyforward_core::session::Association;
use pyforward_core::srtp::Profile;
use pyforward_core::stream::Stream;
use pyforward_core::subscriber::Subscriber;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, SERVER, check};

const GCM: Profile = Profile::AeadAes128Gcm;

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// What each of `count` costs that `add` adds.
fn each(rig: &mut Rig, what: &str, count: u64, mut add: impl FnMut(&mut Rig, u64)) -> u64 {
    let before = resident();
    (0..count).for_each(|n| add(rig, n));
    let bytes = resident().saturating_sub(before) / count;
    println!("{what}: {bytes} bytes");
    bytes
}

/// Adds a viewer whose first check and first record arrive; nobody takes its answers.
fn half_open(rig: &mut Rig, stream: StreamId, n: u64) -> SessionId {
    let session = SessionId(1_000 + n);
    let Media::Subscribe { tracks, cname, .. } = Viewer::subscription(session, true) else {
        panic!("it watches")
    };
    rig.add_session(session, Media::Subscribe { stream, tracks, cname });
    let remote = ([10, 1, (n >> 8) as u8, n as u8], 4_444).into();
    let path = Path { socket: SocketId::SHARED, local: SERVER, remote };
    rig::hand(&mut rig.shards[0], rig.now, path, &mut check(session, n, true));
    rig::hand(&mut rig.shards[0], rig.now, path, &mut [22; 1_200]);
    rig.settle();
    rig.run_for(Duration::from_micros(1));
    rig.events.clear();
    session
}

#[test]
fn sessions_are_small_and_leave_nothing() {
    println!("subscriber: {} bytes", size_of::<Subscriber>());
    println!("association: {} bytes", size_of::<Association>());
    println!("stream: {} bytes", size_of::<Stream>());
    let mut rig = Rig::new(2);
    let stream = rig::STREAM;

    let idle = each(&mut rig, "an idle stream on two shards", 5_000, |rig, n| {
        rig.command(Command::AddStream { stream: StreamId(10 + n) });
    });
    assert!(idle < 4_096);

    // 10,000 of them may cost 150 MB with all that Python keeps: DESIGN leaves us a small part.
    let open = each(&mut rig, "a half-open session", 10_000, |rig, n| {
        half_open(rig, stream, n);
    });
    assert!(open < 4_096);

    let viewer = each(&mut rig, "a viewer with keys", 2_000, |rig, n| {
        let session = half_open(rig, StreamId(10), 20_000 + n);
        rig.install_keys(session, GCM);
    });
    assert!(viewer < 10_000);

    // They go when nobody comes, and a good viewer joins meanwhile.
    let (publisher, good) = (SessionId(1), SessionId(2));
    rig.add_session(publisher, Publisher::media());
    let address = |port: u16| ([10, 0, 1, 1], port).into();
    rig.publishers.insert(publisher, Publisher::new(publisher, address(2_000), rig.now, 0));
    rig.add_session(good, Viewer::subscription(good, true));
    rig.viewers.insert(good, Viewer::new(good, address(3_000), rig.now, GCM));
    rig.run_for(Duration::from_millis(20));
    rig.install_keys(publisher, GCM);
    rig.install_keys(good, GCM);
    rig.run_for(Duration::from_millis(500));
    assert!(rig.told(good).contains(&"flowing"));
    rig.run_for(Duration::from_secs(16));
    assert!([0, 5_000, 9_999].map(|n| rig.closed(SessionId(1_000 + n)).is_some()) == [true; 3]);

    let before = resident();
    for n in 0..10_000 {
        half_open(&mut rig, stream, 30_000 + n);
    }
    let more = resident().saturating_sub(before);
    println!("the next 10,000: {more} bytes");
    assert!(more < 10_000 * 2_000, "what was left is used again");
}
