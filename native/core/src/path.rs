//! A path is the pair of addresses that a datagram travelled between, and the socket it went by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::time::Time;

/// Which socket of a shard: that of the shared port, or one of a session in the client role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SocketId(u32);

impl SocketId {
    /// The socket, or sockets, of the shared port.
    pub const SHARED: SocketId = SocketId(0);

    /// The one of the session in this slot of its shard.
    #[must_use]
    pub const fn of_slot(slot: usize) -> SocketId {
        SocketId(slot as u32 + 1)
    }

    /// Whose it is; nobody's alone if it is shared.
    #[must_use]
    pub const fn slot(self) -> Option<usize> {
        match self.0.checked_sub(1) {
            Some(slot) => Some(slot as usize),
            None => None,
        }
    }
}

/// (socket, local address, remote address). On the shared port the local address is what
/// `IP_PKTINFO` told and what an answer must be sent from (RFC 8445 §7.3.1.1: symmetric).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// By which socket of ours.
    pub socket: SocketId,
    /// The address of ours that the datagram was sent to; IPv4-mapped addresses are unmapped. A
    /// session's own socket leaves it to the route: unspecified.
    pub local: IpAddr,
    /// Where it came from; IPv4-mapped addresses are unmapped.
    pub remote: SocketAddr,
}

impl Path {
    /// The path from a session's own socket to `remote`.
    #[must_use]
    pub const fn own(socket: SocketId, remote: SocketAddr) -> Path {
        let local = match remote {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Path { socket, local, remote }
    }
}

/// A datagram that came.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Which way.
    pub path: Path,
    /// When: before it waited to be read, where whoever has the sockets knows. What is measured goes
    /// by it, and how long media waits for the shard; nothing else does.
    pub received: Time,
    /// Opened in place, so that their content is lost.
    pub bytes: &'a mut [u8],
}

/// What a shard asks of whoever has the sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketRequest {
    /// A socket of its own for a session, bound to every address and a port that nobody uses;
    /// [`crate::shard::Shard::handle_socket`] tells what came of it.
    Open {
        /// Under this name.
        socket: SocketId,
        /// [`Datagram::received`] is to be the kernel's time.
        timed: bool,
    },
    /// Nobody needs it any more.
    Close(SocketId),
}
