//! The engine with its threads: the port is exclusive, commands arrive, counters come back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket as Peer};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyforward_core::command::Command;
use pyforward_core::event::Event;
use pyforward_core::ids::StreamId;
use pyforward_core::stats::{Counter, Stats};
use pyforward_io::engine::{Engine, EngineConfig, Fatal, Stopped};

fn config(addresses: &[IpAddr], port: u16, shards: u8) -> EngineConfig {
    EngineConfig {
        source_address: None,
        pace_bytes_per_second: 0,
        repeats: true,
        cores: Vec::new(),
        addresses: addresses.to_vec(),
        port,
        shards,
        gso: true,
        train_packets: 16,
        padding: true,
        sendmmsg: true,
        recvmmsg: true,
        riders: true,
        slice: Duration::from_micros(250),
        short_turns: true,
        frame_window: Duration::from_millis(4),
        idle_window: Duration::from_millis(4),
        shed_after: Duration::from_millis(200),
        keyframe_interval: Duration::from_millis(500),
        silence: Duration::from_secs(15),
        publisher_bitrate_bps: 20_000_000,
        max_events: 1_000,
    }
}

fn fatal() -> Fatal {
    Arc::new(|reason| panic!("{reason}"))
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Waits until it holds; a test that waits in vain fails.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn word(engine: &Engine, shard: usize, counter: Counter) -> u64 {
    engine.stats()[shard][counter as usize]
}

#[test]
fn every_address_gets_the_one_port_and_a_second_engine_is_told_whose_it_is() {
    let engine = Engine::start(&config(&LOOPBACK, 0, 2), fatal()).unwrap();
    let [v4, v6] = engine.addresses() else { panic!("two addresses") };
    assert_eq!([v4.ip(), v6.ip()], LOOPBACK);
    assert!(v4.port() != 0 && v4.port() == v6.port());

    let second = config(&LOOPBACK, v4.port(), 1);
    let refused = Engine::start(&second, fatal()).err().unwrap();
    assert_eq!(refused.errno, Some(libc::EADDRINUSE));
    let sentence = refused.to_string();
    assert!(sentence.contains(&format!("process {}", std::process::id())), "{sentence}");
    assert!(sentence.contains(&v4.port().to_string()), "{sentence}");

    engine.stop();
    engine.stop();
    Engine::start(&second, fatal()).unwrap();
}

#[test]
fn a_program_that_shares_the_port_already_is_refused_as_well() {
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    let any: std::net::SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    other.bind(&any.into()).unwrap();
    let port = other.local_addr().unwrap().as_socket().unwrap().port();
    let refused = Engine::start(&config(&LOOPBACK, port, 1), fatal()).err().unwrap();
    assert!(refused.to_string().contains("in use by another program"), "{refused}");
}

#[test]
fn an_address_of_another_host_is_named() {
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let refused = Engine::start(&config(&[elsewhere], 0, 1), fatal()).err().unwrap();
    assert_eq!(refused.errno, Some(libc::EADDRNOTAVAIL));
    assert!(refused.to_string().contains("192.0.2.1"), "{refused}");
}

#[test]
fn without_addresses_both_families_are_served() {
    let engine = Engine::start(&config(&[], 0, 1), fatal()).unwrap();
    let [all] = engine.addresses() else { panic!("one wildcard") };
    assert!(all.ip().is_unspecified() && all.is_ipv6());
    for (count, ip) in (1..).zip(LOOPBACK) {
        let peer = Peer::bind((ip, 0)).unwrap();
        peer.send_to(&[255; 20], (ip, all.port())).unwrap();
        // Neither STUN nor DTLS nor RTP: the shard counts it whatever it is.
        until("the datagram is counted", || word(&engine, 0, Counter::DatagramsIn) == count);
    }
}

#[test]
fn all_of_ipv4_takes_the_place_of_its_addresses_and_of_no_others() {
    let [v4, v6] = LOOPBACK;
    let all_v4 = Ipv4Addr::UNSPECIFIED.into();
    let engine = Engine::start(&config(&[v4, all_v4, v6, v6], 0, 2), fatal()).unwrap();
    let bound: Vec<IpAddr> = engine.addresses().iter().map(|address| address.ip()).collect();
    assert_eq!(bound, [all_v4, v6]);
    assert!(Engine::start(&config(&[v4; 33], 0, 1), fatal()).is_err());
}

#[test]
fn one_shard_a_core_unless_told_and_too_many_are_refused() {
    let engine = Engine::start(&config(&LOOPBACK, 0, 0), fatal()).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(engine.stats().len(), cores.min(64));
    assert_eq!(engine.stats()[0].len(), Stats::WORDS);
    assert!(Engine::start(&config(&LOOPBACK, 0, 65), fatal()).is_err());
}

#[test]
fn commands_wake_every_shard_and_a_stopped_engine_takes_none() {
    let engine = Engine::start(&config(&LOOPBACK, 0, 2), fatal()).unwrap();
    let stream = StreamId(1);
    engine.submit(vec![Command::AddStream { stream }, Command::RemoveStream { stream }]).unwrap();
    engine.submit(vec![Command::Stop]).unwrap();
    let mut stopped = Vec::new();
    until("both shards say that they have stopped", || {
        for event in engine.take_events(1) {
            let Event::Stopped { shard } = event else { panic!("{event:?}") };
            stopped.push(shard.0);
        }
        stopped.len() == 2
    });
    stopped.sort_unstable();
    assert_eq!(stopped, [0, 1]);
    engine.stop();
    assert_eq!(engine.submit(vec![Command::Stop]), Err(Stopped));
    assert!(engine.take_events(10).is_empty());
}
