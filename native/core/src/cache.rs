//! Recent packets of one track on one shard: what NACKs are answered from and where a viewer's
//! first keyframe starts.
//!
//! Bounded by packets and by bytes. A lookup of a packet that the stream itself lacks costs one
//! index, whoever asks and however often.

use crate::packet::{MAX_ADDED, SharedPacket};
use crate::time::Time;

/// A packet under its place on the shard's timeline of the stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Position on the timeline; the same for all viewers of the shard.
    pub sequence: u64,
    /// RTP timestamp on the timeline.
    pub timestamp: u32,
    /// When it was handed to fan-out, if it came out of order; a NACK may have crossed it.
    pub late_at: Option<Time>,
    /// The packet.
    pub packet: SharedPacket,
}

impl Entry {
    /// Bytes that it needs at most on its way to a viewer, first or again.
    #[must_use]
    pub fn room(&self) -> usize {
        self.packet.bytes.len() + MAX_ADDED
    }
}

/// See the module.
#[derive(Debug)]
pub struct Cache {
    /// Empty until the first packet: a stream that nobody watches costs nothing.
    slots: Vec<Option<Entry>>,
    /// A power of two.
    capacity: usize,
    max_bytes: usize,
    bytes: usize,
    /// One beyond the highest sequence that was inserted.
    end: u64,
    /// The oldest sequence that may still be held.
    begin: u64,
}

impl Cache {
    /// Holds up to `packets` (rounded up to a power of two) of at most `max_bytes` of content.
    #[must_use]
    pub fn new(packets: usize, max_bytes: usize) -> Cache {
        let capacity = packets.next_power_of_two();
        Cache { slots: Vec::new(), capacity, max_bytes, bytes: 0, end: 0, begin: 0 }
    }

    /// Forgets all packets, but not where it was: what lies before is not kept again.
    pub fn clear(&mut self) {
        (self.slots, self.bytes, self.begin) = (Vec::new(), 0, self.end);
    }

    /// Keeps a packet. False if there is one under this sequence, or if it is too old to be kept.
    pub fn insert(&mut self, entry: Entry) -> bool {
        let sequence = entry.sequence;
        if sequence < self.begin || self.get(sequence).is_some() {
            return false;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(self.capacity, || None);
        }
        if sequence >= self.end {
            let oldest = (sequence + 1).saturating_sub(self.capacity as u64);
            self.evict_below(oldest);
            self.end = sequence + 1;
        }
        self.bytes += entry.packet.bytes.len();
        let slot = self.slot(sequence);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Some(entry);
        }
        while self.bytes > self.max_bytes && self.begin + 1 < self.end {
            self.evict_below(self.begin + 1);
        }
        true
    }

    /// The packet under this sequence.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<&Entry> {
        let entry = self.slots.get(self.slot(sequence))?.as_ref()?;
        (entry.sequence == sequence).then_some(entry)
    }

    /// What is held of these places, in order.
    pub fn range(&self, places: std::ops::Range<u64>) -> impl Iterator<Item = &Entry> {
        let begin = places.start.max(self.begin);
        (begin..places.end.min(self.end)).filter_map(|sequence| self.get(sequence))
    }

    /// Bytes of the packets that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// One beyond the newest place.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the frame that `sequence` belongs to starts: one beyond the last packet before it
    /// that carries another timestamp. Packets that are still missing count as the frame's.
    #[must_use]
    pub fn frame_start(&self, sequence: u64) -> u64 {
        let Some(timestamp) = self.get(sequence).map(|entry| entry.timestamp) else {
            return sequence;
        };
        let mut start = sequence;
        for candidate in (self.begin..sequence).rev() {
            match self.get(candidate) {
                Some(entry) if entry.timestamp == timestamp => start = candidate,
                Some(_) => return candidate + 1,
                None => {}
            }
        }
        start
    }

    fn evict_below(&mut self, oldest: u64) {
        // A jump beyond the whole ring must not walk the distance of the jump.
        let from = self.begin.max(self.end.saturating_sub(self.capacity as u64));
        for sequence in from..oldest.min(self.end) {
            let slot = self.slot(sequence);
            if let Some(entry) = self.slots.get_mut(slot).and_then(Option::take) {
                self.bytes -= entry.packet.bytes.len();
            }
        }
        self.begin = self.begin.max(oldest);
    }

    fn slot(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.capacity - 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::PayloadType;
    use crate::media::{Codec, Kind};
    use crate::packet::{ForwardedExtensions, Packet};

    fn entry(sequence: u64, timestamp: u32, bytes: usize) -> Entry {
        let packet = Arc::new(Packet {
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
            bytes: vec![0; bytes].into(),
            payload_start: 0,
        });
        Entry { sequence, timestamp, late_at: None, packet }
    }

    #[test]
    fn holds_the_newest_by_count() {
        let mut cache = Cache::new(4, 1 << 20);
        for sequence in 10..16 {
            assert!(cache.insert(entry(sequence, 0, 10)));
        }
        assert!(cache.get(11).is_none());
        assert_eq!(cache.get(12).unwrap().sequence, 12);
        assert!(!cache.insert(entry(11, 0, 10)), "too old");
        assert!(!cache.insert(entry(15, 0, 10)), "a repeat");
        assert_eq!(cache.bytes, 40);
    }

    #[test]
    fn holds_the_newest_by_bytes() {
        let mut cache = Cache::new(64, 250);
        for sequence in 0..5 {
            cache.insert(entry(sequence, 0, 100));
        }
        assert!(cache.get(2).is_none());
        assert!(cache.get(3).is_some() && cache.get(4).is_some());
    }

    #[test]
    fn cleared_it_costs_nothing_and_keeps_nothing_old() {
        let mut cache = Cache::new(64, 1 << 20);
        assert_eq!(cache.slots.capacity(), 0, "nor does one that was never used");
        (0..5).for_each(|sequence| assert!(cache.insert(entry(sequence, 0, 10))));
        cache.clear();
        assert_eq!((cache.bytes, cache.slots.capacity()), (0, 0));
        assert!(cache.get(4).is_none() && !cache.insert(entry(4, 0, 10)), "its number was given");
        assert!(cache.insert(entry(5, 0, 10)));
    }

    #[test]
    fn a_jump_empties_it() {
        let mut cache = Cache::new(4, 1 << 20);
        cache.insert(entry(1, 0, 10));
        cache.insert(entry(1 << 40, 0, 10));
        assert_eq!(cache.bytes, 10);
        assert!(cache.get(1).is_none());
    }

    #[test]
    fn a_frame_starts_behind_the_last_packet_of_another_timestamp() {
        let mut cache = Cache::new(64, 1 << 20);
        for (sequence, timestamp) in [(5, 1), (6, 1), (8, 2), (9, 2)] {
            cache.insert(entry(sequence, timestamp, 10));
        }
        assert_eq!(cache.frame_start(9), 7, "7 is missing and may be the frame's first");
    }
}
