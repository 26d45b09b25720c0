//! What a viewer's packets look like: its payload types, its extension ids, its MID.
//!
//! Fixed for the session's life. Together with what is fixed in a packet ([`Packet::padding`],
//! [`crate::packet::ForwardedExtensions::room`]) it decides every byte of the packet for this
//! viewer, so a retransmission without RTX is the same bytes again and no nonce ever seals two
//! strings.

use arrayvec::ArrayVec;

use crate::command::SubscribeTrack;
use crate::ids::Ssrc;
use crate::media::{Codec, Extension, Format};
use crate::packet::{ForwardedExtensions, Packet};

/// RTP fixed header (RFC 3550 §5.1).
const FIXED_HEADER: usize = 12;
/// Most bytes that a header written here has.
pub const MAX_HEADER: usize = FIXED_HEADER + 4 + 256;
/// Most bytes of an extension block with a MID alone.
const MAX_USUAL: usize = 4 + 20;
/// One-byte form: ids 1 to 14, values of 1 to 16 bytes (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xBEDE;
/// Two-byte form: ids 1 to 255, values of 0 to 255 bytes (RFC 8285 §4.3).
const TWO_BYTE: u16 = 0x1000;

/// The numbers of one outgoing packet.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Where it is sent as.
    pub ssrc: Ssrc,
    /// Low 16 bits of the SRTP index.
    pub sequence: u16,
    /// The viewer's RTP timestamp.
    pub timestamp: u32,
    /// The viewer's payload type.
    pub payload_type: u8,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Template {
    formats: ArrayVec<Format, 16>,
    mid: ArrayVec<u8, 16>,
    mid_id: u8,
    /// Ids of [`Extension::FORWARDED`], in its order; 0 where not negotiated.
    ids: [u8; Extension::FORWARDED.len()],
    two_byte_allowed: bool,
    /// The extension block of packets that bring no extension themselves, which are most, in a room
    /// of one size: so it is copied by a few instructions.
    usual: [u8; MAX_USUAL],
    usual_len: u8,
}

impl Template {
    /// What the viewer negotiated for one track. Formats beyond sixteen and a MID that fits no
    /// one-byte element are left out.
    #[must_use]
    pub fn new(track: &SubscribeTrack) -> Template {
        let id_of = |wanted: Extension| {
            track.extensions.iter().find(|(_, e)| *e == wanted).map_or(0, |(id, _)| *id)
        };
        let mid = ArrayVec::try_from(track.mid.as_bytes()).unwrap_or_default();
        let mid_id = match id_of(Extension::Mid) {
            id if mid.is_empty() || (id > 14 && !track.extmap_allow_mixed) => 0,
            id => id,
        };
        let mut template = Template {
            formats: track.formats.iter().copied().take(16).collect(),
            mid,
            mid_id,
            ids: Extension::FORWARDED.map(id_of),
            two_byte_allowed: track.extmap_allow_mixed,
            usual: [0; MAX_USUAL],
            usual_len: 0,
        };
        let mut block = [0; MAX_USUAL];
        let mut out = Cursor { buffer: &mut block, at: 0 };
        let extensions =
            ForwardedExtensions { room: ForwardedExtensions::NO_ROOM, ..Default::default() };
        if template.write_extensions(mid_id, &extensions, |_| None, &mut out) {
            template.usual_len = out.at as u8;
            template.usual = block;
        }
        template
    }

    /// The format under which this codec goes to the viewer.
    #[must_use]
    pub fn format(&self, codec: Codec) -> Option<Format> {
        self.formats.iter().copied().find(|format| format.codec == codec)
    }

    /// Writes the header of `packet` and returns its length. `buffer` has [`MAX_HEADER`] bytes;
    /// those behind the header may be written to as well.
    pub fn write_header(&self, packet: &Packet, numbers: Numbers, buffer: &mut [u8]) -> usize {
        if packet.extensions.room == ForwardedExtensions::NO_ROOM {
            return self.write_usual_header(packet, numbers, buffer);
        }
        let mut out = Cursor { buffer, at: FIXED_HEADER };
        let value = |wanted| packet.extension(wanted);
        let extended = self.write_extensions(self.mid_id, &packet.extensions, value, &mut out);
        out.fixed(packet, numbers, extended)
    }

    fn write_usual_header(&self, packet: &Packet, numbers: Numbers, buffer: &mut [u8]) -> usize {
        let extended = self.usual_len > 0;
        if let Some((fixed, rest)) = buffer.split_first_chunk_mut()
            && let Some(block) = rest.first_chunk_mut()
        {
            *fixed = fixed_header(packet, numbers, extended);
            *block = self.usual;
        }
        FIXED_HEADER + usize::from(self.usual_len)
    }

    /// The same of a retransmission (RFC 4588), without the MID: the answer tells its SSRC beside that
    /// of the media, and what the original sequence number adds must not make it longer than the
    /// packet, or it would fit into no train with it.
    pub fn write_rtx_header(&self, packet: &Packet, numbers: Numbers, buffer: &mut [u8]) -> usize {
        let mut out = Cursor { buffer, at: FIXED_HEADER };
        let value = |wanted| packet.extension(wanted);
        let extended = self.write_extensions(0, &packet.extensions, value, &mut out);
        out.fixed(packet, numbers, extended)
    }

    /// Writes the extension block, if there is one: MID unless its id is 0, then what travels from
    /// the publisher, each in the room that the packet's train gives it. Zero bytes fill the rest
    /// (RFC 8285 §4.1.1).
    fn write_extensions<'a>(
        &self,
        mid_id: u8,
        extensions: &ForwardedExtensions,
        value: impl Fn(Extension) -> Option<&'a [u8]>,
        out: &mut Cursor<'_>,
    ) -> bool {
        let Some(two_byte) = self.form(mid_id, extensions) else { return false };
        let block = out.at;
        out.at += 4;
        if mid_id != 0 {
            out.element(two_byte, mid_id, &self.mid);
        }
        for (slot, extension) in Extension::FORWARDED.into_iter().enumerate() {
            let Some(room) = self.room(extensions, slot, two_byte) else { continue };
            let end = out.at + usize::from(room) + if two_byte { 2 } else { 1 };
            if let Some(value) = value(extension) {
                out.element(two_byte, self.ids[slot], value);
            }
            out.zeros_to(end);
        }
        out.zeros_to((out.at - block).next_multiple_of(4) + block);
        let words = ((out.at - block) / 4 - 1) as u16;
        let profile = if two_byte { TWO_BYTE } else { ONE_BYTE };
        out.put_at(block, &profile.to_be_bytes());
        out.put_at(block + 2, &words.to_be_bytes());
        true
    }

    /// One-byte or two-byte form for packets with this room, or none if they need no block.
    fn form(&self, mid_id: u8, extensions: &ForwardedExtensions) -> Option<bool> {
        let mut needed = mid_id != 0;
        let mut two_byte = mid_id > 14;
        for (id, room) in self.ids.iter().zip(extensions.room) {
            if *id != 0 && room != ForwardedExtensions::NONE {
                needed = true;
                two_byte |= *id > 14 || room == 0 || room > 16;
            }
        }
        needed.then_some(two_byte && self.two_byte_allowed)
    }

    /// The room of a forwarded extension, if it is written at all in this form.
    fn room(&self, extensions: &ForwardedExtensions, slot: usize, two_byte: bool) -> Option<u8> {
        let (id, room) = (*self.ids.get(slot)?, *extensions.room.get(slot)?);
        let fits = two_byte || (id <= 14 && (1..=16).contains(&room));
        (id != 0 && room != ForwardedExtensions::NONE && fits).then_some(room)
    }
}

/// RFC 3550 §5.1.
fn fixed_header(packet: &Packet, numbers: Numbers, extended: bool) -> [u8; FIXED_HEADER] {
    let mut fixed = [0; FIXED_HEADER];
    fixed[0] = 0x80 | (u8::from(packet.padding > 0) << 5) | (u8::from(extended) << 4);
    fixed[1] = (u8::from(packet.marker) << 7) | numbers.payload_type;
    fixed[2..4].copy_from_slice(&numbers.sequence.to_be_bytes());
    fixed[4..8].copy_from_slice(&numbers.timestamp.to_be_bytes());
    fixed[8..12].copy_from_slice(&numbers.ssrc.0.to_be_bytes());
    fixed
}

/// Writes forward and never beyond the buffer.
struct Cursor<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Writes the fixed header before what stands there already; how long both are.
    fn fixed(self, packet: &Packet, numbers: Numbers, extended: bool) -> usize {
        if let Some(start) = self.buffer.first_chunk_mut() {
            *start = fixed_header(packet, numbers, extended);
        }
        self.at
    }

    fn element(&mut self, two_byte: bool, id: u8, value: &[u8]) {
        let len = value.len() as u8;
        if two_byte {
            self.put(&[id, len]);
        } else if len > 0 {
            self.put(&[(id << 4) | ((len - 1) & 0x0F)]);
        }
        self.put(value);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put_at(self.at, bytes);
        self.at += bytes.len();
    }

    fn put_at(&mut self, at: usize, bytes: &[u8]) {
        if let Some(target) = self.buffer.get_mut(at..at + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }

    fn zeros_to(&mut self, end: usize) {
        if let Some(target) = self.buffer.get_mut(self.at..end) {
            target.fill(0);
        }
        self.at = self.at.max(end);
    }
}
