//! Header extensions (RFC 8285): where each element lies, in the one-byte and the two-byte form.
//!
//! An element that claims more than the block holds ends the iteration; what came before it
//! counts. Nothing here knows what an id means: ids are negotiated by each session.

/// Marks the one-byte form (RFC 8285 §4.2).
const ONE_BYTE: u16 = 0xbede;
/// Marks the two-byte form; the low four bits are the application's (RFC 8285 §4.3).
const TWO_BYTE: u16 = 0x1000;

/// Where the header extension of a packet lies, without its four-byte header
/// (RFC 3550 §5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtensionBlock {
    /// "Defined by profile": tells the forms of RFC 8285 apart.
    pub profile: u16,
    /// Where its data starts in the packet.
    pub start: u16,
    /// Where its data, and with it the packet's header, ends.
    pub end: u16,
}

impl ExtensionBlock {
    /// Reads the extension's header from `rest`, which starts at `offset` in the packet. `None`
    /// when it ends beyond the packet.
    pub(super) fn parse(rest: &[u8], offset: usize) -> Option<ExtensionBlock> {
        let (header, data) = rest.split_first_chunk::<4>()?;
        let [p0, p1, w0, w1] = *header;
        let len = usize::from(u16::from_be_bytes([w0, w1])) * 4;
        if len > data.len() {
            return None;
        }
        let start = offset + header.len();
        Some(ExtensionBlock {
            profile: u16::from_be_bytes([p0, p1]),
            start: u16::try_from(start).ok()?,
            end: u16::try_from(start + len).ok()?,
        })
    }
}

/// Iterates over the elements of a header extension; see [`super::View::extensions`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    packet: &'a [u8],
    position: usize,
    end: usize,
    two_byte: bool,
}

impl<'a> Extensions<'a> {
    pub(super) fn new(block: Option<ExtensionBlock>, packet: &'a [u8]) -> Extensions<'a> {
        let mut elements = Extensions { packet, position: 0, end: 0, two_byte: false };
        if let Some(block) = block {
            let two_byte = block.profile & 0xfff0 == TWO_BYTE;
            if two_byte || block.profile == ONE_BYTE {
                elements.two_byte = two_byte;
                elements.position = usize::from(block.start);
                elements.end = usize::from(block.end).min(packet.len());
            }
        }
        elements
    }

    /// Takes one byte of the block.
    fn byte(&mut self) -> Option<u8> {
        if self.position >= self.end {
            return None;
        }
        let byte = *self.packet.get(self.position)?;
        self.position += 1;
        Some(byte)
    }

    /// The next element's id and length; its value starts at `position`.
    fn element(&mut self) -> Option<(u8, usize)> {
        loop {
            let first = self.byte()?;
            if first == 0 {
                continue; // padding, in both forms
            }
            if self.two_byte {
                return Some((first, usize::from(self.byte()?)));
            }
            return match first >> 4 {
                // 15 ends the block, whatever its length says (RFC 8285 §4.2). Id 0 with a length
                // is nobody's either, and libwebrtc stops there too.
                0 | 15 => None,
                id => Some((id, usize::from(first & 0x0f) + 1)),
            };
        }
    }
}

impl Iterator for Extensions<'_> {
    type Item = (u8, usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.element().filter(|(_, len)| self.end - self.position >= *len);
        let Some((id, len)) = element else {
            self.position = self.end;
            return None;
        };
        let start = self.position;
        self.position += len;
        Some((id, start, len))
    }
}
