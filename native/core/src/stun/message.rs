//! What reading a request and reading a response have in common: the header, the attributes,
//! FINGERPRINT and MESSAGE-INTEGRITY (RFC 8489 §5, §14).

use super::{HEADER, IntegrityKey, MAGIC_COOKIE, TransactionId, attribute, fingerprint, integrity};
use crate::discard::Discard;

/// Length of an attribute's header (RFC 8489 §14).
const ATTRIBUTE_HEADER: usize = 4;

/// MESSAGE-INTEGRITY as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integrity<'a> {
    message: &'a [u8],
    /// Where the attribute starts.
    offset: usize,
    value: &'a [u8; integrity::LEN],
}

impl<'a> Integrity<'a> {
    /// The attribute at `offset` of the message.
    pub(super) fn read(
        message: &'a [u8],
        attribute: &Attribute<'a>,
        offset: usize,
    ) -> Option<Integrity<'a>> {
        Some(Integrity { message, offset, value: attribute.value.try_into().ok()? })
    }

    /// Checks it (RFC 8489 §9.1.3), in constant time.
    pub(super) fn verify(&self, key: &IntegrityKey) -> Result<(), Discard> {
        let Integrity { message, offset, value } = *self;
        let end = offset + ATTRIBUTE_HEADER + integrity::LEN;
        let (start, rest) = signed_part(message, offset, end).ok_or(Discard::StunIntegrity)?;
        if key.holds(start, rest, value) { Ok(()) } else { Err(Discard::StunIntegrity) }
    }
}

/// The type, the transaction and the attributes of a STUN message that fills the datagram.
pub(super) fn header(message: &[u8]) -> Option<(u16, TransactionId, &[u8])> {
    let (header, attributes) = message.split_first_chunk::<HEADER>()?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let right = t0 <= 3 && [c0, c1, c2, c3] == MAGIC_COOKIE && len == attributes.len();
    right.then_some((u16::from_be_bytes([t0, t1]), transaction, attributes))
}

/// Hands each attribute up to FINGERPRINT to `take`, with its offset; `take` says `None` when a value
/// has the wrong form. FINGERPRINT is required and is the last, as ICE requires it of peers
/// (RFC 8445 §7.1).
pub(super) fn walk<'a>(
    message: &'a [u8],
    attributes: &'a [u8],
    mut take: impl FnMut(&Attribute<'a>, usize) -> Option<()>,
) -> Result<(), Discard> {
    let mut rest = attributes;
    while !rest.is_empty() {
        let attribute;
        (attribute, rest) = Attribute::split(rest).ok_or(Discard::StunMalformed)?;
        let offset = message.len() - rest.len() - attribute.padded_len();
        if attribute.kind == attribute::FINGERPRINT {
            return match check_fingerprint(message, offset, &attribute, rest) {
                true => Ok(()),
                false => Err(Discard::StunFingerprint),
            };
        }
        take(&attribute, offset).ok_or(Discard::StunMalformed)?;
    }
    Err(Discard::StunFingerprint)
}

/// One attribute (RFC 8489 §14).
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
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
