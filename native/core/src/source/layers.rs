//! Which encoding of a track is forwarded, where there are several: simulcast layers, or an SSRC
//! that took another's place.
//!
//! Of simulcast layers the one with the largest picture is forwarded. Nothing tells a picture's size
//! for every codec, but bytes do: encoders give more of them to larger pictures. So, of the layers,
//! the first keyframe starts; after half a second and then each second, a layer that brought a
//! quarter more bytes than the one forwarded becomes the candidate, and takes over at its next
//! keyframe, which is asked for. Without simulcast a new SSRC takes over the same way, and an older
//! one again when the newer has fallen silent. Audio switches at the first packet.

use std::time::Duration;

use crate::time::Time;

/// The first comparison comes early, for a publisher's layers start within this time.
const FIRST_COMPARISON: Duration = Duration::from_millis(500);
/// Time between later ones.
const COMPARISON: Duration = Duration::from_secs(1);

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is of the encoding that is forwarded.
    Forward,
    /// Its encoding is forwarded from this packet on.
    Switch,
    /// Nobody gets it.
    Drop,
}

/// The choice for one track. Encodings are named by their index.
#[derive(Debug)]
pub(super) struct Layers {
    simulcast: bool,
    forwarded: Option<usize>,
    candidate: Option<usize>,
    due: Time,
    compared: bool,
}

impl Layers {
    pub(super) fn new(simulcast: bool) -> Layers {
        Layers { simulcast, forwarded: None, candidate: None, due: Time::NEVER, compared: false }
    }

    /// A new encoding sends its first packet.
    pub(super) fn add(&mut self, now: Time, encoding: usize) {
        if !self.simulcast && self.forwarded.is_some() {
            self.candidate = Some(encoding);
        }
        if self.simulcast || self.forwarded.is_some() {
            let after = if self.compared { COMPARISON } else { FIRST_COMPARISON };
            self.due = self.due.min(now + after);
        }
    }

    /// Judges a packet. `entry`: it is the newest and a decoder can start with it.
    pub(super) fn judge(&mut self, encoding: usize, entry: bool) -> Verdict {
        if self.forwarded == Some(encoding) {
            return Verdict::Forward;
        }
        let start = self.forwarded.is_none() && (entry || !self.simulcast);
        if start || (entry && self.candidate == Some(encoding)) {
            self.forwarded = Some(encoding);
            self.candidate = None;
            return Verdict::Switch;
        }
        Verdict::Drop
    }

    /// Compares the encodings by the bytes that each brought since the last time. True when a
    /// keyframe of the candidate is needed.
    pub(super) fn compare(&mut self, now: Time, bytes: impl Iterator<Item = u64>) -> bool {
        self.due = now + COMPARISON;
        self.compared = true;
        let (mut most, mut best, mut forwarded) = (0, None, 0);
        for (encoding, bytes) in bytes.enumerate() {
            if self.forwarded == Some(encoding) {
                forwarded = bytes;
            }
            if bytes > most {
                (most, best) = (bytes, Some(encoding));
            }
        }
        let better = if self.simulcast { most / 5 > forwarded / 4 } else { forwarded == 0 };
        if self.simulcast {
            self.candidate = None;
        }
        if better && best != self.forwarded && best.is_some() {
            self.candidate = best;
        }
        self.candidate.is_some()
    }

    /// When `compare` is due.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Which one is forwarded.
    pub(super) fn forwarded(&self) -> Option<usize> {
        self.forwarded
    }

    /// Whose keyframe is needed: the candidate's, else that of the one forwarded.
    pub(super) fn wanted(&self) -> Option<usize> {
        self.candidate.or(self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_simulcast_everything_is_forwarded_from_the_first_packet() {
        let mut layers = Layers::new(false);
        layers.add(Time(0), 0);
        assert_eq!(layers.judge(0, false), Verdict::Switch);
        assert_eq!(layers.judge(0, false), Verdict::Forward);
        assert_eq!(layers.due(), Time::NEVER);
    }

    #[test]
    fn a_new_ssrc_takes_over_at_its_keyframe() {
        let mut layers = Layers::new(false);
        layers.add(Time(0), 0);
        layers.judge(0, true);
        layers.add(Time(5), 1);
        assert_eq!(layers.wanted(), Some(1));
        assert_eq!(
            (layers.judge(1, false), layers.judge(0, false)),
            (Verdict::Drop, Verdict::Forward)
        );
        assert_eq!(layers.judge(1, true), Verdict::Switch);
        assert_eq!(layers.judge(0, true), Verdict::Drop);
        // The old one comes back only when the new one is silent.
        assert!(!layers.compare(Time(1_000_000), [900, 100].into_iter()));
        assert!(layers.compare(Time(2_000_000), [900, 0].into_iter()));
        assert_eq!(layers.judge(0, true), Verdict::Switch);
    }

    #[test]
    fn the_largest_layer_wins_and_stays() {
        let mut layers = Layers::new(true);
        (0..3).for_each(|layer| layers.add(Time(0), layer));
        assert_eq!(layers.judge(0, false), Verdict::Drop);
        assert_eq!(layers.judge(0, true), Verdict::Switch);
        assert_eq!(layers.due(), Time(500_000));
        assert!(layers.compare(Time(500_000), [100, 400, 1_500].into_iter()));
        assert_eq!(layers.wanted(), Some(2));
        assert_eq!((layers.judge(1, true), layers.judge(2, false)), (Verdict::Drop, Verdict::Drop));
        assert_eq!(layers.judge(2, true), Verdict::Switch);
        assert!(!layers.compare(Time(1_500_000), [100, 1_700, 1_500].into_iter()), "not by a bit");
        assert!(layers.compare(Time(2_500_000), [100, 400, 0].into_iter()), "it is switched off");
        assert_eq!(layers.wanted(), Some(1));
        assert!(!layers.compare(Time(3_500_000), [100, 400, 1_500].into_iter()), "it came back");
    }

    #[test]
    fn nothing_is_chosen_of_silence() {
        let mut layers = Layers::new(true);
        (0..2).for_each(|layer| layers.add(Time(0), layer));
        layers.judge(0, true);
        assert!(!layers.compare(Time(500_000), [0, 0].into_iter()));
        assert_eq!(layers.wanted(), Some(0));
    }
}
