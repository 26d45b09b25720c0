//! Reading the answer to a binding request of ours (RFC 8489 §6.3.3, §6.3.4).

use super::message::{Integrity, header, walk};
use super::{IntegrityKey, TransactionId, attribute, message_type};
use crate::discard::Discard;

/// An answer whose lengths and FINGERPRINT are right. What it says is a stranger's word until
/// [`BindingResponse::verify`] succeeds.
#[derive(Clone, Copy, Debug)]
pub struct BindingResponse<'a> {
    /// The request's.
    pub transaction: TransactionId,
    /// The number of ERROR-CODE (RFC 8489 §14.8), 300 to 699; none of a success.
    pub error: Option<u16>,
    integrity: Option<Integrity<'a>>,
}

/// Whether a STUN message is an answer, by its type; [`parse_response`] tells whether it is any
/// good.
#[must_use]
pub fn is_response(message: &[u8]) -> bool {
    let kind = message.first_chunk().map(|kind| u16::from_be_bytes(*kind));
    matches!(kind, Some(message_type::BINDING_SUCCESS | message_type::BINDING_ERROR))
}

/// Reads an answer. XOR-MAPPED-ADDRESS is passed over: a session of ours has one socket, whatever
/// address its peer sees.
///
/// # Errors
/// [`Discard::StunMalformed`], [`Discard::StunUnexpected`] for what is no answer,
/// [`Discard::StunFingerprint`] when FINGERPRINT is missing, wrong or not the last.
pub fn parse_response(message: &[u8]) -> Result<BindingResponse<'_>, Discard> {
    let (kind, transaction, attributes) = header(message).ok_or(Discard::StunMalformed)?;
    let failed = match kind {
        message_type::BINDING_SUCCESS => false,
        message_type::BINDING_ERROR => true,
        _ => return Err(Discard::StunUnexpected),
    };
    let (mut error, mut integrity) = (None, None);
    walk(message, attributes, |attribute, offset| {
        match attribute.kind {
            // What stands behind MESSAGE-INTEGRITY is nobody's word.
            _ if integrity.is_some() => {}
            attribute::MESSAGE_INTEGRITY => {
                integrity = Some(Integrity::read(message, attribute, offset)?);
            }
            attribute::ERROR_CODE => {
                let number = error_number(attribute.value)?;
                error.get_or_insert(number);
            }
            _ => {}
        }
        Some(())
    })?;
    match (failed, error) {
        (false, _) => Ok(BindingResponse { transaction, error: None, integrity }),
        (true, Some(_)) => Ok(BindingResponse { transaction, error, integrity }),
        (true, None) => Err(Discard::StunMalformed),
    }
}

impl BindingResponse<'_> {
    /// Checks MESSAGE-INTEGRITY (RFC 8489 §9.1.4), in constant time. ICE wants it of every answer
    /// that counts (RFC 8445 §7.2.5); an error without one is nobody's.
    ///
    /// # Errors
    /// [`Discard::StunIntegrity`] when it is missing or wrong.
    pub fn verify(&self, key: &IntegrityKey) -> Result<(), Discard> {
        self.integrity.ok_or(Discard::StunIntegrity)?.verify(key)
    }
}

/// Class and number of the code; the bits before them are reserved (RFC 8489 §14.8).
fn error_number(value: &[u8]) -> Option<u16> {
    let [_, _, class, number, ..] = *value else { return None };
    let class = class & 7;
    let right = (3..=6).contains(&class) && number <= 99;
    right.then_some(u16::from(class) * 100 + u16::from(number))
}
