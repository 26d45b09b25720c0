//! A path is the pair of addresses that a datagram travelled between.

use std::net::{IpAddr, SocketAddr};

/// (local address, remote address). The local port is the shared one; the local address is what
/// `IP_PKTINFO` told and what an answer must be sent from (RFC 8445 §7.3.1.1: symmetric).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// The address of ours that the datagram was sent to; IPv4-mapped addresses are unmapped.
    pub local: IpAddr,
    /// Where it came from; IPv4-mapped addresses are unmapped.
    pub remote: SocketAddr,
}
