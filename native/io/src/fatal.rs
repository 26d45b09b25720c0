//! The end of the process when a shard has failed.
//!
//! What a supervisor can act on is a process that is gone, not one that forwards for some viewers.
#![allow(unsafe_code)]

use std::io::Write;

/// Writes one line to standard error and ends the process with exit code 1.
///
/// Nothing is torn down on the way: other threads are running, and a library's own exit handlers
/// must not meet them.
pub fn end_process(reason: &str) -> ! {
    let _ = writeln!(
        std::io::stderr(),
        "pyforward: {reason}; nothing can be forwarded, so the process ends"
    );
    // SAFETY: _exit(2) takes no pointer and does not return.
    unsafe { libc::_exit(1) }
}
