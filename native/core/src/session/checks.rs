//! Our own connectivity checks, in the client role: a full agent with one component and one socket,
//! controlling unless the peer insists (RFC 8445 §6, §7.2, §8), and consent to go on sending
//! (RFC 7675).
//!
//! Candidates are checked one every 50 ms, the best first. The first that answers carries DTLS at
//! once; the best that answers is nominated, and the others are left alone from then on.

use std::net::SocketAddr;
use std::time::Duration;

use arrayvec::ArrayVec;

use crate::command::{IceCredentials, RemoteCandidate};
use crate::discard::Discard;
use crate::stun::{self, BindingRequest, BindingResponse, Check, IntegrityKey, TransactionId};
use crate::time::Time;

/// Most candidates of a peer's that are checked, those included that show themselves by checking.
const MAX_PAIRS: usize = 16;

/// Time between two new checks: Ta (RFC 8445 §14.2).
const PACE: Duration = Duration::from_millis(50);

/// Until a check is sent again for the first time: RTO (RFC 8445 §14.3); doubled each time.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(500);

/// How often a check is sent: Rc (RFC 8489 §6.2.1).
const MAX_SENT: u8 = 7;

/// How long the last one is waited for, in units of RTO: Rm (RFC 8489 §6.2.1).
const LAST_WAIT: u32 = 16;

/// How long a better candidate may keep one that has answered from being nominated.
const BETTER_PAIR_WAIT: Duration = Duration::from_millis(200);

/// Time between two checks of the nominated pair, of which a fifth more or less is taken at random
/// (RFC 7675 §5.1).
const CONSENT_EVERY: Duration = Duration::from_secs(5);

/// Consent ends so long after the last answer (RFC 7675 §5.1).
const CONSENT_LASTS: Duration = Duration::from_secs(30);

/// Checks of the nominated pair that may still be answered: as many as fall into its time.
const MAX_ASKED: usize = 8;

/// PRIORITY of our checks: what our socket's address would have as a peer-reflexive candidate of the
/// first component (RFC 8445 §5.1.2, §7.1.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// ERROR-CODE of a role conflict (RFC 8445 §7.3.1.1).
const ROLE_CONFLICT: u16 = 487;

/// See the module.
#[derive(Debug)]
pub struct Checks {
    /// The peer's ufrag, a colon, ours.
    username: Box<str>,
    /// Of the peer's password: signs our requests and the answers to them.
    key: IntegrityKey,
    controlling: bool,
    tie_breaker: u64,
    pairs: ArrayVec<Pair, MAX_PAIRS>,
    /// When the next new check may leave; never before there is a socket.
    next_check: Time,
    /// When the first candidate answered.
    first_valid: Option<Time>,
    /// Of the nominated pair.
    consent: Option<Consent>,
    /// A check was answered, with success.
    connected: bool,
    transactions: u64,
}

/// A remote candidate with our one local one.
#[derive(Clone, Copy, Debug)]
struct Pair {
    remote: SocketAddr,
    priority: u32,
    state: State,
    /// When it answered last, with success.
    answered: Option<Time>,
    /// The peer, in the controlling role, nominated it; that counts once it is valid.
    nominated: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// To be checked; at once where the peer has just checked it (RFC 8445 §7.3.1.4).
    Waiting {
        triggered: bool,
    },
    InProgress(Transaction),
    Succeeded,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    id: TransactionId,
    controlling: bool,
    nominating: bool,
    sent: u8,
    due: Time,
}

#[derive(Clone, Debug)]
struct Consent {
    remote: SocketAddr,
    answered: Time,
    next: Time,
    asked: ArrayVec<Asked, MAX_ASKED>,
}

/// A check of the nominated pair that may still be answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: TransactionId,
    controlling: bool,
}

/// What an answer showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The pair with this candidate works.
    Valid {
        /// The candidate's priority.
        priority: u32,
        /// It is the nominated one.
        nominated: bool,
    },
    /// The peer consents to go on.
    Consent,
    /// Nothing that helps; the check failed or is repeated in the other role.
    Nothing,
}

/// Whether a peer that checks us may be sent more than the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeersCheck {
    /// Not before it has answered us there: what a check says of where it came from is not proven
    /// by its password, and nobody is made to send to an address that did not consent
    /// (RFC 7675 §5.1).
    Unproven,
    /// It has; and it says whether this is the pair to use.
    Proven {
        /// The peer has the controlling role and nominates it.
        nominated: bool,
    },
}

/// Both ends claim one role and the peer is to give way: it is answered 487.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerGivesWay;

impl Checks {
    /// Candidates to be checked as soon as there is a socket; the best [`MAX_PAIRS`] of them.
    #[must_use]
    pub fn new(ice: &IceCredentials, candidates: &[RemoteCandidate], tie_breaker: u64) -> Checks {
        let mut sorted = candidates.to_vec();
        sorted.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
        let mut pairs = ArrayVec::<Pair, MAX_PAIRS>::new();
        for RemoteCandidate { address, priority } in sorted {
            if !pairs.is_full() && pairs.iter().all(|pair| pair.remote != address) {
                pairs.push(Pair::new(address, priority, false));
            }
        }
        Checks {
            username: format!("{}:{}", ice.remote_ufrag, ice.local_ufrag).into(),
            key: IntegrityKey::new(&ice.remote_pwd),
            controlling: true,
            tie_breaker,
            pairs,
            next_check: Time::NEVER,
            first_valid: None,
            consent: None,
            connected: false,
            transactions: 0,
        }
    }

    /// There is a socket: checks may leave.
    pub fn open(&mut self, now: Time) {
        self.next_check = now;
    }

    /// There is one.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.next_check != Time::NEVER
    }

    /// A check was answered, with success. True the first time it is called.
    pub fn connect(&mut self) -> bool {
        !std::mem::replace(&mut self.connected, true)
    }

    /// A check was ever answered.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// The peer has not consented for too long: nothing more may be sent (RFC 7675 §5.1).
    #[must_use]
    pub fn has_expired(&self, now: Time) -> bool {
        self.expires_at() <= now
    }

    /// Appends the next check that is due, if there is one; where it goes.
    pub fn poll(&mut self, now: Time, out: &mut Vec<u8>) -> Option<SocketAddr> {
        if let Some(remote) = self.poll_consent(now, out) {
            return Some(remote);
        }
        while let Some(at) = self.pairs.iter().position(|pair| pair.retransmit_at() <= now) {
            if let Some(remote) = self.send_again(now, at, out) {
                return Some(remote);
            }
        }
        if self.next_check > now {
            return None;
        }
        let (at, nominating) = self.choose(now)?;
        self.next_check = now + PACE;
        self.begin(now, at, nominating, out)
    }

    /// When [`Checks::poll`] or [`Checks::has_expired`] has something new; [`Time::NEVER`] if
    /// nothing is left to do.
    #[must_use]
    pub fn due(&self) -> Time {
        if !self.is_open() {
            return Time::NEVER;
        }
        let retransmission =
            self.pairs.iter().map(Pair::retransmit_at).fold(Time::NEVER, Time::min);
        let consent = self.consent.as_ref().map_or(Time::NEVER, |consent| consent.next);
        retransmission.min(consent).min(self.expires_at()).min(self.next_choice())
    }

    /// Takes an answer that came from `remote`.
    ///
    /// # Errors
    /// [`Discard::StunUnexpected`] when nothing like it was asked there, [`Discard::StunIntegrity`].
    pub fn handle_response(
        &mut self,
        now: Time,
        remote: SocketAddr,
        response: &BindingResponse<'_>,
    ) -> Result<Answer, Discard> {
        let id = response.transaction;
        if let Some(consent) = &mut self.consent
            && consent.remote == remote
            && let Some(at) = consent.asked.iter().position(|asked| asked.id == id)
        {
            response.verify(&self.key)?;
            let asked = consent.asked.remove(at);
            return Ok(match response.error {
                None => {
                    consent.answered = now;
                    Answer::Consent
                }
                Some(error) => {
                    self.take_error(error, asked.controlling);
                    Answer::Nothing
                }
            });
        }
        let asked = |pair: &&mut Pair| {
            pair.remote == remote && pair.transaction().is_some_and(|asked| asked.id == id)
        };
        let pair = self.pairs.iter_mut().find(asked).ok_or(Discard::StunUnexpected)?;
        response.verify(&self.key)?;
        let Some(transaction) = pair.transaction() else { return Err(Discard::StunUnexpected) };
        let Some(error) = response.error else {
            pair.answered = Some(now);
            pair.state = State::Succeeded;
            let priority = pair.priority;
            let nominated = transaction.nominating || (!self.controlling && pair.nominated);
            self.first_valid.get_or_insert(now);
            if nominated {
                self.settle(now, remote);
            }
            return Ok(Answer::Valid { priority, nominated });
        };
        pair.state = match error {
            ROLE_CONFLICT => State::Waiting { triggered: true },
            _ => State::Failed,
        };
        self.take_error(error, transaction.controlling);
        Ok(Answer::Nothing)
    }

    /// Takes a check of the peer's that was authenticated.
    ///
    /// # Errors
    /// [`PeerGivesWay`] when both have one role and ours stands (RFC 8445 §7.3.1.1).
    pub fn handle_request(
        &mut self,
        now: Time,
        remote: SocketAddr,
        request: &BindingRequest<'_>,
    ) -> Result<PeersCheck, PeerGivesWay> {
        match (self.controlling, request.controlling, request.controlled) {
            (true, Some(theirs), _) if self.tie_breaker >= theirs => return Err(PeerGivesWay),
            (true, Some(_), _) => self.controlling = false,
            (false, _, Some(theirs)) if self.tie_breaker >= theirs => self.controlling = true,
            (false, _, Some(_)) => return Err(PeerGivesWay),
            _ => {}
        }
        let nominates = request.use_candidate && !self.controlling;
        if let Some(consent) = &self.consent {
            // What is nominated stays so (RFC 8445 §8.1.1).
            return Ok(match consent.remote == remote {
                true => PeersCheck::Proven { nominated: nominates },
                false => PeersCheck::Unproven,
            });
        }
        let Some(pair) = self.pair(remote, request.priority.unwrap_or(0)) else {
            return Ok(PeersCheck::Unproven);
        };
        pair.nominated |= nominates;
        pair.trigger(now);
        if pair.answered.is_none() {
            return Ok(PeersCheck::Unproven);
        }
        if nominates {
            self.settle(now, remote);
        }
        Ok(PeersCheck::Proven { nominated: nominates })
    }

    /// The pair with this candidate; a new one if there is room, or in the place of one that failed.
    fn pair(&mut self, remote: SocketAddr, priority: u32) -> Option<&mut Pair> {
        if self.pairs.iter().all(|pair| pair.remote != remote) {
            let failed = |pair: &Pair| matches!(pair.state, State::Failed);
            if self.pairs.is_full()
                && let Some(at) = self.pairs.iter().position(failed)
            {
                self.pairs.remove(at);
            }
            let _ = self.pairs.try_push(Pair::new(remote, priority, true));
        }
        self.pairs.iter_mut().find(|pair| pair.remote == remote)
    }

    /// A check was answered with this error. In a conflict we take the other role than the check
    /// had, which another answer may have done already, and a new tie-breaker (RFC 8445 §7.2.5.1).
    fn take_error(&mut self, error: u16, controlling: bool) {
        if error == ROLE_CONFLICT && self.controlling == controlling {
            self.controlling = !controlling;
            let [random @ .., _, _, _, _] = self.new_transaction();
            self.tie_breaker = u64::from_be_bytes(random);
        }
    }

    /// Any answer is consent as well, until a pair is nominated.
    fn expires_at(&self) -> Time {
        let answered = match &self.consent {
            Some(consent) => Some(consent.answered),
            None => self.pairs.iter().filter_map(|pair| pair.answered).max(),
        };
        answered.map_or(Time::NEVER, |answered| answered + CONSENT_LASTS)
    }

    /// A pair is nominated: the others are left alone (RFC 8445 §8.1.2), and this one is asked for
    /// consent.
    fn settle(&mut self, now: Time, remote: SocketAddr) {
        self.pairs.retain(|pair| pair.remote == remote);
        // Only an answer consents; the peer's nomination may come long after it.
        let answered = self.pairs.first().and_then(|pair| pair.answered).unwrap_or(now);
        if let Some(consent) = &mut self.consent {
            consent.answered = answered;
        } else {
            let next = now + self.spread(CONSENT_EVERY);
            self.consent = Some(Consent { remote, answered, next, asked: ArrayVec::new() });
        }
    }

    /// Which pair a new check is for, and whether it nominates.
    fn choose(&self, now: Time) -> Option<(usize, bool)> {
        if self.consent.is_some() {
            return None;
        }
        if self.nominates_at() <= now
            && let Some(best) = self.best_valid()
        {
            return Some((best, true));
        }
        let waiting = |(at, pair): (usize, &Pair)| match pair.state {
            State::Waiting { triggered } => Some((triggered, pair.priority, at)),
            _ => None,
        };
        let (_, _, at) = self.pairs.iter().enumerate().filter_map(waiting).max_by_key(
            // Of equals the one that came first.
            |(triggered, priority, at)| (*triggered, *priority, std::cmp::Reverse(*at)),
        )?;
        Some((at, false))
    }

    /// When [`Checks::choose`] finds something next.
    fn next_choice(&self) -> Time {
        if self.consent.is_some() {
            return Time::NEVER;
        }
        let waits = |pair: &Pair| matches!(pair.state, State::Waiting { .. });
        let check = if self.pairs.iter().any(waits) { Time(0) } else { Time::NEVER };
        let choice = check.min(self.nominates_at());
        if choice == Time::NEVER { choice } else { choice.max(self.next_check) }
    }

    /// When the best pair that works is to be nominated: at once if none better may still answer.
    fn nominates_at(&self) -> Time {
        let (Some(best), Some(first_valid), true) =
            (self.best_valid(), self.first_valid, self.controlling)
        else {
            return Time::NEVER;
        };
        let best = self.pairs.get(best).map_or(0, |pair| pair.priority);
        if self.pairs.iter().any(|pair| pair.transaction().is_some_and(|asked| asked.nominating)) {
            return Time::NEVER;
        }
        let hoped_for = |pair: &Pair| {
            pair.priority > best
                && matches!(pair.state, State::Waiting { .. } | State::InProgress(_))
        };
        if self.pairs.iter().any(hoped_for) { first_valid + BETTER_PAIR_WAIT } else { Time(0) }
    }

    fn best_valid(&self) -> Option<usize> {
        let works = |(_, pair): &(usize, &Pair)| matches!(pair.state, State::Succeeded);
        let best = self.pairs.iter().enumerate().filter(works).max_by_key(|(_, p)| p.priority)?;
        Some(best.0)
    }

    fn begin(
        &mut self,
        now: Time,
        at: usize,
        nominating: bool,
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let id = self.new_transaction();
        let (controlling, due) = (self.controlling, now + RETRANSMIT_AFTER);
        let pair = self.pairs.get_mut(at)?;
        let transaction = Transaction { id, controlling, nominating, sent: 1, due };
        pair.state = State::InProgress(transaction);
        let remote = pair.remote;
        self.write(&transaction, out);
        Some(remote)
    }

    fn send_again(&mut self, now: Time, at: usize, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let pair = self.pairs.get_mut(at)?;
        let State::InProgress(transaction) = &mut pair.state else { return None };
        if transaction.sent >= MAX_SENT {
            pair.state = State::Failed;
            return None;
        }
        transaction.sent += 1;
        transaction.due = now
            + match transaction.sent {
                MAX_SENT => RETRANSMIT_AFTER * LAST_WAIT,
                sent => RETRANSMIT_AFTER * (1 << sent.saturating_sub(1)),
            };
        let (transaction, remote) = (*transaction, pair.remote);
        self.write(&transaction, out);
        Some(remote)
    }

    fn poll_consent(&mut self, now: Time, out: &mut Vec<u8>) -> Option<SocketAddr> {
        self.consent.as_ref().filter(|consent| consent.next <= now)?;
        let id = self.new_transaction();
        let wait = self.spread(CONSENT_EVERY);
        let controlling = self.controlling;
        let consent = self.consent.as_mut()?;
        consent.next = now + wait;
        if consent.asked.is_full() {
            consent.asked.remove(0);
        }
        consent.asked.push(Asked { id, controlling });
        let remote = consent.remote;
        let due = Time::NEVER;
        self.write(&Transaction { id, controlling, nominating: controlling, sent: 1, due }, out);
        Some(remote)
    }

    fn write(&self, transaction: &Transaction, out: &mut Vec<u8>) {
        let check = Check {
            username: &self.username,
            priority: PRIORITY,
            controlling: transaction.controlling,
            tie_breaker: self.tie_breaker,
            use_candidate: transaction.nominating && transaction.controlling,
        };
        stun::request(transaction.id, &check, &self.key, out);
    }

    /// What nobody can guess who does not know the password (RFC 8489 §5).
    fn new_transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        self.key.derive(self.tie_breaker, self.transactions)
    }

    /// A fifth more or less than this.
    fn spread(&mut self, around: Duration) -> Duration {
        let [low, high, ..] = self.new_transaction();
        around * 4 / 5 + around * u32::from(u16::from_be_bytes([low, high])) / 65_536 * 2 / 5
    }
}

impl Pair {
    fn new(remote: SocketAddr, priority: u32, triggered: bool) -> Pair {
        let state = State::Waiting { triggered };
        Pair { remote, priority, state, answered: None, nominated: false }
    }

    /// The peer has checked it, so it may have become passable (RFC 8445 §7.3.1.4).
    fn trigger(&mut self, now: Time) {
        match &mut self.state {
            State::Waiting { triggered } => *triggered = true,
            State::InProgress(transaction) => {
                // From the start, yet under its old id: what is on its way may still answer it.
                transaction.sent = 0;
                transaction.due = transaction.due.min(now + PACE);
            }
            State::Failed => self.state = State::Waiting { triggered: true },
            State::Succeeded => {}
        }
    }

    fn transaction(&self) -> Option<Transaction> {
        match self.state {
            State::InProgress(transaction) => Some(transaction),
            _ => None,
        }
    }

    fn retransmit_at(&self) -> Time {
        self.transaction().map_or(Time::NEVER, |transaction| transaction.due)
    }
}

#[cfg(test)]
mod tests;
