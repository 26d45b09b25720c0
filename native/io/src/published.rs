//! A shard's counters where control can read them without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use pyforward_core::stats::Stats;

/// Copies of one shard's words, in the order of [`Stats::words`]. The words are each right, and
/// may be of two turns of the shard.
#[derive(Debug)]
pub struct Published {
    words: Box<[AtomicU64]>,
}

impl Default for Published {
    fn default() -> Self {
        Published { words: (0..Stats::WORDS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Published {
    /// For the shard, once a turn.
    pub fn publish(&self, stats: &Stats) {
        for (word, value) in self.words.iter().zip(stats.words()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// For control.
    #[must_use]
    pub fn read(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use pyforward_core::discard::Discard;
    use pyforward_core::stats::Counter;

    use super::*;

    #[test]
    fn what_is_published_is_what_was_counted() {
        let (published, mut stats) = (Published::default(), Stats::default());
        stats.add(Counter::DatagramsIn, 3);
        stats.discard(Discard::ExchangeFull);
        assert_eq!(published.read(), vec![0; Stats::WORDS]);
        published.publish(&stats);
        assert_eq!(published.read(), stats.words().collect::<Vec<_>>());
    }
}
