//! What leaves: the arena that packets are sealed into, the messages that point into it, and the
//! one way out.

use std::time::Duration;

use crate::media::Kind;
use crate::path::Path;
use crate::stats::{Counter, LATENCY_BOUNDS, Stats, TRAIN_BOUNDS};
use crate::time::Time;

/// Most packets of one train, whatever is set. 64 segments are the kernel's limit; beyond 16 the gain is small and
/// the burst on the viewer's last mile is not.
pub const MAX_TRAIN: usize = 16;

/// Most bytes of one packet on the wire with everything that we add. Larger ones go alone.
pub const MAX_SEGMENT: usize = 1_232;

/// One send: a single datagram or a train of equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// From and to.
    pub path: Path,
    /// Start in the arena.
    pub start: u32,
    /// Length in the arena, of all segments together.
    pub len: u32,
    /// Size of each segment but the last, in bytes; equal to `len` for a single datagram.
    pub segment: u16,
    /// Tells the sender of the message whom an outcome concerns; [`Message::NOBODY`] if nobody.
    pub owner: u32,
}

impl Message {
    /// Nobody waits for the outcome.
    pub const NOBODY: u32 = u32::MAX;

    /// How many datagrams it is.
    #[must_use]
    pub fn datagrams(&self) -> u32 {
        self.len.div_ceil(u32::from(self.segment).max(1))
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The kernel took it.
    Sent,
    /// The kernel refused the segment size on this route (EMSGSIZE, EINVAL) and took the datagrams
    /// one by one; this destination's trains need smaller segments or none.
    Unsegmented,
    /// The socket was full (EAGAIN, ENOBUFS); nothing of it was sent.
    Full,
    /// The kernel refused it (unreachable, not permitted, too large even alone).
    Refused,
}

/// The way out: `pyforward-io` sends, tests collect.
pub trait Transmit {
    /// Sends the messages in order and pushes one [`Outcome`] for each into `outcomes`, which is
    /// empty when called. Never blocks. Returns how many system calls it took.
    fn transmit(
        &mut self,
        arena: &[u8],
        messages: &[Message],
        outcomes: &mut Vec<Outcome>,
    ) -> usize;

    /// The time at this moment, for the latency of what was just handed over.
    fn now(&self) -> Time;

    /// The MTU of the route by which this path leaves, in bytes, as the host's routing has it; none
    /// if it does not tell. Asked once for each path of a viewer.
    fn route_mtu(&mut self, path: &Path) -> Option<u16> {
        let _ = path;
        None
    }
}

/// Largest datagram that IPv4 carries. What would be larger is never handed over.
const MAX_DATAGRAM: usize = 65_507;

/// Bytes of sealed packets that are handed over at once: what stays in the second-level cache
/// between sealing and the kernel's copy.
const ARENA: usize = 256 * 1024;

/// Most messages that are handed over at once.
const MESSAGES: usize = 64;

/// An outcome that its owner must hear of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The message's owner.
    pub owner: u32,
    /// Never [`Outcome::Sent`].
    pub outcome: Outcome,
    /// How many datagrams the message was.
    pub datagrams: u32,
    /// Of which track they were media on its first way; none of anything else.
    pub media: Option<Kind>,
}

impl Trouble {
    /// How many packets of media its owner will never get.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let lost = matches!(self.outcome, Outcome::Refused | Outcome::Full);
        if lost && self.media.is_some() { u64::from(self.datagrams) } else { 0 }
    }
}

/// What a message is, for the counters and for who owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Media on its first way.
    Media {
        /// Of which track.
        kind: Kind,
        /// When its last packet arrived; none if it waited in the cache for this viewer.
        arrival: Option<Time>,
    },
    /// Everything else: answers, reports, records, retransmissions.
    Other,
}

/// Segments at the end of a message that are something else than the rest.
struct Rider {
    /// Index of the message.
    message: usize,
    content: Content,
    datagrams: u32,
}

/// Collects sealed packets and hands them over.
pub struct Egress {
    arena: Vec<u8>,
    used: usize,
    messages: Vec<Message>,
    contents: Vec<Content>,
    riders: Vec<Rider>,
    outcomes: Vec<Outcome>,
    troubles: Vec<Trouble>,
    gso: bool,
    riding: bool,
    longest: usize,
}

/// A train that is being built: equal segments, of which only the last may be shorter.
pub struct Train<'a> {
    egress: &'a mut Egress,
    path: Path,
    owner: u32,
    /// Where the open message starts in the arena.
    start: usize,
    /// Where this train's own part of it does.
    own: usize,
    segment: usize,
    cap: usize,
    content: Content,
}

impl Egress {
    /// An empty one; without `gso` each packet is a message of its own, without `riding` nothing goes
    /// behind another train in its message, and none has more than `longest` packets.
    #[must_use]
    pub fn new(gso: bool, riding: bool, longest: usize) -> Egress {
        Egress {
            arena: vec![0; ARENA],
            used: 0,
            messages: Vec::with_capacity(MESSAGES),
            contents: Vec::with_capacity(MESSAGES),
            riders: Vec::new(),
            outcomes: Vec::with_capacity(MESSAGES),
            troubles: Vec::new(),
            gso,
            riding,
            longest: longest.clamp(1, MAX_TRAIN),
        }
    }

    /// Adds one datagram that is no viewer's media.
    pub fn datagram(&mut self, path: Path, owner: u32, bytes: &[u8]) {
        let mut train = self.train(path, owner, 0, Content::Other, bytes.len());
        train.segment(bytes.len(), |buffer| {
            buffer.copy_from_slice(bytes);
            bytes.len()
        });
    }

    /// Starts a train of at most `room` bytes. Segments above `cap` bytes go alone.
    pub fn train(
        &mut self,
        path: Path,
        owner: u32,
        cap: usize,
        content: Content,
        room: usize,
    ) -> Train<'_> {
        if self.arena.len() < self.used + room {
            // Only what arrived larger than an arena can hold gets here; io bounds what arrives.
            self.arena.resize(self.used + room, 0);
        }
        let (start, cap) = (self.used, if self.gso { cap } else { 0 });
        Train { egress: self, path, owner, start, own: start, segment: 0, cap, content }
    }

    /// The last message, if it is media that goes this way in segments.
    fn take_open(&mut self, path: Path, owner: u32, cap: usize) -> Option<Message> {
        let media = self.riding && matches!(self.contents.last(), Some(Content::Media { .. }));
        self.messages.pop_if(|last| {
            let known = media && last.owner == owner && owner != Message::NOBODY;
            known && usize::from(last.segment) <= cap && last.path == path
        })
    }

    /// True when what was collected should be handed over before more is added.
    #[must_use]
    pub fn is_full(&self, room: usize) -> bool {
        let fits = self.used + room <= ARENA && self.messages.len() + MAX_TRAIN <= MESSAGES;
        !fits && !self.messages.is_empty()
    }

    /// Hands everything over.
    pub fn flush(&mut self, transmit: &mut impl Transmit, stats: &mut Stats) {
        if self.messages.is_empty() {
            return;
        }
        self.outcomes.clear();
        let arena = self.arena.get(..self.used).unwrap_or(&[]);
        let calls = transmit.transmit(arena, &self.messages, &mut self.outcomes);
        let now = transmit.now();
        stats.add(Counter::SendCalls, calls as u64);
        stats.add(Counter::MessagesOut, self.messages.len() as u64);
        let mut riders = self.riders.drain(..).peekable();
        let sent = self.messages.iter().zip(&self.contents).zip(&self.outcomes);
        for (index, ((message, content), outcome)) in sent.enumerate() {
            let mut rest = message.datagrams();
            if matches!(content, Content::Media { .. }) {
                count_train(stats, *outcome, rest);
            }
            if *outcome == Outcome::Unsegmented {
                stats.add(Counter::SendUnsegmented, 1);
            }
            while let Some(rider) = riders.next_if(|rider| rider.message == index) {
                rest -= rider.datagrams;
                let Rider { content, datagrams, .. } = rider;
                settle(stats, &mut self.troubles, now, message, content, *outcome, datagrams);
            }
            settle(stats, &mut self.troubles, now, message, *content, *outcome, rest);
        }
        drop(riders);
        self.used = 0;
        self.messages.clear();
        self.contents.clear();
    }

    /// What owners must hear of since the last call.
    pub fn take_troubles(&mut self) -> Vec<Trouble> {
        std::mem::take(&mut self.troubles)
    }
}

fn count_train(stats: &mut Stats, outcome: Outcome, datagrams: u32) {
    let count = u64::from(datagrams);
    match outcome {
        Outcome::Sent => stats.train_packets.observe(&TRAIN_BOUNDS, count, 1),
        Outcome::Unsegmented => stats.train_packets.observe(&TRAIN_BOUNDS, 1, count),
        Outcome::Full | Outcome::Refused => {}
    }
}

/// Counts what became of a message without its riders, or of a rider, and notes what the owner must
/// hear of it.
fn settle(
    stats: &mut Stats,
    troubles: &mut Vec<Trouble>,
    now: Time,
    message: &Message,
    content: Content,
    outcome: Outcome,
    datagrams: u32,
) {
    let (mut media, count) = (None, u64::from(datagrams));
    if let Content::Media { kind, arrival } = content {
        media = Some(kind);
        match (outcome, arrival) {
            (Outcome::Full, _) => stats.add(Counter::SendDropsFull, count),
            (Outcome::Refused, _) => stats.add(Counter::SendDropsError, count),
            (Outcome::Sent | Outcome::Unsegmented, Some(arrival)) => {
                let latency = now.since(arrival).as_micros() as u64;
                stats.forward_latency.observe(&LATENCY_BOUNDS, latency, count);
            }
            (Outcome::Sent | Outcome::Unsegmented, None) => {}
        }
    }
    if outcome != Outcome::Sent && message.owner != Message::NOBODY {
        troubles.push(Trouble { owner: message.owner, outcome, datagrams, media });
    }
}

impl Train<'_> {
    /// The same, behind the train of media before it, in one message: as many of its packets as that
    /// one can still take, where it goes to the same viewer.
    #[must_use]
    pub fn riding(mut self) -> Self {
        if let Some(open) = self.egress.take_open(self.path, self.owner, self.cap) {
            (self.start, self.segment) = (open.start as usize, open.segment.into());
        }
        self
    }

    /// Adds a segment of at most `room` bytes; `write` fills the buffer and returns how much of
    /// it is used, which is returned. A segment that does not fit the train closes it and starts
    /// the next one. Zero if nothing was written or if it is more than a datagram holds; it is
    /// left out then.
    pub fn segment(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let from = self.egress.used;
        let needed = from + room;
        if self.egress.arena.len() < needed {
            self.egress.arena.resize(needed, 0);
        }
        let len = match self.egress.arena.get_mut(from..needed) {
            Some(buffer) => write(buffer).min(room),
            None => return 0,
        };
        if len == 0 || len > MAX_DATAGRAM {
            return 0;
        }
        let alone = len > self.cap;
        let fits = from > self.start
            && !alone
            && len <= self.segment
            && (from - self.start).is_multiple_of(self.segment)
            && (from - self.start) / self.segment.max(1) < self.egress.longest;
        if !fits {
            self.close();
            self.segment = len;
        }
        self.egress.used = from + len;
        if alone {
            self.close();
        }
        len
    }

    fn close(&mut self) {
        let (start, own, end) = (self.start, self.own, self.egress.used);
        (self.start, self.own) = (end, end);
        if end == start {
            return;
        }
        if own == start {
            self.egress.contents.push(self.content);
        } else if end > own {
            let message = self.egress.messages.len();
            // What it rides on ends with a whole segment.
            let datagrams = (end - own).div_ceil(self.segment.max(1)) as u32;
            self.egress.riders.push(Rider { message, content: self.content, datagrams });
        }
        self.egress.messages.push(Message {
            path: self.path,
            start: start as u32,
            len: (end - start) as u32,
            segment: self.segment as u16,
            owner: self.owner,
        });
    }
}

impl Drop for Train<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A token bucket in bytes: what a viewer, a stream or a shard may still send. Retransmissions and
/// the pacing of media draw on one each.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes_per_second: u64,
    burst: u64,
    tokens: u64,
    filled_at: Time,
}

impl Budget {
    /// Never exhausted.
    pub const UNLIMITED: Budget =
        Budget { bytes_per_second: u64::MAX, burst: u64::MAX, tokens: 0, filled_at: Time(0) };

    /// Refills at `bytes_per_second` up to `burst` bytes, full at first.
    #[must_use]
    pub fn new(now: Time, bytes_per_second: u64, burst: u64) -> Budget {
        Budget { bytes_per_second, burst, tokens: burst, filled_at: now }
    }

    /// Nothing draws on it in vain.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.bytes_per_second == u64::MAX
    }

    /// Takes `bytes` if they are there.
    pub fn take(&mut self, now: Time, bytes: usize) -> bool {
        if self.is_unlimited() {
            return true;
        }
        let micros = now.since(self.filled_at).as_micros() as u64;
        let gained = micros.saturating_mul(self.bytes_per_second) / 1_000_000;
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(self.burst);
            self.filled_at = now;
        }
        let enough = self.tokens >= bytes as u64;
        if enough {
            self.tokens -= bytes as u64;
        }
        enough
    }

    /// How long until `bytes` will be there; what a pacer waits.
    #[must_use]
    pub fn wait(&self, bytes: usize) -> Duration {
        let missing = (bytes as u64).saturating_sub(self.tokens);
        if missing == 0 || self.bytes_per_second == u64::MAX {
            return Duration::ZERO;
        }
        // Rounded up: by then they are there.
        let micros = missing.saturating_mul(1_000_000).div_ceil(self.bytes_per_second.max(1));
        Duration::from_micros(micros)
    }
}
