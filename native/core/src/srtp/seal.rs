//! What we send: sealing RTP and RTCP of one session.

use std::fmt;

use super::kdf::Use;
use super::transform::Transform;
use super::{KeyMaterial, Profile, RTCP_ENCRYPTED, rtcp_ssrc, rtp_ssrc};

/// RTP packets have 48 bits of index (RFC 3711 §3.3.1).
const RTP_INDICES: u64 = 1 << 48;

/// Seals the packets of one direction of one session.
///
/// It keeps no state of RTP: the caller owns the index of every packet, and with it the promise
/// that no (SSRC, index) is ever sealed over two byte strings. Sealing the same bytes under the
/// same index again gives the same packet, which is what a retransmission wants.
pub struct Sealer {
    rtp: Transform,
    rtcp: Transform,
    next_rtcp_index: u32,
}

impl Sealer {
    /// Derives and schedules the session keys. `master` was made for `profile`.
    #[must_use]
    pub fn new(profile: Profile, master: &KeyMaterial) -> Sealer {
        debug_assert_eq!(profile, master.profile, "key material of another profile");
        Sealer {
            rtp: Transform::derive(profile, master, Use::Rtp),
            rtcp: Transform::derive(profile, master, Use::Rtcp),
            next_rtcp_index: 0,
        }
    }

    /// Seals an RTP packet in place and returns its length with the tag.
    ///
    /// `packet[..len]` is the header of `header_len` bytes and the payload; at least
    /// [`Profile::rtp_overhead`] bytes follow. `index` is the rollover counter and the packet's
    /// sequence number, `ROC << 16 | SEQ`. A packet without that room, without a whole header or
    /// with an index of more than 48 bits is a mistake of the caller: 0 is returned, and nothing of
    /// it may be sent.
    #[must_use]
    pub fn seal_rtp(&self, index: u64, packet: &mut [u8], header_len: usize, len: usize) -> usize {
        debug_assert_eq!(
            packet.get(2..4),
            Some((index as u16).to_be_bytes().as_slice()),
            "the index is of another packet"
        );
        if index >= RTP_INDICES {
            return 0;
        }
        rtp_ssrc(packet)
            .and_then(|ssrc| self.rtp.seal_rtp(ssrc, index, packet, header_len, len))
            .unwrap_or(0)
    }

    /// Seals an RTCP compound and appends tag and index; the E bit is set. The index counts from
    /// zero (RFC 3711 §3.2.1), for all senders together.
    ///
    /// After 2^31 compounds, and for bytes too short to be RTCP, `packet` is empty: nothing may be
    /// sent (RFC 3711 §9.2).
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) {
        let index = self.next_rtcp_index;
        let sealed = rtcp_ssrc(packet)
            .filter(|_| index < RTCP_ENCRYPTED)
            .and_then(|ssrc| self.rtcp.seal_rtcp(ssrc, index, packet));
        match sealed {
            Some(()) => self.next_rtcp_index += 1,
            None => packet.clear(),
        }
    }
}

/// Keys are not printed.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("next_rtcp_index", &self.next_rtcp_index)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Sealer {
    /// Continues at an SRTCP index.
    pub(super) fn at_rtcp_index(mut self, index: u32) -> Sealer {
        self.next_rtcp_index = index;
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn sealer(profile: Profile) -> Sealer {
        let bytes = [1u8; 32];
        let (key, salt) = (&bytes[..profile.key_len()], &bytes[..profile.salt_len()]);
        Sealer::new(profile, &KeyMaterial::new(profile, key, salt).unwrap())
    }

    #[test]
    fn nothing_is_sealed_without_room_or_header() {
        for profile in Profile::ALL {
            let sealer = sealer(profile);
            let overhead = profile.rtp_overhead();
            let mut packet = vec![0u8; 100];
            assert_eq!(sealer.seal_rtp(0, &mut packet, 12, 100 - overhead), 100);
            packet.fill(0);
            assert_eq!(sealer.seal_rtp(0, &mut packet, 12, 100 - overhead + 1), 0);
            assert_eq!(sealer.seal_rtp(0, &mut packet, 12, 11), 0);
            assert_eq!(sealer.seal_rtp(0, &mut packet, 101, 101), 0);
            assert_eq!(sealer.seal_rtp(0, &mut packet[..11], 11, 11), 0);
            assert_eq!(sealer.seal_rtp(1 << 48, &mut packet, 12, 50), 0);
        }
    }

    #[test]
    fn srtcp_indices_are_used_up_and_not_wrapped() {
        for profile in Profile::ALL {
            let mut sealer = sealer(profile).at_rtcp_index(RTCP_ENCRYPTED - 1);
            let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
            sealer.seal_rtcp(&mut packet);
            assert_eq!(packet.len(), 8 + profile.rtcp_overhead());
            packet = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
            sealer.seal_rtcp(&mut packet);
            assert!(packet.is_empty());
        }
    }

    #[test]
    fn bytes_too_short_for_rtcp_use_no_index() {
        for profile in Profile::ALL {
            let mut sealer = sealer(profile);
            let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0];
            sealer.seal_rtcp(&mut packet);
            assert!(packet.is_empty());
            assert_eq!(sealer.next_rtcp_index, 0);
        }
    }
}
