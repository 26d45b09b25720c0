//! Plays a schedule in real time: how long after its last packet was there has a frame left for
//! each viewer?
//!
//! Whoever cannot keep up goes on with what is due and is later and later: that is the finding.

use std::thread;
use std::time::{Duration, Instant};

use crate::broadcast::Broadcast;
use crate::cpu::CpuClock;
use crate::histogram::Histogram;
use crate::sample::Sample;
use crate::schedule::Due;
use crate::variant::TRAINS;

/// So long before the first train is due that it is not late already.
const LEAD: Duration = Duration::from_millis(5);

/// What came of it.
pub struct Played {
    /// What was sent before, so that caches, routes and neighbours are warm.
    pub warm_up: Sample,
    /// What was sent, and the CPU that it took.
    pub sample: Sample,
    /// From when the last packet of a frame was there to the return of the call that took it, for
    /// each frame and viewer.
    pub latency: Histogram,
    /// Frames that left whole.
    pub frames: u64,
    /// From the first moment to the last send.
    pub took: Duration,
    /// How late it was with the last train whose time had come.
    pub behind: Duration,
}

/// Sends each train to every viewer when it is due, until the schedule or the time is over.
pub fn play(
    broadcast: &mut Broadcast,
    clock: &CpuClock,
    schedule: &[Due],
    time: Duration,
) -> Result<Played, String> {
    let mut out = broadcast.sender(&TRAINS);
    let first = schedule.first().ok_or("nothing is due")?;
    let mut played = Played {
        warm_up: broadcast.burst(&TRAINS, first.train, &mut out, |_| ())?,
        sample: Sample::default(),
        latency: Histogram::new(),
        frames: 0,
        took: Duration::ZERO,
        behind: Duration::ZERO,
    };
    let before = clock.now()?;
    let start = Instant::now() + LEAD;
    for due in schedule.iter().take_while(|due| due.at < time) {
        let at = start + due.at;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        played.behind = at.elapsed();
        if start.elapsed() >= time {
            break;
        }
        let sample = broadcast.burst(&TRAINS, due.train, &mut out, |viewers| {
            if due.ends_frame {
                played.latency.record(at.elapsed(), viewers);
            }
        })?;
        played.sample.add(sample);
        played.frames += u64::from(due.ends_frame);
        played.took = start.elapsed();
    }
    played.sample.time = clock.now()? - before;
    Ok(played)
}
