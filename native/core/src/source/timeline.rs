//! Where a publisher's packets lie in what viewers get: one sequence and one clock per track,
//! whatever is dropped, inserted or comes from another SSRC.
//!
//! Numbers that were given out once are never given out again for another packet.

use std::collections::VecDeque;

/// How many changes are remembered. A packet from before the oldest is too late to be placed.
const MAX_CHANGES: usize = 64;

/// The positions of one track's packets.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Ascending. A packet belongs to the last change that does not lie after it.
    changes: VecDeque<Change>,
    /// One more than the highest position that was given out.
    next: u64,
    /// Added to the RTP timestamps of the SSRC that is forwarded.
    timestamp_shift: u32,
}

/// From the extended sequence number `from` on, positions count from `to`.
#[derive(Clone, Copy, Debug)]
struct Change {
    from: u64,
    to: u64,
}

impl Timeline {
    /// Positions are the extended sequence numbers, until something changes.
    pub(super) fn new() -> Timeline {
        Timeline {
            changes: VecDeque::from([Change { from: 0, to: 0 }]),
            next: 0,
            timestamp_shift: 0,
        }
    }

    /// The position of a packet that is forwarded; none when it is too old to tell.
    pub(super) fn place(&mut self, sequence: u64) -> Option<u64> {
        let position = self.position(sequence)?;
        self.next = self.next.max(position + 1);
        Some(position)
    }

    /// The newest packet is dropped: the next one takes its position.
    pub(super) fn close_up(&mut self, sequence: u64) {
        let Some(to) = self.position(sequence) else { return };
        // The dropped packet was the only one of the last change: that change never mattered.
        if self.changes.back().is_some_and(|last| last.from == sequence && self.changes.len() > 1) {
            self.changes.pop_back();
        }
        self.change(Change { from: sequence + 1, to });
    }

    /// Makes room directly before the newest packet, which was not placed yet, and gives the
    /// position of what is inserted.
    pub(super) fn insert_before(&mut self, sequence: u64) -> Option<u64> {
        let position = self.position(sequence)?;
        self.change(Change { from: sequence, to: position + 1 });
        self.next = self.next.max(position + 1);
        Some(position)
    }

    /// What is numbered from `sequence` on follows `skip` positions after everything until now;
    /// what is older is not placed any more.
    pub(super) fn restart(&mut self, sequence: u64, skip: u64) {
        self.changes.clear();
        self.changes.push_back(Change { from: sequence, to: self.next + skip });
    }

    /// An RTP timestamp of the SSRC that is forwarded, as viewers see it.
    pub(super) fn timestamp(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.timestamp_shift)
    }

    /// The SSRC that is forwarded from now on calls `timestamp` what viewers call `as_seen`.
    pub(super) fn align(&mut self, timestamp: u32, as_seen: u32) {
        self.timestamp_shift = as_seen.wrapping_sub(timestamp);
    }

    fn position(&self, sequence: u64) -> Option<u64> {
        let change = self.changes.iter().rev().find(|change| change.from <= sequence)?;
        Some(change.to + (sequence - change.from))
    }

    fn change(&mut self, change: Change) {
        if self.changes.back().is_some_and(|last| last.from == change.from) {
            self.changes.pop_back();
        }
        if self.changes.len() == MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_packet_leaves_no_gap_and_late_ones_keep_their_place() {
        let mut timeline = Timeline::new();
        assert_eq!(timeline.place(100), Some(100));
        // 101 is missing; 102 and 103 are padding.
        timeline.close_up(102);
        timeline.close_up(103);
        assert_eq!(timeline.place(104), Some(102));
        assert_eq!(timeline.place(101), Some(101));
        assert_eq!(timeline.place(105), Some(103));
    }

    #[test]
    fn an_inserted_packet_shifts_what_follows() {
        let mut timeline = Timeline::new();
        timeline.place(100);
        timeline.close_up(101);
        assert_eq!(timeline.insert_before(102), Some(101));
        assert_eq!(timeline.place(102), Some(102));
        assert_eq!(timeline.insert_before(103), Some(103));
        assert_eq!(timeline.place(103), Some(104));
        assert_eq!(timeline.place(99), Some(99));
    }

    #[test]
    fn a_restart_continues_and_forgets() {
        let mut timeline = Timeline::new();
        timeline.place(100);
        timeline.restart(5_000, 0);
        assert_eq!((timeline.place(4_999), timeline.place(5_000)), (None, Some(101)));
        timeline.restart(9, 1);
        assert_eq!(timeline.place(9), Some(103));
    }

    #[test]
    fn changes_are_bounded_and_the_forgotten_are_too_late() {
        let mut timeline = Timeline::new();
        for n in 0..1_000 {
            timeline.place(n * 2);
            timeline.close_up(n * 2 + 1);
        }
        assert!(timeline.changes.len() <= MAX_CHANGES);
        assert_eq!(timeline.place(3), None);
        assert_eq!(timeline.place(2_000), Some(1_000));
    }

    #[test]
    fn timestamps_are_aligned_modulo_two_to_the_32() {
        let mut timeline = Timeline::new();
        timeline.align(u32::MAX, 10);
        assert_eq!(timeline.timestamp(4), 15);
    }
}
