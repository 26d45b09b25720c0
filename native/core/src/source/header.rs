//! What a publisher's RTP header says beyond its fixed fields, and what of it travels on.

use std::ops::Range;

use arrayvec::ArrayVec;

use crate::command::PublishTrack;
use crate::media::Extension;
use crate::packet::{ForwardedExtensions, MAX_EXTENSION};
use crate::rtp::View;

/// Bytes of a playout delay (webrtc.org playout-delay).
pub(super) const PLAYOUT_DELAY_LEN: usize = 3;

/// The ids that a publisher negotiated. One table for all of its tracks: within a BUNDLE an id
/// means one extension (RFC 8843 §9.1).
#[derive(Debug)]
pub(super) struct ExtensionIds(Box<[Option<Extension>; 256]>);

impl ExtensionIds {
    pub(super) fn new(tracks: &[PublishTrack]) -> ExtensionIds {
        let mut ids = Box::new([None; 256]);
        for (id, extension) in tracks.iter().flat_map(|track| &track.extensions) {
            if let Some(entry) = ids.get_mut(usize::from(*id)) {
                *entry = Some(*extension);
            }
        }
        ExtensionIds(ids)
    }
}

/// The extensions of one packet, as ranges into it.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) mid: Option<Range<usize>>,
    pub(super) rid: Option<Range<usize>>,
    pub(super) repaired_rid: Option<Range<usize>>,
    pub(super) transport_sequence: Option<u16>,
    /// Each at most once.
    forwarded: ArrayVec<(Extension, Range<usize>), { Extension::FORWARDED.len() }>,
}

impl Header {
    pub(super) fn read(view: &View, packet: &[u8], ids: &ExtensionIds) -> Header {
        let mut header = Header::default();
        for (id, start, len) in view.extensions(packet) {
            let Some(extension) = ids.0.get(usize::from(id)).copied().flatten() else { continue };
            let range = start..start + len;
            match extension {
                Extension::Mid => header.mid = Some(range),
                Extension::Rid => header.rid = Some(range),
                Extension::RepairedRid => header.repaired_rid = Some(range),
                Extension::TransportCc => {
                    let value = packet.get(range).and_then(|value| value.first_chunk::<2>());
                    header.transport_sequence = value.map(|value| u16::from_be_bytes(*value));
                }
                _ if Extension::FORWARDED.contains(&extension) => header.forward(extension, range),
                _ => {}
            }
        }
        header
    }

    /// The playout delay that the packet carries.
    pub(super) fn playout_delay(&self, packet: &[u8]) -> Option<[u8; PLAYOUT_DELAY_LEN]> {
        let carried = |(extension, _): &&(Extension, _)| *extension == Extension::PlayoutDelay;
        let (_, range) = self.forwarded.iter().find(carried)?;
        packet.get(range.clone())?.try_into().ok()
    }

    /// The bytes that travel on: forwarded extensions, then `payload`. `playout_delay` is added
    /// where the packet has none of its own. Also tells where the payload starts.
    pub(super) fn assemble(
        &self,
        packet: &[u8],
        payload: &[u8],
        playout_delay: Option<[u8; PLAYOUT_DELAY_LEN]>,
    ) -> (Box<[u8]>, ForwardedExtensions, u16) {
        let carried: usize = self.forwarded.iter().map(|(_, range)| range.len()).sum();
        let mut bytes = Vec::with_capacity(carried + PLAYOUT_DELAY_LEN + payload.len());
        let mut extensions = ForwardedExtensions::default();
        let mut add = |extension, value: &[u8]| {
            // Lengths are at most MAX_EXTENSION, so that neither conversion can cut anything off.
            let place = (extension, bytes.len() as u16, value.len() as u8);
            if extensions.present.try_push(place).is_ok() {
                bytes.extend_from_slice(value);
            }
        };
        for (extension, range) in &self.forwarded {
            add(*extension, packet.get(range.clone()).unwrap_or(&[]));
        }
        if let Some(value) = playout_delay
            && self.playout_delay(packet).is_none()
        {
            add(Extension::PlayoutDelay, &value);
        }
        let payload_start = bytes.len() as u16;
        bytes.extend_from_slice(payload);
        (bytes.into_boxed_slice(), extensions, payload_start)
    }

    fn forward(&mut self, extension: Extension, range: Range<usize>) {
        let known = self.forwarded.iter().any(|(other, _)| *other == extension);
        // One with a length that no viewer could read is left behind.
        let sound = match extension {
            Extension::PlayoutDelay => range.len() == PLAYOUT_DELAY_LEN,
            _ => (1..=MAX_EXTENSION).contains(&range.len()),
        };
        if !known && sound {
            let _ = self.forwarded.try_push((extension, range));
        }
    }
}
