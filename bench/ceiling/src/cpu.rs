//! CPU time of the sender, with what the kernel does for it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Reads how long the process ran, and how long `ksoftirqd` of its core did: the peer's half of a
/// veth pair works in softirqs, which count for whom they interrupt, or for that thread when there
/// are too many. The process has one thread.
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
    pub fn now(&self) -> Result<Duration, String> {
        let softirq = match &self.softirq {
            Some(path) => running(path)?,
            None => Duration::ZERO,
        };
        Ok(running(&self.own)? + softirq)
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

/// Nanoseconds on a CPU are the first field (Documentation/scheduler/sched-stats).
fn running(path: &PathBuf) -> Result<Duration, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{}: no time in it", path.display()))
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
