//! RTP packets as they lie in memory: where the header ends, what it says, where the payload is.
//!
//! A [`View`] is made from the packet as it came from the network, while the payload is still
//! encrypted (SRTP protects neither the header's fields nor its lengths from being read,
//! RFC 3711 §3.1), and stays valid once the payload was opened in place. It copies the fixed
//! fields and keeps positions, never a reference, so that the packet may be changed under it.
//! It never judges what SRTP has not yet authenticated beyond its lengths.
//!
//! The crate `rtp-types` parses the same header, but judges padding while it parses: on a
//! protected packet that is a byte of the authentication tag. It also holds on to the packet's
//! bytes, and hands out header extensions as one block. It is the independent reader in the tests.

pub mod codec;
mod extensions;

use std::ops::Range;

pub use self::extensions::{ExtensionBlock, Extensions};

use crate::discard::Discard;
use crate::ids::{PayloadType, Ssrc};

/// Length of the fixed header (RFC 3550 §5.1).
pub const FIXED_HEADER: usize = 12;

/// The header of one RTP packet (RFC 3550 §5.1), read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// The marker bit.
    pub marker: bool,
    /// The payload type.
    pub payload_type: PayloadType,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload format's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: Ssrc,
    /// The padding bit; [`View::payload`] judges the padding itself.
    pub has_padding: bool,
    /// Where the payload starts: fixed header, contributing sources and header extension.
    pub header_len: usize,
    /// The header extension, if there is one.
    pub extension: Option<ExtensionBlock>,
}

impl View {
    /// Reads the header of a packet, protected or not.
    ///
    /// # Errors
    /// [`Discard::RtpShort`] when it is not version 2 or ends before its contributing sources do,
    /// [`Discard::RtpExtension`] when its header extension ends beyond it.
    pub fn parse(packet: &[u8]) -> Result<View, Discard> {
        let (fixed, rest) = packet.split_first_chunk::<FIXED_HEADER>().ok_or(Discard::RtpShort)?;
        let [flags, marker_and_type, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        if flags >> 6 != 2 {
            return Err(Discard::RtpShort);
        }
        let sources = usize::from(flags & 0x0f) * 4;
        let rest = rest.get(sources..).ok_or(Discard::RtpShort)?;
        let after_sources = FIXED_HEADER + sources;
        let extension = if flags & 0x10 == 0 {
            None
        } else {
            Some(ExtensionBlock::parse(rest, after_sources).ok_or(Discard::RtpExtension)?)
        };
        Ok(View {
            marker: marker_and_type & 0x80 != 0,
            payload_type: PayloadType(marker_and_type & 0x7f),
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: Ssrc(u32::from_be_bytes([i0, i1, i2, i3])),
            has_padding: flags & 0x20 != 0,
            header_len: extension.map_or(after_sources, |block| usize::from(block.end)),
            extension,
        })
    }

    /// Where in `packet`, opened and without its tag, the payload lies once the padding is off.
    /// The range is empty for a packet that is padding alone.
    ///
    /// # Errors
    /// [`Discard::RtpPadding`] when the padding has length zero or is longer than the payload
    /// (RFC 3550 §5.1), [`Discard::RtpShort`] when `packet` is shorter than its header.
    pub fn payload(&self, packet: &[u8]) -> Result<Range<usize>, Discard> {
        let body = packet.get(self.header_len..).ok_or(Discard::RtpShort)?;
        if !self.has_padding {
            return Ok(self.header_len..packet.len());
        }
        let padding = usize::from(*body.last().ok_or(Discard::RtpPadding)?);
        if padding == 0 || padding > body.len() {
            return Err(Discard::RtpPadding);
        }
        Ok(self.header_len..packet.len() - padding)
    }

    /// The elements of the header extension as (id, start, length) into `packet`
    /// (RFC 8285 §4.2 and §4.3); none for other profiles than these two.
    #[must_use]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        Extensions::new(self.extension, packet)
    }
}
