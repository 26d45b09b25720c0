//! The agent against a peer that answers as the test says.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::stun::{ErrorCode, IntegrityKey};

const TIE_BREAKER: u64 = 1_000;
const SECOND: u64 = 1_000_000;

fn ice() -> IceCredentials {
    IceCredentials {
        local_ufrag: "ours".into(),
        local_pwd: "our-password-our-password".into(),
        remote_ufrag: "theirs".into(),
        remote_pwd: "their-password-their-password".into(),
    }
}

fn their_key() -> IntegrityKey {
    IntegrityKey::new(&ice().remote_pwd)
}

fn address(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// A check that left.
#[derive(Clone, Debug)]
struct Sent {
    at: Time,
    to: SocketAddr,
    id: TransactionId,
    controlling: Option<u64>,
    controlled: Option<u64>,
    nominates: bool,
}

/// An agent, the time, and what has left.
struct Table {
    checks: Checks,
    now: Time,
    sent: Vec<Sent>,
}

impl Table {
    /// With candidates at these ports, whose priorities are given.
    fn new(candidates: &[(u16, u32)]) -> Table {
        let candidate = |(port, priority): &(u16, u32)| RemoteCandidate {
            address: address(*port),
            priority: *priority,
        };
        let candidates: Vec<RemoteCandidate> = candidates.iter().map(candidate).collect();
        let mut checks = Checks::new(&ice(), &candidates, TIE_BREAKER);
        let now = Time(SECOND);
        checks.open(now);
        let mut table = Table { checks, now, sent: Vec::new() };
        table.poll();
        table
    }

    /// One candidate that has answered and was nominated.
    fn nominated() -> Table {
        let mut table = Table::new(&[(1, 10)]);
        assert!(matches!(table.answer_last(), Ok(Answer::Valid { nominated: false, .. })));
        table.run(PACE);
        assert!(table.last().nominates);
        assert!(matches!(table.answer_last(), Ok(Answer::Valid { nominated: true, .. })));
        table
    }

    fn poll(&mut self) {
        let mut bytes = Vec::new();
        while let Some(to) = self.checks.poll(self.now, &mut bytes) {
            let request = stun::parse(&bytes).unwrap();
            request.verify(&their_key()).unwrap();
            assert_eq!((request.local_ufrag, request.remote_ufrag), ("theirs", "ours"));
            assert_eq!(request.priority, Some(PRIORITY));
            self.sent.push(Sent {
                at: self.now,
                to,
                id: request.transaction,
                controlling: request.controlling,
                controlled: request.controlled,
                nominates: request.use_candidate,
            });
            bytes.clear();
        }
        assert!(self.checks.due() > self.now || self.checks.has_expired(self.now), "it spins");
        assert!(self.checks.pairs.len() <= MAX_PAIRS);
    }

    /// Lets time pass; whatever becomes due leaves.
    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.checks.due() <= until && !self.checks.has_expired(self.now) {
            self.now = self.now.max(self.checks.due());
            self.poll();
        }
        self.now = until;
    }

    fn last(&self) -> Sent {
        self.sent.last().unwrap().clone()
    }

    /// What left since `from`, in milliseconds after it, and where to.
    fn since(&self, from: Time) -> Vec<(u64, u16)> {
        let sent = self.sent.iter().filter(|sent| sent.at >= from);
        sent.map(|s| (s.at.since(from).as_millis() as u64, s.to.port())).collect()
    }

    fn answer(&mut self, sent: &Sent) -> Result<Answer, Discard> {
        self.answer_from(sent.to, sent.id)
    }

    fn answer_from(&mut self, from: SocketAddr, id: TransactionId) -> Result<Answer, Discard> {
        let mut bytes = Vec::new();
        stun::success(id, address(50_000), &their_key(), &mut bytes);
        self.take(from, &bytes)
    }

    fn answer_last(&mut self) -> Result<Answer, Discard> {
        self.answer(&self.last())
    }

    fn refuse_last(&mut self, code: ErrorCode) -> Result<Answer, Discard> {
        let (mut bytes, sent) = (Vec::new(), self.last());
        stun::error(sent.id, code, &[], Some(&their_key()), &mut bytes);
        self.take(sent.to, &bytes)
    }

    fn take(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<Answer, Discard> {
        self.checks.handle_response(self.now, from, &stun::parse_response(bytes).unwrap())
    }

    /// The peer checks us in this role.
    fn asked(
        &mut self,
        port: u16,
        controlling: bool,
        tie_breaker: u64,
        use_candidate: bool,
    ) -> Result<PeersCheck, PeerGivesWay> {
        let username = "ours:theirs";
        let check = Check { username, priority: 7, controlling, tie_breaker, use_candidate };
        let mut bytes = Vec::new();
        stun::request([9; 12], &check, &their_key(), &mut bytes);
        self.checks.handle_request(self.now, address(port), &stun::parse(&bytes).unwrap())
    }
}

const PROVEN: Result<PeersCheck, PeerGivesWay> = Ok(PeersCheck::Proven { nominated: false });
const NOMINATED: Result<PeersCheck, PeerGivesWay> = Ok(PeersCheck::Proven { nominated: true });
const UNPROVEN: Result<PeersCheck, PeerGivesWay> = Ok(PeersCheck::Unproven);

#[test]
fn the_best_that_answers_is_nominated_at_once_if_no_better_one_may_still_answer() {
    let mut table = Table::new(&[(1, 10), (2, 30), (3, 20)]);
    table.run(PACE * 2);
    assert_eq!(table.since(Time(0)).iter().map(|s| s.1).collect::<Vec<_>>(), [2, 3, 1]);
    let third = table.last();
    assert_eq!(table.answer(&third), Ok(Answer::Valid { priority: 10, nominated: false }));
    table.run(BETTER_PAIR_WAIT / 2);
    assert!(table.sent.iter().all(|sent| !sent.nominates), "better ones may still answer");
    let best = table.sent[0].clone();
    assert_eq!(table.answer(&best), Ok(Answer::Valid { priority: 30, nominated: false }));
    table.run(Duration::ZERO);
    assert!(table.last().nominates && table.last().to == address(2));
}

#[test]
fn a_better_one_is_waited_for_no_longer_than_it_is_worth() {
    let mut table = Table::new(&[(1, 10), (2, 30)]);
    table.run(PACE);
    assert!(table.answer_last().is_ok());
    let answered = table.now;
    table.run(Duration::from_millis(300));
    let nomination = table.sent.iter().find(|sent| sent.nominates).unwrap();
    assert_eq!((nomination.at, nomination.to), (answered + BETTER_PAIR_WAIT, address(1)));
}

#[test]
fn a_lost_nomination_is_repeated_and_settles_everything() {
    let mut table = Table::new(&[(1, 10), (2, 5)]);
    assert!(table.answer_last().is_ok());
    table.run(PACE);
    let (first, from) = (table.last(), table.now);
    assert!(first.nominates);
    table.run(Duration::from_millis(3_600));
    let repeated: Vec<&Sent> = table.sent.iter().filter(|sent| sent.id == first.id).collect();
    assert!(repeated.iter().all(|sent| sent.nominates));
    let times: Vec<u128> = repeated.iter().map(|s| s.at.since(from).as_millis()).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500]);
    assert!(table.sent.iter().any(|sent| sent.to == address(2)), "others are checked meanwhile");
    assert_eq!(table.answer(&first), Ok(Answer::Valid { priority: 10, nominated: true }));
    let settled = table.now;
    table.run(Duration::from_secs(20));
    assert!(table.since(settled).iter().all(|(_, port)| *port == 1));
}

#[test]
fn a_refused_nomination_leads_to_the_next_best() {
    let mut table = Table::new(&[(1, 10), (2, 30)]);
    assert!(table.answer_last().is_ok());
    table.run(PACE);
    assert_eq!((table.last().to, table.last().nominates), (address(2), true));
    assert_eq!(table.refuse_last(ErrorCode::BadRequest), Ok(Answer::Nothing));
    table.run(PACE);
    assert_eq!((table.last().to, table.last().nominates), (address(1), false));
    assert!(table.answer_last().is_ok());
    table.run(PACE);
    assert_eq!((table.last().to, table.last().nominates), (address(1), true));
}

#[test]
fn in_a_conflict_we_take_the_other_role_and_a_new_tie_breaker() {
    let mut table = Table::new(&[(1, 10), (2, 5)]);
    assert_eq!(table.last().controlling, Some(TIE_BREAKER));
    table.run(PACE);
    let second = table.last();
    let first = table.sent[0].clone();
    let mut bytes = Vec::new();
    stun::error(first.id, ErrorCode::RoleConflict, &[], Some(&their_key()), &mut bytes);
    assert_eq!(table.take(first.to, &bytes), Ok(Answer::Nothing));
    // The other check was asked in the same role: we have changed it already.
    assert_eq!(second.controlling, Some(TIE_BREAKER));
    bytes.clear();
    stun::error(second.id, ErrorCode::RoleConflict, &[], Some(&their_key()), &mut bytes);
    assert_eq!(table.take(second.to, &bytes), Ok(Answer::Nothing));
    table.run(PACE * 2);
    let again = &table.sent[2..];
    assert_eq!(again.len(), 2);
    for sent in again {
        assert!(sent.controlling.is_none() && sent.controlled != Some(TIE_BREAKER));
        assert_eq!(sent.controlled, again[0].controlled);
    }
    // Controlled, we nominate nothing ourselves.
    let (first, second) = (again[0].clone(), again[1].clone());
    assert!(table.answer(&first).is_ok() && table.answer(&second).is_ok());
    table.run(Duration::from_secs(2));
    assert!(table.sent.iter().all(|sent| !sent.nominates));
    assert_eq!(table.asked(second.to.port(), true, 1, true), NOMINATED);
    let settled = table.now;
    table.run(Duration::from_secs(7));
    assert!(table.since(settled).iter().all(|(_, port)| *port == second.to.port()));
    assert!(table.sent.iter().all(|sent| !sent.nominates));
}

#[test]
fn of_two_in_one_role_the_larger_tie_breaker_controls() {
    let mut table = Table::new(&[(1, 10)]);
    assert_eq!(table.asked(1, true, TIE_BREAKER - 1, true), Err(PeerGivesWay));
    assert_eq!(table.asked(1, true, TIE_BREAKER, true), Err(PeerGivesWay));
    assert!(table.checks.controlling);
    assert_eq!(table.asked(1, true, TIE_BREAKER + 1, false), UNPROVEN);
    assert!(!table.checks.controlling);
    assert_eq!(table.asked(1, false, TIE_BREAKER + 1, false), Err(PeerGivesWay));
    assert!(!table.checks.controlling);
    assert_eq!(table.asked(1, false, TIE_BREAKER, false), UNPROVEN);
    assert!(table.checks.controlling);
}

#[test]
fn a_storm_of_conflicts_is_no_storm_of_checks() {
    let mut table = Table::new(&[(1, 10)]);
    let from = table.now;
    while table.now.since(from) < Duration::from_secs(1) {
        assert_eq!(table.refuse_last(ErrorCode::RoleConflict), Ok(Answer::Nothing));
        table.run(PACE);
    }
    assert!(table.sent.len() <= 21);
}

#[test]
fn a_peers_nomination_counts_once_we_were_answered_there() {
    let mut table = Table::new(&[(1, 10)]);
    assert_eq!(table.asked(1, true, u64::MAX, true), UNPROVEN);
    assert!(table.checks.consent.is_none());
    let first = table.sent[0].clone();
    assert_eq!(table.answer(&first), Ok(Answer::Valid { priority: 10, nominated: true }));
    assert_eq!(table.asked(1, true, u64::MAX, true), NOMINATED);
    assert_eq!(table.asked(1, true, u64::MAX, false), PROVEN);
    // What is nominated stays so.
    assert_eq!(table.asked(2, true, u64::MAX, true), UNPROVEN);
    table.run(Duration::from_secs(1));
    assert!(table.sent.iter().all(|sent| sent.to == address(1)));
}

#[test]
fn a_candidate_that_shows_itself_by_checking_is_checked() {
    let mut table = Table::new(&[(1, 10)]);
    table.run(Duration::from_millis(200));
    let from = table.now;
    assert_eq!(table.asked(77, false, 5, false), UNPROVEN);
    table.run(Duration::ZERO);
    assert_eq!(table.since(from), [(0, 77)]);
    assert_eq!(table.answer_last(), Ok(Answer::Valid { priority: 7, nominated: false }));
    assert_eq!(table.asked(77, false, 5, false), PROVEN);
}

#[test]
fn a_waiting_one_that_the_peer_checks_is_next() {
    let mut table = Table::new(&[(1, 40), (2, 30), (3, 20), (4, 10)]);
    assert_eq!(table.asked(4, false, 5, false), UNPROVEN);
    let from = table.now;
    table.run(PACE * 3);
    assert_eq!(table.since(from), [(0, 1), (50, 4), (100, 2), (150, 3)]);
}

#[test]
fn what_is_under_way_is_sent_again_at_once_when_the_peer_checks() {
    let mut table = Table::new(&[(1, 10)]);
    table.run(Duration::from_millis(100));
    let from = table.now;
    for _ in 0..10 {
        assert_eq!(table.asked(1, false, 5, false), UNPROVEN);
    }
    table.run(Duration::from_millis(700));
    assert_eq!(table.since(from), [(50, 1), (550, 1)]);
    let first = table.sent[0].clone();
    assert!(table.sent.iter().all(|sent| sent.id == first.id));
    assert!(table.answer(&first).is_ok(), "the first one was slow, not lost");
}

#[test]
fn one_that_failed_is_checked_again_when_the_peer_checks_it() {
    let mut table = Table::new(&[(1, 10)]);
    assert_eq!(table.refuse_last(ErrorCode::BadRequest), Ok(Answer::Nothing));
    table.run(Duration::from_secs(5));
    assert_eq!(table.sent.len(), 1);
    assert_eq!(table.checks.due(), Time::NEVER);
    assert_eq!(table.asked(1, false, 5, false), UNPROVEN);
    table.run(Duration::ZERO);
    assert_eq!(table.sent.len(), 2);
    assert!(table.answer_last().is_ok());
}

#[test]
fn after_seven_times_and_a_last_wait_a_check_has_failed() {
    let mut table = Table::new(&[(1, 10)]);
    table.run(Duration::from_secs(60));
    let times: Vec<u64> = table.since(Time(SECOND)).iter().map(|sent| sent.0).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(table.answer_last(), Err(Discard::StunUnexpected));
}

#[test]
fn pairs_are_bounded_and_one_that_failed_makes_room() {
    let many: Vec<(u16, u32)> = (1..=40).map(|port| (port, u32::from(port))).collect();
    let mut table = Table::new(&many);
    table.run(Duration::from_secs(60));
    let mut asked: Vec<u16> = table.sent.iter().map(|sent| sent.to.port()).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, (25..=40).collect::<Vec<u16>>(), "the best");
    for port in 100..1_100 {
        assert_eq!(table.asked(port, true, u64::MAX, true), UNPROVEN);
    }
    assert_eq!(table.checks.pairs.len(), MAX_PAIRS);
    let from = table.now;
    table.run(Duration::from_secs(1));
    let mut asked: Vec<u16> = table.since(from).iter().map(|sent| sent.1).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, (100..116).collect::<Vec<u16>>());
}

#[test]
fn only_the_right_answer_from_the_right_address_counts_and_once() {
    let mut table = Table::new(&[(1, 10), (2, 5)]);
    let sent = table.last();
    let (to, id) = (sent.to, sent.id);
    assert_eq!(table.answer_from(address(2), id), Err(Discard::StunUnexpected));
    assert_eq!(table.answer_from(address(9), id), Err(Discard::StunUnexpected));
    assert_eq!(table.answer_from(to, [0; 12]), Err(Discard::StunUnexpected));
    let wrong = IntegrityKey::new(&ice().local_pwd);
    for key in [None, Some(&wrong)] {
        let mut bytes = Vec::new();
        stun::error(id, ErrorCode::RoleConflict, &[], key, &mut bytes);
        assert_eq!(table.take(to, &bytes), Err(Discard::StunIntegrity));
    }
    let mut bytes = Vec::new();
    stun::success(id, address(50_000), &wrong, &mut bytes);
    assert_eq!(table.take(to, &bytes), Err(Discard::StunIntegrity));
    assert!(table.checks.controlling);
    assert!(table.answer_last().is_ok());
    assert_eq!(table.answer_from(to, id), Err(Discard::StunUnexpected), "a replay");
}

#[test]
fn nominations_are_no_consent_and_do_not_put_off_asking_for_it() {
    let mut table = Table::new(&[(1, 10)]);
    assert_eq!(table.asked(1, true, u64::MAX, true), UNPROVEN);
    let first = table.sent[0].clone();
    assert!(table.answer(&first).is_ok());
    let from = table.now;
    for _ in 0..11 {
        assert!(!table.checks.has_expired(table.now));
        table.run(Duration::from_millis(2_500));
        assert_eq!(table.asked(1, true, u64::MAX, true), NOMINATED);
    }
    assert!(table.since(from).len() >= 4, "{:?}", table.since(from));
    table.run(Duration::from_millis(2_499));
    assert!(!table.checks.has_expired(table.now));
    table.run(Duration::from_millis(1));
    assert!(table.checks.has_expired(table.now));
}

#[test]
fn a_nomination_long_after_the_answer_is_no_answer() {
    let mut table = Table::new(&[(1, 10)]);
    assert_eq!(table.asked(1, true, u64::MAX, false), UNPROVEN);
    assert!(table.answer(&table.sent[0].clone()).is_ok());
    table.run(Duration::from_secs(29));
    assert_eq!(table.asked(1, true, u64::MAX, true), NOMINATED);
    table.run(Duration::from_secs(1));
    assert!(table.checks.has_expired(table.now));
}

#[test]
fn an_error_is_no_consent() {
    let mut table = Table::nominated();
    let from = table.now;
    for _ in 0..4 {
        let count = table.sent.len();
        table.run(Duration::from_secs(6));
        assert!(table.sent.len() > count);
        assert_eq!(table.refuse_last(ErrorCode::BadRequest), Ok(Answer::Nothing));
    }
    table.run((from + CONSENT_LASTS).since(table.now));
    assert!(table.checks.has_expired(table.now));
}

#[test]
fn a_conflict_about_consent_is_settled_by_the_next_asking() {
    let mut table = Table::nominated();
    table.run(Duration::from_secs(6));
    assert!(table.last().nominates);
    assert_eq!(table.refuse_last(ErrorCode::RoleConflict), Ok(Answer::Nothing));
    table.run(Duration::from_secs(6));
    assert!(table.last().controlled.is_some() && !table.last().nominates);
    assert_eq!(table.answer_last(), Ok(Answer::Consent));
}

#[test]
fn consent_lasts_from_the_last_answer_and_no_answer_counts_twice() {
    let mut table = Table::nominated();
    table.run(Duration::from_secs(14));
    let asked = table.sent[2..].to_vec();
    assert!(asked.len() >= 2);
    // A late answer is one all the same.
    assert_eq!(table.answer(&asked[0]), Ok(Answer::Consent));
    let answered = table.now;
    table.run(Duration::from_secs(10));
    assert_eq!(table.answer(&asked[0]), Err(Discard::StunUnexpected));
    let elsewhere = asked[1].clone();
    assert_eq!(table.answer_from(address(2), elsewhere.id), Err(Discard::StunUnexpected));
    table.run((answered + CONSENT_LASTS).since(table.now));
    assert!(table.checks.has_expired(table.now));
}

/// Whatever comes in whatever order: no spinning, no more pairs than there may be, and never a
/// check faster than the pace allows. [`Table::poll`] holds it against this.
#[test]
fn whatever_the_peer_does_nothing_spins_or_grows() {
    let mut random = 1_u64;
    let mut next = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % bound
    };
    for _ in 0..200 {
        let candidates: Vec<(u16, u32)> =
            (0..next(20)).map(|_| (next(20) as u16, next(9) as u32)).collect();
        let mut table = Table::new(&candidates);
        for _ in 0..200 {
            let some = table.sent.len().checked_sub(1).map(|last| {
                let back = next(4).min(last as u64) as usize;
                table.sent[last - back].clone()
            });
            match (next(6), some) {
                (0 | 1, Some(sent)) => _ = table.answer(&sent),
                (2, Some(sent)) => {
                    let codes = [ErrorCode::RoleConflict, ErrorCode::BadRequest];
                    let mut bytes = Vec::new();
                    let code = codes[next(2) as usize];
                    stun::error(sent.id, code, &[], Some(&their_key()), &mut bytes);
                    let _ = table.take(sent.to, &bytes);
                }
                (3, _) => {
                    let (port, tie_breaker) = (next(30) as u16, next(2) * u64::MAX);
                    let _ = table.asked(port, next(2) == 0, tie_breaker, next(2) == 0);
                }
                _ => table.run(Duration::from_millis([1, 49, 700][next(3) as usize])),
            }
            if table.checks.has_expired(table.now) {
                break;
            }
            table.poll();
        }
        let (seconds, sent) = (table.now.since(Time(SECOND)).as_secs() + 1, table.sent.len());
        assert!(sent as u64 <= 50 * seconds + 100, "{sent} in {seconds} s");
    }
}
