//! ICE restarts (RFC 8445 §9): both ways in until the first check with the new credentials, none but
//! the new one afterwards, on every shard; media goes on, from whatever address and shard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::command::{CloseReason, Command};
use pyforward_core::discard::Discard;
use pyforward_core::event::Event;
use pyforward_core::ids::{SessionId, Ticket};
use pyforward_core::media::Kind;
use pyforward_core::path::{Path, SocketId};
use pyforward_core::srtp::Profile;
use pyforward_core::stats::Counter;
use rig::publisher::Publisher;
use rig::viewer::Viewer;
use rig::{Rig, SERVER, Weather, check, check_of, restart_ice};

const PUBLISHER: SessionId = SessionId(1);
const VIEWER: SessionId = SessionId(10);
const GCM: Profile = Profile::AeadAes128Gcm;

/// An odd port is heard on shard 1, an even one on shard 0.
fn address(port: u16) -> SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// A publisher on shard 0 and a viewer on shard 1, both flowing.
fn live() -> Rig {
    let mut rig = Rig::new(2);
    rig.add_session(PUBLISHER, Publisher::media());
    rig.publishers.insert(PUBLISHER, Publisher::new(PUBLISHER, address(2_000), rig.now, 0));
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.viewers.insert(VIEWER, Viewer::new(VIEWER, address(3_001), rig.now, GCM));
    rig.run_for(Duration::from_millis(10));
    rig.install_keys(PUBLISHER, GCM);
    rig.install_keys(VIEWER, GCM);
    rig.run_for(Duration::from_secs(2));
    assert!(rig.told(VIEWER).contains(&"flowing"));
    rig
}

/// The same on a network that loses, repeats and delays.
fn live_in_bad_weather() -> Rig {
    let mut rig = live();
    rig.weather = Weather {
        loss: 50,
        duplicates: 20,
        jitter: Duration::from_millis(12),
        delay: Duration::from_millis(10),
    };
    rig.run_for(Duration::from_secs(1));
    rig
}

/// Stops the media and lets repairs end on a quiet network.
fn end_of_stream(rig: &mut Rig) {
    rig.weather.loss = 0;
    rig.run_for(Duration::from_millis(500));
    rig.publishers.values_mut().for_each(|publisher| publisher.on_air = false);
    rig.run_for(Duration::from_secs(2));
}

/// A datagram lands on a shard, from an address of nobody else's.
fn deliver(rig: &mut Rig, shard: usize, port: u16, mut bytes: Vec<u8>) {
    let path = Path { socket: SocketId::SHARED, local: SERVER, remote: address(port) };
    rig::hand(&mut rig.shards[shard], rig.now, path, &mut bytes);
    rig.settle();
}

fn answered(rig: &mut Rig, shard: usize, bytes: Vec<u8>) -> bool {
    let before = rig.counted(Counter::ChecksAnswered);
    deliver(rig, shard, 5_000 + shard as u16, bytes);
    rig.counted(Counter::ChecksAnswered) > before
}

fn assert_retired(rig: &mut Rig, session: SessionId, generation: u32) {
    for shard in 0..2 {
        let before = rig.discarded(Discard::StunUnknownUfrag);
        assert!(!answered(rig, shard, check_of(session, generation, 1, true)), "shard {shard}");
        assert_eq!(rig.discarded(Discard::StunUnknownUfrag), before + 1, "shard {shard}");
    }
}

/// Where a session is, by the report of the shard that owns it.
fn home(rig: &mut Rig, session: SessionId) -> SocketAddr {
    rig.command(Command::ReportSessions { ticket: Ticket(1), sessions: vec![session] });
    let mut rows = rig.events.iter().rev().filter_map(|event| match event {
        Event::Report { rows, .. } => rows.first(),
        _ => None,
    });
    rows.next().unwrap().address.unwrap()
}

#[test]
fn a_viewer_restarts_in_bad_weather_and_loses_nothing() {
    // From the same address, from another one, across shards; and with the old one gone.
    for (to, keep) in [(3_001, true), (3_003, true), (4_000, true), (4_000, false)] {
        let mut rig = live_in_bad_weather();
        rig.restart_ice(VIEWER, 1);
        let now = rig.now;
        rig.viewers.get_mut(&VIEWER).unwrap().ice.restart(now, 1, address(to), keep);
        rig.run_for(Duration::from_secs(3));
        assert_eq!(home(&mut rig, VIEWER), address(to));
        assert_retired(&mut rig, VIEWER, 0);
        rig.run_for(Duration::from_secs(3));
        end_of_stream(&mut rig);
        for kind in Kind::ALL {
            rig.assert_whole(PUBLISHER, VIEWER, kind);
        }
        assert_eq!(rig.broken, vec![]);
        assert_eq!(rig.told(VIEWER), ["claimed", "flowing", "secured"], "nothing began again");
    }
}

#[test]
fn a_publisher_restarts_in_bad_weather_and_its_viewers_lose_nothing() {
    for (to, keep) in [(2_000, true), (2_002, true), (2_001, true), (2_001, false)] {
        let mut rig = live_in_bad_weather();
        rig.restart_ice(PUBLISHER, 1);
        let now = rig.now;
        rig.publishers.get_mut(&PUBLISHER).unwrap().ice.restart(now, 1, address(to), keep);
        rig.run_for(Duration::from_secs(3));
        assert_eq!(home(&mut rig, PUBLISHER), address(to));
        assert_retired(&mut rig, PUBLISHER, 0);
        rig.run_for(Duration::from_secs(3));
        end_of_stream(&mut rig);
        for kind in Kind::ALL {
            rig.assert_whole(PUBLISHER, VIEWER, kind);
        }
        assert_eq!(rig.told(PUBLISHER).last(), Some(&"flowing"), "nothing began again");
        assert_eq!(rig.closed(VIEWER), None);
    }
}

#[test]
fn restart_upon_restart_upon_restart() {
    let mut rig = live_in_bad_weather();
    for generation in 1..=10 {
        rig.restart_ice(VIEWER, generation);
        rig.restart_ice(PUBLISHER, generation);
        let now = rig.now;
        let port = 3_000 + generation as u16;
        rig.viewers.get_mut(&VIEWER).unwrap().ice.restart(now, generation, address(port), true);
        let port = 2_000 + generation as u16;
        let publisher = rig.publishers.get_mut(&PUBLISHER).unwrap();
        publisher.ice.restart(now, generation, address(port), true);
        // Some are not over when the next one comes.
        rig.run_for(Duration::from_millis(40 + 60 * u64::from(generation % 3)));
    }
    rig.run_for(Duration::from_secs(2));
    end_of_stream(&mut rig);
    for kind in Kind::ALL {
        rig.assert_whole(PUBLISHER, VIEWER, kind);
    }
    for generation in 0..10 {
        assert_retired(&mut rig, VIEWER, generation);
    }
    assert_eq!(home(&mut rig, VIEWER), address(3_010));
    assert_eq!(home(&mut rig, PUBLISHER), address(2_010));
}

#[test]
fn old_credentials_hold_until_the_first_check_with_the_new_ones() {
    for first in 0..2 {
        let mut rig = live();
        rig.restart_ice(VIEWER, 1);
        for shard in 0..2 {
            assert!(answered(&mut rig, shard, check_of(VIEWER, 0, 1, true)));
        }
        let wrong = rig::check_of_with(VIEWER, 1, "wrong-password-wrong-password");
        assert!(!answered(&mut rig, first, wrong));
        assert!(answered(&mut rig, first, check_of(VIEWER, 0, 1, true)), "a guess retires nothing");
        assert!(answered(&mut rig, first, check_of(VIEWER, 1, 1, false)));
        assert_retired(&mut rig, VIEWER, 0);
        for shard in 0..2 {
            assert!(answered(&mut rig, shard, check_of(VIEWER, 1, 1, false)));
        }
    }
}

#[test]
fn a_shard_that_hears_of_the_restart_after_its_first_check_takes_no_old_one() {
    for (quick, slow) in [(0, 1), (1, 0)] {
        let mut rig = live();
        let command = restart_ice(VIEWER, 1);
        rig.shards[quick].apply(rig.now, command.clone());
        deliver(&mut rig, quick, 5_000, check_of(VIEWER, 1, 1, true));
        rig.shards[slow].apply(rig.now, command);
        assert_retired(&mut rig, VIEWER, 0);
        for shard in 0..2 {
            assert!(answered(&mut rig, shard, check_of(VIEWER, 1, 1, true)));
        }
    }
}

#[test]
fn of_two_restarts_without_a_check_the_later_one_counts() {
    let mut rig = live();
    rig.restart_ice(VIEWER, 1);
    rig.restart_ice(VIEWER, 2);
    assert_retired(&mut rig, VIEWER, 1);
    assert!(answered(&mut rig, 0, check_of(VIEWER, 0, 1, true)), "still in force");
    assert!(answered(&mut rig, 0, check_of(VIEWER, 2, 1, true)));
    assert_retired(&mut rig, VIEWER, 0);
}

#[test]
fn a_session_that_nobody_claimed_restarts_too() {
    for shard in 0..2 {
        let mut rig = Rig::new(2);
        rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
        rig.restart_ice(VIEWER, 1);
        assert!(answered(&mut rig, shard, check_of(VIEWER, 1, 1, true)));
        assert_eq!(rig.told(VIEWER), ["claimed"]);
        assert_retired(&mut rig, VIEWER, 0);
        assert!(answered(&mut rig, 1 - shard, check_of(VIEWER, 1, 1, true)));
    }
    let mut rig = Rig::new(2);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.restart_ice(VIEWER, 1);
    assert!(answered(&mut rig, 0, check(VIEWER, 1, true)), "the peer may be late with its restart");
    assert!(answered(&mut rig, 1, check_of(VIEWER, 1, 1, true)));
    assert_eq!(rig.told(VIEWER), ["claimed"]);
    assert_retired(&mut rig, VIEWER, 0);
}

#[test]
fn a_session_that_ends_during_a_restart_leaves_neither_name() {
    let mut rig = live();
    rig.restart_ice(VIEWER, 1);
    rig.command(Command::RemoveSession { session: VIEWER, reason: CloseReason::Deleted });
    assert_retired(&mut rig, VIEWER, 0);
    assert_retired(&mut rig, VIEWER, 1);
    rig.restart_ice(VIEWER, 2);
    assert_retired(&mut rig, VIEWER, 2);
    assert_eq!(rig.told(VIEWER).last(), Some(&"closed"));
}

#[test]
fn a_restart_in_the_middle_of_a_handshake_goes_on_with_it() {
    let mut rig = Rig::new(2);
    rig.add_session(VIEWER, Viewer::subscription(VIEWER, true));
    rig.viewers.insert(VIEWER, Viewer::new(VIEWER, address(3_001), rig.now, GCM));
    rig.run_for(Duration::from_millis(5));
    rig.send(address(3_001), vec![22; 60]);
    rig.run_for(Duration::from_millis(5));
    rig.restart_ice(VIEWER, 1);
    let now = rig.now;
    rig.viewers.get_mut(&VIEWER).unwrap().ice.restart(now, 1, address(3_002), true);
    rig.run_for(Duration::from_millis(5));
    rig.send(address(3_002), vec![22; 60]);
    rig.run_for(Duration::from_millis(5));
    assert_eq!(rig.told(VIEWER), ["claimed", "dtls", "dtls"]);
    rig.command(Command::SendDtls { session: VIEWER, datagrams: vec![vec![22; 80]] });
    rig.run_for(Duration::from_millis(5));
    assert_eq!(rig.viewers[&VIEWER].dtls.len(), 1);
}
