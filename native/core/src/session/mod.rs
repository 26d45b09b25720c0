//! One ICE + DTLS association and its way through its states.
//!
//! Every shard knows every session by its credentials ([`Session`]); the shard that receives its
//! first authenticated check claims it ([`Claim`]) and alone holds its [`Association`]. A session in
//! the client role is known to its owner alone, since it has a socket of its own.
//! docs/lifetimes.md says who ends what.

mod checks;
mod credentials;
mod newcomer;
mod paths;

use std::sync::Arc;
use std::time::Duration;

pub use checks::{Answer, Checks, PeerGivesWay, PeersCheck};
pub use credentials::Credentials;
pub use newcomer::Newcomer;
pub use paths::{Changed, Paths};

use crate::claim::Claim;
use crate::command::{AddSession, Media};
use crate::ids::{SessionId, StreamId};
use crate::path::Path;
use crate::source::Source;
use crate::srtp::{Opener, Profile, Sealer};
use crate::time::Time;
use crate::wake::Armed;

/// A BYE is a hint: whoever said it and is silent for so long is gone.
const BYE_SILENCE: Duration = Duration::from_secs(3);

/// DTLS datagrams that one session may bring before it has keys: several handshakes' worth.
const MAX_DTLS_DATAGRAMS: u32 = 128;

/// What every shard knows of a session.
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When control's command came.
    pub added: Time,
    /// Who owns it.
    pub claim: Claim,
    /// Its credentials; none for a local publisher.
    pub ice: Option<Credentials>,
    /// Paths that lead here on a shard that does not own it, so that they can be forgotten.
    pub stray_paths: Vec<Path>,
    /// What it does; taken by the shard that claims it.
    pub media: Option<Arc<Media>>,
    /// What the owner knows of it.
    pub association: Option<Box<Association>>,
}

/// What a session is for, with what its owner needs to do it.
pub enum Part {
    /// It publishes.
    Publisher {
        /// Which stream.
        stream: StreamId,
        /// What it sends us.
        source: Box<Source>,
    },
    /// It watches a stream, from this slot of its subscribers once it has keys.
    Viewer {
        /// Which stream.
        stream: StreamId,
        /// Where among the stream's subscribers.
        slot: Option<usize>,
    },
}

/// A claimed session.
pub struct Association {
    /// How it is reached.
    pub paths: Paths,
    /// In the client role: our own checks.
    pub checks: Option<Box<Checks>>,
    /// What came by SRTP before the keys, and when.
    pub early: Vec<(Time, Box<[u8]>)>,
    /// What it does.
    pub part: Part,
    /// A publisher that waits for its turn.
    pub newcomer: Option<Box<Newcomer>>,
    /// Both directions of SRTP once the handshake is done. A viewer's sealer is its subscriber's.
    /// Apart, because key schedules are large and most of a flood never gets so far.
    pub opener: Option<Box<Opener>>,
    /// A publisher's way back: reports and requests.
    pub sealer: Option<Box<Sealer>>,
    /// Negotiated with the keys.
    pub profile: Option<Profile>,
    /// The sealed close_notify; set when control freed the DTLS connection.
    pub farewell: Option<Vec<u8>>,
    /// Something authenticated by SRTP has arrived.
    pub secured: bool,
    /// Control has been told that media flows.
    pub flowing: bool,
    /// When it was claimed.
    pub since: Time,
    /// When the last authenticated check or packet arrived.
    pub last_heard: Time,
    /// When it said BYE, if nothing was heard since.
    pub bye_at: Option<Time>,
    /// When a viewer's next sender reports are due.
    pub next_report: Time,
    /// Deadline in the shard's wake.
    pub armed: Armed,
    /// It waits in the shard's list of sources with something to send.
    pub queued: bool,
    /// A local publisher has neither paths nor keys.
    local: bool,
    dtls_left: u32,
}

impl Session {
    /// As control added it.
    #[must_use]
    pub fn new(now: Time, added: AddSession) -> Session {
        Session {
            id: added.session,
            added: now,
            claim: added.claim,
            ice: added.ice.as_ref().map(Credentials::new),
            stray_paths: Vec::new(),
            media: Some(added.media),
            association: None,
        }
    }

    /// The stream that it publishes, on whichever shard it is.
    #[must_use]
    pub fn publishes(&self) -> Option<StreamId> {
        match (self.association.as_deref().map(|a| &a.part), self.media.as_deref()) {
            (Some(Part::Publisher { stream, .. }), _) => Some(*stream),
            (None, Some(Media::Publish { stream, .. })) => Some(*stream),
            _ => None,
        }
    }
}

impl Association {
    /// A session that was claimed a moment ago.
    #[must_use]
    pub fn new(now: Time, part: Part, local: bool) -> Association {
        Association {
            paths: Paths::default(),
            checks: None,
            early: Vec::new(),
            part,
            newcomer: None,
            opener: None,
            sealer: None,
            profile: None,
            farewell: None,
            secured: false,
            flowing: false,
            since: now,
            last_heard: now,
            bye_at: None,
            next_report: Time::NEVER,
            armed: Armed::default(),
            queued: false,
            local,
            dtls_left: MAX_DTLS_DATAGRAMS,
        }
    }

    /// An authenticated check or packet arrived.
    pub fn heard(&mut self, now: Time) {
        self.last_heard = now;
        self.bye_at = None;
    }

    /// When it will count as gone if nothing more is heard.
    #[must_use]
    pub fn silent_at(&self, silence: Duration) -> Time {
        if self.local {
            return Time::NEVER;
        }
        let by_silence = self.last_heard + silence;
        // A server does not change its tracks: when it says BYE it is done with us.
        let hint = if self.checks.is_some() { Duration::ZERO } else { BYE_SILENCE };
        self.bye_at.map_or(by_silence, |at| by_silence.min(at + hint))
    }

    /// A DTLS datagram has come.
    #[must_use]
    pub fn has_begun_dtls(&self) -> bool {
        self.dtls_left < MAX_DTLS_DATAGRAMS
    }

    /// True if one more DTLS datagram may go to control.
    pub fn admit_dtls(&mut self) -> bool {
        let admitted = self.farewell.is_none() && self.dtls_left > 0;
        self.dtls_left -= u32::from(admitted);
        admitted
    }

    /// As the API shows it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.profile.is_some() || self.local, self.flowing) {
            (false, _) => "connecting",
            (true, false) => "starting",
            (true, true) => "live",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_keys_is_small() {
        // There may be ten thousand of them before anybody has shown who he is.
        assert!(size_of::<Session>() + size_of::<Association>() < 1_280);
    }
}
