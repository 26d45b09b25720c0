//! AEAD_AES_128_GCM and AEAD_AES_256_GCM over packets (RFC 7714).

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::kdf::SessionKeys;
use super::{RTCP_CLEAR, RTCP_ENCRYPTED, RTCP_INDEX_LEN};

/// Bytes of a salt, and of a nonce.
pub(super) const SALT: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// The key schedule of one protocol in one direction.
pub(super) struct Gcm {
    key: LessSafeKey,
    /// The session salt as a number of 96 bits.
    salt: u128,
}

impl Gcm {
    /// `key_len` is 16 or 32.
    #[allow(clippy::expect_used)] // 16 and 32 bytes are what the two algorithms take
    pub(super) fn new(keys: &SessionKeys, key_len: usize) -> Gcm {
        let key = if key_len == 32 {
            UnboundKey::new(&AES_256_GCM, &keys.key)
        } else {
            UnboundKey::new(&AES_128_GCM, keys.key.split_at(16).0)
        };
        let mut salt = [0u8; 16];
        for (to, from) in salt.iter_mut().skip(16 - SALT).zip(&keys.salt) {
            *to = *from;
        }
        Gcm {
            key: LessSafeKey::new(key.expect("a key of the algorithm's length")),
            salt: u128::from_be_bytes(salt),
        }
    }

    /// Seals the payload in place and puts the tag behind it.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
    ) -> Option<usize> {
        let (header, rest) = packet.split_at_mut_checked(header_len)?;
        let (payload, room) = rest.split_at_mut_checked(len.checked_sub(header_len)?)?;
        let room = room.first_chunk_mut::<TAG>()?;
        let nonce = self.nonce(ssrc, index);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), payload).ok()?;
        room.copy_from_slice(tag.as_ref());
        Some(len + TAG)
    }

    /// Opens the payload in place; its length with the header, or nothing if the tag does not hold.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
    ) -> Option<usize> {
        let (header, sealed) = packet.split_at_mut_checked(header_len)?;
        let nonce = self.nonce(ssrc, index);
        let payload = self.key.open_in_place(nonce, Aad::from(header), sealed).ok()?;
        Some(header_len + payload.len())
    }

    /// Seals a compound of at least [`RTCP_CLEAR`] bytes: tag, then the index word (RFC 7714 §9).
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut Vec<u8>) -> Option<()> {
        let word = (RTCP_ENCRYPTED | index).to_be_bytes();
        let (clear, secret) = packet.split_first_chunk_mut::<RTCP_CLEAR>()?;
        let aad = Aad::from(rtcp_aad(*clear, word));
        let nonce = self.nonce(ssrc, u64::from(index));
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, secret).ok()?;
        packet.extend_from_slice(tag.as_ref());
        packet.extend_from_slice(&word);
        Some(())
    }

    /// Opens a compound in place; its plain length, or nothing if the tag does not hold.
    pub(super) fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Option<usize> {
        let (sealed, word) = packet.split_last_chunk_mut::<RTCP_INDEX_LEN>()?;
        let (clear, secret) = sealed.split_first_chunk_mut::<RTCP_CLEAR>()?;
        let aad = Aad::from(rtcp_aad(*clear, *word));
        let nonce = self.nonce(ssrc, u64::from(index));
        let plain = self.key.open_in_place(nonce, aad, secret).ok()?;
        Some(RTCP_CLEAR + plain.len())
    }

    /// RFC 7714 §8.1 and §9.1: two zero bytes, the SSRC, then 48 bits of index (the rollover counter
    /// and the sequence number, or the SRTCP index), over the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let number = self.salt ^ (u128::from(ssrc) << 48) ^ u128::from(index);
        let mut nonce = [0u8; SALT];
        for (to, from) in nonce.iter_mut().zip(number.to_be_bytes().iter().skip(16 - SALT)) {
            *to = *from;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn rtcp_aad(clear: [u8; RTCP_CLEAR], word: [u8; 4]) -> [u8; RTCP_CLEAR + RTCP_INDEX_LEN] {
    let mut aad = [0u8; RTCP_CLEAR + RTCP_INDEX_LEN];
    let (front, back) = aad.split_at_mut(RTCP_CLEAR);
    front.copy_from_slice(&clear);
    back.copy_from_slice(&word);
    aad
}
