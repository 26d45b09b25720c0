//! What a shard that cannot keep up leaves out: the video of some viewers, in turns.
//!
//! A shard is overloaded once media waits too long before the shard takes it, and goes on waiting: a
//! queue that stands, not one that comes and goes (RFC 8289 §3). Then some of its viewers get no
//! frames, so many of them that it keeps up. Whoever is left out is so from the beginning of a frame
//! to a keyframe, with which the turn passes to the next ones; its audio goes on. Numbers have no
//! gap, so that nobody asks for what was left out. Where no video flows, turns are by time.

use std::time::Duration;

use crate::ids::StreamId;
use crate::time::Time;

/// Viewers are left out by groups, so many of them.
const GROUPS: u8 = 16;
/// Of many viewers some are always served.
const MOST: u8 = GROUPS - 1;

/// A queue that was too long all this time stands.
const STANDS: Duration = Duration::from_millis(100);
/// So many groups more are left out then, unless it is getting shorter.
const STEP: u8 = 2;
/// As many are served again as there is time for, after so long without anything late, which is half
/// of the limit.
const CALM: Duration = Duration::from_secs(1);
/// The share of its time that a shard then sends for, of 100: it has other things to do.
const FILLED: u128 = 85;

/// How long one has its turn, where no keyframe ends it. A publisher is asked for one then; most
/// send one every two seconds by themselves, or none.
const TURN: Duration = Duration::from_millis(2_500);

/// How much a shard leaves out.
#[derive(Debug)]
pub struct Shedding {
    /// Zero: it never does.
    limit: Duration,
    level: u8,
    /// The longest that anything has waited since it was judged at last.
    waited: Option<Duration>,
    /// Since when everything is late, and by how much it was then.
    late: Option<(Time, Duration)>,
    calm_since: Time,
    /// What went out since then.
    done: Done,
}

/// What a shard has sent.
#[derive(Clone, Copy, Default, Debug)]
pub struct Done {
    /// How long it took.
    pub took: Duration,
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that were left out.
    pub left_out: u64,
}

impl Shedding {
    /// Of a shard that has nothing to do; `limit` is how long media may wait for it.
    #[must_use]
    pub fn new(limit: Duration) -> Shedding {
        let (waited, late, calm_since) = (None, None, Time(0));
        Shedding { limit, level: 0, waited, late, calm_since, done: Done::default() }
    }

    /// How many groups of viewers get nothing.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The longest that anything has waited since it was judged at last.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited.unwrap_or_default()
    }

    /// A packet of media waited for so long before the shard took it.
    pub fn observe(&mut self, waited: Duration) {
        self.waited = self.waited.max(Some(waited));
    }

    /// So much has been sent since the last time.
    pub fn judge(&mut self, now: Time, done: Done) {
        self.done.took += done.took;
        self.done.sent += done.sent;
        self.done.left_out += done.left_out;
        let Some(waited) = self.waited.take().filter(|_| !self.limit.is_zero()) else { return };
        self.answer_lateness(now, waited);
        let passed = now.since(self.calm_since);
        if waited <= self.limit / 2 && passed < CALM {
            return;
        }
        if waited <= self.limit / 2 {
            self.level = self.level.min(GROUPS - self.affordable(passed));
        }
        (self.calm_since, self.done) = (now, Done::default());
    }

    fn answer_lateness(&mut self, now: Time, waited: Duration) {
        if waited <= self.limit {
            self.late = None;
            return;
        }
        let (since, before) = *self.late.get_or_insert((now, waited));
        if now.since(since) >= STANDS {
            self.level = if waited < before { self.level } else { (self.level + STEP).min(MOST) };
            self.late = Some((now, waited));
        }
    }

    /// How many groups there is time for, by what those that were served took.
    fn affordable(&self, passed: Duration) -> u8 {
        let Done { took, sent, left_out } = self.done;
        let all = took.as_micros() * u128::from(sent + left_out) / u128::from(sent.max(1));
        let most = u128::from(GROUPS) * passed.as_micros() * FILLED / (100 * all.max(1));
        u8::try_from(most).unwrap_or(GROUPS).min(GROUPS)
    }
}

/// Which viewers of a stream get nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct Shed {
    first: u8,
    groups: u8,
}

impl Shed {
    /// Nobody is left out.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.groups == 0
    }

    /// Whether it is this one's turn, by its slot.
    #[must_use]
    pub fn covers(self, slot: usize) -> bool {
        let group = (slot % usize::from(GROUPS)) as u8;
        (group + GROUPS - self.first) % GROUPS < self.groups
    }
}

/// Whose turn it is at one stream.
#[derive(Debug)]
pub struct Turns {
    shed: Shed,
    since: Time,
    /// The keyframe that began it.
    keyframe: Option<u64>,
    /// A keyframe is to end it that was asked for then.
    asked: Time,
}

impl Turns {
    /// Streams begin with different groups, so that what a shard has to do is even.
    #[must_use]
    pub fn new(stream: StreamId) -> Turns {
        let first = (stream.0 % u64::from(GROUPS)) as u8;
        let shed = Shed { first, groups: 0 };
        Turns { shed, since: Time(0), keyframe: None, asked: Time(0) }
    }

    /// Who gets nothing now, where so many groups do. `keyframe` is the place in the timeline of the
    /// newest one; where nobody waits for one, turns are by time.
    pub fn take(&mut self, now: Time, groups: u8, keyframe: Option<u64>, waits: bool) -> Shed {
        let is_over = keyframe != self.keyframe || !waits && self.is_overdue(now, groups);
        if is_over || self.shed.groups == 0 {
            let first = (self.shed.first + self.shed.groups) % GROUPS;
            self.shed = Shed { first, groups };
            (self.since, self.keyframe) = (now, keyframe);
        }
        // Whoever has been left out waits for a keyframe; more can be left out at any time.
        self.shed.groups = self.shed.groups.max(groups);
        self.shed
    }

    /// Who got nothing at last.
    #[must_use]
    pub fn shed(&self) -> Shed {
        self.shed
    }

    /// True if a keyframe is to be asked for, so that the turn ends; once, and again where none
    /// has come.
    pub fn asks(&mut self, now: Time, groups: u8) -> bool {
        let asks = self.is_overdue(now, groups) && now.since(self.asked) >= TURN;
        if asks {
            self.asked = now;
        }
        asks
    }

    /// Somebody has been left out for a turn, or for nothing any more.
    fn is_overdue(&self, now: Time, groups: u8) -> bool {
        self.shed.groups > 0 && (groups == 0 || now.since(self.since) >= TURN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMIT: Duration = Duration::from_millis(200);

    /// Rounds every 10 ms for so long, of packets that have waited so; a round takes this share of
    /// the time, of 100, if nobody is left out.
    fn run(shedding: &mut Shedding, at: &mut Time, ms: u32, waited: Duration, share: u32) -> u8 {
        for _ in 0..ms / 10 {
            *at = *at + 10 * MS;
            let left_out = u64::from(shedding.level());
            let sent = u64::from(GROUPS) - left_out;
            let took = 10 * MS * share / 100 * sent as u32 / u32::from(GROUPS);
            shedding.observe(waited);
            shedding.observe(Duration::ZERO);
            shedding.judge(*at, Done { took, sent, left_out });
        }
        shedding.level()
    }

    #[test]
    fn a_queue_that_stands_is_answered_and_one_that_passes_is_not() {
        let (mut shedding, mut at) = (Shedding::new(LIMIT), Time(5_000_000));
        assert_eq!(run(&mut shedding, &mut at, 5_000, 199 * MS, 100), 0);
        for _ in 0..20 {
            assert_eq!(run(&mut shedding, &mut at, 100, 900 * MS, 100), 0);
            assert_eq!(run(&mut shedding, &mut at, 10, 150 * MS, 100), 0);
        }
        assert_eq!(run(&mut shedding, &mut at, 120, 300 * MS, 100), 2);
        assert_eq!(run(&mut shedding, &mut at, 100, 300 * MS, 100), 4);
        assert_eq!(run(&mut shedding, &mut at, 3_000, 5_000 * MS, 100), MOST);
    }

    #[test]
    fn a_queue_that_gets_shorter_needs_no_more() {
        let (mut shedding, mut at) = (Shedding::new(LIMIT), Time(5_000_000));
        assert_eq!(run(&mut shedding, &mut at, 120, 900 * MS, 100), 2);
        for less in 1..6 {
            assert_eq!(run(&mut shedding, &mut at, 100, (900 - 100 * less) * MS, 100), 2);
        }
    }

    #[test]
    fn as_many_are_served_again_as_there_is_time_for() {
        let (mut shedding, mut at) = (Shedding::new(LIMIT), Time(5_000_000));
        assert_eq!(run(&mut shedding, &mut at, 1_000, 300 * MS, 150), MOST);
        assert_eq!(run(&mut shedding, &mut at, 9_000, 110 * MS, 150), MOST, "it just keeps up");
        assert_eq!(run(&mut shedding, &mut at, 1_000, 20 * MS, 150), 7, "16 * 0.85 / 1.5 is 9.1");
        assert_eq!(run(&mut shedding, &mut at, 9_000, 20 * MS, 150), 7, "and no more");
        assert_eq!(run(&mut shedding, &mut at, 1_000, 20 * MS, 50), 0);
    }

    #[test]
    fn who_is_served_before_the_turn_ends_does_not_count_twice() {
        let (mut shedding, mut at) = (Shedding::new(LIMIT), Time(5_000_000));
        assert_eq!(run(&mut shedding, &mut at, 1_000, 300 * MS, 150), MOST);
        // The level falls, and until a keyframe comes as few are served as before.
        let tenth = Done { took: MS, sent: 1, left_out: 15 };
        for _ in 0..500 {
            at = at + 10 * MS;
            shedding.observe(MS);
            shedding.judge(at, tenth);
        }
        assert_eq!(shedding.level(), 8, "16 * 0.85 / 1.6 is 8.5");
    }

    #[test]
    fn after_a_pause_everybody_is_served() {
        let (mut shedding, mut at) = (Shedding::new(LIMIT), Time(5_000_000));
        assert_eq!(run(&mut shedding, &mut at, 220, 300 * MS, 120), 4);
        shedding.observe(MS);
        shedding.judge(at + 2_000 * MS, Done { took: 500 * MS, sent: 12, left_out: 4 });
        assert_eq!(shedding.level(), 0);
    }

    #[test]
    fn without_a_limit_nobody_is_left_out() {
        let (mut shedding, mut at) = (Shedding::new(Duration::ZERO), Time(0));
        assert_eq!(run(&mut shedding, &mut at, 5_000, 9_000 * MS, 100), 0);
    }

    fn covered(shed: Shed) -> Vec<usize> {
        (0..16).filter(|slot| shed.covers(*slot)).collect()
    }

    #[test]
    fn everybody_has_as_many_turns() {
        let mut turns = Turns::new(StreamId(14));
        let mut count = [0; 48];
        for keyframe in 0..16 {
            let shed = turns.take(Time(0), 5, Some(keyframe), true);
            (0..48).filter(|slot| shed.covers(*slot)).for_each(|slot| count[slot] += 1);
        }
        assert_eq!(count, [5; 48]);
    }

    #[test]
    fn a_turn_ends_with_a_keyframe_and_only_grows_until_then() {
        let mut turns = Turns::new(StreamId(0));
        assert_eq!(covered(turns.take(Time(0), 0, Some(1), true)), [0; 0]);
        assert_eq!(covered(turns.take(Time(1), 2, Some(1), true)), [0, 1]);
        assert_eq!(covered(turns.take(Time(2), 3, Some(1), true)), [0, 1, 2]);
        assert_eq!(covered(turns.take(Time(3), 1, Some(1), true)), [0, 1, 2]);
        assert!(!turns.asks(Time(2_500_000), 1));
        assert!(turns.asks(Time(2_500_001), 1));
        assert!(!turns.asks(Time(2_600_000), 1), "it was asked for");
        assert_eq!(covered(turns.take(Time(2_500_001), 1, Some(1), true)), [0, 1, 2]);
        assert_eq!(covered(turns.take(Time(3_000_000), 1, Some(9), true)), [3]);
        assert_eq!(covered(turns.take(Time(5_100_000), 0, Some(9), true)), [3]);
        assert!(turns.asks(Time(5_100_000), 0), "nobody needs to be left out");
        assert_eq!(covered(turns.take(Time(5_200_000), 0, Some(12), true)), [0; 0]);
        assert!(!turns.asks(Time(9_000_000), 0));
    }

    #[test]
    fn without_video_a_turn_ends_by_time() {
        let mut turns = Turns::new(StreamId(0));
        assert_eq!(covered(turns.take(Time(0), 2, None, false)), [0, 1]);
        assert_eq!(covered(turns.take(Time(2_499_999), 2, None, false)), [0, 1]);
        assert_eq!(covered(turns.take(Time(2_500_000), 2, None, false)), [2, 3]);
        assert_eq!(covered(turns.take(Time(2_600_000), 0, None, false)), [0; 0]);
    }
}
