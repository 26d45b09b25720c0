//! Arrival order of one SSRC: extended sequence numbers, what is missing, when to ask for it, when
//! to give it up, and what a receiver report says of it all (RFC 3550 §6.4.1, RFC 4585 §6.2.1).
//!
//! Never holds a packet back and never reorders: that is for the viewer's own jitter buffer. Memory
//! is bounded: a bit for each of the last [`WINDOW`] packets and at most [`MAX_MISSING`] gaps.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::discard::Discard;
use crate::time::Time;

/// How far behind the newest packet one may arrive and still be told from a duplicate. OBS repairs
/// by plain retransmission, a second late at 20 Mbit/s.
pub const WINDOW: u64 = 2_048;

/// Most packets that are asked for at a time; beyond, the oldest is given up.
pub const MAX_MISSING: usize = 1_024;

/// A jump further ahead than this is a restart of the sender, not loss (RFC 3550 §A.1).
pub const MAX_JUMP: u64 = 1_024;

/// How often a packet is asked for before it is given up.
const MAX_TRIES: u8 = 10;
/// How long it is asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// How long a gap may stay open when nothing can be asked for: it may close by reordering.
const REORDERING: Duration = Duration::from_millis(100);
/// Shortest time between two requests for one packet, whatever the round trip.
const MIN_RETRY: Duration = Duration::from_millis(20);
/// Where packets get lost so do requests: the first one is made twice, so far apart.
const REPEAT_AFTER: Duration = Duration::from_millis(10);
/// Where packets get lost, how long a frame's next packet may take until it is asked for, though
/// nothing shows that there is one yet. A pacer's gaps within a frame are shorter.
const REST_AFTER: Duration = Duration::from_millis(10);
/// Extended sequence numbers start here, so that packets older than the first have one as well.
const FIRST_CYCLE: u64 = 1 << 16;

/// How a packet came in relation to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The newest so far, `gap` packets after the one that was.
    Newest {
        /// How many are missing directly before it.
        gap: u64,
    },
    /// The newest so far, after a jump that says that the sender began anew.
    Restarted,
    /// Older than the newest; fills a gap.
    Late {
        /// It had been asked for.
        repaired: bool,
        /// Time since it was asked for, when that was once: a round trip, roughly.
        answered_in: Option<Duration>,
    },
}

/// A packet that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Its sequence number, extended by rollovers.
    pub sequence: u64,
    /// How it came.
    pub order: Order,
}

/// The figures of a reception report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reception {
    /// Of the packets expected since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Since the start, 24 bits, two's complement.
    pub cumulative_lost: u32,
    /// Extended highest sequence number.
    pub highest: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
}

/// What came of all that was sent, since the first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// From the first packet to the newest, by sequence numbers.
    pub expected: u64,
    /// Of these so many are here, each counted once, however it came.
    pub received: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

/// What [`Jitter::ask`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// How many packets are to be asked for.
    pub asked: u64,
    /// How many were given up.
    pub lost: u64,
}

/// One SSRC's arrivals.
#[derive(Debug)]
pub struct Jitter {
    clock_rate: u32,
    /// Generic NACK was negotiated.
    nack: bool,
    /// Gaps are listed; off for layers that nobody gets.
    wanted: bool,
    /// Packets get lost on the way.
    lossy: bool,
    state: Option<State>,
    missing: VecDeque<Missing>,
    /// No later than the earliest [`Missing::due`].
    due: Time,
    rest: Rest,
    /// Given up since [`Jitter::ask`] last told.
    lost: u64,
    /// As [`Totals`] has it; of what was before the last restart alone.
    expected_before: u64,
    received: u64,
}

/// Exists from the first packet on.
#[derive(Debug)]
struct State {
    lowest: u64,
    highest: u64,
    /// Bit `n % WINDOW` is set when packet `n` of the last `WINDOW` was received.
    received: [u64; (WINDOW / 64) as usize],
    /// The number after the last one that was far too old: two in a row are a restart.
    restart_at: Option<u16>,
    reception: ReceptionState,
}

/// RFC 3550 §A.3 and §A.8.
#[derive(Debug)]
struct ReceptionState {
    base: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    transit: Option<u32>,
    /// Times 16, as in §A.8.
    jitter_q4: u32,
}

#[derive(Debug)]
struct Missing {
    sequence: u64,
    since: Time,
    asked_at: Time,
    due: Time,
    tries: u8,
    /// The last request is still to be made a second time.
    repeat: bool,
}

/// The packet behind the newest, where that does not end its frame.
#[derive(Clone, Copy, Debug)]
struct Rest {
    /// When it is asked for; never where the frame is whole or it was asked for twice.
    due: Time,
    /// When it was asked for at first.
    asked_at: Option<Time>,
}

impl Rest {
    const NOTHING: Rest = Rest { due: Time::NEVER, asked_at: None };
}

impl Jitter {
    /// An SSRC that has sent nothing yet. Without `nack` a gap is only given time to close.
    #[must_use]
    pub fn new(clock_rate: u32, nack: bool) -> Jitter {
        Jitter {
            clock_rate,
            nack,
            wanted: false,
            lossy: false,
            state: None,
            missing: VecDeque::new(),
            due: Time::NEVER,
            rest: Rest::NOTHING,
            lost: 0,
            expected_before: 0,
            received: 0,
        }
    }

    /// Gaps matter from now on, or no longer; then those that are open are given up.
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted {
            self.give_up_all();
        }
    }

    /// Whether packets get lost on the way: then requests are made twice, and the end of a frame is
    /// asked for before the next frame shows that it is missing.
    pub fn set_lossy(&mut self, lossy: bool) {
        self.lossy = lossy;
    }

    /// Whether the newest packet, which came just now, is the last one of its frame.
    pub fn set_frame_whole(&mut self, now: Time, whole: bool) {
        self.rest = Rest::NOTHING;
        if self.lossy && self.nack && self.wanted && !whole {
            self.rest.due = now + REST_AFTER;
        }
    }

    /// Something was received.
    #[must_use]
    pub fn started(&self) -> bool {
        self.state.is_some()
    }

    /// The extended sequence number that is nearest to the newest; none before the first packet.
    #[must_use]
    pub fn extend(&self, sequence: u16) -> Option<u64> {
        self.state.as_ref().map(|state| state.extend(sequence))
    }

    /// Whether the packet with this sequence number is listed as missing.
    #[must_use]
    pub fn is_missing(&self, sequence: u16) -> bool {
        self.extend(sequence).is_some_and(|extended| {
            self.missing.binary_search_by_key(&extended, by_sequence).is_ok()
        })
    }

    /// Takes the packet with this sequence number and RTP timestamp into the books.
    /// `retransmitted`: it came as RTX, which says nothing about jitter and loss, and which repeats
    /// only what is near (RFC 4588 §4).
    ///
    /// # Errors
    /// [`Discard::RtpDuplicate`], [`Discard::RtpLate`] when it is older than the window.
    pub fn receive(
        &mut self,
        now: Time,
        sequence: u16,
        timestamp: u32,
        retransmitted: bool,
    ) -> Result<Arrival, Discard> {
        let Some(state) = self.state.as_mut() else {
            if retransmitted {
                return Err(Discard::RtpRtx);
            }
            let mut state = State::new(FIRST_CYCLE + u64::from(sequence));
            state.reception.observe(now, timestamp, self.clock_rate);
            let arrival = Arrival { sequence: state.highest, order: Order::Newest { gap: 0 } };
            self.state = Some(state);
            self.received += 1;
            return Ok(arrival);
        };
        let extended = state.extend(sequence);
        let order = if extended > state.highest {
            let gap = extended - state.highest - 1;
            if gap < MAX_JUMP {
                self.advance(now, extended, gap)
            } else if retransmitted {
                return Err(Discard::RtpRtx);
            } else {
                self.restart(extended, gap)
            }
        } else if state.highest - extended >= WINDOW {
            if retransmitted || state.restart_at != Some(sequence) {
                state.restart_at = Some(sequence.wrapping_add(1));
                return Err(Discard::RtpLate);
            }
            self.restart(extended + (1 << 16), 0)
        } else if state.mark(extended) {
            self.late(now, extended)
        } else {
            return Err(Discard::RtpDuplicate);
        };
        let Some(state) = self.state.as_mut() else { return Err(Discard::RtpLate) };
        self.received += 1;
        if order != Order::Restarted {
            state.lowest = state.lowest.min(extended);
        }
        if !retransmitted {
            state.restart_at = None;
            state.reception.observe(now, timestamp, self.clock_rate);
        }
        let sequence = if order == Order::Restarted { state.highest } else { extended };
        Ok(Arrival { sequence, order })
    }

    /// Pushes the sequence numbers that are to be asked for at `now`, in ascending order, and gives
    /// up those that were asked for long enough.
    pub fn ask(&mut self, now: Time, round_trip: Duration, wants: &mut Vec<u16>) -> Asked {
        let mut outcome = Asked { asked: 0, lost: std::mem::take(&mut self.lost) };
        if now < self.due.min(self.rest.due) {
            return outcome;
        }
        let retry = round_trip.max(MIN_RETRY);
        let (nack, twice) = (self.nack, self.lossy);
        let mut due = Time::NEVER;
        self.missing.retain_mut(|missing| {
            if missing.due <= now {
                let over = now.since(missing.since) >= GIVE_UP_AFTER || missing.tries >= MAX_TRIES;
                if over || !nack {
                    outcome.lost += 1;
                    return false;
                }
                if missing.ask(now, retry, twice) {
                    outcome.asked += 1;
                    wants.push(missing.sequence as u16);
                }
            }
            due = due.min(missing.due);
            true
        });
        self.due = due;
        if self.rest.due <= now
            && let Some(state) = &self.state
        {
            outcome.asked += 1;
            wants.push((state.highest + 1) as u16);
            let repeat = twice && self.rest.asked_at.is_none();
            self.rest.due = if repeat { now + REPEAT_AFTER } else { Time::NEVER };
            self.rest.asked_at.get_or_insert(now);
        }
        outcome
    }

    /// When [`Jitter::ask`] has something to do next.
    #[must_use]
    pub fn due(&self) -> Time {
        if self.lost > 0 { Time(0) } else { self.due.min(self.rest.due) }
    }

    /// How many packets are missing and still hoped for.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// What a receiver report says, once for each report; none before the first packet.
    pub fn report(&mut self) -> Option<Reception> {
        let state = self.state.as_mut()?;
        Some(state.reception.report(state.highest))
    }

    /// What came of all that was sent.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Some(state) = &self.state else { return Totals::default() };
        let micros = u64::from(state.reception.jitter_q4 >> 4) * 1_000_000;
        Totals {
            expected: self.expected_before + state.span(),
            received: self.received,
            jitter: Duration::from_micros(micros / u64::from(self.clock_rate.max(1))),
        }
    }

    fn advance(&mut self, now: Time, extended: u64, gap: u64) -> Order {
        let Some(state) = self.state.as_mut() else { return Order::Newest { gap } };
        let first_missing = state.highest + 1;
        state.advance(extended);
        if !self.wanted {
            return Order::Newest { gap };
        }
        let due = if self.nack { now } else { now + REORDERING };
        for sequence in first_missing..extended {
            if self.missing.len() == MAX_MISSING {
                self.missing.pop_front();
                self.lost += 1;
            }
            let mut missing =
                Missing { sequence, since: now, asked_at: now, due, tries: 0, repeat: false };
            if let Some(asked_at) = self.rest.asked_at.filter(|_| sequence == first_missing) {
                (missing.asked_at, missing.tries) = (asked_at, 1);
                missing.repeat = self.rest.due != Time::NEVER;
            }
            self.missing.push_back(missing);
            self.due = self.due.min(due);
        }
        Order::Newest { gap }
    }

    fn late(&mut self, now: Time, extended: u64) -> Order {
        let mut order = Order::Late { repaired: false, answered_in: None };
        if let Ok(at) = self.missing.binary_search_by_key(&extended, by_sequence)
            && let Some(missing) = self.missing.remove(at)
        {
            let answered_in = (missing.tries == 1).then(|| now.since(missing.asked_at));
            order = Order::Late { repaired: missing.tries > 0, answered_in };
        }
        if self.missing.is_empty() {
            self.due = Time::NEVER;
        }
        order
    }

    fn restart(&mut self, extended: u64, lost: u64) -> Order {
        self.give_up_all();
        if self.wanted {
            self.lost += lost;
        }
        self.expected_before += self.state.as_ref().map_or(0, State::span) + lost;
        self.state = Some(State::new(extended));
        Order::Restarted
    }

    fn give_up_all(&mut self) {
        self.lost += self.missing.len() as u64;
        self.missing.clear();
        (self.due, self.rest) = (Time::NEVER, Rest::NOTHING);
    }
}

impl Missing {
    /// True if it is to be asked for now. The rest of a frame may have been, before anything showed
    /// that it is missing.
    fn ask(&mut self, now: Time, retry: Duration, twice: bool) -> bool {
        // The answer to the second request takes a round trip as well.
        let patience = if twice { REPEAT_AFTER + retry } else { retry };
        let again = std::mem::take(&mut self.repeat);
        let anew = !again && (self.tries == 0 || now >= self.asked_at + patience);
        if anew {
            (self.asked_at, self.repeat) = (now, twice);
            self.tries += 1;
        }
        let wait = if self.repeat { REPEAT_AFTER } else { patience };
        self.due = (self.asked_at + wait).min(self.since + GIVE_UP_AFTER);
        anew || again
    }
}

impl State {
    fn new(first: u64) -> State {
        let mut state = State {
            lowest: first,
            highest: first,
            received: [0; (WINDOW / 64) as usize],
            restart_at: None,
            reception: ReceptionState {
                base: first,
                received: 0,
                expected_prior: 0,
                received_prior: 0,
                transit: None,
                jitter_q4: 0,
            },
        };
        state.mark(first);
        state
    }

    /// How many packets there are from the first to the newest.
    fn span(&self) -> u64 {
        self.highest - self.lowest + 1
    }

    /// The number with these low bits that is nearest to the newest (RFC 3711 §3.3.1 does the same).
    fn extend(&self, sequence: u16) -> u64 {
        let ahead = sequence.wrapping_sub(self.highest as u16).cast_signed();
        self.highest.saturating_add_signed(i64::from(ahead))
    }

    /// Moves the window on to `extended`, which is newer than the newest by less than the window.
    fn advance(&mut self, extended: u64) {
        for skipped in self.highest + 1..extended {
            if let Some(word) = self.received.get_mut(word_of(skipped)) {
                *word &= !bit_of(skipped);
            }
        }
        if let Some(word) = self.received.get_mut(word_of(extended)) {
            *word |= bit_of(extended);
        }
        self.highest = extended;
    }

    /// Marks a packet within the window as received; false when it was already.
    fn mark(&mut self, extended: u64) -> bool {
        let Some(word) = self.received.get_mut(word_of(extended)) else { return false };
        let new = *word & bit_of(extended) == 0;
        *word |= bit_of(extended);
        new
    }
}

impl ReceptionState {
    fn observe(&mut self, now: Time, timestamp: u32, clock_rate: u32) {
        self.received += 1;
        // Modulo 2^32 on purpose: only differences count.
        let arrival = (u128::from(now.0) * u128::from(clock_rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            let decay = self.jitter_q4.saturating_add(8) >> 4;
            self.jitter_q4 = self.jitter_q4.saturating_add(difference).saturating_sub(decay);
        }
    }

    fn report(&mut self, highest: u64) -> Reception {
        let expected = highest - self.base + 1;
        let lost = expected.cast_signed() - self.received.cast_signed();
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        Reception {
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: (lost.clamp(-0x80_0000, 0x7f_ffff) as u32) & 0xff_ffff,
            highest: (highest - FIRST_CYCLE) as u32,
            jitter: self.jitter_q4 >> 4,
        }
    }
}

fn by_sequence(missing: &Missing) -> u64 {
    missing.sequence
}

fn word_of(sequence: u64) -> usize {
    (sequence % WINDOW / 64) as usize
}

fn bit_of(sequence: u64) -> u64 {
    1 << (sequence % 64)
}
