//! Real sockets: paths of both families, trains, and what a route refuses.
//!
//! The tests about small MTUs make a network namespace of their own; where that is not permitted
//! they say so and pass.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as Peer};
use std::process::Command;
use std::time::Duration;

use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::path::{Path, SocketId};
use pyforward_io::clock::{Clock, Moment};
use pyforward_io::gso::{self, Sender};
use pyforward_io::receive::{Batch, Inlet};
use pyforward_io::send::Kernel;
use pyforward_io::udp::{Sharing, UdpSocket, wildcards};

fn peer(ip: impl Into<IpAddr>) -> Peer {
    let peer = Peer::bind((ip.into(), 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn moment() -> Moment {
    Clock::start().0.moment()
}

fn inlet() -> Inlet {
    Inlet::new(SocketId::SHARED)
}

/// The next datagram that arrives, with its path.
fn receive(socket: &UdpSocket) -> (Path, Vec<u8>) {
    let mut batch = Batch::default();
    let mut got = None;
    for _ in 0..500 {
        if batch.receive(socket).unwrap() > 0 {
            batch.each(socket, &mut inlet(), moment(), |datagram| {
                got = Some((datagram.path, datagram.bytes.to_vec()))
            });
            return got.unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing arrived");
}

fn sender(sockets: Vec<UdpSocket>) -> Sender<Kernel> {
    assert!(gso::probe(), "this kernel has no UDP_SEGMENT");
    Sender::new(Kernel::new(sockets.into()), Clock::start().0, true, true)
}

fn message(path: Path, len: u32, segment: u16) -> Message {
    Message { path, start: 0, len, segment, owner: 0 }
}

/// The datagrams that wait for a peer.
fn datagrams(peer: &Peer, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut room = [0; 2_048];
    let datagrams = (0..count).map(|_| {
        let (len, from) = peer.recv_from(&mut room).unwrap();
        (room[..len].to_vec(), from)
    });
    datagrams.collect()
}

#[test]
fn a_path_says_where_a_datagram_came_in_and_an_answer_leaves_from_there() {
    let socket = UdpSocket::bind(wildcards(0).0, Sharing::First).unwrap();
    let port = socket.bound().port();
    // 127.0.0.2 is not what the route back to 127.0.0.1 would choose as the source.
    let locals: [(IpAddr, IpAddr); 3] = [
        (Ipv4Addr::new(127, 0, 0, 1).into(), Ipv4Addr::LOCALHOST.into()),
        (Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::LOCALHOST.into()),
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
    ];
    let mut paths = Vec::new();
    let peers = locals.map(|(local, remote)| {
        let peer = peer(remote);
        peer.send_to(b"check", (local, port)).unwrap();
        let (path, datagram) = receive(&socket);
        assert_eq!(datagram, b"check");
        assert_eq!(
            path,
            Path { socket: SocketId::SHARED, local, remote: peer.local_addr().unwrap() }
        );
        paths.push(path);
        peer
    });

    let arena: Vec<u8> = (0..250u8).collect();
    let messages: Vec<Message> = paths.iter().map(|path| message(*path, 250, 100)).collect();
    let mut outcomes = Vec::new();
    let calls = sender(vec![socket]).transmit(&arena, &messages, &mut outcomes);
    assert_eq!((calls, outcomes.as_slice()), (1, [Outcome::Sent; 3].as_slice()));
    for (peer, (local, _)) in peers.iter().zip(locals) {
        let got = datagrams(peer, 3);
        let sizes: Vec<usize> = got.iter().map(|(bytes, _)| bytes.len()).collect();
        assert_eq!(sizes, [100, 100, 50], "a train arrives as its datagrams");
        assert_eq!(got.iter().flat_map(|(b, _)| b.clone()).collect::<Vec<u8>>(), arena);
        assert!(got.iter().all(|(_, from)| *from == SocketAddr::new(local, port)));
    }
}

#[test]
fn sockets_of_single_addresses_share_the_sending() {
    let v4 = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let port = v4.bound().port();
    let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, port).into(), Sharing::First).unwrap();
    let (peer4, peer6) = (peer(Ipv4Addr::LOCALHOST), peer(Ipv6Addr::LOCALHOST));
    peer4.send_to(b"4", v4.bound()).unwrap();
    peer6.send_to(b"6", v6.bound()).unwrap();
    let (path4, path6) = (receive(&v4).0, receive(&v6).0);
    assert_eq!(path4.local, IpAddr::from(Ipv4Addr::LOCALHOST));

    let messages = [
        message(path4, 20, 10),
        message(path6, 20, 10),
        message(path6, 10, 10),
        message(path4, 10, 10),
    ];
    let mut outcomes = Vec::new();
    let calls = sender(vec![v4, v6]).transmit(&[7; 20], &messages, &mut outcomes);
    assert_eq!((calls, outcomes.as_slice()), (3, [Outcome::Sent; 4].as_slice()));
    assert_eq!(datagrams(&peer4, 3).len() + datagrams(&peer6, 3).len(), 6);
}

#[test]
fn what_was_sent_as_a_train_is_received_as_datagrams() {
    let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let to = UdpSocket::bind(wildcards(0).0, Sharing::First).unwrap();
    let remote = (Ipv4Addr::LOCALHOST, to.bound().port()).into();
    let path = Path { socket: SocketId::SHARED, local: Ipv4Addr::LOCALHOST.into(), remote };
    let arena: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    sender(vec![from]).transmit(&arena, &[message(path, 1_000, 300)], &mut Vec::new());

    let mut batch = Batch::default();
    let mut got: Vec<Vec<u8>> = Vec::new();
    for _ in 0..500 {
        batch.receive(&to).unwrap();
        batch.each(&to, &mut inlet(), moment(), |datagram| got.push(datagram.bytes.to_vec()));
        if got.len() == 4 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert_eq!(got.concat(), arena);
}

#[test]
fn an_impossible_destination_harms_no_other() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let good = peer(Ipv4Addr::LOCALHOST);
    let local = Ipv4Addr::LOCALHOST.into();
    let path = Path { socket: SocketId::SHARED, local, remote: good.local_addr().unwrap() };
    let nowhere = Path { socket: SocketId::SHARED, local, remote: (Ipv4Addr::LOCALHOST, 0).into() };
    let messages = [message(path, 10, 10), message(nowhere, 10, 10), message(path, 10, 10)];
    let mut outcomes = Vec::new();
    sender(vec![socket]).transmit(&[1; 10], &messages, &mut outcomes);
    assert_eq!(outcomes, [Outcome::Sent, Outcome::Refused, Outcome::Sent]);
    assert_eq!(datagrams(&good, 2).len(), 2);
}

#[test]
fn a_batch_takes_as_many_as_it_is_made_for_and_says_when_more_may_wait() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let peer = peer(Ipv4Addr::LOCALHOST);
    for number in 0..3 {
        peer.send_to(&[number; 20], socket.bound()).unwrap();
    }
    let mut got = Vec::new();
    let mut take = |batch: &mut Batch, expected, is_full| {
        assert_eq!((batch.receive(&socket).unwrap(), batch.is_full()), (expected, is_full));
        batch.each(&socket, &mut inlet(), moment(), |datagram| got.push(datagram.bytes[0]));
    };
    take(&mut Batch::new(1), 1, true);
    take(&mut Batch::default(), 2, false);
    take(&mut Batch::new(1), 0, false);
    assert_eq!(got, [0, 1, 2]);
}

#[test]
fn a_full_receive_buffer_is_counted() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let peer = peer(Ipv4Addr::LOCALHOST);
    let sent = 20_000;
    for _ in 0..sent {
        peer.send_to(&[0; 1_200], socket.bound()).unwrap();
    }
    // The counter comes with the datagrams that were queued after the first drop.
    let (mut batch, mut inlet) = (Batch::default(), inlet());
    let (mut got, mut dropped) = (0, 0);
    while batch.receive(&socket).unwrap() > 0 {
        dropped += batch.each(&socket, &mut inlet, moment(), |_| got += 1);
    }
    peer.send_to(&[0; 1_200], socket.bound()).unwrap();
    while batch.receive(&socket).unwrap() > 0 {
        dropped += batch.each(&socket, &mut inlet, moment(), |_| got += 1);
    }
    assert!(dropped > 0);
    assert_eq!(got + dropped, sent + 1);
}

#[test]
fn behind_a_small_mtu_trains_are_taken_apart_and_datagrams_fragmented() {
    let told = in_network_with_mtu(1_000, || {
        let socket = UdpSocket::bind(wildcards(0).0, Sharing::First).unwrap();
        let small = peer(Ipv4Addr::LOCALHOST);
        let local = Ipv4Addr::LOCALHOST.into();
        let path = Path { socket: SocketId::SHARED, local, remote: small.local_addr().unwrap() };
        let arena: Vec<u8> = (0..=255).cycle().take(2_500).collect();
        let mut outcomes = Vec::new();
        let mut sender = sender(vec![socket]);
        let messages = [message(path, 2_500, 1_200), message(path, 1_800, 900)];
        sender.transmit(&arena, &messages, &mut outcomes);
        assert_eq!(outcomes, [Outcome::Unsegmented, Outcome::Sent]);
        assert!(sender.segments());
        let got: Vec<Vec<u8>> = datagrams(&small, 5).into_iter().map(|(b, _)| b).collect();
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [1_200, 1_200, 100, 900, 900]);
        assert_eq!(got[..3].concat(), arena);
    });
    if !told {
        eprintln!("skipped: no network namespace may be made here");
    }
}

/// Runs `test` in a fresh network namespace whose loopback device has this MTU; false if that is
/// not permitted.
fn in_network_with_mtu(mtu: u32, test: impl FnOnce() + Send) -> bool {
    let run = || {
        // SAFETY: unshare(2) takes no pointer; it moves this thread alone, which ends soon.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return false;
        }
        let mtu = mtu.to_string();
        let set = Command::new("ip").args(["link", "set", "lo", "mtu", &mtu, "up"]).status();
        let permitted = set.is_ok_and(|status| status.success());
        if permitted {
            test();
        }
        permitted
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn flows_spread_evenly_over_two_shards() {
    const FLOWS: usize = 4_000;
    let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
    let sockets = [first.sibling().unwrap(), first];
    let mut counts = [0usize; 2];
    let mut batch = Batch::default();
    for _ in 0..FLOWS {
        peer(Ipv4Addr::LOCALHOST).send_to(b"flow", sockets[0].bound()).unwrap();
        for (socket, count) in sockets.iter().zip(&mut counts) {
            batch.receive(socket).unwrap();
            batch.each(socket, &mut inlet(), moment(), |_| *count += 1);
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), FLOWS);
    let mean = FLOWS as f64 / 2.0;
    assert!(counts.iter().all(|count| *count as f64 <= 1.15 * mean), "{counts:?}");
}
