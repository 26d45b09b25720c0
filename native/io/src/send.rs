//! Sending: many messages with one system call, each from its path's local address.
//!
//! What an error means is not judged here; see [`crate::gso`].
#![allow(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use libc::{c_int, iovec, mmsghdr, sockaddr_in, sockaddr_in6};
use pyforward_core::path::{Path, SocketId};

use crate::cmsg::Outgoing;
use crate::own::OwnSockets;
use crate::udp::{self, Reach, UdpSocket, mapped};

/// Most messages of one system call; beyond, the gain is lost in the noise.
pub const BATCH: usize = 64;

/// One message for the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// From and to.
    pub path: Path,
    /// Start in the arena.
    pub start: usize,
    /// Length in the arena.
    pub len: usize,
    /// Size of the datagrams that the kernel cuts it into; none for a single datagram.
    pub segment: Option<u16>,
}

/// An `errno` of the kernel.
pub type Errno = c_int;

/// The system calls that [`crate::gso::Sender`] needs; the kernel, or a test's idea of it.
pub trait Wire {
    /// Sends some of the units from the first on, with one system call; how many. An error concerns
    /// the first alone.
    ///
    /// # Errors
    /// The kernel's `errno` for the first unit.
    fn send(&mut self, arena: &[u8], units: &[Unit]) -> Result<usize, Errno>;

    /// Sends one unit and lets the kernel fragment it, which takes three system calls.
    ///
    /// # Errors
    /// The kernel's `errno`.
    fn send_fragmented(&mut self, arena: &[u8], unit: &Unit) -> Result<(), Errno>;

    /// The MTU of the route by which a path leaves; none if it does not tell.
    fn route_mtu(&mut self, path: &Path) -> Option<u16> {
        let _ = path;
        None
    }
}

/// The sockets of one shard.
pub struct Kernel {
    sockets: Arc<[UdpSocket]>,
    /// Those of its sessions in the client role.
    pub own: OwnSockets,
    slots: Box<[Slot]>,
    headers: Box<[mmsghdr]>,
}

#[derive(Clone, Copy)]
struct Slot {
    name: Name,
    control: Outgoing,
    data: iovec,
}

#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

// SAFETY: the pointers in `slots` and `headers` lead into boxes that the value itself owns and into
// the arena of the call at hand; they are set anew before each system call and not followed
// otherwise.
unsafe impl Send for Kernel {}

impl Kernel {
    /// Sends by these sockets: by the one bound to a path's local address, else by a wildcard.
    #[must_use]
    pub fn new(sockets: Arc<[UdpSocket]>) -> Kernel {
        // SAFETY: these are plain C structures, for which zero bytes are a value.
        let (name, data, header) = unsafe {
            (std::mem::zeroed(), std::mem::zeroed::<iovec>(), std::mem::zeroed::<mmsghdr>())
        };
        let slot = Slot { name, control: Outgoing::default(), data };
        Kernel {
            sockets,
            own: OwnSockets::default(),
            slots: vec![slot; BATCH].into_boxed_slice(),
            headers: vec![header; BATCH].into_boxed_slice(),
        }
    }

    fn socket_for(&self, path: &Path) -> Result<&UdpSocket, Errno> {
        socket_for(&self.sockets, &self.own, path)
    }
}

impl Wire for Kernel {
    fn send(&mut self, arena: &[u8], units: &[Unit]) -> Result<usize, Errno> {
        let first = units.first().ok_or(libc::EINVAL)?;
        let socket = socket_for(&self.sockets, &self.own, &first.path)?;
        let shared = self.sockets.len();
        let mut count: libc::c_uint = 0;
        for ((unit, slot), header) in units.iter().zip(&mut self.slots).zip(&mut self.headers) {
            // One call is for one socket; the next one goes on with the next.
            let same = unit.path.socket == first.path.socket;
            if !same || (shared > 1 && !socket.serves(unit.path.local)) {
                break;
            }
            let Some(data) = arena.get(unit.start..unit.start + unit.len) else { break };
            let name_length = slot.fill(socket, unit, data);
            let control = slot.control.as_mut_bytes();
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.len() as _;
            header.msg_hdr.msg_name = (&raw mut slot.name).cast();
            header.msg_hdr.msg_namelen = name_length as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut slot.data;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        let descriptor = socket.as_fd().as_raw_fd();
        match count {
            0 => Err(libc::EINVAL),
            1 => self.call_one(descriptor),
            _ => self.call_many(descriptor, count),
        }
    }

    fn send_fragmented(&mut self, arena: &[u8], unit: &Unit) -> Result<(), Errno> {
        let failed = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
        // Nobody else sends by this socket, so that the option holds for this datagram alone.
        self.socket_for(&unit.path)?.fragment(true).map_err(failed)?;
        let sent = self.send(arena, std::slice::from_ref(unit)).map(|_| ());
        self.socket_for(&unit.path)?.fragment(false).map_err(failed)?;
        sent
    }

    fn route_mtu(&mut self, path: &Path) -> Option<u16> {
        udp::route_mtu(path.local, path.remote).ok()
    }
}

impl Kernel {
    fn call_one(&mut self, descriptor: RawFd) -> Result<usize, Errno> {
        // SAFETY: the header leads to a name, data and control messages of the lengths it says.
        // They are in `self` and in the arena, which the caller of `send` borrows.
        let sent = unsafe { libc::sendmsg(descriptor, &raw const self.headers[0].msg_hdr, 0) };
        if sent < 0 { Err(errno()) } else { Ok(1) }
    }

    fn call_many(&mut self, descriptor: RawFd, count: libc::c_uint) -> Result<usize, Errno> {
        // SAFETY: as in `call_one`, for the first `count` headers, of which there are BATCH.
        let sent = unsafe { libc::sendmmsg(descriptor, self.headers.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| errno())
    }
}

/// The socket that a path leads by: a session's own, or that of the shared port which is bound to
/// its local address, else to all.
fn socket_for<'a>(
    shared: &'a [UdpSocket],
    own: &'a OwnSockets,
    path: &Path,
) -> Result<&'a UdpSocket, Errno> {
    let socket = match (path.socket, shared) {
        (SocketId::SHARED, [only]) => Some(only),
        (SocketId::SHARED, all) => all.iter().find(|socket| socket.serves(path.local)),
        (own_socket, _) => own.get(own_socket),
    };
    socket.ok_or(libc::EADDRNOTAVAIL)
}

impl Slot {
    /// Everything but the pointers; the length of the name.
    fn fill(&mut self, socket: &UdpSocket, unit: &Unit, data: &[u8]) -> usize {
        self.data = iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        self.control.clear();
        // A socket bound to an address sends from it by itself.
        let told = socket.own_address().is_none() && !unit.path.local.is_unspecified();
        match (socket.reach(), unit.path.local) {
            _ if !told => {}
            (Reach::V4, IpAddr::V4(source)) => self.control.source_v4(source),
            (_, source) => self.control.source_v6(mapped(source)),
        }
        if let Some(size) = unit.segment {
            self.control.segment(size);
        }
        self.name.set(socket.reach(), unit.path.remote)
    }
}

impl Name {
    /// Writes the destination as the socket's family has it; its length.
    fn set(&mut self, reach: Reach, remote: SocketAddr) -> usize {
        if let (Reach::V4, SocketAddr::V4(v4)) = (reach, remote) {
            self.v4 = sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            return size_of::<sockaddr_in>();
        }
        let scope = if let SocketAddr::V6(v6) = remote { v6.scope_id() } else { 0 };
        self.v6 = sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: remote.port().to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: mapped(remote.ip()).octets() },
            sin6_scope_id: scope,
        };
        size_of::<sockaddr_in6>()
    }
}

fn errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}
