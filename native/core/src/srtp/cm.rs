//! AES_CM_128_HMAC_SHA1_80 over packets (RFC 3711 §4.1.1, §4.2.1).

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::{CtrCore, flavors};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::kdf::SessionKeys;
use super::{RTCP_CLEAR, RTCP_ENCRYPTED, RTCP_INDEX_LEN};

/// Bytes of a salt.
pub(super) const SALT: usize = 14;
/// Bytes of a tag: SHA-1 cut to 80 bits.
pub(super) const TAG: usize = 10;
/// Bytes of an authentication key.
pub(super) const AUTH_KEY: usize = 20;

/// The key schedule and the keyed HMAC of one protocol in one direction.
pub(super) struct Cm {
    cipher: Aes128Enc,
    /// Inner and outer key are hashed already; cloned for each packet.
    mac: Hmac<Sha1>,
    /// The session salt where it stands in the counter block: above the 16 bits that count blocks.
    salt: u128,
}

impl Cm {
    #[allow(clippy::expect_used)] // HMAC takes a key of any length
    pub(super) fn new(keys: &SessionKeys) -> Cm {
        let mut key = [0u8; 16];
        for (to, from) in key.iter_mut().zip(&keys.key) {
            *to = *from;
        }
        let mut salt = [0u8; 16];
        for (to, from) in salt.iter_mut().zip(&keys.salt) {
            *to = *from;
        }
        Cm {
            cipher: Aes128Enc::new(&key.into()),
            mac: Hmac::new_from_slice(&keys.auth).expect("a key of any length"),
            salt: u128::from_be_bytes(salt),
        }
    }

    /// Seals the payload in place and puts the tag behind it. The tag covers the rollover counter
    /// too, which is not sent (RFC 3711 §4.2).
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
    ) -> Option<usize> {
        let (packet, room) = packet.split_at_mut_checked(len)?;
        let room = room.first_chunk_mut::<TAG>()?;
        self.apply(ssrc, index, packet.get_mut(header_len..)?);
        let tag = self.rtp_mac(index, packet).finalize().into_bytes();
        room.copy_from_slice(tag.get(..TAG)?);
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
        let (packet, tag) = packet.split_last_chunk_mut::<TAG>()?;
        let secret_len = packet.len().checked_sub(header_len)?;
        self.rtp_mac(index, packet).verify_truncated_left(tag).ok()?;
        self.apply(ssrc, index, packet.get_mut(header_len..)?);
        Some(header_len + secret_len)
    }

    /// Seals a compound of at least [`RTCP_CLEAR`] bytes: the index word, then the tag over both
    /// (RFC 3711 §3.4).
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut Vec<u8>) -> Option<()> {
        self.apply(ssrc, u64::from(index), packet.get_mut(RTCP_CLEAR..)?);
        packet.extend_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let tag = self.mac.clone().chain_update(packet.as_slice()).finalize().into_bytes();
        packet.extend_from_slice(tag.get(..TAG)?);
        Some(())
    }

    /// Opens a compound in place; its plain length, or nothing if the tag does not hold.
    pub(super) fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Option<usize> {
        let (sealed, tag) = packet.split_last_chunk_mut::<TAG>()?;
        self.mac.clone().chain_update(&*sealed).verify_truncated_left(tag).ok()?;
        let len = sealed.len().checked_sub(RTCP_INDEX_LEN)?;
        self.apply(ssrc, u64::from(index), sealed.get_mut(RTCP_CLEAR..len)?);
        Some(len)
    }

    /// The key stream over `bytes`: encrypts and decrypts (RFC 3711 §4.1.1).
    fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let iv = self.salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        let iv = iv.to_be_bytes().into();
        let core = CtrCore::<&Aes128Enc, flavors::Ctr128BE>::inner_iv_init(&self.cipher, &iv);
        StreamCipherCoreWrapper::from_core(core).apply_keystream(bytes);
    }

    fn rtp_mac(&self, index: u64, packet: &[u8]) -> Hmac<Sha1> {
        let rollover_counter = (index >> 16) as u32;
        self.mac.clone().chain_update(packet).chain_update(rollover_counter.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::kdf::{self, Use};
    use super::super::{KeyMaterial, Limits, Opener, Profile};
    use super::*;
    use crate::discard::Discard;

    /// Authentic, but in the clear: RFC 3711 §3.4 allows it, DTLS-SRTP never asked for it.
    #[test]
    fn srtcp_that_is_not_encrypted_is_refused() {
        let profile = Profile::Aes128CmSha1_80;
        let master = KeyMaterial::new(profile, &[1; 16], &[2; 14]).unwrap();
        let cm = Cm::new(&kdf::derive(&master, Use::Rtcp));
        let mut opener = Opener::new(profile, &master, Limits { max_ssrcs: 1, window: 64 });
        for (word, refused) in [(1, true), (RTCP_ENCRYPTED | 1, false)] {
            let mut packet = vec![0x80, 201, 0, 2, 0, 0, 0, 7, 1, 2, 3, 4];
            packet.extend_from_slice(&u32::to_be_bytes(word));
            let tag = cm.mac.clone().chain_update(&packet).finalize().into_bytes();
            packet.extend_from_slice(&tag[..TAG]);
            let result = opener.open_rtcp(&mut packet);
            assert_eq!(result, if refused { Err(Discard::SrtpAuth) } else { Ok(12) });
        }
    }
}
