//! RTCP (RFC 3550 §6 and its feedback profiles): a compound read as a row of items, and a writer.
//!
//! [`parse`] checks every length of a whole compound before it hands out the first [`Item`], so a
//! compound acts as one or not at all. It does not judge by sender SSRC (libwebrtc sends 1 where
//! it has none) and knows no session: whose SSRC an item names is the caller's question.
//!
//! | type | read | written |
//! |---|---|---|
//! | SR, RR (RFC 3550 §6.4) | sender info, each report block | yes |
//! | SDES (§6.5) | lengths checked, contents skipped | CNAME |
//! | BYE (§6.6) | each SSRC | yes |
//! | APP (§6.7) | skipped | no |
//! | generic NACK (RFC 4585 §6.2.1) | yes | yes |
//! | PLI, FIR (RFC 4585 §6.3.1, RFC 5104 §4.3.1) | yes | yes |
//! | REMB (draft-alvestrand-rmcat-remb-03) | bitrate | yes |
//! | transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01) | skipped | yes |
//! | XR receiver reference time, DLRR (RFC 3611 §4.4, §4.5) | yes | yes |
//! | others | lengths checked, skipped | no |
//!
//! The crate `rtcp-types` was read for this and left to the tests, as an independent reader and
//! writer. It checks a compound's lengths, but each packet's contents only when it is reached;
//! tests the version of the first packet alone; takes zero bytes at the start of an SSRC for the
//! padding of the SDES chunk before it; refuses a DLRR of two answers; and builds what it writes
//! from vectors, boxes and a `BTreeSet` of sequence numbers, which tears a NACK apart where they
//! wrap. It has no REMB.

mod item;
mod parse;
mod transport_feedback;
mod write;

pub use self::item::{Item, NackSequences, ReportBlock};
pub use self::parse::{Items, parse};
pub use self::write::Writer;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APPLICATION: u8 = 204;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
    pub(super) const EXTENDED_REPORT: u8 = 207;
}

/// Feedback message types: the count field of feedback packets.
mod format {
    /// Of transport feedback (RFC 4585 §6.2.1).
    pub(super) const NACK: u8 = 1;
    /// Of transport feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    pub(super) const TRANSPORT_WIDE: u8 = 15;
    /// Of payload feedback (RFC 4585 §6.3.1).
    pub(super) const PLI: u8 = 1;
    /// Of payload feedback (RFC 5104 §4.3.1).
    pub(super) const FIR: u8 = 4;
    /// Of payload feedback (RFC 4585 §6.4).
    pub(super) const APPLICATION_LAYER: u8 = 15;
}

/// Block types of extended reports (RFC 3611 §4).
mod xr_block {
    pub(super) const RECEIVER_REFERENCE_TIME: u8 = 4;
    pub(super) const DLRR: u8 = 5;
}

/// The unique identifier of REMB among application layer feedback.
const REMB: [u8; 4] = *b"REMB";

/// Whether an RTP or RTCP datagram is RTCP: packet types 192 to 223, where RTP would have its
/// marker and payload type (RFC 5761 §4).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|packet_type| (192..=223).contains(packet_type))
}
