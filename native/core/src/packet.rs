//! A media packet between its opening and its last retransmission.
//!
//! Opened once, shared by reference with every shard and every viewer. What is fixed here is fixed
//! for good: a packet's bytes for one viewer follow from this and from the viewer's own template
//! alone, so that no (key, SSRC, index) is ever sealed over two byte strings.

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::ids::PayloadType;
use crate::media::{Codec, Extension, Kind};
use crate::time::Time;

/// Longest value of a header extension that is forwarded (colour space with HDR metadata has 28).
pub const MAX_EXTENSION: usize = 32;

/// Most bytes that a packet gains on its way to a viewer: header with extensions, padding, original
/// sequence number of RTX, tag.
pub const MAX_ADDED: usize = 320;

/// The extensions of a packet that travel to the viewers, and how much room the packet's train
/// gives each, so that all packets of the train have headers of one length.
#[derive(Clone, Debug, Default)]
pub struct ForwardedExtensions {
    /// (extension, start, length) into [`Packet::bytes`].
    pub present: ArrayVec<(Extension, u16, u8), { Extension::FORWARDED.len() }>,
    /// Longest value in the train of each of [`Extension::FORWARDED`], in its order; [`Self::NONE`]
    /// where no packet of the train has it.
    pub room: [u8; Extension::FORWARDED.len()],
}

impl ForwardedExtensions {
    /// No packet of the train has this extension.
    pub const NONE: u8 = u8::MAX;
    /// No packet of the train has any.
    pub const NO_ROOM: [u8; Extension::FORWARDED.len()] = [Self::NONE; Extension::FORWARDED.len()];
}

/// One media packet, opened and normalised.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When it arrived.
    pub arrival: Time,
    /// Position in the publisher's sequence: extended by rollovers, with what was dropped at
    /// ingress closed up.
    pub sequence: u64,
    /// The publisher's RTP timestamp.
    pub timestamp: u32,
    /// Audio or video.
    pub kind: Kind,
    /// What it carries.
    pub codec: Codec,
    /// The publisher's payload type.
    pub payload_type: PayloadType,
    /// The marker bit.
    pub marker: bool,
    /// It belongs to a keyframe and shows it (a parameter set, the first slice).
    pub keyframe: bool,
    /// Bytes of RTP padding that even it out in its train, at most 16.
    pub padding: u8,
    /// What of its header travels on.
    pub extensions: ForwardedExtensions,
    /// Extension values and the payload without its padding; see `payload_start`.
    pub bytes: Box<[u8]>,
    /// Where in `bytes` the payload starts.
    pub payload_start: u16,
}

impl Packet {
    /// The payload, unaltered, without padding.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(usize::from(self.payload_start)..).unwrap_or(&[])
    }

    /// The value of one of its extensions.
    #[must_use]
    pub fn extension(&self, wanted: Extension) -> Option<&[u8]> {
        let (_, start, len) = *self.extensions.present.iter().find(|(e, _, _)| *e == wanted)?;
        self.bytes.get(usize::from(start)..usize::from(start) + usize::from(len))
    }
}

/// Packets as every shard and viewer holds them.
pub type SharedPacket = Arc<Packet>;
