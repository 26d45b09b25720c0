//! SRTP and SRTCP (RFC 3711, RFC 7714): key derivation, protection profiles, opening and sealing.

use arrayvec::ArrayVec;

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

/// Master key and master salt of one direction.
#[derive(Clone, Debug)]
pub struct KeyMaterial {
    /// 16 or 32 bytes.
    pub key: ArrayVec<u8, 32>,
    /// 12 (GCM) or 14 (CM) bytes.
    pub salt: ArrayVec<u8, 14>,
}
