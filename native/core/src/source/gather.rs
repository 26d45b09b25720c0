//! Packets into departures, departures into trains.
//!
//! A video frame's packets wait for its last one, because a viewer cannot decode before it: until
//! the marker bit, a change of timestamp, [`MAX_TRAIN`] packets or the frame window, whichever is
//! first. Audio never waits. What is late, reordered or recovered leaves at once: alone, or, when
//! it belongs between packets of the frame that waits, in its place and the frame so far with it,
//! because a viewer would ask for packets that it sees overtaken.
//!
//! Then all is fixed that a packet's bytes depend on: its padding and the room of its header
//! extensions. Nothing here looks at a packet again once it has departed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::egress::{MAX_SEGMENT, MAX_TRAIN};
use crate::exchange::Departure;
use crate::ids::{SessionId, StreamId};
use crate::media::{Extension, Kind};
use crate::packet::{ForwardedExtensions, Packet};
use crate::time::Time;

/// Most bytes of padding that even out a packet.
const MAX_PADDING: usize = 16;

/// What every viewer's packet has beside payload and forwarded extensions: fixed header (12),
/// extension header (4), an MID (up to 12 with its own header and alignment), SRTP tag (16).
const GROWTH: usize = 12 + 4 + 12 + 16;

/// Gathers the packets of one publisher.
#[derive(Debug)]
pub(super) struct Gatherer {
    stream: StreamId,
    publisher: SessionId,
    window: Duration,
    /// Off: every packet departs alone, at once.
    trains: bool,
    padding: bool,
    /// Packets of one video frame, ascending; fewer than [`MAX_TRAIN`].
    waiting: Vec<Packet>,
    /// When they leave at the latest.
    deadline: Time,
    ready: VecDeque<Departure>,
}

impl Gatherer {
    pub(super) fn new(
        stream: StreamId,
        publisher: SessionId,
        window: Duration,
        trains: bool,
        padding: bool,
    ) -> Gatherer {
        Gatherer {
            stream,
            publisher,
            window,
            trains,
            padding,
            waiting: Vec::with_capacity(MAX_TRAIN),
            deadline: Time::NEVER,
            ready: VecDeque::new(),
        }
    }

    /// What begins to wait from now on waits so long.
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// Takes a packet that is the newest of its track.
    pub(super) fn push(&mut self, now: Time, packet: Packet) {
        if !self.trains || packet.kind == Kind::Audio {
            return self.depart(vec![packet]);
        }
        if self.waiting.first().is_some_and(|first| first.timestamp != packet.timestamp) {
            self.flush();
        }
        if self.waiting.is_empty() {
            self.deadline = now + self.window;
        }
        let last_of_frame = packet.marker;
        self.waiting.push(packet);
        if last_of_frame || self.waiting.len() == MAX_TRAIN {
            self.flush();
        }
    }

    /// Takes a packet that is older than the newest of its track.
    pub(super) fn push_late(&mut self, packet: Packet) {
        let at = self.waiting.partition_point(|waiting| waiting.sequence < packet.sequence);
        let same_frame = self
            .waiting
            .first()
            .is_some_and(|first| first.kind == packet.kind && first.timestamp == packet.timestamp);
        if at == 0 || !same_frame {
            return self.depart(vec![packet]);
        }
        self.waiting.insert(at, packet);
        self.flush();
    }

    /// What waits departs.
    pub(super) fn flush(&mut self) {
        self.deadline = Time::NEVER;
        if !self.waiting.is_empty() {
            let packets = std::mem::replace(&mut self.waiting, Vec::with_capacity(MAX_TRAIN));
            self.depart(packets);
        }
    }

    /// What has waited long enough departs.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.deadline <= now {
            self.flush();
        }
    }

    /// When `handle_timeout` has something to do next.
    pub(super) fn due(&self) -> Time {
        self.deadline
    }

    /// The next departure, in order.
    pub(super) fn poll(&mut self) -> Option<Departure> {
        self.ready.pop_front()
    }

    fn depart(&mut self, mut packets: Vec<Packet>) {
        let trains = form_trains(&mut packets, self.padding);
        self.ready.push_back(Departure {
            stream: self.stream,
            publisher: self.publisher,
            packets: packets.into_iter().map(Arc::new).collect(),
            trains,
        });
    }
}

/// Splits packets into the longest trains from the front, fixes their padding and rooms, and tells
/// where trains start.
fn form_trains(packets: &mut [Packet], padding: bool) -> Vec<u8> {
    let mut starts = Vec::with_capacity(2);
    let mut start = 0_usize;
    let mut rest = packets;
    while !rest.is_empty() {
        let len = (2..=rest.len())
            .take_while(|len| rest.get(..*len).is_some_and(|train| is_train(train, padding)))
            .last()
            .unwrap_or(1);
        let (train, behind) = rest.split_at_mut(len);
        settle(train);
        starts.push(start as u8);
        start += len;
        rest = behind;
    }
    starts
}

/// The packets can be of one size, of which only the last may fall short, and that size is small
/// enough.
fn is_train(packets: &[Packet], padding: bool) -> bool {
    let size = largest(packets);
    let Some((_, before)) = packets.split_last() else { return false };
    let even = before.iter().all(|packet| {
        let len = packet.payload().len();
        size - len <= if padding { (len / 100).min(MAX_PADDING) } else { 0 }
    });
    even && size + room_bytes(&rooms(packets)) + GROWTH <= MAX_SEGMENT
}

/// Writes padding and rooms into the packets of a train.
fn settle(train: &mut [Packet]) {
    let size = largest(train);
    let rooms = rooms(train);
    let last = train.len().saturating_sub(1);
    for (n, packet) in train.iter_mut().enumerate() {
        packet.extensions.room = rooms;
        if n < last {
            packet.padding = (size - packet.payload().len()) as u8;
        }
    }
}

fn largest(packets: &[Packet]) -> usize {
    packets.iter().map(|packet| packet.payload().len()).max().unwrap_or(0)
}

/// The longest value of each forwarded extension.
fn rooms(packets: &[Packet]) -> [u8; Extension::FORWARDED.len()] {
    let mut rooms = [ForwardedExtensions::NONE; Extension::FORWARDED.len()];
    for (extension, _, len) in packets.iter().flat_map(|packet| &packet.extensions.present) {
        let position = Extension::FORWARDED.iter().position(|forwarded| forwarded == extension);
        if let Some(room) = position.and_then(|position| rooms.get_mut(position)) {
            *room = if *room == ForwardedExtensions::NONE { *len } else { (*room).max(*len) };
        }
    }
    rooms
}

/// Most bytes that they take in a header, each with its own of two (RFC 8285 §4.3) and together
/// with alignment.
fn room_bytes(rooms: &[u8]) -> usize {
    let present = rooms.iter().filter(|room| **room != ForwardedExtensions::NONE);
    present.map(|room| usize::from(*room) + 2).sum::<usize>().next_multiple_of(4)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::ids::PayloadType;
    use crate::media::Codec;

    /// What every departure must keep, whatever arrived.
    pub(in crate::source) fn check(departure: &Departure, padding: bool) {
        assert!(!departure.packets.is_empty() && departure.packets.len() <= MAX_TRAIN);
        assert_eq!(departure.trains.first(), Some(&0));
        assert!(departure.trains.is_sorted_by(|a, b| a < b));
        assert!(departure.packets.is_sorted_by(|a, b| a.sequence < b.sequence));
        let one_track = |of: &Packet| (of.kind, of.timestamp);
        let first = one_track(&departure.packets[0]);
        assert!(departure.packets.iter().all(|packet| one_track(packet) == first));
        for (n, start) in departure.trains.iter().enumerate() {
            let end = departure.trains.get(n + 1).map_or(departure.packets.len(), |e| (*e).into());
            check_train(&departure.packets[usize::from(*start)..end], padding);
        }
    }

    fn check_train(train: &[Arc<Packet>], padding: bool) {
        let size = |packet: &Packet| packet.payload().len() + usize::from(packet.padding);
        for packet in train {
            assert_eq!(packet.extensions.room, train[0].extensions.room);
            let most = if padding { (packet.payload().len() / 100).min(16) } else { 0 };
            assert!(usize::from(packet.padding) <= most, "too much padding");
            for (extension, _, len) in &packet.extensions.present {
                let at = Extension::FORWARDED.iter().position(|e| e == extension).unwrap();
                assert!(packet.extensions.room[at] >= *len);
                assert_ne!(packet.extensions.room[at], ForwardedExtensions::NONE);
            }
        }
        if let [whole @ .., last] = train
            && let [first, ..] = whole
        {
            assert!(whole.iter().all(|packet| size(packet) == size(first)));
            assert!(size(last) <= size(first));
            assert!(size(first) + room_bytes(&first.extensions.room) + GROWTH <= MAX_SEGMENT);
        }
        assert!(train.len() > 1 || train[0].padding == 0);
    }

    fn packet(sequence: u64, timestamp: u32, len: usize) -> Packet {
        Packet {
            arrival: Time(0),
            sequence,
            timestamp,
            kind: Kind::Video,
            codec: Codec::Vp8,
            payload_type: PayloadType(96),
            marker: false,
            keyframe: false,
            padding: 0,
            extensions: ForwardedExtensions::default(),
            bytes: vec![0; len].into(),
            payload_start: 0,
        }
    }

    fn gatherer() -> Gatherer {
        let window = Duration::from_millis(4);
        Gatherer::new(StreamId(1), SessionId(1), window, true, true)
    }

    fn departed(gatherer: &mut Gatherer) -> Vec<Vec<u64>> {
        let sequences = |departure: Departure| {
            check(&departure, true);
            departure.packets.iter().map(|packet| packet.sequence).collect()
        };
        std::iter::from_fn(|| gatherer.poll()).map(sequences).collect()
    }

    fn trains(lens: &[usize], padding: bool) -> Vec<u8> {
        let mut packets: Vec<Packet> =
            lens.iter().enumerate().map(|(n, len)| packet(n as u64, 0, *len)).collect();
        let starts = form_trains(&mut packets, padding);
        check(
            &Departure {
                stream: StreamId(1),
                publisher: SessionId(1),
                packets: packets.into_iter().map(Arc::new).collect(),
                trains: starts.clone(),
            },
            padding,
        );
        starts
    }

    #[test]
    fn a_frame_waits_for_its_marker() {
        let mut gatherer = gatherer();
        gatherer.push(Time(0), packet(1, 9, 100));
        gatherer.push(Time(100), packet(2, 9, 100));
        assert!(gatherer.poll().is_none());
        gatherer.push(Time(200), Packet { marker: true, ..packet(3, 9, 100) });
        assert_eq!(departed(&mut gatherer), [[1, 2, 3]]);
        assert_eq!(gatherer.due(), Time::NEVER);
    }

    #[test]
    fn a_frame_without_a_marker_ends_with_the_next_timestamp_or_the_window() {
        let mut gatherer = gatherer();
        gatherer.push(Time(0), packet(1, 9, 100));
        gatherer.push(Time(500), packet(2, 10, 100));
        assert_eq!(departed(&mut gatherer), [[1]]);
        assert_eq!(gatherer.due(), Time(4_500));
        gatherer.handle_timeout(Time(4_499));
        assert!(gatherer.poll().is_none());
        gatherer.handle_timeout(Time(4_500));
        assert_eq!(departed(&mut gatherer), [[2]]);
    }

    #[test]
    fn a_long_frame_leaves_in_sixteens() {
        let mut gatherer = gatherer();
        (0..40).for_each(|n| gatherer.push(Time(0), packet(n, 9, 1_000)));
        gatherer.flush();
        let lens: Vec<usize> = departed(&mut gatherer).iter().map(Vec::len).collect();
        assert_eq!(lens, [16, 16, 8]);
    }

    #[test]
    fn audio_and_late_packets_do_not_wait() {
        let mut gatherer = gatherer();
        gatherer.push(Time(0), packet(11, 9, 100));
        gatherer.push(Time(0), Packet { kind: Kind::Audio, ..packet(700, 5, 80) });
        gatherer.push_late(packet(4, 8, 100));
        gatherer.push_late(packet(10, 9, 100));
        assert_eq!(departed(&mut gatherer), [[700], [4], [10]]);
        gatherer.push(Time(0), packet(13, 9, 100));
        gatherer.push_late(packet(12, 9, 100));
        assert_eq!(departed(&mut gatherer), [[11, 12, 13]]);
    }

    #[test]
    fn switched_off_every_packet_is_its_own_train() {
        let mut gatherer =
            Gatherer::new(StreamId(1), SessionId(1), Duration::from_millis(4), false, true);
        gatherer.push(Time(0), packet(1, 9, 1_000));
        gatherer.push(Time(0), packet(2, 9, 1_001));
        assert_eq!(departed(&mut gatherer), [[1], [2]]);
    }

    #[test]
    fn chromiums_frames_are_one_train_with_padding() {
        // VP8 and H.264: a byte apart, the shorter ones first. AV1: the last one shorter.
        assert_eq!(trains(&[1_152, 1_152, 1_153, 1_153], true), [0]);
        assert_eq!(trains(&[1_152, 1_152, 1_153, 1_153], false), [0, 2]);
        assert_eq!(trains(&[1_160, 1_160, 1_160, 1_154], false), [0]);
    }

    #[test]
    fn larger_differences_split() {
        assert_eq!(trains(&[1_000, 300, 1_000, 1_000], true), [0, 2]);
        assert_eq!(trains(&[300, 1_000, 1_000], true), [0, 1]);
        assert_eq!(trains(&[1_000, 1_010, 1_011], true), [0, 2]);
        assert_eq!(trains(&[50, 51, 49], true), [0, 1]);
        assert_eq!(trains(&[0, 0, 0], true), [0]);
    }

    #[test]
    fn what_is_too_large_goes_alone() {
        assert_eq!(trains(&[1_188, 1_188], true), [0]);
        assert_eq!(trains(&[1_189, 1_189, 400], true), [0, 1, 2]);
        assert_eq!(trains(&[9_000, 9_000], true), [0, 1]);
    }

    #[test]
    fn rooms_are_unified_in_a_train_and_count_against_its_size() {
        let with = |sequence, len, value: u8| {
            let mut packet = packet(sequence, 0, usize::from(value) + len);
            packet.payload_start = u16::from(value);
            packet.extensions.present.push((Extension::ColorSpace, 0, value));
            packet
        };
        let mut packets = [packet(0, 0, 1_000), with(1, 1_000, 4), with(2, 1_000, 28)];
        assert_eq!(form_trains(&mut packets, true), [0]);
        assert!(packets.iter().all(|packet| packet.extensions.room[5] == 28));
        assert_eq!(packets[0].extensions.room[0], ForwardedExtensions::NONE);
        let mut packets = [packet(0, 0, 1_188), packet(1, 0, 1_188), with(2, 1_188, 28)];
        assert_eq!(form_trains(&mut packets, true), [0, 2]);
        assert_eq!(packets[0].extensions.room, [ForwardedExtensions::NONE; 7]);
    }
}
