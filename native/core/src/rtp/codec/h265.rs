//! HEVC (RFC 7798): single NAL units, aggregation packets and fragments, without decoding order
//! numbers (`sprop-max-don-diff=0`, the only form that is negotiated).

use super::Inspection;

/// NAL unit types (RFC 7798 §1.1.4, ITU-T H.265 §7.4.2.2).
mod nal {
    pub(super) const BLA_W_LP: u8 = 16;
    pub(super) const CRA: u8 = 21;
    pub(super) const VPS: u8 = 32;
    pub(super) const PPS: u8 = 34;
    pub(super) const AGGREGATION: u8 = 48;
    pub(super) const FRAGMENT: u8 = 49;
}

/// Looks at one payload. A keyframe is any picture that decoding can start with: IDR, BLA, CRA.
pub(super) fn inspect(payload: &[u8]) -> Inspection {
    match payload {
        [b0, _, rest @ ..] if kind(*b0) == nal::AGGREGATION => aggregated(rest),
        [b0, _, header, slice, ..] if kind(*b0) == nal::FRAGMENT => {
            // S E FuType (RFC 7798 §4.4.3)
            let starts = header & 0x80 != 0;
            let keyframe = starts && is_keyframe(header & 0x3f) && is_first_slice(*slice);
            Inspection { keyframe, parameter_sets: false }
        }
        [b0, ..] if kind(*b0) < nal::AGGREGATION => unit(payload),
        _ => Inspection::default(),
    }
}

/// An aggregation packet: NAL units, each behind its 16-bit size (RFC 7798 §4.4.2).
fn aggregated(mut rest: &[u8]) -> Inspection {
    let mut seen = Inspection::default();
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*len));
        let Some((bytes, behind)) = behind.split_at_checked(size) else { break };
        let inspection = unit(bytes);
        seen.keyframe |= inspection.keyframe;
        seen.parameter_sets |= inspection.parameter_sets;
        rest = behind;
    }
    seen
}

/// One whole NAL unit with its two-byte header.
fn unit(bytes: &[u8]) -> Inspection {
    let [b0, _, first, ..] = bytes else { return Inspection::default() };
    Inspection {
        keyframe: is_keyframe(kind(*b0)) && is_first_slice(*first),
        parameter_sets: (nal::VPS..=nal::PPS).contains(&kind(*b0)),
    }
}

fn kind(first: u8) -> u8 {
    (first >> 1) & 0x3f
}

fn is_keyframe(kind: u8) -> bool {
    (nal::BLA_W_LP..=nal::CRA).contains(&kind)
}

/// A slice segment starts with `first_slice_segment_in_pic_flag` (ITU-T H.265 §7.3.6.1).
fn is_first_slice(slice: u8) -> bool {
    slice & 0x80 != 0
}
