//! Reading a binding request (RFC 8489 §6.3, RFC 8445 §7.3).

use arrayvec::ArrayVec;

use super::message::{Attribute, Integrity, header, walk};
use super::{IntegrityKey, TransactionId, attribute, message_type};
use crate::discard::Discard;

/// How many unknown attributes an answer names.
pub const MAX_UNKNOWN: usize = 8;

/// A binding request whose lengths and FINGERPRINT are right. What it says is a stranger's word
/// until [`BindingRequest::verify`] succeeds.
#[derive(Clone, Debug)]
pub struct BindingRequest<'a> {
    /// Goes back in the answer.
    pub transaction: TransactionId,
    /// The username's part before the colon: ours, it names the session.
    pub local_ufrag: &'a str,
    /// The username's part behind the colon: the peer's.
    pub remote_ufrag: &'a str,
    /// PRIORITY (RFC 8445 §7.1.1); FFmpeg 8.0 leaves it out.
    pub priority: Option<u32>,
    /// USE-CANDIDATE (RFC 8445 §7.1.2): the peer nominates this pair.
    pub use_candidate: bool,
    /// The tie-breaker of ICE-CONTROLLING (RFC 8445 §7.1.3); FFmpeg 8.0 leaves it out.
    pub controlling: Option<u64>,
    /// The tie-breaker of ICE-CONTROLLED: a peer that believes itself controlled. A lite agent
    /// cannot take the other role and answers 487 (RFC 8445 §7.3.1.1).
    pub controlled: Option<u64>,
    /// Attributes that must be understood and are not, the first of them: to be answered with
    /// 420 once the request is verified (RFC 8489 §6.3.1).
    pub unknown: ArrayVec<u16, MAX_UNKNOWN>,
    integrity: Option<Integrity<'a>>,
}

/// Reads a binding request.
///
/// Of attributes that come twice the first counts. Behind MESSAGE-INTEGRITY only FINGERPRINT
/// counts (RFC 8489 §14.5); MESSAGE-INTEGRITY-SHA256 is passed over, since ICE passwords are
/// shared for SHA-1 and every peer sends that. FINGERPRINT is required, as ICE requires it of
/// peers (RFC 8445 §7.1), and is the last attribute.
///
/// # Errors
/// [`Discard::StunMalformed`], [`Discard::StunUnexpected`] for indications and responses,
/// [`Discard::StunFingerprint`] when FINGERPRINT is missing, wrong or not the last.
pub fn parse(message: &[u8]) -> Result<BindingRequest<'_>, Discard> {
    let (message_type, transaction, attributes) = header(message).ok_or(Discard::StunMalformed)?;
    if message_type & message_type::CLASS_MASK != 0 {
        return Err(Discard::StunUnexpected);
    }
    if message_type != message_type::BINDING_REQUEST {
        return Err(Discard::StunMalformed);
    }
    let mut found = Found::default();
    walk(message, attributes, |attribute, offset| found.take(message, attribute, offset))?;
    found.request(transaction).ok_or(Discard::StunMalformed)
}

impl BindingRequest<'_> {
    /// Checks MESSAGE-INTEGRITY (RFC 8489 §9.1.3), in constant time.
    ///
    /// # Errors
    /// [`Discard::StunIntegrity`] when it is missing or wrong.
    pub fn verify(&self, key: &IntegrityKey) -> Result<(), Discard> {
        self.integrity.ok_or(Discard::StunIntegrity)?.verify(key)
    }
}

/// What was read so far.
#[derive(Default)]
struct Found<'a> {
    username: Option<&'a str>,
    priority: Option<u32>,
    use_candidate: bool,
    controlling: Option<u64>,
    controlled: Option<u64>,
    unknown: ArrayVec<u16, MAX_UNKNOWN>,
    integrity: Option<Integrity<'a>>,
}

impl<'a> Found<'a> {
    /// Takes an attribute in. `None` when its value has the wrong form.
    fn take(&mut self, message: &'a [u8], attribute: &Attribute<'a>, offset: usize) -> Option<()> {
        if self.integrity.is_some() {
            return Some(());
        }
        match attribute.kind {
            attribute::USERNAME => {
                let name = std::str::from_utf8(attribute.value).ok()?;
                self.username.get_or_insert(name);
            }
            attribute::MESSAGE_INTEGRITY => {
                self.integrity = Some(Integrity::read(message, attribute, offset)?);
            }
            attribute::PRIORITY => {
                let value = u32::from_be_bytes(attribute.value.try_into().ok()?);
                self.priority.get_or_insert(value);
            }
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLING => {
                let value = u64::from_be_bytes(attribute.value.try_into().ok()?);
                self.controlling.get_or_insert(value);
            }
            attribute::ICE_CONTROLLED => {
                let value = u64::from_be_bytes(attribute.value.try_into().ok()?);
                self.controlled.get_or_insert(value);
            }
            kind if must_be_understood(kind) && !self.unknown.contains(&kind) => {
                // Beyond the limit they are not named; one is enough for the answer to be 420.
                let _ = self.unknown.try_push(kind);
            }
            _ => {}
        }
        Some(())
    }

    /// The request, if it has a username of two parts (RFC 8445 §7.2.2).
    fn request(self, transaction: TransactionId) -> Option<BindingRequest<'a>> {
        let (local_ufrag, remote_ufrag) = self.username?.split_once(':')?;
        Some(BindingRequest {
            transaction,
            local_ufrag,
            remote_ufrag,
            priority: self.priority,
            use_candidate: self.use_candidate,
            controlling: self.controlling,
            controlled: self.controlled,
            unknown: self.unknown,
            integrity: self.integrity,
        })
    }
}

/// An attribute that is neither optional nor one of RFC 8489's own; those are known and passed
/// over where they make no sense (RFC 8489 §6.3).
fn must_be_understood(kind: u16) -> bool {
    kind < attribute::FIRST_OPTIONAL
        && !matches!(
            kind,
            attribute::MAPPED_ADDRESS
                | attribute::ERROR_CODE
                | attribute::UNKNOWN_ATTRIBUTES
                | attribute::REALM
                | attribute::NONCE
                | attribute::MESSAGE_INTEGRITY_SHA256
                | attribute::PASSWORD_ALGORITHM
                | attribute::USERHASH
                | attribute::XOR_MAPPED_ADDRESS
        )
}
