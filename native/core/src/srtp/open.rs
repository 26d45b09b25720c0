//! What we receive: opening RTP and RTCP of one session.

use std::fmt;

use super::kdf::Use;
use super::replay::{Sources, estimate};
use super::transform::Transform;
use super::{KeyMaterial, Profile, RTCP_CLEAR, RTCP_ENCRYPTED, rtcp_ssrc};
use crate::discard::Discard;
use crate::ids::Ssrc;

/// How much an [`Opener`] remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most SSRCs of RTP, and as many again of RTCP.
    pub max_ssrcs: usize,
    /// Packets of the replay window of each: a multiple of 64, at most [`Limits::MAX_WINDOW`].
    pub window: usize,
}

impl Limits {
    /// The longest replay window, in packets.
    pub const MAX_WINDOW: usize = 8_192;

    /// The window rounded to what a bitmap can be; RFC 3711 §3.3.2 wants at least 64.
    fn window_len(self) -> usize {
        self.window.clamp(64, Limits::MAX_WINDOW).next_multiple_of(64)
    }
}

/// An RTP packet that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Rollover counter and sequence number: `ROC << 16 | SEQ`.
    pub index: u64,
    /// Bytes of header and payload, without the tag.
    pub len: usize,
}

/// Opens the packets of one direction of one session and refuses what it has seen.
///
/// State of an SSRC is made only for an authenticated packet, and for a bounded number of them, so
/// that forged packets leave nothing behind. Media may come before our keys are installed, and a
/// sender may have started close to its first rollover: so the first packet of an SSRC that does
/// not hold before the first rollover is tried once more behind it.
pub struct Opener {
    rtp: Transform,
    rtcp: Transform,
    rtcp_overhead: usize,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Opener {
    /// Derives and schedules the session keys. `master` was made for `profile`.
    #[must_use]
    pub fn new(profile: Profile, master: &KeyMaterial, limits: Limits) -> Opener {
        debug_assert_eq!(profile, master.profile, "key material of another profile");
        let sources = || Sources::new(limits.max_ssrcs, limits.window_len());
        Opener {
            rtp: Transform::derive(profile, master, Use::Rtp),
            rtcp: Transform::derive(profile, master, Use::Rtcp),
            rtcp_overhead: profile.rtcp_overhead(),
            rtp_sources: sources(),
            rtcp_sources: sources(),
        }
    }

    /// Opens an RTP packet in place. `header_len`, `ssrc` and `sequence` are what its header says.
    ///
    /// The replay check comes before the tag, because it is cheaper and says no more than what the
    /// sender of a replayed packet knows (RFC 3711 §3.3). When it fails, the payload is lost.
    pub fn open_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: Ssrc,
        sequence: u16,
    ) -> Result<Opened, Discard> {
        let place = self.rtp_sources.find(ssrc)?;
        let opened = match self.rtp_sources.window(place) {
            Some(window) => {
                let index = estimate(window.highest(), sequence)
                    .filter(|index| window.is_new(*index))
                    .ok_or(Discard::SrtpReplay)?;
                self.rtp
                    .open_rtp(ssrc.0, index, packet, header_len)
                    .map(|len| Opened { index, len })
            }
            None => open_first(&self.rtp, packet, header_len, ssrc, sequence),
        };
        let opened = opened.ok_or(Discard::SrtpAuth)?;
        self.rtp_sources.record(place, ssrc, opened.index);
        Ok(opened)
    }

    /// Opens an RTCP compound in place and returns its length without tag and index.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Discard> {
        if packet.len() < RTCP_CLEAR + self.rtcp_overhead {
            return Err(Discard::RtcpMalformed);
        }
        let ssrc = Ssrc(rtcp_ssrc(packet).ok_or(Discard::RtcpMalformed)?);
        let word = self.rtcp.rtcp_index_word(packet).ok_or(Discard::RtcpMalformed)?;
        // A packet in the clear would be authentic, but nobody agreed to that.
        if word & RTCP_ENCRYPTED == 0 {
            return Err(Discard::SrtpAuth);
        }
        let index = word & !RTCP_ENCRYPTED;
        let place = self.rtcp_sources.find(ssrc)?;
        if self.rtcp_sources.window(place).is_some_and(|window| !window.is_new(index.into())) {
            return Err(Discard::SrtpReplay);
        }
        let len = self.rtcp.open_rtcp(ssrc.0, index, packet).ok_or(Discard::SrtpAuth)?;
        self.rtcp_sources.record(place, ssrc, index.into());
        Ok(len)
    }
}

/// Opens the first packet of an SSRC, whose rollover counter nothing tells: zero, or one if the
/// sequence number may lie shortly behind a rollover. Trying spoils the packet, hence the copy.
fn open_first(
    rtp: &Transform,
    packet: &mut [u8],
    header_len: usize,
    ssrc: Ssrc,
    sequence: u16,
) -> Option<Opened> {
    let copy = (sequence < 0x8000).then(|| packet.to_vec());
    let index = u64::from(sequence);
    if let Some(len) = rtp.open_rtp(ssrc.0, index, packet, header_len) {
        return Some(Opened { index, len });
    }
    packet.copy_from_slice(&copy?);
    let index = 1 << 16 | index;
    rtp.open_rtp(ssrc.0, index, packet, header_len).map(|len| Opened { index, len })
}

/// Keys are not printed.
impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("rtp_sources", &self.rtp_sources.len())
            .field("rtcp_sources", &self.rtcp_sources.len())
            .finish_non_exhaustive()
    }
}
