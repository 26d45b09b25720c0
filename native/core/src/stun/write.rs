//! Writing binding requests and the answers to them, appended to a buffer.

use std::net::{IpAddr, SocketAddr};

use super::{
    HEADER, IntegrityKey, MAGIC_COOKIE, TransactionId, attribute, fingerprint, integrity,
    message_type,
};

/// The errors that a binding request is answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    /// The request is malformed (RFC 8489 §14.8).
    BadRequest = 400,
    /// Its credentials are not right (RFC 8489 §14.8).
    Unauthenticated = 401,
    /// It has attributes that must be understood and are not (RFC 8489 §6.3.1).
    UnknownAttribute = 420,
    /// The peer has the role that is ours (RFC 8445 §7.3.1.1).
    RoleConflict = 487,
}

impl ErrorCode {
    fn reason(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "Bad Request",
            ErrorCode::Unauthenticated => "Unauthenticated",
            ErrorCode::UnknownAttribute => "Unknown Attribute",
            ErrorCode::RoleConflict => "Role Conflict",
        }
    }
}

/// Appends the success response: `mapped` is where the request came from (RFC 8489 §6.3.1.1).
pub fn success(
    transaction: TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
    out: &mut Vec<u8>,
) {
    let mut message = Message::start(message_type::BINDING_SUCCESS, transaction, out);
    message.xor_mapped_address(mapped, transaction);
    message.finish(Some(key));
}

/// Appends an error response (RFC 8489 §6.3.1.2). `unknown` is named in answers with
/// [`ErrorCode::UnknownAttribute`] alone; without a key the answer has no MESSAGE-INTEGRITY.
pub fn error(
    transaction: TransactionId,
    code: ErrorCode,
    unknown: &[u16],
    key: Option<&IntegrityKey>,
    out: &mut Vec<u8>,
) {
    let mut message = Message::start(message_type::BINDING_ERROR, transaction, out);
    let number = code as u16;
    message.attribute(attribute::ERROR_CODE, |out| {
        // Class and number of the code (RFC 8489 §14.8).
        out.extend_from_slice(&[0, 0, (number / 100) as u8, (number % 100) as u8]);
        out.extend_from_slice(code.reason().as_bytes());
    });
    if code == ErrorCode::UnknownAttribute {
        message.attribute(attribute::UNKNOWN_ATTRIBUTES, |out| {
            unknown.iter().for_each(|kind| out.extend_from_slice(&kind.to_be_bytes()));
        });
    }
    message.finish(key);
}

/// What a check of ours says (RFC 8445 §7.1, §7.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The peer's ufrag, a colon, ours.
    pub username: &'a str,
    /// PRIORITY: what a peer-reflexive candidate would have.
    pub priority: u32,
    /// Our role: ICE-CONTROLLING, otherwise ICE-CONTROLLED.
    pub controlling: bool,
    /// Decides between two agents of one role.
    pub tie_breaker: u64,
    /// USE-CANDIDATE: this pair is nominated.
    pub use_candidate: bool,
}

/// Appends a binding request; `key` is that of the peer's password.
pub fn request(
    transaction: TransactionId,
    check: &Check<'_>,
    key: &IntegrityKey,
    out: &mut Vec<u8>,
) {
    let mut message = Message::start(message_type::BINDING_REQUEST, transaction, out);
    message.attribute(attribute::USERNAME, |out| out.extend_from_slice(check.username.as_bytes()));
    message.attribute(attribute::PRIORITY, |out| {
        out.extend_from_slice(&check.priority.to_be_bytes());
    });
    let role = match check.controlling {
        true => attribute::ICE_CONTROLLING,
        false => attribute::ICE_CONTROLLED,
    };
    message.attribute(role, |out| out.extend_from_slice(&check.tie_breaker.to_be_bytes()));
    if check.use_candidate {
        message.attribute(attribute::USE_CANDIDATE, |_| {});
    }
    message.finish(Some(key));
}

/// A message being appended to a buffer.
struct Message<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Message<'a> {
    fn start(message_type: u16, transaction: TransactionId, out: &'a mut Vec<u8>) -> Message<'a> {
        let start = out.len();
        out.extend_from_slice(&message_type.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE);
        out.extend_from_slice(&transaction);
        Message { out, start }
    }

    /// Appends an attribute whose value `value` writes, and pads it (RFC 8489 §14).
    fn attribute(&mut self, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&kind.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let value_at = self.out.len();
        value(self.out);
        let len = self.out.len() - value_at;
        if let Some(length) = self.out.get_mut(length_at..value_at) {
            length.copy_from_slice(&(len as u16).to_be_bytes());
        }
        self.out.resize(value_at + len.next_multiple_of(4), 0);
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2); an IPv4-mapped address counts as IPv4.
    fn xor_mapped_address(&mut self, mapped: SocketAddr, transaction: TransactionId) {
        let [c0, c1, ..] = MAGIC_COOKIE;
        let port = mapped.port() ^ u16::from_be_bytes([c0, c1]);
        let mask = MAGIC_COOKIE.into_iter().chain(transaction);
        self.attribute(attribute::XOR_MAPPED_ADDRESS, |out| {
            let address = |family: u8, octets: &[u8]| {
                out.extend_from_slice(&[0, family]);
                out.extend_from_slice(&port.to_be_bytes());
                out.extend(octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask));
            };
            match mapped.ip().to_canonical() {
                IpAddr::V4(ip) => address(1, &ip.octets()),
                IpAddr::V6(ip) => address(2, &ip.octets()),
            }
        });
    }

    /// Appends MESSAGE-INTEGRITY and FINGERPRINT and sets the length.
    fn finish(mut self, key: Option<&IntegrityKey>) {
        if let Some(key) = key {
            let (start, rest) = self.so_far(4 + integrity::LEN);
            let value = key.sign(start, rest);
            self.attribute(attribute::MESSAGE_INTEGRITY, |out| out.extend_from_slice(&value));
        }
        let (start, rest) = self.so_far(4 + 4);
        let value = fingerprint(start, rest);
        self.attribute(attribute::FINGERPRINT, |out| out.extend_from_slice(&value));
        let (first, _) = self.so_far(0);
        if let Some(header) = self.out.get_mut(self.start..self.start + first.len()) {
            header.copy_from_slice(&first);
        }
    }

    /// The message so far, with a length that counts in `more` bytes to come; the first four
    /// bytes are apart, for the length is in them.
    fn so_far(&self, more: usize) -> ([u8; 4], &[u8]) {
        let message = self.out.get(self.start..).unwrap_or(&[]);
        let length = ((message.len() + more).saturating_sub(HEADER) as u16).to_be_bytes();
        match message {
            [t0, t1, _, _, rest @ ..] => ([*t0, *t1, length[0], length[1]], rest),
            _ => ([0; 4], &[]),
        }
    }
}
