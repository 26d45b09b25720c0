//! MESSAGE-INTEGRITY (RFC 8489 §14.5): HMAC-SHA1 under a session's ICE password.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Length of the attribute's value.
pub(super) const LEN: usize = 20;

/// A short-term credential (RFC 8489 §9.1): an ICE password as the HMAC's state behind its first
/// blocks, which are the same in every message.
#[derive(Clone)]
pub struct IntegrityKey(Hmac<Sha1>);

impl std::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

impl IntegrityKey {
    /// The key of this password. ICE passwords are ASCII, so that OpaqueString (RFC 8489 §9.1.1)
    /// leaves them as they are.
    #[must_use]
    pub fn new(password: &str) -> IntegrityKey {
        // The key of one block that HMAC makes of a shorter or longer one (RFC 2104 §2); given
        // so, there is no error that cannot happen.
        let mut block = [0_u8; 64];
        let bytes = password.as_bytes();
        if let Some(start) = block.get_mut(..bytes.len()) {
            start.copy_from_slice(bytes);
        } else {
            use sha1::Digest;
            let digest = Sha1::digest(bytes);
            block.iter_mut().zip(digest).for_each(|(byte, hashed)| *byte = hashed);
        }
        IntegrityKey(Hmac::new(&block.into()))
    }

    /// Whether `value` is right for this message, compared in constant time.
    pub(super) fn holds(&self, type_and_length: [u8; 4], rest: &[u8], value: &[u8; LEN]) -> bool {
        self.state(type_and_length, rest).verify_slice(value).is_ok()
    }

    /// The attribute's value for this message: all before the attribute, with a message length
    /// that counts it in.
    pub(super) fn sign(&self, type_and_length: [u8; 4], rest: &[u8]) -> [u8; LEN] {
        self.state(type_and_length, rest).finalize().into_bytes().into()
    }

    /// Twelve bytes that follow from these numbers and the key alone, for transaction ids: nobody
    /// guesses them without the key. No STUN message begins like what is hashed here.
    #[must_use]
    pub fn derive(&self, salt: u64, count: u64) -> [u8; 12] {
        let [salt, count] = [salt.to_be_bytes(), count.to_be_bytes()];
        let hashed = self.sign([u8::MAX; 4], &[salt, count].concat());
        hashed.first_chunk().copied().unwrap_or_default()
    }

    fn state(&self, type_and_length: [u8; 4], rest: &[u8]) -> Hmac<Sha1> {
        let mut hmac = self.0.clone();
        hmac.update(&type_and_length);
        hmac.update(rest);
        hmac
    }
}
