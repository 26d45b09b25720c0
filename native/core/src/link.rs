//! Links that lose, delay and reorder: what stands between a measured session's own socket and the
//! rest, each way by itself. Deterministic by its seed, in virtual time like everything here.
//!
//! Losses come one by one or in runs (Gilbert's model: a state that loses everything and one that
//! loses nothing). A delayed datagram is copied and waits here; how many may is bounded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::egress::{Message, Outcome, Transmit};
use crate::path::{Datagram, Path, SocketId};
use crate::random::Random;
use crate::time::Time;

/// How a link treats what crosses it one way.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Link {
    /// Share of the datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// Mean length of a run of losses, in datagrams; up to 1: each is lost or not by itself.
    pub burst: f64,
    /// How long each is under way.
    pub delay: Duration,
    /// How much longer at most, evenly spread; nobody is overtaken because of it.
    pub jitter: Duration,
    /// Share of the datagrams that those behind them overtake.
    pub reorder: f64,
    /// Where chance begins.
    pub seed: u64,
}

/// Both ways of one session.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Links {
    /// What it receives.
    pub inbound: Option<Link>,
    /// What it sends.
    pub outbound: Option<Link>,
}

/// Datagrams that may be under way on all links of a shard together, each way.
const MOST_UNDER_WAY: usize = 65_536;
/// How much later than its time one comes that is overtaken, where jitter is no more.
const OVERTAKEN_BY: Duration = Duration::from_millis(2);

/// The impaired links of a shard, by the sockets that they lead to.
#[derive(Debug, Default)]
pub struct Impaired {
    ways: HashMap<SocketId, Ways>,
    arriving: UnderWay,
    leaving: UnderWay,
}

/// Datagrams that wait, the next one first.
#[derive(Debug, Default)]
struct UnderWay {
    heap: BinaryHeap<Reverse<Waiting>>,
    entered: u64,
}

#[derive(Debug)]
struct Ways {
    inbound: Option<Way>,
    outbound: Option<Way>,
}

#[derive(Debug)]
struct Way {
    link: Link,
    random: Random,
    losing: bool,
    /// When the last one that keeps its place is due.
    last: Time,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Waiting {
    due: Time,
    /// Those of one time come in the order in which they went in.
    order: u64,
    socket: SocketId,
    remote: std::net::SocketAddr,
    bytes: Box<[u8]>,
}

/// What a link does with one datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lost,
    Now,
    At(Time),
}

impl Impaired {
    /// A socket's link from now on.
    pub fn add(&mut self, socket: SocketId, links: &Links) {
        let way = |link: Option<Link>| link.map(Way::new);
        let ways = Ways { inbound: way(links.inbound), outbound: way(links.outbound) };
        self.ways.insert(socket, ways);
    }

    /// The socket is closed; what is still under way for it ends nowhere.
    pub fn remove(&mut self, socket: SocketId) {
        if self.ways.remove(&socket).is_some() {
            self.arriving.forget(socket);
            self.leaving.forget(socket);
        }
    }

    /// When the next datagram is due.
    #[must_use]
    pub fn due(&self) -> Time {
        self.arriving.due().min(self.leaving.due())
    }

    /// True if the datagram arrives at once; otherwise it is lost, or comes by
    /// [`Impaired::poll_inbound`]. The link begins where the datagram was received: how long it
    /// waited to be read makes its way no longer.
    pub fn receive(&mut self, datagram: &Datagram<'_>) -> bool {
        let Datagram { path, received, ref bytes } = *datagram;
        let Some(ways) = self.ways.get_mut(&path.socket) else { return true };
        match ways.inbound.as_mut().map_or(Fate::Now, |way| way.judge(received)) {
            Fate::Now => true,
            Fate::Lost => false,
            Fate::At(due) => {
                self.arriving.keep(due, path, bytes);
                false
            }
        }
    }

    /// The next datagram that has arrived by now, and when it did.
    pub fn poll_inbound(&mut self, now: Time) -> Option<(Time, Path, Box<[u8]>)> {
        self.arriving.take(now)
    }

    /// Sends what has been under way long enough.
    pub fn release(&mut self, now: Time, transmit: &mut impl Transmit) {
        let mut outcomes = Vec::new();
        while let Some((_, path, bytes)) = self.leaving.take(now) {
            let len = bytes.len() as u32;
            let message =
                Message { path, start: 0, len, segment: len as u16, owner: Message::NOBODY };
            outcomes.clear();
            transmit.transmit(&bytes, &[message], &mut outcomes);
        }
    }

    /// The way out over these links.
    pub fn over<'a, T: Transmit>(&'a mut self, transmit: &'a mut T) -> Over<'a, T> {
        Over { links: self, transmit }
    }
}

impl UnderWay {
    fn keep(&mut self, due: Time, path: Path, bytes: &[u8]) {
        if self.heap.len() >= MOST_UNDER_WAY {
            return;
        }
        self.entered += 1;
        self.heap.push(Reverse(Waiting {
            due,
            order: self.entered,
            socket: path.socket,
            remote: path.remote,
            bytes: bytes.into(),
        }));
    }

    fn take(&mut self, now: Time) -> Option<(Time, Path, Box<[u8]>)> {
        if self.due() > now {
            return None;
        }
        let Reverse(next) = self.heap.pop()?;
        Some((next.due, Path::own(next.socket, next.remote), next.bytes))
    }

    fn due(&self) -> Time {
        self.heap.peek().map_or(Time::NEVER, |Reverse(datagram)| datagram.due)
    }

    fn forget(&mut self, socket: SocketId) {
        self.heap.retain(|Reverse(datagram)| datagram.socket != socket);
    }
}

/// Sends as the transmitter does, what has an impaired link over that.
pub struct Over<'a, T> {
    links: &'a mut Impaired,
    transmit: &'a mut T,
}

impl<T: Transmit> Transmit for Over<'_, T> {
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize {
        if self.links.ways.is_empty() {
            return self.transmit.transmit(arena, messages, outcomes);
        }
        let now = self.transmit.now();
        let mut calls = 0;
        let mut one = Vec::with_capacity(1);
        for message in messages {
            if self.leaves_at_once(now, arena, message) {
                one.clear();
                calls += self.transmit.transmit(arena, std::slice::from_ref(message), &mut one);
                outcomes.extend(one.first());
            } else {
                outcomes.push(Outcome::Sent);
            }
        }
        calls
    }

    fn now(&self) -> Time {
        self.transmit.now()
    }

    fn route_mtu(&mut self, path: &Path) -> Option<u16> {
        self.transmit.route_mtu(path)
    }
}

impl<T: Transmit> Over<'_, T> {
    /// Whether nothing impairs the message. The datagrams of one that is impaired each meet their
    /// own fate; what leaves now among them waits for the next release, in order.
    fn leaves_at_once(&mut self, now: Time, arena: &[u8], message: &Message) -> bool {
        let ways = self.links.ways.get_mut(&message.path.socket);
        let Some(way) = ways.and_then(|ways| ways.outbound.as_mut()) else { return true };
        let range = message.start as usize..(message.start + message.len) as usize;
        let bytes = arena.get(range).unwrap_or(&[]);
        let fates: Vec<(Fate, &[u8])> = bytes
            .chunks(usize::from(message.segment).max(1))
            .map(|datagram| (way.judge(now), datagram))
            .collect();
        if fates.iter().all(|(fate, _)| *fate == Fate::Now) {
            return true;
        }
        for (fate, datagram) in fates {
            let due = match fate {
                Fate::Lost => continue,
                Fate::Now => now,
                Fate::At(due) => due,
            };
            self.links.leaving.keep(due, message.path, datagram);
        }
        false
    }
}

impl Way {
    fn new(link: Link) -> Way {
        Way { link, random: Random::from_number(link.seed), losing: false, last: Time(0) }
    }

    fn judge(&mut self, entered: Time) -> Fate {
        if self.loses() {
            return Fate::Lost;
        }
        let Link { delay, jitter, reorder, .. } = self.link;
        let jittered = if jitter.is_zero() { jitter } else { jitter.mul_f64(self.random.share()) };
        let due = entered + delay + jittered;
        if reorder > 0.0 && self.random.share() < reorder {
            return Fate::At(due + jitter.max(OVERTAKEN_BY));
        }
        self.last = self.last.max(due);
        // Where others may be under way, what takes no time waits for its turn as well.
        let alone = delay.is_zero() && jitter.is_zero() && reorder <= 0.0;
        if alone { Fate::Now } else { Fate::At(self.last) }
    }

    /// Gilbert's model: runs of `burst` datagrams on the mean, and `loss` of all of them in runs.
    fn loses(&mut self) -> bool {
        let Link { loss, burst, .. } = self.link;
        if loss <= 0.0 {
            return false;
        }
        let chance = self.random.share();
        if burst <= 1.0 || loss >= 1.0 {
            return chance < loss;
        }
        let turns = if self.losing { 1.0 / burst } else { loss / (burst * (1.0 - loss)) };
        self.losing ^= chance < turns;
        self.losing
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOCKET: SocketId = SocketId::of_slot(4);

    fn path() -> Path {
        Path::own(SOCKET, ([192, 0, 2, 1], 9).into())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// True if a datagram that is received now arrives at once.
    fn enter(impaired: &mut Impaired, received: Time, bytes: &mut [u8]) -> bool {
        impaired.receive(&Datagram { path: path(), received, bytes })
    }

    fn inbound(link: Link) -> Impaired {
        let mut impaired = Impaired::default();
        impaired.add(SOCKET, &Links { inbound: Some(link), outbound: None });
        impaired
    }

    /// Numbers of the datagrams in the order of their arrival, with the time; one enters each ms.
    fn arrivals(impaired: &mut Impaired, count: u16) -> Vec<(u64, u16)> {
        let mut arrived = Vec::new();
        for number in 0..u64::from(count) + 1_000 {
            let now = Time(number * 1_000);
            while let Some((_, _, bytes)) = impaired.poll_inbound(now) {
                arrived.push((number, u16::from_be_bytes([bytes[0], bytes[1]])));
            }
            if number < u64::from(count) && enter(impaired, now, &mut (number as u16).to_be_bytes())
            {
                arrived.push((number, number as u16));
            }
        }
        arrived
    }

    #[test]
    fn a_link_without_faults_is_not_there() {
        let arrived = arrivals(&mut inbound(Link::default()), 100);
        assert!(arrived.iter().enumerate().all(|(at, pair)| *pair == (at as u64, at as u16)));
        let mut none = Impaired::default();
        assert!(enter(&mut none, Time(5), &mut [1]) && none.due() == Time::NEVER);
    }

    #[test]
    fn a_delay_is_kept_to_the_microsecond() {
        let mut impaired = inbound(Link { delay: ms(20), ..Link::default() });
        assert!(!enter(&mut impaired, Time(100), &mut [7]));
        assert_eq!(impaired.due(), Time(20_100));
        assert!(impaired.poll_inbound(Time(20_099)).is_none());
        assert_eq!(
            impaired.poll_inbound(Time(20_100)).unwrap(),
            (Time(20_100), path(), [7].into())
        );
    }

    #[test]
    fn as_many_are_lost_as_asked_one_by_one_and_in_runs() {
        for (burst, most) in [(1.0, 1.2), (4.0, 4.6)] {
            let link = Link { loss: 0.05, burst, seed: 1, ..Link::default() };
            let arrived = arrivals(&mut inbound(link), 60_000);
            let lost = 60_000 - arrived.len();
            assert!((2_500..3_500).contains(&lost), "{lost} lost with runs of {burst}");
            let gaps = arrived.windows(2).filter(|pair| pair[1].1 - pair[0].1 > 1).count();
            let run = lost as f64 / gaps as f64;
            assert!((burst * 0.95..most).contains(&run), "runs of {run}, asked {burst}");
        }
    }

    #[test]
    fn jitter_delays_and_overtakes_nobody() {
        let link = Link { delay: ms(10), jitter: ms(8), seed: 2, ..Link::default() };
        let arrived = arrivals(&mut inbound(link), 2_000);
        assert_eq!(arrived.len(), 2_000);
        assert!(arrived.windows(2).all(|pair| pair[0].1 < pair[1].1));
        let late = |(at, number): &(u64, u16)| at - u64::from(*number);
        let (least, most) = (arrived.iter().map(late).min(), arrived.iter().map(late).max());
        assert!((10..=11).contains(&least.unwrap()) && (17..=19).contains(&most.unwrap()));
    }

    #[test]
    fn what_is_read_late_was_on_its_way_meanwhile() {
        for jitter in [ms(0), ms(3)] {
            let link = Link { jitter, reorder: 0.2, seed: 4, ..Link::default() };
            let mut impaired = inbound(link);
            let entered = |number: u8| Time(u64::from(number) * 1_000);
            for number in 0..100 {
                assert!(!enter(&mut impaired, entered(number), &mut [number]));
            }
            let late = std::iter::from_fn(|| impaired.poll_inbound(Time(200_000)));
            let arrived: Vec<(Time, u8)> = late.map(|(at, _, bytes)| (at, bytes[0])).collect();
            assert_eq!(arrived.len(), 100);
            assert!(arrived.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            let on_its_way = |&(at, number): &(Time, u8)| {
                (entered(number)..=entered(number) + ms(6)).contains(&at)
            };
            assert!(arrived.iter().all(on_its_way));
        }
    }

    #[test]
    fn some_are_overtaken() {
        let link = Link { reorder: 0.1, seed: 3, ..Link::default() };
        let arrived = arrivals(&mut inbound(link), 5_000);
        assert_eq!(arrived.len(), 5_000);
        let overtaken = arrived.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
        assert!((350..650).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn a_run_can_be_repeated_and_a_closed_socket_gets_nothing() {
        let link = Link { loss: 0.3, jitter: ms(5), seed: 9, ..Link::default() };
        assert_eq!(arrivals(&mut inbound(link), 500), arrivals(&mut inbound(link), 500));
        let mut impaired = inbound(Link { delay: ms(1), ..Link::default() });
        assert!(!enter(&mut impaired, Time(0), &mut [1]));
        impaired.remove(SOCKET);
        assert_eq!(impaired.due(), Time::NEVER);
        assert!(enter(&mut impaired, Time(9), &mut [1]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut impaired = inbound(Link { delay: ms(1), ..Link::default() });
        let lost = (0..MOST_UNDER_WAY + 10).filter(|_| !enter(&mut impaired, Time(0), &mut [1]));
        assert_eq!(lost.count(), MOST_UNDER_WAY + 10);
        assert_eq!(impaired.arriving.heap.len(), MOST_UNDER_WAY);
    }

    struct Sent(Time, Vec<Vec<u8>>);

    impl Transmit for Sent {
        fn transmit(
            &mut self,
            arena: &[u8],
            messages: &[Message],
            out: &mut Vec<Outcome>,
        ) -> usize {
            for message in messages {
                let bytes = &arena[message.start as usize..(message.start + message.len) as usize];
                self.1.extend(bytes.chunks(message.segment.into()).map(<[u8]>::to_vec));
                out.push(Outcome::Sent);
            }
            1
        }

        fn now(&self) -> Time {
            self.0
        }
    }

    #[test]
    fn what_is_sent_is_impaired_datagram_by_datagram() {
        let link = Link { delay: ms(3), ..Link::default() };
        let mut impaired = Impaired::default();
        impaired.add(SOCKET, &Links { inbound: None, outbound: Some(link) });
        let mut sent = Sent(Time(0), Vec::new());
        let train = Message { path: path(), start: 1, len: 5, segment: 2, owner: 0 };
        let other = Message { path: Path { socket: SocketId::of_slot(9), ..path() }, ..train };
        let mut outcomes = Vec::new();
        let calls =
            impaired.over(&mut sent).transmit(&[9, 1, 2, 3, 4, 5], &[train, other], &mut outcomes);
        assert_eq!((calls, outcomes), (1, vec![Outcome::Sent; 2]));
        assert_eq!(sent.1, [vec![1, 2], vec![3, 4], vec![5]], "the other socket's alone");
        assert_eq!(impaired.due(), Time(3_000));
        sent.1.clear();
        impaired.release(Time(2_999), &mut sent);
        assert!(sent.1.is_empty());
        impaired.release(Time(3_000), &mut sent);
        assert_eq!(sent.1, [vec![1, 2], vec![3, 4], vec![5]]);
    }
}
