//! Records: one for each packet that a measured session received, packed, for control to count.
//!
//! `bench/pyforward_bench/records.py` has the same layout; a contract test holds the two together.

use crate::stamp::Stamp;
use crate::time::{MachineClock, Time};

/// Bytes of a record.
pub const LEN: usize = 32;

/// Full this far, the records go to control.
const FULL: usize = 64 * 1024;
/// None waits longer than this for others.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(20);

/// What stands for a latency that nobody knows.
const UNKNOWN: u32 = u32::MAX;

/// What [`Record::flags`] holds.
pub mod flag {
    /// A packet of video.
    pub const VIDEO: u16 = 1;
    /// Its marker bit was set.
    pub const MARKER: u16 = 2;
    /// It has the timestamp of a keyframe.
    pub const KEYFRAME: u16 = 4;
    /// One with a higher sequence number came before.
    pub const LATE: u16 = 8;
    /// It was asked for, or came as a retransmission.
    pub const REPAIRED: u16 = 16;
    /// Its payload ends with a stamp.
    pub const STAMPED: u16 = 32;
    /// The stamp's checksum is right.
    pub const INTACT: u16 = 64;
    /// The sender began anew.
    pub const RESTARTED: u16 = 128;
}

/// One received packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it came; see [`crate::path::Datagram::received`].
    pub arrival: Time,
    /// What the session is called in records.
    pub viewer: u32,
    /// Its extended sequence number.
    pub sequence: u64,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// What its stamp says.
    pub stamp: Option<Stamp>,
    /// Bytes of UDP payload.
    pub size: u16,
    /// See [`flag`]; those of the stamp are set by [`Recorder::push`].
    pub flags: u16,
}

/// Collects the records of a shard.
#[derive(Debug, Default)]
pub struct Recorder {
    packed: Vec<u8>,
    due: Option<Time>,
}

impl Recorder {
    /// Takes one of a packet that is being handled now, whenever it came.
    pub fn push(&mut self, now: Time, clock: MachineClock, record: &Record) {
        let stamp = record.stamp;
        let arrival = clock.micros(record.arrival);
        let latency = stamp.and_then(|stamp| stamp.sent_micros).map_or(UNKNOWN, |sent| {
            u32::try_from(arrival.saturating_sub(sent))
                .map_or(UNKNOWN - 1, |us| us.min(UNKNOWN - 1))
        });
        let stamped = if stamp.is_some() { flag::STAMPED } else { 0 };
        let intact = if stamp.is_some_and(|stamp| stamp.intact) { flag::INTACT } else { 0 };
        let flags = record.flags | stamped | intact;
        self.packed.extend_from_slice(&arrival.to_le_bytes());
        for word in [
            record.viewer,
            record.sequence as u32,
            record.timestamp,
            stamp.map_or(0, |stamp| stamp.counter),
            latency,
        ] {
            self.packed.extend_from_slice(&word.to_le_bytes());
        }
        self.packed.extend_from_slice(&record.size.to_le_bytes());
        self.packed.extend_from_slice(&flags.to_le_bytes());
        self.due.get_or_insert(now + PATIENCE);
    }

    /// What control is to have now.
    pub fn take(&mut self, now: Time) -> Option<Vec<u8>> {
        let due = self.packed.len() >= FULL || self.due.is_some_and(|due| due <= now);
        due.then(|| {
            self.due = None;
            std::mem::replace(&mut self.packed, Vec::with_capacity(FULL + 64 * LEN))
        })
    }

    /// When [`Recorder::take`] has something at the latest.
    #[must_use]
    pub fn due(&self) -> Time {
        self.due.unwrap_or(Time::NEVER)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CLOCK: MachineClock = MachineClock { id: 3, micros_at_zero: 1_000_000 };

    fn record(arrival: u64, sent_micros: Option<u64>) -> Record {
        Record {
            arrival: Time(arrival),
            viewer: 2,
            sequence: (5 << 32) + 6,
            timestamp: 7,
            stamp: Some(Stamp { counter: 8, intact: true, sent_micros }),
            size: 1_200,
            flags: flag::VIDEO | flag::MARKER,
        }
    }

    #[test]
    fn a_record_is_what_its_layout_says() {
        let mut recorder = Recorder::default();
        recorder.push(Time(700), CLOCK, &record(500, Some(1_000_100)));
        let packed = recorder.take(Time(20_700)).unwrap();
        let word = |at: usize| u32::from_le_bytes(packed[at..at + 4].try_into().unwrap());
        assert_eq!(packed.len(), LEN);
        assert_eq!(u64::from_le_bytes(packed[..8].try_into().unwrap()), 1_000_500);
        assert_eq!([8, 12, 16, 20, 24].map(word), [2, 6, 7, 8, 400]);
        assert_eq!(packed[28..], [0xB0, 0x04, 1 | 2 | 32 | 64, 0]);
    }

    #[test]
    fn latency_is_unknown_or_as_long_as_can_be_said() {
        let mut recorder = Recorder::default();
        recorder.push(Time(1 << 40), CLOCK, &record(1 << 40, Some(1)));
        recorder.push(Time(1 << 40), CLOCK, &record(1 << 40, None));
        let packed = recorder.take(Time(1 << 41)).unwrap();
        assert_eq!(packed[24..28], (u32::MAX - 1).to_le_bytes());
        assert_eq!(packed[56..60], u32::MAX.to_le_bytes());
    }

    #[test]
    fn they_wait_for_each_other_but_not_long() {
        let mut recorder = Recorder::default();
        assert_eq!((recorder.take(Time::NEVER), recorder.due()), (None, Time::NEVER));
        // It came long ago, and is here only now.
        recorder.push(Time(50_000), CLOCK, &record(0, None));
        recorder.push(Time(59_000), CLOCK, &record(59_000, None));
        assert_eq!(recorder.due(), Time(70_000));
        assert_eq!(recorder.take(Time(69_999)), None);
        assert_eq!(recorder.take(Time(70_000)).map(|packed| packed.len()), Some(2 * LEN));
        (0..2_048).for_each(|_| recorder.push(Time(80_000), CLOCK, &record(80_000, None)));
        assert_eq!(recorder.take(Time(80_000)).map(|packed| packed.len()), Some(FULL));
    }
}
