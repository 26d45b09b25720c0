//! How often a time came, within 1 %: in a size that is fixed, whatever comes.

use std::time::Duration;

/// Buckets of each power of two; below it each microsecond has its own.
const STEPS: u64 = 1 << STEPS_LOG2;
const STEPS_LOG2: u32 = 7;

/// The longest time that is told apart: a good hour.
const MOST_US: u64 = u32::MAX as u64;
const BUCKETS: usize = ((32 - STEPS_LOG2 + 1) as usize) << STEPS_LOG2;

/// Times, counted.
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    most: Duration,
}

impl Histogram {
    /// Nothing counted.
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS].into(), total: 0, most: Duration::ZERO }
    }

    /// The same time so often.
    pub fn record(&mut self, time: Duration, times: u64) {
        let us = u64::try_from(time.as_micros()).unwrap_or(MOST_US).min(MOST_US);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += times;
            self.total += times;
            self.most = self.most.max(time);
        }
    }

    /// How many times.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The longest of them.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// At or below what a share of them lies; none without any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let reached = |count: &u64| {
            below += count;
            below >= rank
        };
        let at = self.counts.iter().position(reached)?;
        Some(Duration::from_micros(highest(at)).min(self.most))
    }
}

/// Which bucket a time is in.
fn bucket(us: u64) -> usize {
    let octave = us.max(STEPS).ilog2() - STEPS_LOG2;
    let step = us >> octave;
    // From the second octave on a step has its highest bit set, which counts one octave up.
    ((u64::from(octave) << STEPS_LOG2) + step) as usize
}

/// The longest time in a bucket.
fn highest(bucket: usize) -> u64 {
    let octave = ((bucket as u64) >> STEPS_LOG2).saturating_sub(1);
    let step = bucket as u64 - (octave << STEPS_LOG2);
    ((step + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn every_time_is_told_within_a_hundredth() {
        for exponent in 0..32 {
            for time in [1_u64 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                let told = highest(bucket(time));
                assert!(told >= time && told - time <= time / 100, "{time}: {told}");
                assert!(bucket(told) == bucket(time) && bucket(told + 1) == bucket(time) + 1);
            }
        }
        assert_eq!(bucket(MOST_US), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_has_its_share_below() {
        let mut times = Histogram::new();
        assert_eq!(times.quantile(0.5), None);
        times.record(us(10), 98);
        times.record(us(100), 1);
        times.record(us(90_000), 1);
        assert_eq!(times.total(), 100);
        assert_eq!(times.quantile(0.5), Some(us(10)));
        assert_eq!(times.quantile(0.98), Some(us(10)));
        assert_eq!(times.quantile(0.99), Some(us(100)));
        assert_eq!(times.quantile(1.0), Some(us(90_000)));
        assert_eq!(times.most(), us(90_000));
    }

    #[test]
    fn what_is_longer_than_an_hour_is_counted_as_the_longest() {
        let mut times = Histogram::new();
        times.record(us(MOST_US + 1), 1);
        times.record(Duration::MAX, 1);
        assert_eq!((times.total(), times.quantile(0.5)), (2, Some(us(MOST_US))));
    }
}
