//! One continuous sequence and clock for a track, whoever publishes it.
//!
//! A publisher that drops and comes back, or is replaced, starts anew with its own numbers. The
//! timeline goes on: the sequence numbers go on behind the last, the timestamp advances by the time
//! that passed. Each shard has its own, so publishers may come back on any shard.

use std::time::Duration;

use crate::ids::SessionId;
use crate::packet::Packet;
use crate::time::Time;

/// Where the first packet lies; packets that were overtaken by it still have a place before it.
const ORIGIN: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Epoch {
    publisher: SessionId,
    /// Added to the publisher's sequence.
    sequence_offset: u64,
    /// Added to the publisher's timestamp.
    timestamp_offset: u32,
    /// The first place that it has used so far.
    lowest: u64,
}

/// Places left free before the first packet of a publisher that follows another, for those that it
/// overtook. Viewers see no gap: they start anew with each publisher.
const OVERTAKEN: u64 = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    epoch: Option<Epoch>,
    highest: Option<Highest>,
}

#[derive(Clone, Copy, Debug)]
struct Highest {
    sequence: u64,
    timestamp: u32,
    arrival: Time,
}

impl Timeline {
    /// Sequence and timestamp of a publisher's packet; a publisher that is not the current one
    /// becomes it.
    pub fn place(&mut self, publisher: SessionId, clock_rate: u32, packet: &Packet) -> (u64, u32) {
        let epoch = match self.epoch {
            Some(epoch) if epoch.publisher == publisher => epoch,
            _ => self.begin(publisher, clock_rate, packet),
        };
        let sequence = packet.sequence.wrapping_add(epoch.sequence_offset);
        let timestamp = packet.timestamp.wrapping_add(epoch.timestamp_offset);
        self.epoch = Some(Epoch { lowest: epoch.lowest.min(sequence), ..epoch });
        if self.highest.is_none_or(|highest| sequence > highest.sequence) {
            self.highest = Some(Highest { sequence, timestamp, arrival: packet.arrival });
        }
        (sequence, timestamp)
    }

    /// The highest sequence so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest.map(|highest| highest.sequence)
    }

    /// The first place that the current publisher has used so far.
    #[must_use]
    pub fn lowest(&self) -> u64 {
        self.epoch.map_or(0, |epoch| epoch.lowest)
    }

    /// A timestamp of the current publisher's, on the timeline. None if it is not current.
    #[must_use]
    pub fn timestamp(&self, publisher: SessionId, timestamp: u32) -> Option<u32> {
        let epoch = self.epoch.filter(|epoch| epoch.publisher == publisher)?;
        Some(timestamp.wrapping_add(epoch.timestamp_offset))
    }

    fn begin(&mut self, publisher: SessionId, clock_rate: u32, packet: &Packet) -> Epoch {
        let (sequence, timestamp) = match self.highest {
            None => (ORIGIN, packet.timestamp),
            Some(last) => {
                let passed = packet.arrival.since(last.arrival).max(Duration::from_millis(1));
                let ticks = passed.as_micros() * u128::from(clock_rate) / 1_000_000;
                (last.sequence + 1 + OVERTAKEN, last.timestamp.wrapping_add(ticks as u32))
            }
        };
        let epoch = Epoch {
            publisher,
            sequence_offset: sequence.wrapping_sub(packet.sequence),
            timestamp_offset: timestamp.wrapping_sub(packet.timestamp),
            lowest: sequence,
        };
        self.epoch = Some(epoch);
        epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PayloadType;
    use crate::media::{Codec, Kind};
    use crate::packet::ForwardedExtensions;

    fn packet(sequence: u64, timestamp: u32, arrival_ms: u64) -> Packet {
        Packet {
            arrival: Time(arrival_ms * 1_000),
            sequence,
            timestamp,
            kind: Kind::Video,
            codec: Codec::H264,
            payload_type: PayloadType(96),
            marker: false,
            keyframe: false,
            padding: 0,
            extensions: ForwardedExtensions::default(),
            bytes: Box::default(),
            payload_start: 0,
        }
    }

    #[test]
    fn a_publisher_that_returns_continues() {
        let mut timeline = Timeline::default();
        let first = timeline.place(SessionId(1), 90_000, &packet(7, 1_000, 0));
        assert_eq!(timeline.place(SessionId(1), 90_000, &packet(5, 900, 0)).0, first.0 - 2);
        let second = timeline.place(SessionId(2), 90_000, &packet(60_000, 5, 500));
        assert_eq!(second, (first.0 + 65, first.1 + 45_000));
        let overtaken = timeline.place(SessionId(2), 90_000, &packet(59_999, 5, 501));
        assert_eq!(overtaken, (second.0 - 1, second.1), "the first publisher's places are not hit");
        assert_eq!(timeline.timestamp(SessionId(2), 95), Some(second.1 + 90));
        assert_eq!(timeline.timestamp(SessionId(1), 95), None);
    }
}
