//! Pinning a shard's thread to a core: it keeps its caches, and nobody else's work moves it.
#![allow(unsafe_code)]

use std::io;

use crate::bind::StartError;

/// As many cores as the kernel's fixed set names (sched_setaffinity(2)).
const MOST: u16 = libc::CPU_SETSIZE as u16;

/// That every one of these cores is this process's to use.
///
/// # Errors
/// A sentence that names the first that is not.
pub(crate) fn check(cores: &[u16]) -> Result<(), StartError> {
    let allowed = allowed().map_err(crate::bind::failed("asking for our cores"))?;
    match cores.iter().find(|core| !is_in(&allowed, **core)) {
        None => Ok(()),
        Some(core) => Err(StartError::new(
            libc::EINVAL,
            format!(
                "engine.cores has core {core}, and this process may run on {} only",
                listed((0..MOST).filter(|core| is_in(&allowed, *core)))
            ),
        )),
    }
}

/// As taskset(1) writes it: runs of numbers as `0-3`, with commas between.
fn listed(cores: impl Iterator<Item = u16>) -> String {
    let cores: Vec<u16> = cores.collect();
    let runs = cores.chunk_by(|one, next| one + 1 == *next).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u16::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// Keeps the calling thread on this core.
///
/// # Errors
/// What the kernel says.
pub(crate) fn pin(core: u16) -> io::Result<()> {
    if core >= MOST {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(core.into(), &mut set) };
    // SAFETY: the set lives across the call and is as large as we say; 0 is this thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_in(set: &libc::cpu_set_t, core: u16) -> bool {
    // SAFETY: the number is below the size of the set, which was filled by the kernel.
    core < MOST && unsafe { libc::CPU_ISSET(core.into(), set) }
}

/// Where this thread may run.
fn allowed() -> io::Result<libc::cpu_set_t> {
    // SAFETY: zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives across the call and is as large as we say; 0 is this thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result == 0 { Ok(set) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ours() -> Vec<u16> {
        let allowed = allowed().unwrap();
        (0..MOST).filter(|core| is_in(&allowed, *core)).collect()
    }

    #[test]
    fn a_pinned_thread_has_one_core_left() {
        let core = ours()[0];
        let left = std::thread::spawn(move || {
            pin(core).unwrap();
            ours()
        });
        assert_eq!(left.join().unwrap(), [core]);
    }

    #[test]
    fn a_core_that_is_not_ours_is_named() {
        assert!(check(&ours()).is_ok() && check(&[]).is_ok());
        let error = check(&[ours()[0], MOST]).unwrap_err();
        let all = listed(ours().into_iter());
        assert_eq!(
            error.to_string(),
            format!("engine.cores has core {MOST}, and this process may run on {all} only")
        );
        assert!(pin(MOST).is_err());
    }

    #[test]
    fn cores_are_listed_in_runs() {
        assert_eq!(listed([0, 1, 2, 4, 6, 7].into_iter()), "0-2,4,6-7");
    }
}
