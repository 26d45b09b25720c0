//! CPU time of the sender, with what the kernel does for it, told by two clocks.
//!
//! The first is the scheduler's: how long the process ran, and how long `ksoftirqd` of its core
//! did. The peer's half of a veth pair works in softirqs, which count for whom they interrupt, or
//! for that thread when there are too many. The second is the core's busy time, which holds whatever
//! else ran there too. Where they differ, the core was not the sender's alone, or the kernel keeps
//! the time of interrupts apart.

use std::fs;
use std::ops::{AddAssign, Sub};
use std::path::PathBuf;
use std::time::Duration;

/// Times by both clocks, since they began or between two readings.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct CpuTime {
    /// Of the process and its core's `ksoftirqd`, from schedstat.
    pub own: Duration,
    /// Of the core, from /proc/stat; zero if the process is not pinned to one. It counts in steps
    /// of 10 ms.
    pub busy: Duration,
}

impl CpuTime {
    /// How far the clocks are apart, as a share of the own time; none if one of them stood.
    pub fn disagreement(self) -> Option<f64> {
        let (own, busy) = (self.own.as_secs_f64(), self.busy.as_secs_f64());
        (own > 0.0 && busy > 0.0).then(|| (busy - own).abs() / own)
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            own: self.own.saturating_sub(earlier.own),
            busy: self.busy.saturating_sub(earlier.busy),
        }
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: CpuTime) {
        self.own += other.own;
        self.busy += other.busy;
    }
}

/// Reads both clocks. The process has one thread.
pub struct CpuClock {
    own: PathBuf,
    softirq: Option<PathBuf>,
    core: Option<usize>,
}

impl CpuClock {
    /// Finds out on which core it is pinned, if on one.
    pub fn new() -> Result<CpuClock, String> {
        let core = pinned_core();
        let softirq = core.and_then(softirq_thread);
        let clock = CpuClock { own: PathBuf::from("/proc/self/schedstat"), softirq, core };
        clock.now().map(|_| clock)
    }

    /// CPU time so far.
    pub fn now(&self) -> Result<CpuTime, String> {
        let softirq = match &self.softirq {
            Some(path) => running(path)?,
            None => Duration::ZERO,
        };
        let busy = match self.core {
            Some(core) => busy(&text(&"/proc/stat".into())?, core)
                .ok_or_else(|| format!("/proc/stat: no time of core {core} in it"))?,
            None => Duration::ZERO,
        };
        Ok(CpuTime { own: running(&self.own)? + softirq, busy })
    }

    /// In words, for the report.
    pub fn describe(&self) -> String {
        match (self.core, &self.softirq) {
            (Some(core), Some(_)) => format!("of the process and of ksoftirqd/{core}"),
            (Some(core), None) => format!("of the process alone, on core {core}"),
            (None, _) => "of the process alone, not pinned".to_owned(),
        }
    }
}

fn text(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Nanoseconds on a CPU are the first field (Documentation/scheduler/sched-stats).
fn running(path: &PathBuf) -> Result<Duration, String> {
    text(path)?
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{}: no time in it", path.display()))
}

/// What a core did but wait: user, nice, system, irq and softirq of proc_stat(5). They are hundredths
/// of a second on every Linux that Rust runs on (USER_HZ).
fn busy(stat: &str, core: usize) -> Option<Duration> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = *ticks else { return None };
    Some(Duration::from_millis(10 * (user + nice + system + irq + softirq)))
}

fn pinned_core() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().parse().ok()
}

fn softirq_thread(core: usize) -> Option<PathBuf> {
    let name = format!("ksoftirqd/{core}");
    fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
        let comm = fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim_end() == name).then(|| path.join("schedstat"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_stolen() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 9 9 9 9 9 9 9 9 0 0\n\
                    cpu10 100 20 3 7000 9000 4 5 8000 0 0\nintr 1\n";
        assert_eq!(busy(stat, 10), Some(Duration::from_millis(1_320)));
        assert_eq!(busy(stat, 2), None);
        assert_eq!(busy("cpu0 1 2 3\n", 0), None);
    }

    #[test]
    fn clocks_disagree_by_a_share_or_not_at_all() {
        let time = |own, busy| CpuTime {
            own: Duration::from_millis(own),
            busy: Duration::from_millis(busy),
        };
        assert_eq!(time(1_000, 1_250).disagreement(), Some(0.25));
        assert_eq!(time(1_000, 750).disagreement(), Some(0.25));
        assert_eq!(time(1_000, 0).disagreement(), None);
        let mut sum = time(30, 20) - time(10, 20);
        sum += time(1, 2);
        assert_eq!(sum, time(21, 2));
    }
}
