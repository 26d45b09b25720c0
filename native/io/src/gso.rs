//! Trains: several equal datagrams to one peer as one message (UDP_SEGMENT), many messages a call.
//!
//! Here is what an error of the kernel means for one message, for its destination and for the rest.
//! An error stays with the message that met it; only EIO, a device that cannot check sums, switches
//! segmentation off for good.

use std::mem::take;
use std::net::Ipv4Addr;

use pyforward_core::egress::{Message, Outcome, Transmit};
use pyforward_core::path::Path;
use pyforward_core::time::Time;

use crate::clock::Clock;
use crate::send::{BATCH, Errno, Unit, Wire};
use crate::udp;

/// Most datagrams of a train that every kernel takes (UDP_MAX_SEGMENTS before Linux 6.9).
pub const MAX_SEGMENTS: u32 = 64;

/// Most bytes of a train: what an IPv4 datagram holds.
pub const MAX_TRAIN_BYTES: u32 = 65_507;

/// Whether this kernel knows UDP_SEGMENT (Linux 4.18). A route may still refuse it later.
#[must_use]
pub fn probe() -> bool {
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| udp::set(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1_200))
        .is_ok()
}

/// The way out of one shard.
pub struct Sender<W> {
    wire: W,
    clock: Clock,
    gso: bool,
    batch: usize,
    /// What goes to the kernel next, and to which message each unit belongs.
    units: Vec<Unit>,
    owners: Vec<usize>,
    calls: usize,
}

impl<W: Wire> Sender<W> {
    /// Sends trains whole if `gso`, and many messages a call if `sendmmsg`.
    #[must_use]
    pub fn new(wire: W, clock: Clock, gso: bool, sendmmsg: bool) -> Sender<W> {
        let batch = if sendmmsg { BATCH } else { 1 };
        Sender { wire, clock, gso, batch, units: Vec::new(), owners: Vec::new(), calls: 0 }
    }

    /// What it sends by.
    pub fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Trains leave whole; false from the start or since a device refused.
    #[must_use]
    pub fn segments(&self) -> bool {
        self.gso
    }
}

impl<W: Wire> Transmit for Sender<W> {
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        self.calls = 0;
        outcomes.clear();
        outcomes.resize(messages.len(), Outcome::Sent);
        let mut next = 0;
        while let Some(rest) = messages.get(next..).filter(|rest| !rest.is_empty()) {
            let taken = self.gather(rest);
            self.send_gathered(arena, outcomes.get_mut(next..).unwrap_or_default());
            next += taken;
        }
        self.calls
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    fn route_mtu(&mut self, path: &Path) -> Option<u16> {
        self.wire.route_mtu(path)
    }
}

impl<W: Wire> Sender<W> {
    /// Fills `units` from the first messages, whole messages only; how many.
    fn gather(&mut self, messages: &[Message]) -> usize {
        self.units.clear();
        self.owners.clear();
        let mut taken = 0;
        for (index, message) in messages.iter().enumerate() {
            let whole = unit(message);
            let fits = message.datagrams() <= MAX_SEGMENTS && message.len <= MAX_TRAIN_BYTES;
            if whole.segment.is_none() || (self.gso && fits) {
                self.units.push(whole);
            } else {
                self.units.extend(datagrams(&whole));
            }
            self.owners.resize(self.units.len(), index);
            taken += 1;
            if self.units.len() >= self.batch {
                break;
            }
        }
        taken
    }

    fn send_gathered(&mut self, arena: &[u8], outcomes: &mut [Outcome]) {
        let (mut units, mut owners) = (take(&mut self.units), take(&mut self.owners));
        let mut next = 0;
        while let (Some(first), Some(owner)) = (units.get(next).copied(), owners.get(next).copied())
        {
            let last = units.len().min(next + self.batch);
            self.calls += 1;
            match self.wire.send(arena, units.get(next..last).unwrap_or_default()) {
                Ok(sent) => next += sent.max(1),
                Err(errno) => {
                    let outcome = self.settle(arena, &first, errno);
                    note(outcomes, owner, outcome);
                    next += 1;
                    if outcome == Outcome::Full {
                        // The socket has no room; what else was gathered for it would not find any
                        // either. The next batch tries again.
                        let rest = units.split_off(next).into_iter().zip(owners.split_off(next));
                        for (unit, owner) in rest {
                            if unit.path.socket == first.path.socket {
                                note(outcomes, owner, outcome);
                            } else {
                                units.push(unit);
                                owners.push(owner);
                            }
                        }
                    }
                }
            }
        }
        (self.units, self.owners) = (units, owners);
    }

    /// What is to be done about a message that the kernel refused; done, and what came of it.
    fn settle(&mut self, arena: &[u8], unit: &Unit, errno: Errno) -> Outcome {
        match verdict(errno, unit.segment.is_some()) {
            Verdict::Full => Outcome::Full,
            Verdict::Refused => Outcome::Refused,
            Verdict::Retry => {
                self.alone(arena, unit).map_or_else(outcome_alone, |()| Outcome::Sent)
            }
            Verdict::Fragment => self.fragmented(arena, unit),
            Verdict::Unsegment => match self.one_by_one(arena, unit) {
                Outcome::Sent => Outcome::Unsegmented,
                worse => worse,
            },
            Verdict::Broken => {
                self.gso = false;
                self.one_by_one(arena, unit)
            }
        }
    }

    fn one_by_one(&mut self, arena: &[u8], train: &Unit) -> Outcome {
        for datagram in datagrams(train) {
            let outcome = match self.alone(arena, &datagram) {
                Ok(()) => Outcome::Sent,
                Err(errno) if verdict(errno, false) == Verdict::Fragment => {
                    self.fragmented(arena, &datagram)
                }
                Err(errno) => outcome_alone(errno),
            };
            if outcome != Outcome::Sent {
                return outcome;
            }
        }
        Outcome::Sent
    }

    fn alone(&mut self, arena: &[u8], unit: &Unit) -> Result<(), Errno> {
        self.calls += 1;
        self.wire.send(arena, std::slice::from_ref(unit)).map(|_| ())
    }

    /// Behind a small MTU a viewer gets its packets in fragments, rather than none of them.
    fn fragmented(&mut self, arena: &[u8], unit: &Unit) -> Outcome {
        self.calls += 3;
        match self.wire.send_fragmented(arena, unit) {
            Ok(()) => Outcome::Sent,
            Err(errno) => outcome_alone(errno),
        }
    }
}

/// What an error of the kernel means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// No room in the socket.
    Full,
    /// It may have been an earlier message's error; once more.
    Retry,
    /// The route wants smaller segments or none.
    Unsegment,
    /// The datagram itself is larger than the route's MTU.
    Fragment,
    /// The device cannot segment at all.
    Broken,
    /// It will not do.
    Refused,
}

fn verdict(errno: Errno, train: bool) -> Verdict {
    match errno {
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Verdict::Full,
        libc::EMSGSIZE | libc::EINVAL if train => Verdict::Unsegment,
        libc::EMSGSIZE => Verdict::Fragment,
        libc::EIO if train => Verdict::Broken,
        libc::EINTR
        | libc::ECONNREFUSED
        | libc::ECONNRESET
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::ENETDOWN => Verdict::Retry,
        _ => Verdict::Refused,
    }
}

fn outcome_alone(errno: Errno) -> Outcome {
    match verdict(errno, false) {
        Verdict::Full => Outcome::Full,
        _ => Outcome::Refused,
    }
}

/// A message of which one part failed has failed.
fn note(outcomes: &mut [Outcome], index: usize, outcome: Outcome) {
    if let Some(slot) = outcomes.get_mut(index)
        && outcome != Outcome::Sent
    {
        *slot = outcome;
    }
}

fn unit(message: &Message) -> Unit {
    let train = u32::from(message.segment) < message.len && message.segment > 0;
    Unit {
        path: message.path,
        start: message.start as usize,
        len: message.len as usize,
        segment: train.then_some(message.segment),
    }
}

/// The datagrams of a train.
fn datagrams(train: &Unit) -> impl Iterator<Item = Unit> + use<> {
    let train = *train;
    let size = train.segment.map_or(train.len, usize::from).max(1);
    (0..train.len).step_by(size).map(move |offset| Unit {
        start: train.start + offset,
        len: size.min(train.len - offset),
        segment: None,
        ..train
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pyforward_core::path::{Path, SocketId};

    /// A kernel of which the test says how it answers, and which keeps what it took.
    #[derive(Default)]
    struct Fake {
        /// Trains meet this.
        train_error: Option<Errno>,
        /// Single datagrams longer than this meet EMSGSIZE.
        mtu: Option<usize>,
        /// What is for these ports meets this error so many times.
        ports: Vec<(u16, Errno, usize)>,
        sent: Vec<Unit>,
        fragmented: usize,
        calls: usize,
    }

    impl Fake {
        fn judge(&mut self, unit: &Unit) -> Result<(), Errno> {
            for (port, errno, times) in &mut self.ports {
                if unit.path.remote.port() == *port && *times > 0 {
                    *times -= 1;
                    return Err(*errno);
                }
            }
            match (unit.segment, self.train_error, self.mtu) {
                (Some(_), Some(errno), _) => Err(errno),
                (None, _, Some(mtu)) if unit.len > mtu => Err(libc::EMSGSIZE),
                _ => Ok(()),
            }
        }
    }

    impl Wire for Fake {
        fn send(&mut self, _: &[u8], units: &[Unit]) -> Result<usize, Errno> {
            self.calls += 1;
            for (count, unit) in units.iter().enumerate() {
                match self.judge(unit) {
                    Ok(()) => self.sent.push(*unit),
                    // As sendmmsg(2): an error is told only where it is the first message's.
                    Err(_) if count > 0 => {
                        self.ports.iter_mut().for_each(|(_, _, times)| *times += 1);
                        return Ok(count);
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Ok(units.len())
        }

        fn send_fragmented(&mut self, _: &[u8], unit: &Unit) -> Result<(), Errno> {
            self.fragmented += 1;
            self.sent.push(*unit);
            Ok(())
        }
    }

    const SEGMENT: u16 = 100;

    /// A message of `count` datagrams to `port`; the last one is half as long.
    fn message(port: u16, count: u32) -> Message {
        let path = Path {
            socket: SocketId::SHARED,
            local: Ipv4Addr::LOCALHOST.into(),
            remote: (Ipv4Addr::LOCALHOST, port).into(),
        };
        let len = match count {
            1 => 100,
            _ => count * 100 - 50,
        };
        Message { path, start: 0, len, segment: SEGMENT, owner: 0 }
    }

    fn send(sender: &mut Sender<Fake>, messages: &[Message]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let calls = sender.transmit(&[0; 8_192], messages, &mut outcomes);
        assert!(calls >= 1);
        outcomes
    }

    #[test]
    fn the_message_that_failed_is_skipped_and_no_other() {
        let wire = Fake { ports: vec![(2, libc::EPERM, 1)], ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        let outcomes = send(&mut sender, &[message(1, 3), message(2, 3), message(3, 3)]);
        assert_eq!(outcomes, [Outcome::Sent, Outcome::Refused, Outcome::Sent]);
        let ports: Vec<u16> = sender.wire.sent.iter().map(|u| u.path.remote.port()).collect();
        assert_eq!(ports, [1, 3]);
        assert_eq!(sender.wire.calls, 3, "up to the failure, the failure, the rest");
    }

    #[test]
    fn a_refused_train_goes_datagram_by_datagram() {
        for errno in [libc::EMSGSIZE, libc::EINVAL] {
            let wire = Fake { train_error: Some(errno), ..Fake::default() };
            let mut sender = Sender::new(wire, Clock::start().0, true, true);
            assert_eq!(send(&mut sender, &[message(1, 3)]), [Outcome::Unsegmented]);
            let sent: Vec<_> = sender.wire.sent.iter().map(|u| (u.start, u.len)).collect();
            assert_eq!(sent, [(0, 100), (100, 100), (200, 50)]);
            assert!(sender.segments(), "other destinations keep their trains");
        }
    }

    #[test]
    fn eio_switches_trains_off_for_good() {
        let wire = Fake { train_error: Some(libc::EIO), ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        assert_eq!(send(&mut sender, &[message(1, 3), message(2, 2)]), [Outcome::Sent; 2]);
        assert!(!sender.segments());
        sender.wire.sent.clear();
        sender.wire.calls = 0;
        assert_eq!(send(&mut sender, &[message(1, 3)]), [Outcome::Sent]);
        assert!(sender.wire.sent.iter().all(|u| u.segment.is_none()));
        assert_eq!((sender.wire.sent.len(), sender.wire.calls), (3, 1), "still one call");
    }

    #[test]
    fn a_datagram_beyond_the_mtu_leaves_in_fragments() {
        let wire = Fake { mtu: Some(80), train_error: Some(libc::EMSGSIZE), ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        let outcomes = send(&mut sender, &[message(1, 1), message(2, 2)]);
        assert_eq!(outcomes, [Outcome::Sent, Outcome::Unsegmented]);
        assert_eq!(sender.wire.fragmented, 2, "the last datagram of the train fits");
    }

    #[test]
    fn a_full_socket_ends_the_batch_and_the_next_batch_tries_again() {
        let wire = Fake { ports: vec![(7, libc::EAGAIN, 1)], ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        let mut messages = vec![message(1, 2); BATCH];
        messages[BATCH / 2] = message(7, 2);
        messages.push(message(1, 2));
        let outcomes = send(&mut sender, &messages);
        assert!(outcomes[..BATCH / 2].iter().all(|o| *o == Outcome::Sent));
        assert!(outcomes[BATCH / 2..BATCH].iter().all(|o| *o == Outcome::Full));
        assert_eq!(outcomes[BATCH], Outcome::Sent);
    }

    #[test]
    fn a_full_socket_holds_back_no_other_socket() {
        let by = |slot: usize, message: Message| Message {
            path: Path { socket: SocketId::of_slot(slot), ..message.path },
            ..message
        };
        let wire = Fake { ports: vec![(7, libc::EAGAIN, 1)], ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        let messages =
            [by(0, message(7, 1)), by(1, message(2, 1)), by(0, message(3, 1)), message(4, 1)];
        let outcomes = send(&mut sender, &messages);
        assert_eq!(outcomes, [Outcome::Full, Outcome::Sent, Outcome::Full, Outcome::Sent]);
    }

    #[test]
    fn an_earlier_messages_error_is_retried_once() {
        let wire = Fake { ports: vec![(1, libc::ECONNREFUSED, 1)], ..Fake::default() };
        let mut sender = Sender::new(wire, Clock::start().0, true, true);
        assert_eq!(send(&mut sender, &[message(1, 2)]), [Outcome::Sent]);
        sender.wire.ports = vec![(1, libc::ECONNREFUSED, 2)];
        assert_eq!(send(&mut sender, &[message(1, 2)]), [Outcome::Refused]);
    }

    #[test]
    fn each_switch_off_changes_the_calls() {
        let messages = [message(1, 4), message(2, 4)];
        for (gso, sendmmsg, units, calls) in
            [(true, true, 2, 1), (true, false, 2, 2), (false, true, 8, 1), (false, false, 8, 8)]
        {
            let mut sender = Sender::new(Fake::default(), Clock::start().0, gso, sendmmsg);
            assert_eq!(send(&mut sender, &messages), [Outcome::Sent; 2]);
            assert_eq!((sender.wire.sent.len(), sender.wire.calls), (units, calls));
        }
    }

    #[test]
    fn a_train_beyond_the_kernels_limits_is_taken_apart() {
        let mut sender = Sender::new(Fake::default(), Clock::start().0, true, true);
        assert_eq!(send(&mut sender, &[message(1, MAX_SEGMENTS + 1)]), [Outcome::Sent]);
        assert_eq!(sender.wire.sent.len(), MAX_SEGMENTS as usize + 1);
    }

    #[test]
    fn every_error_has_its_meaning() {
        assert_eq!(verdict(libc::EAGAIN, true), Verdict::Full);
        assert_eq!(verdict(libc::ENOBUFS, false), Verdict::Full);
        assert_eq!(verdict(libc::EINVAL, false), Verdict::Refused);
        assert_eq!(verdict(libc::EIO, false), Verdict::Refused);
        assert_eq!(verdict(libc::EPERM, true), Verdict::Refused);
    }
}
