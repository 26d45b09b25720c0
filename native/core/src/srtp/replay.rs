//! What was received already: index estimation, the replay window, and the bounded table of them.

use crate::discard::Discard;
use crate::ids::Ssrc;

/// Bits of one word of the window's bitmap.
const WORD: u64 = u64::BITS as u64;

/// The index of a packet with `sequence`, when `highest` is the highest index authenticated so far
/// (RFC 3711 §3.3.1): the one of the three candidates that is nearest. Before the first rollover
/// there is nothing before index 0, so a sequence number that would lie there is taken as ahead.
/// None: beyond the last index of the keys.
pub(super) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let rollovers = highest >> 16;
    let last = highest as u16;
    let rollovers = if last < 0x8000 {
        if sequence > last && sequence - last > 0x8000 {
            rollovers.saturating_sub(1)
        } else {
            rollovers
        }
    } else if last - 0x8000 > sequence {
        rollovers + 1
    } else {
        rollovers
    };
    (rollovers <= u64::from(u32::MAX)).then_some(rollovers << 16 | u64::from(sequence))
}

/// Which of the last `len` indices were received (RFC 3711 §3.3.2).
///
/// A ring of words: moving on clears whole words, so that a packet costs the same however large the
/// window is. One word more than the window needs, because the window seldom starts at a word.
pub(super) struct Window {
    highest: u64,
    len: u64,
    words: Box<[u64]>,
}

impl Window {
    /// A window of `len` packets, a multiple of 64, that has received `first`.
    pub(super) fn new(len: usize, first: u64) -> Window {
        let words = vec![0; len / u64::BITS as usize + 1].into_boxed_slice();
        let mut window = Window { highest: first, len: len as u64, words };
        window.record(first);
        window
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` is new: ahead of the window, or in it and not received.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        if self.highest - index >= self.len {
            return false;
        }
        self.words.get(self.slot(index / WORD)).is_some_and(|word| word & bit(index) == 0)
    }

    /// Notes that `index`, which is new, was received and authenticated.
    pub(super) fn record(&mut self, index: u64) {
        if index > self.highest {
            let (from, to) = (self.highest / WORD, index / WORD);
            let passed = (to - from).min(self.words.len() as u64);
            for position in to - passed + 1..=to {
                let slot = self.slot(position);
                if let Some(word) = self.words.get_mut(slot) {
                    *word = 0;
                }
            }
            self.highest = index;
        }
        let slot = self.slot(index / WORD);
        if let Some(word) = self.words.get_mut(slot) {
            *word |= bit(index);
        }
    }

    /// The ring always has a word.
    fn slot(&self, position: u64) -> usize {
        (position % self.words.len() as u64) as usize
    }
}

fn bit(index: u64) -> u64 {
    1 << (index % WORD)
}

/// The windows of the sources that were authenticated, a bounded number of them. Sessions have a
/// handful, so a list that is read from its start beats a map.
pub(super) struct Sources {
    max: usize,
    window_len: usize,
    known: Vec<(Ssrc, Window)>,
}

/// Where a source stands in [`Sources`]; holds until the next [`Sources::record`].
#[derive(Clone, Copy)]
pub(super) enum Place {
    Known(usize),
    New,
}

impl Sources {
    pub(super) fn new(max: usize, window_len: usize) -> Sources {
        Sources { max, window_len, known: Vec::new() }
    }

    /// Finds a source. A new one is refused when there are as many as there may be.
    pub(super) fn find(&self, ssrc: Ssrc) -> Result<Place, Discard> {
        match self.known.iter().position(|(known, _)| *known == ssrc) {
            Some(at) => Ok(Place::Known(at)),
            None if self.known.len() < self.max => Ok(Place::New),
            None => Err(Discard::RtpUnknownSsrc),
        }
    }

    /// The window of a source that is known.
    pub(super) fn window(&self, place: Place) -> Option<&Window> {
        match place {
            Place::Known(at) => self.known.get(at).map(|(_, window)| window),
            Place::New => None,
        }
    }

    /// Notes an authenticated index; a new source gets its window only here.
    pub(super) fn record(&mut self, place: Place, ssrc: Ssrc, index: u64) {
        match place {
            Place::Known(at) => {
                if let Some((_, window)) = self.known.get_mut(at) {
                    window.record(index);
                }
            }
            Place::New => self.known.push((ssrc, Window::new(self.window_len, index))),
        }
    }

    /// How many are known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn indices_around_the_first_rollover() {
        // (highest, sequence, index)
        for (highest, sequence, index) in [
            (0, 0, 0),
            (0, 65_535, 65_535), // nothing lies before index 0: ahead
            (0, 32_768, 32_768),
            (0, 32_769, 32_769),
            (65_535, 0, 65_536),
            (65_535, 65_534, 65_534),
            (65_535, 32_767, 32_767), // exactly half a turn: stays (RFC 3711 §3.3.1)
            (65_535, 32_766, 65_536 + 32_766),
            (65_536, 65_535, 65_535),
            (65_536, 32_768, 65_536 + 32_768), // exactly half a turn: stays
            (65_536, 32_769, 32_769),
            (32_768, 0, 0),
            (32_767, 65_535, 65_535),
        ] {
            assert_eq!(estimate(highest, sequence), Some(index), "{highest} {sequence}");
        }
    }

    #[test]
    fn there_is_no_index_beyond_the_last() {
        let last = (1 << 48) - 1;
        assert_eq!(estimate(last, 65_535), Some(last));
        assert_eq!(estimate(last, 0), None);
    }

    #[test]
    fn the_window_is_as_long_as_it_says() {
        let mut window = Window::new(128, 1_000);
        assert!(window.is_new(1_000 - 127));
        assert!(!window.is_new(1_000 - 128));
        assert!(!window.is_new(1_000));
        window.record(1_001);
        assert!(window.is_new(1_001 - 127));
        assert!(!window.is_new(1_001 - 128));
    }

    #[test]
    fn a_leap_forgets_what_it_passes() {
        let mut window = Window::new(64, 0);
        for index in 1..64 {
            window.record(index);
        }
        for leap in [64, 127, 128, 129, 1_000_000] {
            let from = window.highest();
            window.record(from + leap);
            for index in from + leap - 63..from + leap {
                assert_eq!(window.is_new(index), index != from, "{leap} {index}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_index_within_half_a_turn_is_found(
            highest in (1u64 << 16)..(1 << 40), offset in -32_767i64..=32_767,
        ) {
            let index = highest.checked_add_signed(offset).unwrap();
            prop_assert_eq!(estimate(highest, index as u16), Some(index));
        }

        /// The window against a set that remembers everything.
        #[test]
        fn the_window_agrees_with_a_set(
            words in 1usize..6,
            first in 0u64..100_000,
            steps in proptest::collection::vec(-400i64..200, 1..300),
        ) {
            let len = words * 64;
            let mut window = Window::new(len, first);
            let mut seen = HashSet::from([first]);
            let mut highest = first;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let new = index > highest
                    || (highest - index < len as u64 && !seen.contains(&index));
                prop_assert_eq!(window.is_new(index), new, "{} of {}", index, highest);
                if new {
                    window.record(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
            }
        }
    }
}
