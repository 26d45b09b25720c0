//! What is sealed into a train becomes messages that the kernel can segment: equal segments, of which
//! only the last may be shorter, as many in one as may be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use pyforward_core::egress::{Content, Egress, MAX_TRAIN, Message, Outcome, Transmit};
use pyforward_core::path::{Path, SocketId};
use pyforward_core::stats::Stats;
use pyforward_core::time::Time;

/// Keeps the segments of each message.
#[derive(Default)]
struct Kept(Vec<Vec<Vec<u8>>>);

impl Transmit for Kept {
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        outcomes.resize(messages.len(), Outcome::Sent);
        for message in messages {
            let bytes = &arena[message.start as usize..(message.start + message.len) as usize];
            self.0.push(bytes.chunks(message.segment.into()).map(<[u8]>::to_vec).collect());
        }
        1
    }

    fn now(&self) -> Time {
        Time(0)
    }
}

/// The messages of one train with these segments.
fn messages(gso: bool, cap: usize, segments: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    messages_of(gso, MAX_TRAIN, cap, segments)
}

fn messages_of(gso: bool, longest: usize, cap: usize, segments: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let remote = (Ipv4Addr::new(10, 0, 1, 1), 4_444).into();
    let local = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let path = Path { socket: SocketId::SHARED, local, remote };
    let mut egress = Egress::new(gso, true, longest);
    let room = segments.iter().map(Vec::len).sum();
    let mut train = egress.train(path, 1, cap, Content::Other, room);
    for segment in segments {
        let len = train.segment(segment.len(), |buffer| {
            buffer.copy_from_slice(segment);
            segment.len()
        });
        assert_eq!(len, segment.len());
    }
    drop(train);
    let mut kept = Kept::default();
    egress.flush(&mut kept, &mut Stats::default());
    kept.0
}

fn lens(gso: bool, cap: usize, lens: &[usize]) -> Vec<Vec<usize>> {
    let segments: Vec<Vec<u8>> = lens.iter().map(|len| vec![7; *len]).collect();
    let lens = |message: &Vec<Vec<u8>>| message.iter().map(Vec::len).collect();
    messages(gso, cap, &segments).iter().map(lens).collect()
}

#[test]
fn equal_ones_are_one_and_a_shorter_one_ends_it() {
    assert_eq!(lens(true, 100, &[50, 50, 40, 40, 50]), [vec![50, 50, 40], vec![40], vec![50]]);
    assert_eq!(lens(true, 100, &[40, 50, 50]), [vec![40], vec![50, 50]]);
    assert_eq!(lens(true, 100, &[0, 50, 0, 50]), [vec![50, 50]], "nothing is no segment");
}

#[test]
fn sixteen_are_the_most() {
    let sixteen = vec![50; MAX_TRAIN];
    assert_eq!(lens(true, 100, &[50; 33]), [sixteen.clone(), sixteen, vec![50]]);
}

#[test]
fn no_train_is_longer_than_what_is_set() {
    let lens = |longest| {
        let messages = messages_of(true, longest, 100, &vec![vec![7; 50]; 7]);
        messages.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(lens(3), [3, 3, 1]);
    assert_eq!(lens(1), [1; 7]);
    assert_eq!([lens(0), lens(99)], [vec![1; 7], vec![7]], "within what a train can be");
}

#[test]
fn what_is_too_large_goes_alone_and_so_does_all_without_gso() {
    assert_eq!(lens(true, 60, &[50, 70, 50, 50]), [vec![50], vec![70], vec![50, 50]]);
    assert_eq!(lens(true, 60, &[70, 70, 60]), [[70], [70], [60]]);
    assert_eq!(lens(false, 100, &[50, 50]), [[50], [50]]);
}

proptest! {
    #[test]
    fn whatever_the_sizes(sizes in prop::collection::vec(1_usize..5, 0..80), cap in 0_usize..6) {
        let segments: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(n, len)| vec![n as u8; *len]).collect();
        let messages = messages(true, cap, &segments);
        prop_assert_eq!(messages.concat(), segments);
        for message in &messages {
            let (last, whole) = message.split_last().unwrap();
            prop_assert!(whole.iter().all(|segment| segment.len() == message[0].len()));
            prop_assert!(last.len() <= message[0].len() && message.len() <= MAX_TRAIN);
            prop_assert!(message.len() == 1 || message[0].len() <= cap);
        }
        // And no two of them could have been one.
        for pair in messages.windows(2) {
            let (one, next) = (&pair[0], pair[1][0].len());
            let even = one.iter().all(|segment| segment.len() == one[0].len());
            let fits = even && next <= one[0].len() && one[0].len() <= cap;
            prop_assert!(!fits || one.len() == MAX_TRAIN);
        }
    }
}
