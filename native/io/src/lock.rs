//! The exclusive lock on the shared port: one engine a port in a network namespace.
//!
//! The kernel lets every process of our user join a SO_REUSEPORT port and take its share of the
//! flows. So an engine listens on an abstract unix socket (unix(7)) that is named after the port:
//! like the port it belongs to the network namespace, it goes with the process however that ends,
//! it leaves no file behind, and the kernel itself tells who holds it. Nobody ever speaks on it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, SockAddr, Socket, Type};

/// Held as long as this lives.
#[derive(Debug)]
pub struct PortLock {
    _listener: Socket,
}

/// The port is another engine's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Which port.
    pub port: u16,
    /// Its process, unless that lives in a PID namespace that we cannot see.
    pub pid: Option<u32>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {} is held by another pyforward", self.port)?;
        match self.pid {
            Some(pid) => write!(f, ", process {pid}"),
            None => Ok(()),
        }
    }
}

impl PortLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Whoever holds it.
    pub fn take(port: u16) -> Result<PortLock, Held> {
        hold(port).map_err(|_| Held { port, pid: owner(port).ok().flatten() })
    }
}

fn hold(port: u16) -> io::Result<PortLock> {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&name(port)?)?;
    // Listening is what leaves our pid with the kernel.
    listener.listen(1)?;
    Ok(PortLock { _listener: listener })
}

fn owner(port: u16) -> io::Result<Option<u32>> {
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Earlier callers may have filled the queue, which nobody empties.
    caller.set_nonblocking(true)?;
    caller.connect(&name(port)?)?;
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open; the buffer is as long as we say and both live across the
    // call.
    let result = unsafe {
        libc::getsockopt(
            caller.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(peer.pid).ok().filter(|pid| *pid != 0))
}

fn name(port: u16) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0pyforward/udp/{port}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is_however_often_it_asks() {
        // No engine of these tests is given such a port.
        let lock = PortLock::take(1).unwrap();
        for _ in 0..20 {
            let held = PortLock::take(1).unwrap_err();
            assert_eq!(held.port, 1);
        }
        drop(lock);
        let lock = PortLock::take(1).unwrap();
        let held = PortLock::take(1).unwrap_err();
        assert_eq!(held.pid, Some(std::process::id()));
        assert!(held.to_string().contains(&format!("process {}", std::process::id())));
        drop(lock);
    }
}
