//! A shard's turn on a core that it shares: short, and therefore soon.
//!
//! Since Linux 6.12 a thread may say how long its turns shall be (sched_setattr(2), `sched_runtime`
//! of SCHED_OTHER, 0.1 to 100 ms). One that asks for less than the thread that runs takes its place
//! when it wakes instead of at the end of that one's turn, which is 3 ms away, and gets no more of
//! the core in all. So what joins cost does not delay media. Older kernels take no notice of it.
#![allow(unsafe_code)]

use std::io;

/// The least that the kernel takes, in nanoseconds.
const SLICE: u64 = 100_000;

const THIS_THREAD: libc::pid_t = 0;

/// Asks for turns of [`SLICE`] for the calling thread; all else of its scheduling stays.
///
/// # Errors
/// What the kernel says. The thread runs all the same.
pub(crate) fn shorten() -> io::Result<()> {
    let mut asked = attributes()?;
    asked.sched_runtime = SLICE;
    // SAFETY: the structure lives across the call and tells its own size; no flags.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const asked, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: a plain C structure of numbers, for which zero bytes are a value.
    let mut told: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&told);
    // SAFETY: the structure lives across the call and is as large as we say; no flags.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, THIS_THREAD, &raw mut told, size, 0) };
    if result == 0 { Ok(told) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_are_short_where_the_kernel_knows_of_it_and_nothing_else_changes() {
        let (before, after) = std::thread::spawn(|| {
            let before = attributes().unwrap();
            shorten().unwrap();
            (before, attributes().unwrap())
        })
        .join()
        .unwrap();
        // Before Linux 6.12 it tells no length at all.
        let expected = if before.sched_runtime == 0 { 0 } else { SLICE };
        assert_eq!(after.sched_runtime, expected);
        let rest = |of: libc::sched_attr| (of.sched_policy, of.sched_nice, of.sched_priority);
        assert_eq!(rest(after), rest(before));
    }
}
