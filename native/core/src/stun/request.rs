//! Reading a binding request (RFC 8489 §6.3, RFC 8445 §7.3).

use arrayvec::ArrayVec;

use super::{
    HEADER, IntegrityKey, MAGIC_COOKIE, TransactionId, attribute, fingerprint, integrity,
    message_type,
};
use crate::discard::Discard;

/// How many unknown attributes an answer names.
pub const MAX_UNKNOWN: usize = 8;

/// Length of an attribute's header (RFC 8489 §14).
const ATTRIBUTE_HEADER: usize = 4;

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
    message: &'a [u8],
    integrity: Option<Integrity<'a>>,
}

/// MESSAGE-INTEGRITY as it was found.
#[derive(Clone, Copy, Debug)]
struct Integrity<'a> {
    /// Where the attribute starts.
    offset: usize,
    value: &'a [u8; integrity::LEN],
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
    let mut rest = attributes;
    while !rest.is_empty() {
        let attribute;
        (attribute, rest) = Attribute::split(rest).ok_or(Discard::StunMalformed)?;
        let offset = message.len() - rest.len() - attribute.padded_len();
        if attribute.kind == attribute::FINGERPRINT {
            return match check_fingerprint(message, offset, &attribute, rest) {
                true => found.request(message, transaction).ok_or(Discard::StunMalformed),
                false => Err(Discard::StunFingerprint),
            };
        }
        found.take(&attribute, offset).ok_or(Discard::StunMalformed)?;
    }
    Err(Discard::StunFingerprint)
}

impl BindingRequest<'_> {
    /// Checks MESSAGE-INTEGRITY (RFC 8489 §9.1.3), in constant time.
    ///
    /// # Errors
    /// [`Discard::StunIntegrity`] when it is missing or wrong.
    pub fn verify(&self, key: &IntegrityKey) -> Result<(), Discard> {
        let Integrity { offset, value } = self.integrity.ok_or(Discard::StunIntegrity)?;
        let end = offset + ATTRIBUTE_HEADER + integrity::LEN;
        let (start, rest) = signed_part(self.message, offset, end).ok_or(Discard::StunIntegrity)?;
        if key.holds(start, rest, value) { Ok(()) } else { Err(Discard::StunIntegrity) }
    }
}

/// The type, the transaction and the attributes of a STUN message that fills the datagram.
fn header(message: &[u8]) -> Option<(u16, TransactionId, &[u8])> {
    let (header, attributes) = message.split_first_chunk::<HEADER>()?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let right = t0 <= 3 && [c0, c1, c2, c3] == MAGIC_COOKIE && len == attributes.len();
    right.then_some((u16::from_be_bytes([t0, t1]), transaction, attributes))
}

/// One attribute (RFC 8489 §14).
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn split(attributes: &'a [u8]) -> Option<(Attribute<'a>, &'a [u8])> {
        let ([k0, k1, l0, l1], rest) = attributes.split_first_chunk::<ATTRIBUTE_HEADER>()?;
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let (padded, rest) = rest.split_at_checked(len.next_multiple_of(4))?;
        let value = padded.get(..len)?;
        Some((Attribute { kind: u16::from_be_bytes([*k0, *k1]), value }, rest))
    }

    fn padded_len(&self) -> usize {
        ATTRIBUTE_HEADER + self.value.len().next_multiple_of(4)
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
    fn take(&mut self, attribute: &Attribute<'a>, offset: usize) -> Option<()> {
        if self.integrity.is_some() {
            return Some(());
        }
        match attribute.kind {
            attribute::USERNAME => {
                let name = std::str::from_utf8(attribute.value).ok()?;
                self.username.get_or_insert(name);
            }
            attribute::MESSAGE_INTEGRITY => {
                self.integrity =
                    Some(Integrity { offset, value: attribute.value.try_into().ok()? });
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
    fn request(self, message: &'a [u8], transaction: TransactionId) -> Option<BindingRequest<'a>> {
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
            message,
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

fn check_fingerprint(
    message: &[u8],
    offset: usize,
    attribute: &Attribute<'_>,
    rest: &[u8],
) -> bool {
    rest.is_empty()
        && signed_part(message, offset, message.len())
            .is_some_and(|(start, covered)| fingerprint(start, covered) == attribute.value)
}

/// What MESSAGE-INTEGRITY and FINGERPRINT are made over: the message up to their attribute at
/// `offset`, with a length as if the message ended at `end`. The first four bytes are apart, for
/// the length is in them.
fn signed_part(message: &[u8], offset: usize, end: usize) -> Option<([u8; 4], &[u8])> {
    let length = u16::try_from(end.checked_sub(HEADER)?).ok()?.to_be_bytes();
    let [t0, t1, ..] = *message else { return None };
    Some(([t0, t1, length[0], length[1]], message.get(4..offset)?))
}
