//! From the shard's timeline to a viewer's sequence numbers, and back.
//!
//! A viewer holds epochs: stretches of the timeline that it gets with one offset. What lies
//! between two epochs was never sent and has no number, so a viewer that waits for a keyframe sees
//! no gap. Numbers are never given twice, and a retransmission finds the epoch that a number was
//! given in.

use arrayvec::ArrayVec;

/// Stretches that are remembered; a NACK into an older one is not answered.
const EPOCHS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// First timeline sequence.
    start: u64,
    /// One beyond the last timeline sequence; open-ended while it is the current one.
    end: u64,
    /// The index that `start` has for the viewer.
    first_index: u64,
}

/// See the module. An index is ROC << 16 | sequence (RFC 3711 §3.3.1).
#[derive(Clone, Debug)]
pub struct Numbering {
    epochs: ArrayVec<Epoch, EPOCHS>,
    /// The next index that was never given.
    next_index: u64,
}

impl Numbering {
    /// Nothing is numbered yet; the first packet will get `first` (below 2^15, so that the viewer
    /// cannot guess its rollover counter wrong).
    #[must_use]
    pub fn new(first: u16) -> Numbering {
        Numbering { epochs: ArrayVec::new(), next_index: u64::from(first & 0x7FFF) }
    }

    /// True while packets are numbered as they come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.epochs.last().is_some_and(|epoch| epoch.end == u64::MAX)
    }

    /// Starts an epoch at this place of the timeline, directly behind the last given number. False
    /// if the place lies in an epoch already: what has a number gets no second one.
    pub fn open(&mut self, start: u64) -> bool {
        self.close();
        if self.epochs.last().is_some_and(|epoch| start < epoch.end) {
            return false;
        }
        if self.epochs.is_full() {
            self.epochs.remove(0);
        }
        self.epochs.push(Epoch { start, end: u64::MAX, first_index: self.next_index });
        true
    }

    /// Ends the current epoch behind the last number that was given.
    pub fn close(&mut self) {
        let next_index = self.next_index;
        if let Some(epoch) = self.epochs.last_mut().filter(|epoch| epoch.end == u64::MAX) {
            epoch.end = epoch.start + (next_index - epoch.first_index);
        }
    }

    /// The index under which this place of the timeline goes, or went, to the viewer. None if it
    /// never does.
    pub fn index(&mut self, sequence: u64) -> Option<u64> {
        let epoch = self.epochs.iter().rev().find(|e| (e.start..e.end).contains(&sequence))?;
        let index = epoch.first_index + (sequence - epoch.start);
        self.next_index = self.next_index.max(index + 1);
        Some(index)
    }

    /// The place on the timeline that a sequence number of the viewer's stands for. None if it
    /// was never given or is forgotten.
    #[must_use]
    pub fn sequence(&self, number: u16) -> Option<u64> {
        let newest = self.next_index.checked_sub(1)?;
        let behind = u64::from((newest as u16).wrapping_sub(number));
        let index = newest.checked_sub(behind)?;
        let epoch = self.epochs.iter().rev().find(|epoch| epoch.first_index <= index)?;
        let sequence = epoch.start + (index - epoch.first_index);
        (sequence < epoch.end).then_some(sequence)
    }

    /// How many numbers were given since the first.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pause_leaves_no_gap_and_old_numbers_are_found() {
        let mut numbering = Numbering::new(100);
        assert!(numbering.open(1_000));
        assert_eq!(numbering.index(1_000), Some(100));
        assert_eq!(numbering.index(1_002), Some(102));
        numbering.close();
        assert_eq!(numbering.index(1_005), None, "between two epochs nothing is sent");
        assert!(!numbering.open(1_002), "it has a number");
        assert!(numbering.open(2_000));
        assert_eq!(numbering.index(2_000), Some(103));
        assert_eq!(numbering.index(1_001), Some(101), "late, of the first epoch");
        assert_eq!(numbering.sequence(101), Some(1_001));
        assert_eq!(numbering.sequence(103), Some(2_000));
        assert_eq!(numbering.sequence(104), None, "not given yet");
        assert_eq!(numbering.sequence(99), None, "before the first");
    }

    proptest! {
        #[test]
        fn no_index_is_given_to_two_places(
            steps in prop::collection::vec((0u8..10, 0u64..8), 1..400)
        ) {
            let mut numbering = Numbering::new(0x7FF0);
            let mut given: HashMap<u64, u64> = HashMap::new();
            let mut head = 70_000u64;
            for (what, by) in steps {
                match what {
                    0 => numbering.close(),
                    1 => drop(numbering.open(head.saturating_sub(by))),
                    2 => {
                        if let Some(index) = numbering.index(head.saturating_sub(by * 3)) {
                            let place = head.saturating_sub(by * 3);
                            prop_assert_eq!(*given.entry(index).or_insert(place), place);
                        }
                    }
                    _ => {
                        head += by;
                        if let Some(index) = numbering.index(head) {
                            prop_assert_eq!(*given.entry(index).or_insert(head), head);
                            prop_assert_eq!(numbering.sequence(index as u16), Some(head));
                        }
                    }
                }
            }
        }
    }
}
