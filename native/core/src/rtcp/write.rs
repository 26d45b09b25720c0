//! Writing RTCP: packets appended to a buffer, one after the other, as a compound.

use super::item::ReportBlock;
use super::{REMB, format, packet_type, transport_feedback, xr_block};
use crate::ids::Ssrc;
use crate::time::Ntp;

/// Blocks, chunks or sources that the count field of a packet can tell (RFC 3550 §6.4.1).
const MAX_COUNT: usize = 31;
/// The SDES item CNAME (RFC 3550 §6.5.1).
const CNAME: u8 = 1;
/// Where a feedback packet names no media source (RFC 5104 §4.3.1.2, REMB §2.2).
const NO_SOURCE: Ssrc = Ssrc(0);

/// Appends RTCP packets to a buffer.
///
/// It keeps to what a packet can say: longer rows go on in another packet of the same type. It
/// does not keep to a datagram's size, and does not order the compound: a full one starts with a
/// report and has a CNAME (RFC 3550 §6.1).
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`, whose length is a multiple of four.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// A sender report (RFC 3550 §6.4.1); blocks beyond 31 follow in receiver reports.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        ntp: Ntp,
        rtp_timestamp: u32,
        packets: u32,
        octets: u32,
        blocks: &[ReportBlock],
    ) -> &mut Self {
        let (first, more) = blocks.split_at(blocks.len().min(MAX_COUNT));
        self.packet(packet_type::SENDER_REPORT, first.len(), |out| {
            push(out, ssrc.0);
            out.extend_from_slice(&ntp.0.to_be_bytes());
            for word in [rtp_timestamp, packets, octets] {
                push(out, word);
            }
            first.iter().for_each(|block| block.write(out));
        });
        if more.is_empty() { self } else { self.receiver_report(ssrc, more) }
    }

    /// Receiver reports (RFC 3550 §6.4.2), at least one, with 31 blocks each.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> &mut Self {
        let mut more = blocks;
        loop {
            let first;
            (first, more) = more.split_at(more.len().min(MAX_COUNT));
            self.packet(packet_type::RECEIVER_REPORT, first.len(), |out| {
                push(out, ssrc.0);
                first.iter().for_each(|block| block.write(out));
            });
            if more.is_empty() {
                return self;
            }
        }
    }

    /// One CNAME for all these sources (RFC 3550 §6.5.1); of its bytes the first 255.
    pub fn sdes_cname(&mut self, sources: &[Ssrc], cname: &str) -> &mut Self {
        let text = cname.as_bytes();
        let text = text.get(..usize::from(u8::MAX)).unwrap_or(text);
        for chunks in sources.chunks(MAX_COUNT) {
            self.packet(packet_type::SOURCE_DESCRIPTION, chunks.len(), |out| {
                for source in chunks {
                    push(out, source.0);
                    out.extend_from_slice(&[CNAME, text.len() as u8]);
                    out.extend_from_slice(text);
                    out.push(0);
                    align(out);
                }
            });
        }
        self
    }

    /// These sources leave (RFC 3550 §6.6).
    pub fn bye(&mut self, sources: &[Ssrc]) -> &mut Self {
        for some in sources.chunks(MAX_COUNT) {
            self.packet(packet_type::BYE, some.len(), |out| {
                some.iter().for_each(|source| push(out, source.0));
            });
        }
        self
    }

    /// A generic NACK (RFC 4585 §6.2.1) for these sequence numbers, ascending (wrapping around
    /// allowed). Nothing is written for none.
    pub fn nack(&mut self, sender: Ssrc, media: Ssrc, sequences: &[u16]) -> &mut Self {
        let Some((&first, more)) = sequences.split_first() else { return self };
        self.feedback(packet_type::TRANSPORT_FEEDBACK, format::NACK, sender, media, |out| {
            let (mut pid, mut mask) = (first, 0_u16);
            for &sequence in more {
                match sequence.wrapping_sub(pid) {
                    0 => {}
                    ahead @ 1..=16 => mask |= 1 << (ahead - 1),
                    _ => {
                        push(out, u32::from(pid) << 16 | u32::from(mask));
                        (pid, mask) = (sequence, 0);
                    }
                }
            }
            push(out, u32::from(pid) << 16 | u32::from(mask));
        })
    }

    /// A picture loss indication (RFC 4585 §6.3.1).
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> &mut Self {
        self.feedback(packet_type::PAYLOAD_FEEDBACK, format::PLI, sender, media, |_| {})
    }

    /// A full intra request (RFC 5104 §4.3.1); a repetition carries the same `seq_nr`.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, seq_nr: u8) -> &mut Self {
        self.feedback(packet_type::PAYLOAD_FEEDBACK, format::FIR, sender, NO_SOURCE, |out| {
            push(out, media.0);
            push(out, u32::from(seq_nr) << 24);
        })
    }

    /// Receiver estimated maximum bitrate of these sources, of which the first 255 are named
    /// (draft-alvestrand-rmcat-remb-03 §2.2).
    pub fn remb(&mut self, sender: Ssrc, bitrate_bps: u64, sources: &[Ssrc]) -> &mut Self {
        let sources = sources.get(..usize::from(u8::MAX)).unwrap_or(sources);
        // 18 bits of mantissa; rounded down, for a limit must not grow.
        let exponent = (u64::BITS - bitrate_bps.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate_bps >> exponent) as u32;
        let kind = packet_type::PAYLOAD_FEEDBACK;
        self.feedback(kind, format::APPLICATION_LAYER, sender, NO_SOURCE, |out| {
            out.extend_from_slice(&REMB);
            push(out, (sources.len() as u32) << 24 | exponent << 18 | mantissa);
            sources.iter().for_each(|source| push(out, source.0));
        })
    }

    /// Answers receiver reference times (RFC 3611 §4.5): of each receiver its SSRC, the middle
    /// 32 bits of its time, and the delay since in units of 1/65,536 s. Nothing is written for
    /// none.
    pub fn dlrr(&mut self, sender: Ssrc, answers: &[(Ssrc, u32, u32)]) -> &mut Self {
        for some in answers.chunks(MAX_COUNT) {
            self.packet(packet_type::EXTENDED_REPORT, 0, |out| {
                push(out, sender.0);
                push(out, u32::from(xr_block::DLRR) << 24 | (some.len() * 3) as u32);
                for (receiver, last_rr, delay) in some {
                    push(out, receiver.0);
                    push(out, *last_rr);
                    push(out, *delay);
                }
            });
        }
        self
    }

    /// An XR receiver reference time (RFC 3611 §4.4).
    pub fn receiver_reference_time(&mut self, sender: Ssrc, ntp: Ntp) -> &mut Self {
        self.packet(packet_type::EXTENDED_REPORT, 0, |out| {
            push(out, sender.0);
            push(out, u32::from(xr_block::RECEIVER_REFERENCE_TIME) << 24 | 2);
            out.extend_from_slice(&ntp.0.to_be_bytes());
        })
    }

    /// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
    ///
    /// `deltas` has an entry for each transport-wide sequence number from `base_sequence` on:
    /// `None` for a packet that did not arrive, otherwise the time since the one that arrived
    /// before it, in units of 250 µs; for the first, since `reference_time_64ms` × 64 ms (of
    /// which 24 bits are sent). Entries beyond what one packet can tell are left out, nothing is
    /// written for none.
    pub fn transport_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        feedback_count: u8,
        base_sequence: u16,
        reference_time_64ms: u32,
        deltas: &[Option<i16>],
    ) -> &mut Self {
        let deltas = deltas.get(..usize::from(u16::MAX)).unwrap_or(deltas);
        if deltas.is_empty() {
            return self;
        }
        let kind = packet_type::TRANSPORT_FEEDBACK;
        self.feedback(kind, format::TRANSPORT_WIDE, sender, media, |out| {
            push(out, u32::from(base_sequence) << 16 | deltas.len() as u32);
            push(out, reference_time_64ms << 8 | u32::from(feedback_count));
            transport_feedback::write_statuses(deltas, out);
            align(out);
        })
    }

    /// A feedback packet (RFC 4585 §6.1).
    fn feedback(
        &mut self,
        packet_type: u8,
        format: u8,
        sender: Ssrc,
        media: Ssrc,
        control: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        self.packet(packet_type, usize::from(format), |out| {
            push(out, sender.0);
            push(out, media.0);
            control(out);
        })
    }

    /// A packet whose body `body` writes, in whole words.
    fn packet(
        &mut self,
        packet_type: u8,
        count: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        let header_at = self.out.len();
        self.out.extend_from_slice(&[0x80 | count as u8 & 0x1f, packet_type, 0, 0]);
        let body_at = self.out.len();
        body(self.out);
        let words = ((self.out.len() - body_at) / 4) as u16;
        if let Some(length) = self.out.get_mut(header_at + 2..body_at) {
            length.copy_from_slice(&words.to_be_bytes());
        }
        self
    }
}

fn push(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn align(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}
