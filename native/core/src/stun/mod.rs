//! STUN (RFC 8489) as far as ICE connectivity checks need it (RFC 8445 §7): reading a binding
//! request, holding it against a session's password, writing the answer; and, where we are the one
//! who checks, writing the request and reading the answer.
//!
//! Three steps, because the password is known only once the username is read: [`parse`] checks the
//! lengths and FINGERPRINT; the caller finds the session by [`BindingRequest::local_ufrag`];
//! [`BindingRequest::verify`] checks MESSAGE-INTEGRITY. Nothing of a request may move anything
//! before that, and a request that fails is dropped without an answer, so that nobody is made to
//! send to a forged address.
//!
//! Every viewer checks every 2.5 s, so the way through is free of allocations, and the HMAC's
//! first block is kept with the session ([`IntegrityKey`]). The crate `stun-types` was read for
//! this and left to the tests, as the independent reader and writer: it keys the HMAC anew for
//! each message, takes MESSAGE-INTEGRITY-SHA256 before SHA-1 where there is one, and writes log
//! lines about what strangers send.

mod integrity;
mod message;
mod request;
mod response;
mod write;

pub use self::integrity::IntegrityKey;
pub use self::request::{BindingRequest, MAX_UNKNOWN, parse};
pub use self::response::{BindingResponse, is_response, parse_response};
pub use self::write::{Check, ErrorCode, error, request, success};

/// A transaction id (RFC 8489 §5).
pub type TransactionId = [u8; 12];

/// Length of the header (RFC 8489 §5).
const HEADER: usize = 20;
/// Bytes 4 to 8 of every message (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// Message types of the method Binding (RFC 8489 §5).
mod message_type {
    pub(super) const BINDING_REQUEST: u16 = 0x0001;
    pub(super) const BINDING_SUCCESS: u16 = 0x0101;
    pub(super) const BINDING_ERROR: u16 = 0x0111;
    /// The two bits of the class; zero in requests.
    pub(super) const CLASS_MASK: u16 = 0x0110;
}

/// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1).
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub(super) const USERHASH: u16 = 0x001e;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    /// From here on a receiver may ignore what it does not know (RFC 8489 §14).
    pub(super) const FIRST_OPTIONAL: u16 = 0x8000;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
}

/// Whether a datagram is STUN rather than DTLS or RTP, by its first byte (RFC 7983 §7, RFC 9443);
/// [`parse`] tells whether it is any good.
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first <= 3)
}

/// FINGERPRINT's value for these bytes, which stand before it, with a message length that counts
/// it in (RFC 8489 §14.7).
fn fingerprint(type_and_length: [u8; 4], rest: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&type_and_length);
    crc.update(rest);
    (crc.finalize() ^ 0x5354_554e).to_be_bytes()
}
