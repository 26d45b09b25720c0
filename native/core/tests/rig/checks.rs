//! A peer's checks: now and then while all is well, every 50 ms while a restart is under way.

use std::net::SocketAddr;
use std::time::Duration;

use pyforward_core::ids::SessionId;
use pyforward_core::time::Time;

use super::check_of;

const NOW_AND_THEN: Duration = Duration::from_millis(2_500);
const AGAIN: Duration = Duration::from_millis(50);

pub struct Checks {
    session: SessionId,
    /// Where media goes from.
    pub address: SocketAddr,
    /// It hears there too.
    other: Option<SocketAddr>,
    generation: u32,
    stage: Stage,
    next: Time,
    since: Time,
}

/// As a browser restarts (RFC 8445 §9): media stays where it is until the new pair is valid, then
/// the new pair is nominated.
enum Stage {
    Settled,
    Trying(SocketAddr),
    Nominating,
}

impl Checks {
    pub fn new(session: SessionId, address: SocketAddr, now: Time) -> Checks {
        let (stage, other) = (Stage::Settled, None);
        Checks { session, address, other, generation: 0, stage, next: now, since: now }
    }

    pub fn owns(&self, address: SocketAddr) -> bool {
        self.address == address || self.other == Some(address)
    }

    pub fn due(&self) -> Time {
        self.next
    }

    /// Takes a new address without a restart, and checks from there at once.
    pub fn move_to(&mut self, now: Time, address: SocketAddr) {
        (self.address, self.next) = (address, now);
    }

    /// Restarts with the credentials of this generation, from an address that may be the same.
    /// `keep` tells whether the old one still hears meanwhile, as Wi-Fi beside mobile does.
    pub fn restart(&mut self, now: Time, generation: u32, address: SocketAddr, keep: bool) {
        (self.generation, self.next, self.since) = (generation, now, now);
        self.stage = Stage::Trying(address);
        self.other = Some(address);
        if !keep {
            self.address = address;
        }
    }

    pub fn poll(&mut self, now: Time, nominate: bool) -> Option<(SocketAddr, Vec<u8>)> {
        if self.next > now {
            return None;
        }
        let (from, nominate, wait) = match self.stage {
            Stage::Settled => (self.address, nominate, NOW_AND_THEN),
            Stage::Trying(address) => (address, false, AGAIN),
            Stage::Nominating => (self.address, nominate, AGAIN),
        };
        self.next = now + wait;
        Some((from, check_of(self.session, self.generation, now.0, nominate)))
    }

    pub fn handle_answer(&mut self, now: Time, answer: &[u8]) {
        let asked = u64::from_be_bytes(answer[12..20].try_into().expect("a STUN header"));
        if asked < self.since.0 {
            return;
        }
        match self.stage {
            Stage::Settled => {}
            Stage::Trying(address) => {
                self.other = Some(self.address);
                (self.address, self.next) = (address, now);
                self.stage = Stage::Nominating;
            }
            Stage::Nominating => {
                self.stage = Stage::Settled;
                self.next = now + NOW_AND_THEN;
            }
        }
    }
}
