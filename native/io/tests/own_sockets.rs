//! The sockets of sessions in the client role: received by, sent by, closed and opened again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as Peer};
use std::sync::Arc;
use std::time::Duration;

use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::path::{Datagram, Path, SocketId};
use pyforward_core::time::Time;
use pyforward_io::clock::Clock;
use pyforward_io::gso::{self, Sender};
use pyforward_io::own::OwnSockets;
use pyforward_io::poll::Poller;
use pyforward_io::receive::Batch;
use pyforward_io::send::Kernel;
use pyforward_io::udp::{Sharing, UdpSocket, wildcards};

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn peer(ip: impl Into<IpAddr>) -> Peer {
    let peer = Peer::bind((ip.into(), 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

/// What `count` datagrams brought, by whichever socket: its number at the poller, path, bytes.
fn receive(
    own: &mut OwnSockets,
    poller: &mut Poller,
    batch: &mut Batch,
    count: usize,
) -> Vec<(u64, Path, Vec<u8>)> {
    let mut got = Vec::new();
    while got.len() < count {
        let ready = poller.wait(Some(Duration::from_secs(5))).unwrap();
        assert!(ready.iter().next().is_some(), "nothing arrived");
        for number in ready.iter() {
            let take = |_, datagram: Datagram<'_>| {
                got.push((number, datagram.path, datagram.bytes.to_vec()));
            };
            let (clock, _) = Clock::start();
            let (_, dropped) = own.receive(number as usize, batch, &clock, take).unwrap();
            assert_eq!(dropped, 0);
        }
    }
    got
}

#[test]
fn each_receives_what_is_for_its_port_from_both_families() {
    let (mut own, mut poller, mut batch) =
        (OwnSockets::default(), Poller::new().unwrap(), Batch::default());
    let ports: Vec<u16> = (0..5)
        .map(|slot| own.open(SocketId::of_slot(slot), false, &mut poller, slot as u64).unwrap())
        .collect();
    for (slot, port) in ports.iter().enumerate() {
        for ip in LOOPBACK {
            let peer = peer(ip);
            peer.send_to(&[slot as u8; 20], (ip, *port)).unwrap();
            let [(number, path, bytes)] = &receive(&mut own, &mut poller, &mut batch, 1)[..] else {
                panic!()
            };
            assert_eq!((*number, bytes), (slot as u64, &vec![slot as u8; 20]));
            let remote = peer.local_addr().unwrap();
            assert_eq!(*path, Path::own(SocketId::of_slot(slot), remote));
        }
    }
}

#[test]
fn a_closed_one_is_forgotten_and_its_slot_gets_another() {
    let (mut own, mut poller, mut batch) =
        (OwnSockets::default(), Poller::new().unwrap(), Batch::default());
    let id = SocketId::of_slot(3);
    let first = own.open(id, false, &mut poller, 3).unwrap();
    let peer = peer(Ipv4Addr::LOCALHOST);
    peer.send_to(b"late", (Ipv4Addr::LOCALHOST, first)).unwrap();
    own.close(id);
    own.close(id);
    own.close(SocketId::of_slot(99));
    own.close(SocketId::SHARED);
    assert!(own.get(id).is_none());
    // It may have been told readable before.
    let (clock, _) = Clock::start();
    assert_eq!(own.receive(3, &mut batch, &clock, |_, _| panic!()).unwrap(), (false, 0));
    assert_eq!(own.receive(99, &mut batch, &clock, |_, _| panic!()).unwrap(), (false, 0));
    let ready = poller.wait(Some(Duration::ZERO)).unwrap();
    assert!(ready.iter().next().is_none());

    // The old port is somebody else's now, so that the kernel gives another.
    let _taken = Peer::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
    let second = own.open(id, false, &mut poller, 3).unwrap();
    assert_ne!(first, second);
    peer.send_to(b"new", (Ipv4Addr::LOCALHOST, second)).unwrap();
    let got = receive(&mut own, &mut poller, &mut batch, 1);
    assert_eq!(got[0].2, b"new");
    assert!(own.open(SocketId::SHARED, false, &mut poller, 0).is_err());
}

/// Of each datagram that waits in a socket for 30 ms: the time before it was sent and after that,
/// when it is said to have come, and when it was read.
fn read_late(timed: bool, count: usize) -> Vec<[Time; 4]> {
    let (mut own, mut poller, mut batch) =
        (OwnSockets::default(), Poller::new().unwrap(), Batch::default());
    let port = own.open(SocketId::of_slot(0), timed, &mut poller, 0).unwrap();
    let (peer, (clock, _)) = (peer(Ipv4Addr::LOCALHOST), Clock::start());
    let late = (0..count).map(|_| {
        let before = clock.now();
        peer.send_to(b"media", (Ipv4Addr::LOCALHOST, port)).unwrap();
        let after = clock.now();
        std::thread::sleep(Duration::from_millis(30));
        let mut told = None;
        let take = |now, datagram: Datagram<'_>| told = Some((datagram.received, now));
        own.receive(0, &mut batch, &clock, take).unwrap();
        let (received, read) = told.expect("loopback has it as soon as it is sent");
        [before, after, received, read]
    });
    late.collect()
}

#[test]
fn what_waited_in_a_timed_socket_came_when_it_came() {
    let late = read_late(true, 10);
    let micro = Duration::from_micros(1);
    for [before, _, received, read] in &late {
        assert!((*before - micro..=*read).contains(received), "{late:?}");
    }
    // The kernel begins a moment after it was asked; and a thread that loses its core between two
    // clocks takes a datagram for later than it was.
    let as_sent = late.iter().filter(|[_, after, received, _]| *received <= *after + micro);
    assert!(as_sent.count() >= 5, "{late:?}");
}

#[test]
fn what_waited_in_any_other_came_when_it_was_read() {
    assert!(read_late(false, 1).iter().all(|[_, _, received, read]| received == read));
}

#[test]
fn what_leaves_by_one_leaves_from_its_port_among_what_leaves_by_others() {
    assert!(gso::probe(), "this kernel has no UDP_SEGMENT");
    let shared = UdpSocket::bind(wildcards(0).0, Sharing::First).unwrap();
    let shared_port = shared.bound().port();
    let mut sender = Sender::new(Kernel::new(Arc::new([shared])), Clock::start().0, true, true);
    let mut poller = Poller::new().unwrap();
    let ports: Vec<u16> = (0..2)
        .map(|slot| {
            let own = &mut sender.wire_mut().own;
            own.open(SocketId::of_slot(slot), false, &mut poller, slot as u64).unwrap()
        })
        .collect();
    let arena: Vec<u8> = (0..250).collect();
    for ip in LOOPBACK {
        let peer = peer(ip);
        let remote = peer.local_addr().unwrap();
        let message = |socket| Message {
            path: Path::own(socket, remote),
            start: 0,
            len: 250,
            segment: 100,
            owner: 0,
        };
        let (zero, one) = (SocketId::of_slot(0), SocketId::of_slot(1));
        let order = [zero, one, SocketId::SHARED, zero, SocketId::of_slot(7), one];
        let mut outcomes = Vec::new();
        sender.transmit(&arena, &order.map(message), &mut outcomes);
        let refused = outcomes.iter().position(|outcome| *outcome != Outcome::Sent);
        assert_eq!((refused, outcomes[4]), (Some(4), Outcome::Refused), "nobody has that one");
        let from: Vec<u16> = [0, 1, 2, 3, 5].map(|_| train(&peer, &arena).port()).to_vec();
        assert_eq!(from, [ports[0], ports[1], shared_port, ports[0], ports[1]]);
    }
    sender.wire_mut().own.close(SocketId::of_slot(0));
    let peer = peer(Ipv4Addr::LOCALHOST);
    let path = Path::own(SocketId::of_slot(0), peer.local_addr().unwrap());
    let message = Message { path, start: 0, len: 10, segment: 10, owner: 0 };
    let mut outcomes = Vec::new();
    sender.transmit(&arena, &[message], &mut outcomes);
    assert_eq!(outcomes, [Outcome::Refused], "closed");
}

/// A train of 250 bytes as its three datagrams; where it came from.
fn train(peer: &Peer, arena: &[u8]) -> SocketAddr {
    let mut room = [0; 2_048];
    let mut bytes = Vec::new();
    let mut from = None;
    for expected in [100, 100, 50] {
        let (len, address) = peer.recv_from(&mut room).unwrap();
        assert_eq!(len, expected);
        assert_eq!(*from.get_or_insert(address), address);
        bytes.extend_from_slice(&room[..len]);
    }
    assert_eq!(bytes, arena);
    from.unwrap()
}
