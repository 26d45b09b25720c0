//! What control may read of a shard without making it wait: its counters as plain words, and some
//! times a second what it tells of its streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyforward_core::figures::StreamFigures;
use pyforward_core::shard::Shard;
use pyforward_core::stages::Exemplar;
use pyforward_core::stats::Stats;
use pyforward_core::time::Time;

/// How old a snapshot gets while its shard has something to do. Walking a thousand streams takes
/// some tens of microseconds.
pub const EVERY: Duration = Duration::from_millis(500);

/// Copies of one shard's words, in the order of [`Stats::words`], which are each right and may be
/// of two turns of the shard; and its last snapshot.
#[derive(Debug)]
pub struct Published {
    words: Box<[AtomicU64]>,
    snapshot: Mutex<Arc<Snapshot>>,
}

/// What a shard told at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When that was.
    pub at: Time,
    /// Every stream, in no order.
    pub streams: Vec<StreamFigures>,
    /// One viewer for each bucket of each stage of joining: the two numbers, and who.
    pub exemplars: Vec<(usize, usize, Exemplar)>,
    /// Messages of the neighbour that has most of them waiting here.
    pub exchanges: usize,
}

impl Snapshot {
    /// Of this moment.
    #[must_use]
    pub fn of(at: Time, shard: &Shard, exchanges: usize) -> Snapshot {
        Snapshot {
            at,
            streams: shard.stream_figures(at).collect(),
            exemplars: shard.stats().stages.exemplars().collect(),
            exchanges,
        }
    }
}

impl Default for Published {
    fn default() -> Self {
        Published {
            words: (0..Stats::WORDS).map(|_| AtomicU64::new(0)).collect(),
            snapshot: Mutex::default(),
        }
    }
}

impl Published {
    /// For the shard, once a turn.
    pub fn publish(&self, stats: &Stats) {
        // From within: a chain that is asked for its next word looks each time where it is.
        let mut words = self.words.iter();
        stats.words().for_each(|value| {
            if let Some(word) = words.next() {
                word.store(value, Ordering::Relaxed);
            }
        });
    }

    /// For the shard, which never waits: where control is just reading, the next one will do.
    pub fn tell(&self, snapshot: Snapshot) {
        if let Ok(mut place) = self.snapshot.try_lock() {
            *place = Arc::new(snapshot);
        }
    }

    /// For control.
    #[must_use]
    pub fn read(&self) -> Vec<u64> {
        self.words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// For control: what was told last.
    #[must_use]
    pub fn told(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When a shard tells its next snapshot: [`EVERY`] so often while it does anything, and once more
/// after it came to rest, so that what it did last is told too.
#[derive(Debug, Default)]
pub struct Telling {
    last: Option<Time>,
    owes: bool,
}

impl Telling {
    /// Something was done. True if it is to be told now.
    pub fn turn(&mut self, now: Time) -> bool {
        self.owes = self.last.is_some_and(|last| now < last + EVERY);
        if !self.owes {
            self.last = Some(now);
        }
        !self.owes
    }

    /// When the shard is to wake for it; [`Time::NEVER`] if everything was told.
    #[must_use]
    pub fn due(&self) -> Time {
        self.last.filter(|_| self.owes).map_or(Time::NEVER, |last| last + EVERY)
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

    #[test]
    fn a_snapshot_is_told_at_its_pace_and_once_more_at_rest() {
        let mut telling = Telling::default();
        assert!(telling.turn(Time(0)));
        assert_eq!(telling.due(), Time::NEVER, "all was told");
        assert!(!telling.turn(Time(1_000)) && !telling.turn(Time(2_000)));
        assert_eq!(telling.due(), Time(0) + EVERY, "what came since is owed");
        assert!(telling.turn(Time(0) + EVERY));
        assert_eq!(telling.due(), Time::NEVER);
    }

    #[test]
    fn a_shard_does_not_wait_for_a_reader() {
        let published = Published::default();
        let reading = published.snapshot.lock();
        published.tell(Snapshot { at: Time(7), ..Snapshot::default() });
        drop(reading);
        assert_eq!(published.told().at, Time(0), "that one is left out");
        published.tell(Snapshot { at: Time(8), ..Snapshot::default() });
        assert_eq!(published.told().at, Time(8));
    }
}
