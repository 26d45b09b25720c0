//! Transport-wide feedback: when each packet of the publisher arrived, over all of its tracks, so
//! that its bandwidth estimate may rise (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! A packet that arrives after feedback has told its place as lost is not told again; the sender
//! has reacted by then.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Ssrc;
use crate::rtcp::Writer;
use crate::time::Time;

/// Time between two feedbacks.
const INTERVAL: Duration = Duration::from_millis(50);
/// Statuses in one feedback packet: at worst (two bytes for each delta, vectors of seven) 1,050
/// bytes.
const MAX_STATUSES: usize = 400;
/// Statuses that wait to be told; beyond, the oldest are forgotten. Also the longest gap.
const MAX_WAITING: usize = 2_000;
/// One unit of a delta, in microseconds.
const DELTA_UNIT: u64 = 250;
/// One unit of the reference time, in units of deltas: 64 ms.
const REFERENCE_UNIT: u64 = 256;

/// The arrivals that were not told yet.
#[derive(Debug)]
pub(super) struct TransportArrivals {
    /// Extended transport-wide sequence number of the first entry; none before the first packet.
    base: Option<u64>,
    /// In units of deltas; none for what has not arrived.
    arrivals: VecDeque<Option<u64>>,
    feedback_count: u8,
    due: Time,
    ready: bool,
}

impl TransportArrivals {
    pub(super) fn new() -> TransportArrivals {
        TransportArrivals {
            base: None,
            arrivals: VecDeque::new(),
            feedback_count: 0,
            due: Time::NEVER,
            ready: false,
        }
    }

    /// A packet with this transport-wide sequence number arrived.
    pub(super) fn record(&mut self, now: Time, sequence: u16) {
        let next = self.next(sequence);
        // The one nearest to what is expected, as with RTP's own sequence numbers.
        let ahead = i64::from(sequence.wrapping_sub(next as u16).cast_signed());
        let extended = next.saturating_add_signed(ahead);
        let base = self.base.unwrap_or(next);
        let Some(at) = extended.checked_sub(base) else { return };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if at >= self.arrivals.len().saturating_add(MAX_WAITING) {
            self.arrivals.clear();
            self.base = Some(extended);
            self.arrivals.push_back(None);
        } else {
            while self.arrivals.len() <= at {
                self.arrivals.push_back(None);
            }
        }
        let at = extended - self.base.unwrap_or(extended);
        if let Some(arrival) = self.arrivals.get_mut(at as usize) {
            arrival.get_or_insert(now.0 / DELTA_UNIT);
        }
        while self.arrivals.len() > MAX_WAITING {
            self.arrivals.pop_front();
            self.base = self.base.map(|base| base + 1);
        }
        if self.arrivals.len() >= MAX_STATUSES {
            self.ready = true;
        }
        self.due = self.due.min(now + INTERVAL);
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.due <= now {
            self.ready = !self.arrivals.is_empty();
            self.due = Time::NEVER;
        }
    }

    /// When `handle_timeout` has something to do next.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// There is feedback to be written.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Writes one feedback packet of at most [`MAX_STATUSES`] statuses, if one is ready.
    pub(super) fn write(&mut self, sender: Ssrc, media: Ssrc, writer: &mut Writer<'_>) {
        let (true, Some(base)) = (self.ready, self.base) else { return };
        let first = self.arrivals.iter().flatten().next().copied().unwrap_or(0);
        let reference = first / REFERENCE_UNIT;
        let mut before = reference * REFERENCE_UNIT;
        let mut deltas = Vec::with_capacity(self.arrivals.len().min(MAX_STATUSES));
        for arrival in self.arrivals.iter().take(MAX_STATUSES) {
            let Some(arrival) = *arrival else {
                deltas.push(None);
                continue;
            };
            // Too far from the one before: it starts the next packet.
            let Ok(delta) = i16::try_from(arrival.cast_signed() - before.cast_signed()) else {
                break;
            };
            deltas.push(Some(delta));
            before = arrival;
        }
        self.arrivals.drain(..deltas.len().min(self.arrivals.len()));
        self.base = Some(base + deltas.len() as u64);
        self.ready = !self.arrivals.is_empty();
        let reference = (reference & 0xff_ffff) as u32;
        let count = self.feedback_count;
        self.feedback_count = count.wrapping_add(1);
        writer.transport_feedback(sender, media, count, base as u16, reference, &deltas);
    }

    /// The extended number that is expected next.
    fn next(&mut self, sequence: u16) -> u64 {
        // Not from zero, so that numbers before the first exist.
        let base = *self.base.get_or_insert((1 << 16) + u64::from(sequence));
        base + self.arrivals.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (base, reference, count, statuses as arrival in ms since the reference) of one packet.
    fn write(arrivals: &mut TransportArrivals) -> Option<(u16, u32, u8, Vec<u8>)> {
        let mut out = Vec::new();
        arrivals.write(Ssrc(1), Ssrc(2), &mut Writer::new(&mut out));
        let at = |n: usize| out.get(n).copied();
        let base = u16::from_be_bytes([at(12)?, at(13)?]);
        let reference = u32::from_be_bytes([0, at(16)?, at(17)?, at(18)?]);
        assert!(out.len() <= 1_100, "{}", out.len());
        Some((base, reference, at(19)?, out.get(20..)?.to_vec()))
    }

    #[test]
    fn tells_arrivals_and_losses_across_the_rollover() {
        let mut arrivals = TransportArrivals::new();
        arrivals.record(Time(64_000), 65_535);
        arrivals.record(Time(65_000), 1);
        arrivals.record(Time(65_500), 0);
        arrivals.record(Time(66_000), 3);
        assert!(!arrivals.is_ready());
        assert_eq!(arrivals.due(), Time(114_000));
        arrivals.handle_timeout(Time(114_000));
        let (base, reference, count, body) = write(&mut arrivals).unwrap_or_default();
        assert_eq!((base, reference, count), (65_535, 1, 0));
        // 65535 at 0, 0 at +1.5 ms, 1 at -0.5 ms (large), 2 lost, 3 at +1 ms: a two-bit vector.
        assert_eq!(body.get(..2), Some(&[0b1101_0110, 0b0001_0000][..]));
        assert_eq!(body.get(2..7), Some(&[0, 6, 0xff, 0xfe, 4][..]));
        assert!(!arrivals.is_ready() && write(&mut arrivals).is_none());

        // What was told as lost stays so; what follows goes on.
        arrivals.record(Time(120_000), 2);
        arrivals.record(Time(130_000), 4);
        arrivals.handle_timeout(Time(200_000));
        let (base, reference, count, _) = write(&mut arrivals).unwrap_or_default();
        assert_eq!((base, reference, count), (4, 2, 1));
    }

    #[test]
    fn is_bounded_when_nobody_takes_it_and_when_numbers_jump() {
        let mut arrivals = TransportArrivals::new();
        for n in 0..100_000_u64 {
            arrivals.record(Time(n * 1_000), (n * 3) as u16);
            assert!(arrivals.arrivals.len() <= MAX_WAITING);
        }
        arrivals.record(Time(100_000_000), 300_000_u64.wrapping_add(20_000) as u16);
        assert_eq!(arrivals.arrivals.len(), 1);
    }

    #[test]
    fn a_fast_publisher_is_told_early_and_in_pieces() {
        let mut arrivals = TransportArrivals::new();
        (0..900).for_each(|n| arrivals.record(Time(u64::from(n) * 10), n));
        assert!(arrivals.is_ready());
        let bases: Vec<u16> =
            std::iter::from_fn(|| write(&mut arrivals)).map(|packet| packet.0).collect();
        assert_eq!(bases, [0, 400, 800]);
    }

    #[test]
    fn a_pause_too_long_for_a_delta_starts_another_packet() {
        let mut arrivals = TransportArrivals::new();
        arrivals.record(Time(0), 7);
        arrivals.record(Time(9_000_000), 8);
        arrivals.handle_timeout(Time(9_000_000));
        assert_eq!(write(&mut arrivals).map(|packet| packet.0), Some(7));
        assert_eq!(write(&mut arrivals).map(|packet| packet.0), Some(8));
        assert!(write(&mut arrivals).is_none());
    }
}
