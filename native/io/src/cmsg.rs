//! Control messages of `sendmsg` and `recvmsg` (cmsg(3)): written and read as plain bytes.
//!
//! The kernel's macros walk pointers; the layout behind them is fixed, so that slices do as well
//! and nothing here is unsafe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use libc::{c_int, cmsghdr};

/// Room for what we send at most: IPV6_PKTINFO (40 bytes) and UDP_SEGMENT (24 bytes).
pub const SEND_ROOM: usize = 64;

/// Room for what we receive at most: IPV6_PKTINFO (40 bytes), UDP_GRO and SO_RXQ_OVFL (24 bytes
/// each) and SCM_TIMESTAMPNS (32 bytes).
pub const RECEIVE_ROOM: usize = 128;

const HEADER: usize = size_of::<cmsghdr>();
const ALIGN: usize = size_of::<usize>();

/// Control messages for one message that leaves.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Outgoing {
    bytes: [u8; SEND_ROOM],
    len: usize,
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing { bytes: [0; SEND_ROOM], len: 0 }
    }
}

impl Outgoing {
    /// Starts anew.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The message leaves from this address, through an AF_INET socket (ip(7), IP_PKTINFO).
    pub fn source_v4(&mut self, source: Ipv4Addr) {
        // struct in_pktinfo: interface, ipi_spec_dst (the source of what is sent), ipi_addr.
        let mut info = [0; 12];
        info[4..8].copy_from_slice(&source.octets());
        self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
    }

    /// The message leaves from this address, through an AF_INET6 socket (RFC 3542 §6.2). For a
    /// destination that is IPv4-mapped the source has to be mapped as well.
    pub fn source_v6(&mut self, source: Ipv6Addr) {
        // struct in6_pktinfo: address, interface.
        let mut info = [0; 20];
        info[..16].copy_from_slice(&source.octets());
        self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
    }

    /// The message is a train: the kernel cuts it into datagrams of this size (udp(7)).
    pub fn segment(&mut self, size: u16) {
        self.put(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// What was written, for `msg_control`.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    fn put(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let space = HEADER + data.len().next_multiple_of(ALIGN);
        let Some(room) = self.bytes.get_mut(self.len..self.len + space) else {
            debug_assert!(false, "SEND_ROOM is too small");
            return;
        };
        let length: usize = HEADER + data.len();
        room.fill(0);
        room[..ALIGN].copy_from_slice(&length.to_ne_bytes());
        room[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
        room[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..length].copy_from_slice(data);
        self.len += space;
    }
}

/// What the control messages of one received message told.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// The address of ours that it was sent to; an IPv4-mapped one is unmapped.
    pub local: Option<IpAddr>,
    /// The message is several datagrams of this size, the last may be shorter (UDP_GRO).
    pub segment: Option<u16>,
    /// How many datagrams the socket has dropped so far because it was full (SO_RXQ_OVFL); absent
    /// as long as there were none.
    pub overflows: Option<u32>,
    /// When the kernel had it, by CLOCK_REALTIME, since 1970 (SCM_TIMESTAMPNS).
    pub received: Option<Duration>,
}

impl Incoming {
    /// Reads what the kernel wrote into `control`.
    #[must_use]
    pub fn parse(mut control: &[u8]) -> Incoming {
        let mut told = Incoming::default();
        while let Some((level, kind, data, rest)) = next(control) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    told.local = array::<4>(data, 8).map(|a| IpAddr::V4(Ipv4Addr::from(a)));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    told.local = array::<16>(data, 0).map(|a| Ipv6Addr::from(a).to_canonical());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = array(data, 0).map_or(0, c_int::from_ne_bytes);
                    told.segment = u16::try_from(size).ok().filter(|size| *size > 0);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.overflows = array(data, 0).map(u32::from_ne_bytes);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => told.received = timespec(data),
                _ => {}
            }
            control = rest;
        }
        told
    }
}

/// The first control message: level, type, data, and what follows it.
fn next(control: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(array(control, 0)?);
    let level = c_int::from_ne_bytes(array(control, HEADER - 8)?);
    let kind = c_int::from_ne_bytes(array(control, HEADER - 4)?);
    let data = control.get(HEADER..length)?;
    let rest = control.get(length.next_multiple_of(ALIGN)..).unwrap_or(&[]);
    Some((level, kind, data, rest))
}

/// A struct timespec of 64-bit words; none where it is another, or before 1970.
fn timespec(data: &[u8]) -> Option<Duration> {
    let seconds = i64::from_ne_bytes(array(data, 0)?);
    let nanos = i64::from_ne_bytes(array(data, 8)?);
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut control = Outgoing::default();
        control.source_v6("::ffff:192.0.2.7".parse().unwrap());
        control.segment(1_200);
        assert_eq!(control.as_mut_bytes().len(), 64);
        let told = Incoming::parse(control.as_mut_bytes());
        assert_eq!(told.local, Some("192.0.2.7".parse().unwrap()));
        // UDP_SEGMENT is not UDP_GRO.
        assert_eq!(told.segment, None);

        control.clear();
        control.source_v4(Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(control.as_mut_bytes().len(), 32);
    }

    #[test]
    fn the_time_of_arrival_is_read_and_nonsense_is_none() {
        let told = |seconds: i64, nanos: i64| {
            let mut control = Outgoing::default();
            let data = [seconds.to_ne_bytes(), nanos.to_ne_bytes()].concat();
            control.put(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &data);
            Incoming::parse(control.as_mut_bytes()).received
        };
        assert_eq!(told(1_700_000_000, 5), Some(Duration::new(1_700_000_000, 5)));
        assert_eq!(told(-1, 5), None);
        assert_eq!(told(1, -5), None);
        assert_eq!(told(i64::MAX, 1_000_000_000), None);
        let mut control = Outgoing::default();
        control.put(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &[1; 8]);
        assert_eq!(Incoming::parse(control.as_mut_bytes()).received, None);
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        let mut control = Outgoing::default();
        control.source_v6(Ipv6Addr::LOCALHOST);
        let whole = control.as_mut_bytes().to_vec();
        for cut in 0..whole.len() - 4 {
            assert_eq!(Incoming::parse(&whole[..cut]), Incoming::default(), "cut at {cut}");
        }
        for lie in [0usize, 15, 41, usize::MAX] {
            let mut bytes = whole.clone();
            bytes[..ALIGN].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(Incoming::parse(&bytes), Incoming::default(), "length {lie}");
        }
    }
}
