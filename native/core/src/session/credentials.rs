//! The ICE credentials that lead to a session: those in force, and those of a restart whose first
//! check has not come yet (RFC 8445 §9). Never more than these two.

use crate::claim::Proven;
use crate::command::IceCredentials;
use crate::discard::Discard;
use crate::stun::{BindingRequest, IntegrityKey};

/// See the module.
pub struct Credentials {
    current: Ice,
    /// Boxed, because few sessions ever restart.
    next: Option<Box<Next>>,
}

/// Credentials in the form that checks are judged by.
struct Ice {
    /// The first half of an incoming USERNAME.
    local_ufrag: Box<str>,
    /// The key of an incoming MESSAGE-INTEGRITY.
    key: IntegrityKey,
}

struct Next {
    ice: Ice,
    proven: Proven,
}

impl Credentials {
    /// Those of the answer.
    #[must_use]
    pub fn new(credentials: &IceCredentials) -> Credentials {
        Credentials { current: Ice::from(credentials), next: None }
    }

    /// The local ufrags that lead to the session.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        let next = self.next.as_ref().map(|next| &next.ice);
        [Some(&self.current), next].into_iter().flatten().map(|ice| &*ice.local_ufrag)
    }

    /// Takes those of a restart. Returns the ufrag that gives way to them, if one does: that of an
    /// earlier restart which nobody used, otherwise the one which that restart has replaced.
    pub fn restart(&mut self, credentials: &IceCredentials, proven: Proven) -> Option<Box<str>> {
        let retired = self.settle();
        let next = Box::new(Next { ice: Ice::from(credentials), proven });
        let unused = self.next.replace(next).map(|unused| unused.ice.local_ufrag);
        retired.or(unused)
    }

    /// Once a check with the next ones was seen, here or on another shard, they are the ones in
    /// force. Returns the ufrag that leads here no more.
    pub fn settle(&mut self) -> Option<Box<str>> {
        let next = self.next.take_if(|next| next.proven.is_set())?;
        Some(std::mem::replace(&mut self.current, next.ice).local_ufrag)
    }

    /// Judges a check; one with the next ones proves them, for every shard.
    ///
    /// # Errors
    /// [`Discard::StunUnknownUfrag`] for a retired ufrag, [`Discard::StunIntegrity`].
    pub fn verify(&self, request: &BindingRequest<'_>) -> Result<(), Discard> {
        request.verify(self.key_of(request.local_ufrag).ok_or(Discard::StunUnknownUfrag)?)?;
        if let Some(next) = &self.next
            && *next.ice.local_ufrag == *request.local_ufrag
        {
            next.proven.set();
        }
        Ok(())
    }

    /// What an answer to a check with this ufrag is signed with.
    #[must_use]
    pub fn key_of(&self, local_ufrag: &str) -> Option<&IntegrityKey> {
        let next = self.next.as_ref().map(|next| &next.ice);
        let mut both = [Some(&self.current), next].into_iter().flatten();
        both.find(|ice| *ice.local_ufrag == *local_ufrag).map(|ice| &ice.key)
    }
}

impl From<&IceCredentials> for Ice {
    fn from(credentials: &IceCredentials) -> Ice {
        Ice {
            local_ufrag: credentials.local_ufrag.as_str().into(),
            key: IntegrityKey::new(&credentials.local_pwd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ufrag: &str) -> IceCredentials {
        IceCredentials {
            local_ufrag: ufrag.into(),
            local_pwd: "password-of-the-server".into(),
            remote_ufrag: "peer".into(),
            remote_pwd: "password-of-the-peer..".into(),
        }
    }

    fn ufrags(credentials: &Credentials) -> Vec<&str> {
        credentials.ufrags().collect()
    }

    #[test]
    fn two_at_most_and_the_one_in_force_stays_until_the_next_is_proven() {
        let mut held = Credentials::new(&credentials("first"));
        assert_eq!(held.restart(&credentials("second"), Proven::default()), None);
        let third = Proven::default();
        let retired = held.restart(&credentials("third"), third.clone());
        assert_eq!(retired.as_deref(), Some("second"), "nobody used it");
        assert_eq!(held.settle(), None);
        assert_eq!(ufrags(&held), ["first", "third"]);
        third.set();
        assert_eq!(held.settle().as_deref(), Some("first"));
        assert_eq!(ufrags(&held), ["third"]);
    }

    #[test]
    fn a_restart_after_one_that_was_proven_elsewhere_keeps_the_proven_one() {
        let mut held = Credentials::new(&credentials("first"));
        let second = Proven::default();
        let _ = held.restart(&credentials("second"), second.clone());
        second.set();
        let retired = held.restart(&credentials("third"), Proven::default());
        assert_eq!(retired.as_deref(), Some("first"));
        assert_eq!(ufrags(&held), ["second", "third"]);
    }
}
