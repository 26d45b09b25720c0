//! What a compound says, one item at a time.

use crate::ids::Ssrc;
use crate::time::Ntp;

/// One statement of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// The sender info of an SR (RFC 3550 §6.4.1).
    SenderReport {
        /// Whose packets it speaks of.
        ssrc: Ssrc,
        /// The sender's wall clock when it made the report.
        ntp: Ntp,
        /// The same instant in the RTP clock of `ssrc`.
        rtp_timestamp: u32,
        /// Packets sent so far, modulo 2^32.
        packets: u32,
        /// Payload bytes sent so far, modulo 2^32.
        octets: u32,
    },
    /// One report block of an SR or RR (RFC 3550 §6.4.1).
    Report {
        /// Who received.
        from: Ssrc,
        /// What it received.
        block: ReportBlock,
    },
    /// A generic NACK (RFC 4585 §6.2.1).
    Nack {
        /// The stream that misses packets.
        media: Ssrc,
        /// The sequence numbers that are missing, in the order of the packet.
        sequences: NackSequences<'a>,
    },
    /// A picture loss indication (RFC 4585 §6.3.1).
    Pli {
        /// The stream that wants a keyframe.
        media: Ssrc,
    },
    /// One entry of a full intra request (RFC 5104 §4.3.1).
    Fir {
        /// The stream that wants a keyframe.
        media: Ssrc,
        /// Repeated requests carry the same number.
        seq_nr: u8,
    },
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb {
        /// Over all streams that it names, in bits a second.
        bitrate_bps: u64,
    },
    /// One source of a BYE (RFC 3550 §6.6).
    Bye {
        /// The source that leaves.
        ssrc: Ssrc,
    },
    /// An XR receiver reference time (RFC 3611 §4.4), to be answered by a DLRR.
    ReceiverReferenceTime {
        /// The receiver.
        ssrc: Ssrc,
        /// Its wall clock when it made the report.
        ntp: Ntp,
    },
    /// One sub-block of an XR DLRR (RFC 3611 §4.5).
    Dlrr {
        /// The receiver whose reference time it answers.
        ssrc: Ssrc,
        /// The middle 32 bits of that reference time; zero when there was none.
        last_rr: u32,
        /// Time between its arrival and this answer, in units of 1/65,536 s.
        delay: u32,
    },
}

/// What a receiver tells of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: Ssrc,
    /// Share of packets lost since the last report, in units of 1/256.
    pub fraction_lost: u8,
    /// Packets lost so far, in 24 bits of two's complement: duplicates make it negative.
    pub cumulative_lost: u32,
    /// Highest sequence number received, extended by rollovers.
    pub highest: u32,
    /// Interarrival jitter in units of the source's RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR; zero when there was none.
    pub last_sr: u32,
    /// Time between that SR's arrival and this report, in units of 1/65,536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Length on the wire.
    pub(super) const LEN: usize = 24;

    /// Reads a block.
    pub(super) fn read(bytes: &[u8; Self::LEN]) -> ReportBlock {
        let [s0, s1, s2, s3, fraction_lost, l0, l1, l2, rest @ ..] = *bytes;
        let [h0, h1, h2, h3, j0, j1, j2, j3, r0, r1, r2, r3, d0, d1, d2, d3] = rest;
        ReportBlock {
            ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            fraction_lost,
            cumulative_lost: u32::from_be_bytes([0, l0, l1, l2]),
            highest: u32::from_be_bytes([h0, h1, h2, h3]),
            jitter: u32::from_be_bytes([j0, j1, j2, j3]),
            last_sr: u32::from_be_bytes([r0, r1, r2, r3]),
            delay_since_last_sr: u32::from_be_bytes([d0, d1, d2, d3]),
        }
    }

    /// Appends the block.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ssrc.0.to_be_bytes());
        out.push(self.fraction_lost);
        let [_, lost @ ..] = self.cumulative_lost.to_be_bytes();
        out.extend_from_slice(&lost);
        for word in [self.highest, self.jitter, self.last_sr, self.delay_since_last_sr] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Iterates over the sequence numbers of a NACK: of each entry its PID, then those of its mask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NackSequences<'a> {
    entries: &'a [u8],
    /// The sequence number before that of the mask's lowest bit.
    base: u16,
    /// What of the mask is still to come; shifted down with `base` going up.
    mask: u16,
}

impl<'a> NackSequences<'a> {
    /// Over entries of four bytes each.
    pub(super) fn new(entries: &'a [u8]) -> NackSequences<'a> {
        NackSequences { entries, base: 0, mask: 0 }
    }
}

impl Iterator for NackSequences<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask == 0 {
            let ([p0, p1, m0, m1], rest) = self.entries.split_first_chunk::<4>()?;
            self.entries = rest;
            self.base = u16::from_be_bytes([*p0, *p1]);
            self.mask = u16::from_be_bytes([*m0, *m1]);
            return Some(self.base);
        }
        // Bit i of the mask stands for PID + i + 1 (RFC 4585 §6.2.1).
        let skipped = self.mask.trailing_zeros();
        self.mask = (self.mask >> skipped) >> 1;
        self.base = self.base.wrapping_add(skipped as u16).wrapping_add(1);
        Some(self.base)
    }
}
