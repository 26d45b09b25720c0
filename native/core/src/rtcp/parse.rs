//! Reading a compound: everything is checked first, then read without errors.
//!
//! Both passes cut packets with the same function, so that they cannot disagree about where one
//! starts. The first packet need not be a report (reduced-size RTCP, RFC 5506).

use std::slice::ChunksExact;

use super::item::{Item, NackSequences, ReportBlock};
use super::{REMB, format, packet_type, xr_block};
use crate::discard::Discard;
use crate::ids::Ssrc;
use crate::time::Ntp;

/// Length of an SR's sender info behind its SSRC (RFC 3550 §6.4.1).
const SENDER_INFO: usize = 20;

/// Checks a compound and iterates over what it says.
///
/// # Errors
/// [`Discard::RtcpMalformed`] when any length in it is wrong; nothing of it counts then.
pub fn parse(compound: &[u8]) -> Result<Items<'_>, Discard> {
    check(compound).ok_or(Discard::RtcpMalformed)?;
    Ok(Items { rest: compound, entries: Entries::None })
}

/// Iterates over the items of a compound that was checked; see [`parse`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    /// The packets still to be read.
    rest: &'a [u8],
    /// What is left of the packet last read.
    entries: Entries<'a>,
}

/// The repeated part of a packet.
#[derive(Clone, Debug)]
enum Entries<'a> {
    None,
    Reports {
        from: Ssrc,
        blocks: ChunksExact<'a, u8>,
    },
    Fir(ChunksExact<'a, u8>),
    Bye(ChunksExact<'a, u8>),
    /// The blocks of an XR, and what is left of the current DLRR.
    Extended {
        from: Ssrc,
        blocks: &'a [u8],
        dlrr: ChunksExact<'a, u8>,
    },
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            if let Some(item) = self.entries.next() {
                return Some(item);
            }
            let (packet, rest) = Packet::split(self.rest)?;
            self.rest = rest;
            let (item, entries) = read(&packet).unwrap_or((None, Entries::None));
            self.entries = entries;
            if item.is_some() {
                return item;
            }
        }
    }
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Entries::None => None,
            Entries::Reports { from, blocks } => {
                let block = ReportBlock::read(blocks.next()?.first_chunk()?);
                Some(Item::Report { from: *from, block })
            }
            Entries::Fir(entries) => {
                let [s0, s1, s2, s3, seq_nr, ..] = entries.next()?.first_chunk::<8>()?;
                let media = Ssrc(u32::from_be_bytes([*s0, *s1, *s2, *s3]));
                Some(Item::Fir { media, seq_nr: *seq_nr })
            }
            Entries::Bye(sources) => Some(Item::Bye { ssrc: ssrc(sources.next()?)?.0 }),
            Entries::Extended { from, blocks, dlrr } => loop {
                if let Some(sub_block) = dlrr.next() {
                    let (ssrc, rest) = ssrc(sub_block)?;
                    let (last_rr, rest) = word(rest)?;
                    return Some(Item::Dlrr { ssrc, last_rr, delay: word(rest)?.0 });
                }
                let (block, rest) = XrBlock::split(blocks)?;
                *blocks = rest;
                match block.block_type {
                    xr_block::RECEIVER_REFERENCE_TIME => {
                        let ntp = Ntp(u64::from_be_bytes(*block.body.first_chunk()?));
                        return Some(Item::ReceiverReferenceTime { ssrc: *from, ntp });
                    }
                    xr_block::DLRR => *dlrr = block.body.chunks_exact(12),
                    _ => {}
                }
            },
        }
    }
}

/// Reads the fixed part of a packet that was checked, and finds its repeated part.
fn read<'a>(packet: &Packet<'a>) -> Option<(Option<Item<'a>>, Entries<'a>)> {
    let repeated = usize::from(packet.count);
    match packet.packet_type {
        packet_type::SENDER_REPORT => {
            let (ssrc, rest) = ssrc(packet.body)?;
            let (info, rest) = rest.split_first_chunk::<SENDER_INFO>()?;
            let blocks = rest.get(..repeated * ReportBlock::LEN)?.chunks_exact(ReportBlock::LEN);
            Some((Some(sender_info(ssrc, info)), Entries::Reports { from: ssrc, blocks }))
        }
        packet_type::RECEIVER_REPORT => {
            let (from, rest) = ssrc(packet.body)?;
            let blocks = rest.get(..repeated * ReportBlock::LEN)?.chunks_exact(ReportBlock::LEN);
            Some((None, Entries::Reports { from, blocks }))
        }
        packet_type::BYE => {
            Some((None, Entries::Bye(packet.body.get(..repeated * 4)?.chunks_exact(4))))
        }
        packet_type::TRANSPORT_FEEDBACK if packet.count == format::NACK => {
            let (media, entries) = feedback(packet)?;
            let sequences = NackSequences::new(entries);
            Some((Some(Item::Nack { media, sequences }), Entries::None))
        }
        packet_type::PAYLOAD_FEEDBACK => read_payload_feedback(packet),
        packet_type::EXTENDED_REPORT => {
            let (from, blocks) = ssrc(packet.body)?;
            Some((None, Entries::Extended { from, blocks, dlrr: [].chunks_exact(12) }))
        }
        _ => None,
    }
}

fn read_payload_feedback<'a>(packet: &Packet<'a>) -> Option<(Option<Item<'a>>, Entries<'a>)> {
    let (media, control) = feedback(packet)?;
    match packet.count {
        format::PLI => Some((Some(Item::Pli { media }), Entries::None)),
        // FIR names its streams in its entries, not in the packet's header.
        format::FIR => Some((None, Entries::Fir(control.chunks_exact(8)))),
        format::APPLICATION_LAYER if control.starts_with(&REMB) => {
            // "REMB", number of SSRCs, 6 bits of exponent, 18 bits of mantissa.
            let [_, _, _, _, _, b0, b1, b2] = *control.first_chunk::<8>()?;
            let mantissa = u64::from(u32::from_be_bytes([0, b0 & 0x03, b1, b2]));
            let exponent = u32::from(b0 >> 2);
            // More than 64 bits of it is as good as no limit.
            let bitrate_bps =
                if mantissa.leading_zeros() < exponent { u64::MAX } else { mantissa << exponent };
            Some((Some(Item::Remb { bitrate_bps }), Entries::None))
        }
        _ => None,
    }
}

fn sender_info<'a>(ssrc: Ssrc, info: &[u8; SENDER_INFO]) -> Item<'a> {
    let [n0, n1, n2, n3, n4, n5, n6, n7, t0, t1, t2, t3, p0, p1, p2, p3, o0, o1, o2, o3] = *info;
    Item::SenderReport {
        ssrc,
        ntp: Ntp(u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7])),
        rtp_timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        packets: u32::from_be_bytes([p0, p1, p2, p3]),
        octets: u32::from_be_bytes([o0, o1, o2, o3]),
    }
}

/// Checks every length of a compound.
fn check(compound: &[u8]) -> Option<()> {
    let mut rest = compound;
    loop {
        let packet;
        (packet, rest) = Packet::split(rest)?;
        check_packet(&packet)?;
        if rest.is_empty() {
            return Some(());
        }
    }
}

/// Checks what a packet's type says of its length.
fn check_packet(packet: &Packet<'_>) -> Option<()> {
    let count = usize::from(packet.count);
    let body = packet.body;
    match packet.packet_type {
        packet_type::SENDER_REPORT => at_least(body, 4 + SENDER_INFO + count * ReportBlock::LEN),
        packet_type::RECEIVER_REPORT => at_least(body, 4 + count * ReportBlock::LEN),
        packet_type::SOURCE_DESCRIPTION => check_source_description(count, body),
        packet_type::BYE => {
            let reason = body.get(count * 4..)?;
            // The reason is optional (RFC 3550 §6.6).
            reason.split_first().map_or(Some(()), |(len, text)| at_least(text, usize::from(*len)))
        }
        packet_type::APPLICATION => at_least(body, 8),
        packet_type::TRANSPORT_FEEDBACK => {
            let (_, control) = feedback(packet)?;
            match packet.count {
                format::NACK => entries(control, 4),
                format::TRANSPORT_WIDE => at_least(control, 8),
                _ => Some(()),
            }
        }
        packet_type::PAYLOAD_FEEDBACK => {
            let (_, control) = feedback(packet)?;
            match packet.count {
                format::FIR => entries(control, 8),
                format::APPLICATION_LAYER if control.starts_with(&REMB) => {
                    at_least(control, 8 + 4 * usize::from(*control.get(4)?))
                }
                _ => Some(()),
            }
        }
        packet_type::EXTENDED_REPORT => check_extended_report(body),
        _ => Some(()),
    }
}

/// Chunks of an SSRC and items, each row of items ended by a zero and padded to 32 bits
/// (RFC 3550 §6.5).
fn check_source_description(chunks: usize, mut body: &[u8]) -> Option<()> {
    for _ in 0..chunks {
        let mut position = 4;
        while *body.get(position)? != 0 {
            position += 2 + usize::from(*body.get(position + 1)?);
        }
        body = body.get((position + 1).next_multiple_of(4)..)?;
    }
    Some(())
}

/// The SSRC, then blocks to the last byte; those that are read have a length of their own
/// (RFC 3611 §3).
fn check_extended_report(body: &[u8]) -> Option<()> {
    let (_, mut rest) = ssrc(body)?;
    while !rest.is_empty() {
        let block;
        (block, rest) = XrBlock::split(rest)?;
        match block.block_type {
            xr_block::RECEIVER_REFERENCE_TIME if block.body.len() != 8 => return None,
            xr_block::DLRR if !block.body.len().is_multiple_of(12) => return None,
            _ => {}
        }
    }
    Some(())
}

/// One packet of a compound, without header and padding.
struct Packet<'a> {
    packet_type: u8,
    /// Of report blocks, chunks or sources; the message type in feedback.
    count: u8,
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Cuts the first packet off. `None` when it is not version 2, or longer than there is, or
    /// has more padding than body.
    fn split(compound: &'a [u8]) -> Option<(Packet<'a>, &'a [u8])> {
        let ([flags, packet_type, w0, w1], rest) = compound.split_first_chunk::<4>()?;
        if flags >> 6 != 2 {
            return None;
        }
        // The length counts 32-bit words without the first one (RFC 3550 §6.4.1).
        let len = usize::from(u16::from_be_bytes([*w0, *w1])) * 4;
        let (mut body, rest) = rest.split_at_checked(len)?;
        if flags & 0x20 != 0 {
            // Padding should be a multiple of four and in the last packet alone (RFC 3550
            // §6.4.1), but libwebrtc fills up each transport-wide feedback of a compound with one
            // to three bytes and declares them so.
            let padding = usize::from(*body.last()?);
            if padding == 0 {
                return None;
            }
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        Some((Packet { packet_type: *packet_type, count: flags & 0x1f, body }, rest))
    }
}

/// One block of an extended report, without its header (RFC 3611 §3).
struct XrBlock<'a> {
    block_type: u8,
    body: &'a [u8],
}

impl<'a> XrBlock<'a> {
    fn split(blocks: &'a [u8]) -> Option<(XrBlock<'a>, &'a [u8])> {
        let ([block_type, _, w0, w1], rest) = blocks.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([*w0, *w1])) * 4;
        let (body, rest) = rest.split_at_checked(len)?;
        Some((XrBlock { block_type: *block_type, body }, rest))
    }
}

/// The media source and the control information of a feedback packet (RFC 4585 §6.1).
fn feedback<'a>(packet: &Packet<'a>) -> Option<(Ssrc, &'a [u8])> {
    let (_sender, rest) = ssrc(packet.body)?;
    ssrc(rest)
}

fn ssrc(bytes: &[u8]) -> Option<(Ssrc, &[u8])> {
    let (value, rest) = word(bytes)?;
    Some((Ssrc(value), rest))
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (value, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*value), rest))
}

fn at_least(bytes: &[u8], len: usize) -> Option<()> {
    (bytes.len() >= len).then_some(())
}

/// At least one entry of this length, and nothing else.
fn entries(bytes: &[u8], len: usize) -> Option<()> {
    (!bytes.is_empty() && bytes.len().is_multiple_of(len)).then_some(())
}
