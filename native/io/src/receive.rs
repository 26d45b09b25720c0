//! Receiving: a batch of datagrams with one system call, each with its path.
//!
//! Where the kernel joined datagrams of one flow (UDP_GRO), they are taken apart again here.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use libc::{iovec, mmsghdr, sockaddr_in, sockaddr_in6};
use pyforward_core::path::{Datagram, Path, SocketId};

use crate::clock::{Arrivals, Moment};
use crate::cmsg::{Incoming, RECEIVE_ROOM};
use crate::udp::{UdpSocket, unmapped};

/// Most messages of a batch where one call may take many.
pub const BATCH: usize = 32;

/// Room for one message: the most that UDP_GRO joins.
const ROOM: usize = 65_535;

/// What one system call received. Made once and used again and again.
pub struct Batch {
    bytes: Box<[u8]>,
    slots: Box<[Slot]>,
    headers: Box<[mmsghdr]>,
    received: usize,
}

/// What is remembered of a socket from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct Inlet {
    socket: SocketId,
    /// What SO_RXQ_OVFL told last.
    overflows: u32,
    arrivals: Arrivals,
}

impl Inlet {
    /// Of a socket that has dropped nothing yet.
    #[must_use]
    pub fn new(socket: SocketId) -> Inlet {
        Inlet { socket, overflows: 0, arrivals: Arrivals::default() }
    }
}

#[derive(Clone, Copy)]
struct Slot {
    name: Name,
    control: Control,
    data: iovec,
}

/// Written by the kernel; the family comes first in both.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; RECEIVE_ROOM]);

// SAFETY: the pointers in `slots` and `headers` lead into boxes that the batch itself owns, are set
// anew before each system call and are not followed otherwise.
unsafe impl Send for Batch {}

impl Default for Batch {
    fn default() -> Self {
        Batch::new(BATCH)
    }
}

impl Batch {
    /// Of so many messages at most.
    #[must_use]
    pub fn new(most: usize) -> Batch {
        // SAFETY: these are plain C structures, for which zero bytes are a value.
        let (slot, header) = unsafe { (std::mem::zeroed::<Slot>(), std::mem::zeroed()) };
        Batch {
            bytes: vec![0; most * ROOM].into_boxed_slice(),
            slots: vec![slot; most].into_boxed_slice(),
            headers: vec![header; most].into_boxed_slice(),
            received: 0,
        }
    }

    /// As many came as it takes: more may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.received == self.headers.len()
    }

    /// Receives what waits on `socket`, as many messages as it takes at most; how many came. Nothing
    /// waiting is no error.
    ///
    /// # Errors
    /// What the kernel says, where it is not about a peer.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received = 0;
        let rooms = self.bytes.chunks_exact_mut(ROOM);
        for ((slot, header), room) in self.slots.iter_mut().zip(&mut self.headers).zip(rooms) {
            slot.data = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: ROOM };
            header.msg_len = 0;
            header.msg_hdr.msg_name = (&raw mut slot.name).cast();
            header.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut slot.data;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = RECEIVE_ROOM as _;
        }
        // SAFETY: each header leads to a name, a data room and a control room of the lengths it
        // says; all of them belong to `self`, which is borrowed for the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            self.received = count.min(self.headers.len());
            return Ok(self.received);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // An error that an earlier datagram met on its way (ICMP) is no error of the socket.
            Some(
                libc::EAGAIN
                | libc::EINTR
                | libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENOMEM,
            ) => Ok(0),
            _ => Err(error),
        }
    }

    /// Hands out each datagram of the batch, which was read at this moment, in order of arrival.
    /// Where the socket asks for times and the kernel tells them, a datagram came when the kernel
    /// had it, otherwise as it was read. How many datagrams the socket had to drop since the last
    /// batch because nobody took them is returned.
    pub fn each(
        &mut self,
        socket: &UdpSocket,
        inlet: &mut Inlet,
        read: Moment,
        mut take: impl FnMut(Datagram<'_>),
    ) -> u32 {
        let own = socket.own_address();
        let mut dropped = 0;
        let rooms = self.bytes.chunks_exact_mut(ROOM);
        for ((slot, header), room) in
            self.slots.iter().zip(&self.headers).zip(rooms).take(self.received)
        {
            #[allow(clippy::unnecessary_cast, reason = "with musl it is a socklen_t")]
            let control = slot.control.0.get(..header.msg_hdr.msg_controllen as usize);
            let told = Incoming::parse(control.unwrap_or_default());
            if let Some(overflows) = told.overflows {
                dropped += overflows.wrapping_sub(inlet.overflows);
                inlet.overflows = overflows;
            }
            let Some(remote) = slot.name.address() else { continue };
            let local = own.or(told.local).unwrap_or_else(|| unspecified_like(remote));
            let path = Path { socket: inlet.socket, local, remote };
            let Some(datagrams) = room.get_mut(..header.msg_len as usize) else { continue };
            let received = inlet.arrivals.next(read, told.received);
            match told.segment {
                Some(size) => datagrams
                    .chunks_mut(size.into())
                    .for_each(|bytes| take(Datagram { path, received, bytes })),
                None => take(Datagram { path, received, bytes: datagrams }),
            }
        }
        self.received = 0;
        dropped
    }
}

impl Name {
    /// The sender as a path has it.
    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: both structures begin with the family and are plain integers, every bit pattern
        // of which is a value; the bytes were written by the kernel or are zero.
        let family = unsafe { self.v4.sin_family };
        match i32::from(family) {
            libc::AF_INET => {
                // SAFETY: as above.
                let v4 = unsafe { self.v4 };
                let ip = v4.sin_addr.s_addr.to_ne_bytes();
                Some((IpAddr::from(ip), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let (ip, port) = (v6.sin6_addr.s6_addr.into(), u16::from_be(v6.sin6_port));
                let address = std::net::SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id);
                Some(unmapped(address.into()))
            }
            _ => None,
        }
    }
}

/// The kernel did not tell; an answer then leaves from the address that the route chooses.
fn unspecified_like(remote: SocketAddr) -> IpAddr {
    match remote {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
