//! Keyframes of the publisher's video: when one is asked for, whether asking helps at all, and how
//! far apart they come.
//!
//! Requests of viewers are merged: at most one goes upstream in an interval, and one that is not
//! answered is repeated once, since it may have been lost. A publisher that sends pictures but no
//! keyframe within [`ANSWER_WITHIN`] of a second request is *deaf* (OBS and FFmpeg ignore PLI). It
//! is not asked again, except once in [`DEAF_FOR`], so that two lost requests do not mark a
//! publisher for good. The mark goes when such a request is answered, or when a keyframe comes in
//! less than half the usual interval: then something other than the encoder's clock makes them.

use std::time::Duration;

use crate::time::Time;

/// An answer comes within this time, or is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long a deaf publisher is left alone.
const DEAF_FOR: Duration = Duration::from_secs(30);
/// How many requests in a row must go unanswered.
const PATIENCE: u8 = 2;

/// The keyframes of one video track.
#[derive(Debug)]
pub(super) struct Keyframes {
    /// At most one request in this time.
    interval: Duration,
    wanted: bool,
    asked_at: Option<Time>,
    /// Requests since the last keyframe.
    unanswered: u8,
    /// A picture came when an answer was overdue: the publisher is there.
    heard: bool,
    deaf: bool,
    last_at: Option<Time>,
    apart: Option<Duration>,
}

impl Keyframes {
    pub(super) fn new(interval: Duration) -> Keyframes {
        Keyframes {
            interval,
            wanted: false,
            asked_at: None,
            unanswered: 0,
            heard: false,
            deaf: false,
            last_at: None,
            apart: None,
        }
    }

    /// Somebody needs a keyframe. True when one is to be asked for now.
    pub(super) fn want(&mut self, now: Time) -> bool {
        if self.deaf && self.asked_at.is_some_and(|at| now < at + DEAF_FOR) {
            return false;
        }
        self.wanted = true;
        self.ask_if_due(now)
    }

    /// Remembers the want until there is somebody to ask.
    pub(super) fn want_later(&mut self) {
        self.wanted = true;
    }

    /// A keyframe is waited for.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Repeats a request, or draws the conclusion. True when one is to be asked for now.
    pub(super) fn handle_timeout(&mut self, now: Time) -> bool {
        if !self.wanted || now < self.due() {
            return false;
        }
        if self.deaf || self.unanswered >= PATIENCE {
            // A publisher that is silent altogether has not refused anything.
            self.deaf = self.heard;
            self.unanswered = 0;
            if self.deaf {
                self.wanted = false;
                return false;
            }
        }
        self.ask_if_due(now)
    }

    /// When `handle_timeout` has something to do next.
    pub(super) fn due(&self) -> Time {
        match self.asked_at {
            Some(at) if self.wanted => {
                at + if self.deaf || self.unanswered >= PATIENCE {
                    ANSWER_WITHIN.max(self.interval)
                } else {
                    self.interval
                }
            }
            _ => Time::NEVER,
        }
    }

    /// A packet of a picture arrived.
    pub(super) fn picture(&mut self, now: Time) {
        let overdue = |at| now.since(at) >= ANSWER_WITHIN / 2;
        if self.wanted && self.asked_at.is_some_and(overdue) {
            self.heard = true;
        }
    }

    /// A keyframe began.
    pub(super) fn keyframe(&mut self, now: Time) {
        let apart = self.last_at.map(|last| now.since(last));
        let answered =
            self.unanswered > 0 && self.asked_at.is_some_and(|at| now.since(at) <= ANSWER_WITHIN);
        let unusual = matches!((apart, self.apart), (Some(now), Some(usual)) if now < usual / 2);
        if answered || unusual {
            self.deaf = false;
        }
        self.apart = apart.or(self.apart);
        self.last_at = Some(now);
        self.wanted = false;
        self.unanswered = 0;
    }

    /// Time between the last two.
    pub(super) fn apart(&self) -> Option<Duration> {
        self.apart
    }

    /// When the last one came.
    pub(super) fn last_at(&self) -> Option<Time> {
        self.last_at
    }

    fn ask_if_due(&mut self, now: Time) -> bool {
        if self.asked_at.is_some_and(|at| now < at + self.interval) || self.unanswered >= PATIENCE {
            return false;
        }
        self.asked_at = Some(now);
        self.unanswered += 1;
        self.heard = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyframes() -> Keyframes {
        Keyframes::new(Duration::from_millis(500))
    }

    fn ms(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    /// Runs the timers and pictures (each 33 ms) until `until_ms`; the requests that went out.
    fn run(keyframes: &mut Keyframes, from_ms: u64, until_ms: u64, pictures: bool) -> Vec<u64> {
        let mut asked = Vec::new();
        for at in from_ms..until_ms {
            if pictures && at % 33 == 0 {
                keyframes.picture(ms(at));
            }
            if keyframes.due() <= ms(at) && keyframes.handle_timeout(ms(at)) {
                asked.push(at);
            }
        }
        asked
    }

    #[test]
    fn a_thousand_requests_are_one_in_an_interval() {
        let mut keyframes = keyframes();
        let asked = (0..1_000).filter(|at| keyframes.want(ms(at / 10))).count();
        assert_eq!(asked, 1);
        keyframes.keyframe(ms(120));
        assert_eq!(keyframes.due(), Time::NEVER);
        assert!(!keyframes.want(ms(499)));
        assert_eq!(run(&mut keyframes, 499, 600, true), [500]);
    }

    #[test]
    fn a_lost_request_is_repeated_once() {
        let mut keyframes = keyframes();
        assert!(keyframes.want(ms(0)));
        assert_eq!(run(&mut keyframes, 1, 900, true), [500]);
        keyframes.keyframe(ms(900));
        assert!(!keyframes.deaf);
        assert_eq!(run(&mut keyframes, 900, 5_000, true), [0_u64; 0]);
    }

    #[test]
    fn who_ignores_two_is_left_alone_for_half_a_minute() {
        let mut keyframes = keyframes();
        assert!(keyframes.want(ms(0)));
        assert_eq!(run(&mut keyframes, 1, 3_000, true), [500]);
        assert!(keyframes.deaf);
        assert!(!keyframes.want(ms(3_000)) && !keyframes.want(ms(30_499)));
        assert!(keyframes.want(ms(30_500)));
        assert_eq!(run(&mut keyframes, 30_501, 40_000, true), [0_u64; 0]);
        assert!(keyframes.deaf && !keyframes.want(ms(40_000)));
        // The next one is answered.
        assert!(keyframes.want(ms(70_000)));
        keyframes.keyframe(ms(70_200));
        assert!(!keyframes.deaf && keyframes.want(ms(70_600)));
    }

    #[test]
    fn an_early_keyframe_lifts_the_mark_and_a_regular_one_does_not() {
        let mut keyframes = keyframes();
        keyframes.keyframe(ms(0));
        keyframes.keyframe(ms(8_000));
        assert!(keyframes.want(ms(8_100)));
        run(&mut keyframes, 8_101, 15_999, true);
        keyframes.keyframe(ms(16_000));
        assert!(keyframes.deaf);
        assert_eq!(keyframes.apart(), Some(Duration::from_secs(8)));
        keyframes.keyframe(ms(17_000));
        assert!(!keyframes.deaf);
    }

    #[test]
    fn a_silent_publisher_has_refused_nothing() {
        let mut keyframes = keyframes();
        assert!(keyframes.want(ms(0)));
        assert_eq!(run(&mut keyframes, 1, 3_200, false), [500, 1_500, 2_000, 3_000]);
        assert!(!keyframes.deaf);
    }
}
