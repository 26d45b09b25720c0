//! How long viewers take to join, by stage, and of each bucket one who took so long: the log tells
//! what became of that one.

use std::time::Duration;

use crate::ids::SessionId;
use crate::stats::{Histogram, bucket_of};

/// Upper bounds of `pyforward_join_stage_seconds`, in microseconds.
pub const STAGE_BOUNDS: [u64; 12] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The part of a viewer's way from the answer to its picture that a duration is of. Each begins
/// where the one before ends, but for the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Stage {
    /// From the command that made the session to its first authenticated check.
    Ice,
    /// From there to the keys.
    Dtls,
    /// From there to the first packet that was sent to it.
    Packet,
    /// From there to the first keyframe that was.
    Keyframe,
    /// All of them: from the session's making to its first keyframe, without video to its first
    /// packet.
    Whole,
}

impl Stage {
    /// Every stage, in the order of its words.
    pub const ALL: &'static [Stage] =
        &[Stage::Ice, Stage::Dtls, Stage::Packet, Stage::Keyframe, Stage::Whole];

    /// Its name for control.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Ice => "ice",
            Stage::Dtls => "dtls",
            Stage::Packet => "packet",
            Stage::Keyframe => "keyframe",
            Stage::Whole => "whole",
        }
    }
}

/// One session that fell into a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exemplar {
    /// Which.
    pub session: SessionId,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    histograms: [Histogram<{ STAGE_BOUNDS.len() }>; Stage::ALL.len()],
    /// The latest, by stage, then by bucket and above.
    exemplars: [[Option<Exemplar>; STAGE_BOUNDS.len() + 1]; Stage::ALL.len()],
}

impl Stages {
    /// How many words [`Stages::words`] gives.
    pub const WORDS: usize = Stage::ALL.len() * (STAGE_BOUNDS.len() + 2);

    /// A viewer is through a stage.
    pub fn observe(&mut self, stage: Stage, session: SessionId, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.histograms[stage as usize].observe(&STAGE_BOUNDS, micros, 1);
        let latest = &mut self.exemplars[stage as usize];
        if let Some(place) = latest.get_mut(bucket_of(&STAGE_BOUNDS, micros)) {
            *place = Some(Exemplar { session, micros });
        }
    }

    /// The histograms' words, one stage after the other.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.histograms.iter().flat_map(Histogram::words)
    }

    /// The latest session of each bucket that has one, with the numbers of stage and bucket.
    pub fn exemplars(&self) -> impl Iterator<Item = (usize, usize, Exemplar)> + '_ {
        self.exemplars.iter().enumerate().flat_map(|(stage, buckets)| {
            let told = buckets.iter().enumerate();
            told.filter_map(move |(bucket, one)| one.map(|one| (stage, bucket, one)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_names_the_session_that_fell_into_it_last() {
        let mut stages = Stages::default();
        stages.observe(Stage::Dtls, SessionId(7), Duration::from_millis(3));
        stages.observe(Stage::Dtls, SessionId(8), Duration::from_millis(4));
        stages.observe(Stage::Whole, SessionId(8), Duration::from_secs(60));
        let told: Vec<_> = stages.exemplars().collect();
        let last = |micros| Exemplar { session: SessionId(8), micros };
        assert_eq!(told, [(1, 1, last(4_000)), (4, STAGE_BOUNDS.len(), last(60_000_000))]);
        assert_eq!(stages.words().count(), Stages::WORDS);
    }
}
