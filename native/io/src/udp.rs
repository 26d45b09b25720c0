//! One UDP socket: of the shared port, set up for many peers (dual-stack, shared by SO_REUSEPORT,
//! telling each datagram's local address), or of one session alone. Its buffers hold a burst.
//!
//! Nothing is sent or received here; see [`crate::send`] and [`crate::receive`].
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::c_int;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What we ask for each way; a second of 30 Mbit/s.
pub const BUFFER_BYTES: usize = 4 << 20;

/// Who else may bind the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// The first of our sockets: refused when anybody has the port, shared or not. Further ones may
    /// join it afterwards.
    First,
    /// A further one of our sockets.
    Join,
    /// Nobody at all.
    Nobody,
}

/// Which peers a socket reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// IPv4 alone, by an AF_INET socket.
    V4,
    /// IPv6 alone.
    V6,
    /// Both, IPv4 as mapped addresses (RFC 3493 §3.7).
    Both,
}

/// A bound socket that never blocks.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    bound: SocketAddr,
    reach: Reach,
    buffers: Buffers,
}

/// What the kernel granted of [`BUFFER_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffers {
    /// SO_RCVBUF.
    pub receive: usize,
    /// SO_SNDBUF.
    pub send: usize,
}

impl Buffers {
    /// The smaller of two, each way.
    #[must_use]
    pub fn least(self, other: Buffers) -> Buffers {
        Buffers { receive: self.receive.min(other.receive), send: self.send.min(other.send) }
    }
}

impl UdpSocket {
    /// Binds `address`; `[::]` reaches IPv4 as well where the host lets it.
    ///
    /// # Errors
    /// What the kernel says: EADDRINUSE, EADDRNOTAVAIL, EACCES, EAFNOSUPPORT.
    pub fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
        Self::open(address, sharing, address.ip().is_unspecified())
    }

    /// Binds `address` for its own family alone.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_single(address: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
        Self::open(address, sharing, false)
    }

    /// A socket of one session alone: this address or every one, a port that the kernel chooses.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors, no more ports, not our address.
    pub fn own(source: Option<IpAddr>) -> io::Result<UdpSocket> {
        if let Some(source) = source {
            return Self::open((source, 0).into(), Sharing::Nobody, false);
        }
        let (v6, v4) = wildcards(0);
        match Self::open(v6, Sharing::Nobody, true) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                Self::open(v4, Sharing::Nobody, false)
            }
            opened => opened,
        }
    }

    /// Another socket bound as this one is, for another shard.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn sibling(&self) -> io::Result<UdpSocket> {
        Self::open(self.bound, Sharing::Join, self.reach == Reach::Both)
    }

    /// Where it is bound; the port is the real one.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Whom it reaches.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Its buffers.
    #[must_use]
    pub fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// The bound address, unless it is bound to all.
    #[must_use]
    pub fn own_address(&self) -> Option<IpAddr> {
        Some(self.bound.ip()).filter(|ip| !ip.is_unspecified())
    }

    /// Whether what leaves from `local` may leave here.
    #[must_use]
    pub fn serves(&self, local: IpAddr) -> bool {
        match self.own_address() {
            Some(own) => own == local,
            None => match self.reach {
                Reach::V4 => local.is_ipv4(),
                Reach::V6 => local.is_ipv6(),
                Reach::Both => true,
            },
        }
    }

    /// Lets the kernel fragment what is larger than the route's MTU, or not. Off from the start:
    /// datagrams go as they are, whatever was learned of a path's MTU, since we keep them small.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn fragment(&self, allowed: bool) -> io::Result<()> {
        let (v4, v6) = match allowed {
            true => (libc::IP_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DONT),
            false => (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE),
        };
        if self.reach != Reach::V6 {
            set(&self.socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, v4)?;
        }
        if self.reach != Reach::V4 {
            set(&self.socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, v6)?;
        }
        Ok(())
    }

    /// Asks the kernel when each datagram came. As long as any socket of the machine asks, every
    /// packet of the machine costs a reading of the clock.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn tell_times(&self) -> io::Result<()> {
        set(&self.socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
    }

    fn open(address: SocketAddr, sharing: Sharing, dual: bool) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let reach = match address {
            SocketAddr::V4(_) => Reach::V4,
            SocketAddr::V6(_) if dual && unset_only_v6(&socket) => Reach::Both,
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                Reach::V6
            }
        };
        // Bound without SO_REUSEPORT the first socket collides with every other owner of the port,
        // also with one that shares it, and port 0 never gives a port that somebody shares.
        if sharing == Sharing::Join {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        if sharing == Sharing::First {
            socket.set_reuse_port(true)?;
        }

        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        let buffers = enlarge(&socket)?;
        let socket = UdpSocket { socket, bound, reach, buffers };
        socket.fragment(false)?;
        if sharing != Sharing::Nobody {
            socket.tell_local_address()?;
        }
        socket.tell_more()?;
        Ok(socket)
    }

    /// Asks for the local address of each datagram. A session's own socket leaves it to the route.
    fn tell_local_address(&self) -> io::Result<()> {
        match (self.own_address(), self.reach) {
            (Some(_), _) => Ok(()),
            (None, Reach::V4) => set(&self.socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (None, _) => set(&self.socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        }
    }

    /// Asks for the other control messages that [`crate::cmsg::Incoming`] reads.
    fn tell_more(&self) -> io::Result<()> {
        set(&self.socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        // Linux 5.0; without it datagrams come one by one.
        let _ = set(&self.socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        Ok(())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The form in which a socket's own family writes an address: as it is, or IPv4-mapped.
#[must_use]
pub fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// The address as a path has it: IPv4-mapped ones unmapped (RFC 4291 §2.5.5.2).
#[must_use]
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// The wildcard of IPv6 and that of IPv4, with a port.
#[must_use]
pub fn wildcards(port: u16) -> (SocketAddr, SocketAddr) {
    ((Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into())
}

fn unset_only_v6(socket: &Socket) -> bool {
    socket.set_only_v6(false).is_ok() && matches!(socket.only_v6(), Ok(false))
}

/// Beyond `net.core.rmem_max` only CAP_NET_ADMIN may go; what was granted is read back. The kernel
/// takes twice as much, for its own overhead, and tells the double (socket(7)).
fn enlarge(socket: &Socket) -> io::Result<Buffers> {
    let wanted = c_int::try_from(BUFFER_BYTES).unwrap_or(c_int::MAX);
    if set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    if set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        socket.set_send_buffer_size(BUFFER_BYTES)?;
    }
    Ok(Buffers { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
}

/// The MTU of the route from `local` to `remote`, by a socket of its own that is connected and sends
/// nothing. Ours do not ask (IP_PMTUDISC_PROBE), so that nobody's ICMP makes them send less.
///
/// # Errors
/// What the kernel says: no more descriptors, no route.
pub fn route_mtu(local: IpAddr, remote: SocketAddr) -> io::Result<u16> {
    let socket = std::net::UdpSocket::bind((local, 0))?;
    socket.connect(remote)?;
    let mtu = match remote {
        SocketAddr::V4(_) => get(&socket, libc::IPPROTO_IP, libc::IP_MTU)?,
        SocketAddr::V6(_) => get(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU)?,
    };
    Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// Reads an option whose value is an int.
fn get(socket: &impl AsFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; value and length live across the
    // call, and the length says how much room the value has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option whose value is an int.
pub(crate) fn set(socket: &impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the value lives across the call
    // and `length` is its size.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn the_first_refuses_a_shared_port_and_further_ones_join() {
        let first = UdpSocket::bind(loopback(0), Sharing::First).unwrap();
        let port = first.bound().port();
        assert_ne!(port, 0);
        let second = first.sibling().unwrap();
        assert_eq!(second.bound(), first.bound());
        let refused = UdpSocket::bind(loopback(port), Sharing::First).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_wildcard_reaches_both_families_and_an_address_its_own() {
        let all = UdpSocket::bind(wildcards(0).0, Sharing::First).unwrap();
        assert_eq!(all.reach(), Reach::Both);
        assert!(all.serves(Ipv4Addr::LOCALHOST.into()) && all.serves(Ipv6Addr::LOCALHOST.into()));

        let one = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0).into(), Sharing::First).unwrap();
        assert_eq!(one.reach(), Reach::V6);
        assert!(one.serves(Ipv6Addr::LOCALHOST.into()) && !one.serves(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn where_ipv6_stands_alone_ipv4_has_the_same_port_beside_it() {
        let v6 = UdpSocket::bind_single(wildcards(0).0, Sharing::First).unwrap();
        assert_eq!(v6.reach(), Reach::V6);
        let v4 = UdpSocket::bind(wildcards(v6.bound().port()).1, Sharing::First).unwrap();
        assert_eq!(v4.reach(), Reach::V4);
        assert!(v4.serves(Ipv4Addr::LOCALHOST.into()) && !v6.serves(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn the_route_over_loopback_has_its_mtu_in_both_families() {
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
        let mtu = mtu.trim().parse::<u32>().unwrap().min(65_535) as u16;
        for address in [loopback(9), (Ipv6Addr::LOCALHOST, 9).into()] {
            assert_eq!(route_mtu(address.ip(), address).unwrap(), mtu);
        }
        assert!(route_mtu(Ipv4Addr::new(192, 0, 2, 1).into(), loopback(9)).is_err());
    }

    #[test]
    fn buffers_are_told_as_they_were_asked_for() {
        let socket = UdpSocket::bind(loopback(0), Sharing::First).unwrap();
        let Buffers { receive, send } = socket.buffers();
        for (granted, limit) in [(receive, "rmem_max"), (send, "wmem_max")] {
            let limit = std::fs::read_to_string(format!("/proc/sys/net/core/{limit}")).unwrap();
            let limit: usize = limit.trim().parse().unwrap();
            // Beyond the limit for who may go there.
            assert!([BUFFER_BYTES, BUFFER_BYTES.min(limit)].contains(&granted), "{granted}");
        }
    }

    #[test]
    fn mapped_addresses_come_back() {
        let v4: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        assert_eq!(unmapped((mapped(v4.ip()), 5000).into()), v4);
        let v6: SocketAddr = "[2001:db8::1]:5000".parse().unwrap();
        assert_eq!(unmapped(v6), v6);
    }
}
