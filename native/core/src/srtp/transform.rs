//! One protocol in one direction: the choice between the transforms, and nothing else.

use super::cm::{self, Cm};
use super::gcm::Gcm;
use super::kdf::{self, SessionKeys, Use};
use super::{KeyMaterial, Profile};

/// A keyed transform. The counter-mode one is boxed: it is the larger and the rarer; the other one
/// is read for every packet sent and stands where its session stands.
#[allow(clippy::large_enum_variant)]
pub(super) enum Transform {
    Gcm(Gcm),
    Cm(Box<Cm>),
}

impl Transform {
    /// Derives the session keys of `protocol` and schedules them.
    pub(super) fn derive(profile: Profile, master: &KeyMaterial, protocol: Use) -> Transform {
        Transform::keyed(profile, &kdf::derive(master, protocol))
    }

    /// Schedules session keys.
    pub(super) fn keyed(profile: Profile, keys: &SessionKeys) -> Transform {
        match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                Transform::Gcm(Gcm::new(keys, profile.key_len()))
            }
            Profile::Aes128CmSha1_80 => Transform::Cm(Box::new(Cm::new(keys))),
        }
    }

    /// Seals `packet[header_len..len]` in place and puts the tag behind it; the sealed length, or
    /// nothing if the packet has no room.
    pub(super) fn seal_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
    ) -> Option<usize> {
        match self {
            Transform::Gcm(gcm) => gcm.seal_rtp(ssrc, index, packet, header_len, len),
            Transform::Cm(cm) => cm.seal_rtp(ssrc, index, packet, header_len, len),
        }
    }

    /// Opens `packet[header_len..]` in place; the length without the tag, or nothing if the tag
    /// does not hold. Whatever was not opened is lost.
    pub(super) fn open_rtp(
        &self,
        ssrc: u32,
        index: u64,
        packet: &mut [u8],
        header_len: usize,
    ) -> Option<usize> {
        match self {
            Transform::Gcm(gcm) => gcm.open_rtp(ssrc, index, packet, header_len),
            Transform::Cm(cm) => cm.open_rtp(ssrc, index, packet, header_len),
        }
    }

    /// Seals a compound and appends its tag and index; nothing if it is too short to have a sender.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &mut Vec<u8>) -> Option<()> {
        match self {
            Transform::Gcm(gcm) => gcm.seal_rtcp(ssrc, index, packet),
            Transform::Cm(cm) => cm.seal_rtcp(ssrc, index, packet),
        }
    }

    /// The word with the E bit and the index of a sealed compound: last with GCM (RFC 7714 §9),
    /// before the tag with CM (RFC 3711 §3.4).
    pub(super) fn rtcp_index_word(&self, packet: &[u8]) -> Option<u32> {
        let behind = match self {
            Transform::Gcm(_) => 0,
            Transform::Cm(_) => cm::TAG,
        };
        let until = packet.get(..packet.len().checked_sub(behind)?)?;
        until.last_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Opens a compound in place; its plain length, or nothing if the tag does not hold.
    pub(super) fn open_rtcp(&self, ssrc: u32, index: u32, packet: &mut [u8]) -> Option<usize> {
        match self {
            Transform::Gcm(gcm) => gcm.open_rtcp(ssrc, index, packet),
            Transform::Cm(cm) => cm.open_rtcp(ssrc, index, packet),
        }
    }
}
