//! SRTP and SRTCP (RFC 3711, RFC 7714): key derivation, protection profiles, opening and sealing.
//!
//! A [`Sealer`] and an [`Opener`] belong to one direction of one DTLS association. Both work in
//! place and keep their key schedules and HMAC states. There is no key exchange here, no MKI, no
//! rekeying and no key derivation rate: DTLS-SRTP uses none of them (RFC 5764 §4.1).
//!
//! Two things are stricter than RFC 3711: SRTCP that is not encrypted is refused, and an index is
//! never wrapped. Both would weaken a session that negotiated neither.

mod cm;
mod gcm;
mod kdf;
mod open;
mod replay;
mod seal;
mod transform;
#[cfg(test)]
mod vectors;

use std::fmt;

use arrayvec::ArrayVec;

pub use open::{Limits, Opened, Opener};
pub use seal::Sealer;

/// Bytes of an RTP header without CSRCs and extensions (RFC 3550 §5.1).
const RTP_FIXED_HEADER: usize = 12;

/// Bytes of SRTCP that stay in the clear: the first packet's header and sender (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;

/// The word that ends an SRTCP packet or stands before its tag: the E bit and the index.
const RTCP_INDEX_LEN: usize = 4;

/// The E bit of that word: the packet is encrypted (RFC 3711 §3.4).
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// A protection profile of DTLS-SRTP (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Profile {
    /// AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// AES_CM_128_HMAC_SHA1_80.
    Aes128CmSha1_80,
}

impl Profile {
    /// Every profile, in the order of our preference.
    pub const ALL: [Profile; 3] =
        [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];

    /// The name that OpenSSL and control use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_SHA1_80",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Bytes of the master key, and of the session key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::Aes128CmSha1_80 => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt, and of the session salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => gcm::SALT,
            Profile::Aes128CmSha1_80 => cm::SALT,
        }
    }

    /// Bytes that sealing adds to an RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => gcm::TAG,
            Profile::Aes128CmSha1_80 => cm::TAG,
        }
    }

    /// Bytes that sealing adds to an RTCP compound.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + RTCP_INDEX_LEN
    }
}

/// Master key and master salt of one direction.
#[derive(Clone)]
pub struct KeyMaterial {
    profile: Profile,
    key: ArrayVec<u8, 32>,
    salt: ArrayVec<u8, 14>,
}

impl KeyMaterial {
    /// Takes a master key and a master salt of exactly the profile's lengths.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<KeyMaterial, KeyLengthError> {
        let error = KeyLengthError { profile, key: key.len(), salt: salt.len() };
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(error);
        }
        Ok(KeyMaterial {
            profile,
            key: key.try_into().map_err(|_| error)?,
            salt: salt.try_into().map_err(|_| error)?,
        })
    }
}

/// Says what it is for, never what it is.
impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMaterial").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// A master key or salt that does not fit its profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyLengthError {
    /// For which profile.
    pub profile: Profile,
    /// Bytes of the key that was given.
    pub key: usize,
    /// Bytes of the salt that was given.
    pub salt: usize,
}

impl fmt::Display for KeyLengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} takes a key of {} bytes and a salt of {}, not {} and {}",
            self.profile.name(),
            self.profile.key_len(),
            self.profile.salt_len(),
            self.key,
            self.salt
        )
    }
}

impl std::error::Error for KeyLengthError {}

/// The SSRC of an RTP packet, if it is long enough to have one.
fn rtp_ssrc(packet: &[u8]) -> Option<u32> {
    packet.get(8..RTP_FIXED_HEADER)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The SSRC of an RTCP compound's sender, if it is long enough to have one.
fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    packet.get(4..RTCP_CLEAR)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_name_and_its_profile_are_one_to_one() {
        for profile in Profile::ALL {
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
        }
        assert_eq!(Profile::from_name("SRTP_AES128_CM_SHA1_32"), None);
    }

    #[test]
    fn keys_and_salts_of_other_lengths_are_refused() {
        let bytes = [7u8; 64];
        for profile in Profile::ALL {
            for key in 0..=40 {
                for salt in 0..=20 {
                    let fits = key == profile.key_len() && salt == profile.salt_len();
                    let material = KeyMaterial::new(profile, &bytes[..key], &bytes[..salt]);
                    assert_eq!(material.is_ok(), fits, "{} {key} {salt}", profile.name());
                }
            }
        }
        let error = KeyMaterial::new(Profile::AeadAes128Gcm, &bytes[..16], &bytes[..14]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "SRTP_AEAD_AES_128_GCM takes a key of 16 bytes and a salt of 12, not 16 and 14"
        );
    }

    #[test]
    fn a_key_is_not_printed() {
        let material = KeyMaterial::new(Profile::AeadAes128Gcm, &[171; 16], &[205; 12]).unwrap();
        let printed = format!("{material:?}");
        assert!(!printed.contains("171") && !printed.contains("205"), "{printed}");
    }
}
