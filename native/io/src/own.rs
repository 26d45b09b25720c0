//! The sockets of sessions in the client role, one each.

use std::io;
use std::net::IpAddr;

use pyforward_core::path::{Datagram, SocketId};
use pyforward_core::time::Time;

use crate::clock::Clock;
use crate::poll::Poller;
use crate::receive::{Batch, Inlet};
use crate::udp::UdpSocket;

/// By slot, since that is what a [`SocketId`] names.
#[derive(Default)]
pub struct OwnSockets {
    by_slot: Vec<Option<Own>>,
    source: Option<IpAddr>,
}

struct Own {
    socket: UdpSocket,
    inlet: Inlet,
}

impl OwnSockets {
    /// Binds those that are opened from now on to this address, not to every one.
    pub fn send_from(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Opens one, which `poller` tells under `number` from then on; its port. If it is `timed`, the
    /// kernel is asked when each datagram came; where it does not tell, they came as they were read.
    ///
    /// # Errors
    /// What the kernel says: no more descriptors, no more ports.
    pub fn open(
        &mut self,
        id: SocketId,
        timed: bool,
        poller: &mut Poller,
        number: u64,
    ) -> io::Result<u16> {
        let slot = id.slot().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let socket = UdpSocket::own(self.source)?;
        if timed {
            let _ = socket.tell_times();
        }
        poller.add(&socket, number)?;
        let port = socket.bound().port();
        if self.by_slot.len() <= slot {
            self.by_slot.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.by_slot.get_mut(slot) {
            *place = Some(Own { socket, inlet: Inlet::new(id) });
        }
        Ok(port)
    }

    /// Closes it; the poller forgets it by itself.
    pub fn close(&mut self, id: SocketId) {
        if let Some(place) = id.slot().and_then(|slot| self.by_slot.get_mut(slot)) {
            *place = None;
        }
    }

    /// The socket, if it is open.
    #[must_use]
    pub fn get(&self, id: SocketId) -> Option<&UdpSocket> {
        Some(&self.by_slot.get(id.slot()?)?.as_ref()?.socket)
    }

    /// Receives one batch of it and hands out each datagram with the time at which it was read, in
    /// order of arrival. True if more may wait, and how many datagrams were dropped.
    ///
    /// # Errors
    /// As [`Batch::receive`].
    pub fn receive(
        &mut self,
        slot: usize,
        batch: &mut Batch,
        clock: &Clock,
        mut take: impl FnMut(Time, Datagram<'_>),
    ) -> io::Result<(bool, u32)> {
        // It may have been closed since it was told readable.
        let own = self.by_slot.get_mut(slot).and_then(Option::as_mut);
        let Some(Own { socket, inlet }) = own else { return Ok((false, 0)) };
        batch.receive(socket)?;
        let full = batch.is_full();
        let read = clock.moment();
        let dropped = batch.each(socket, inlet, read, |datagram| take(read.now, datagram));
        Ok((full, dropped))
    }
}
