//! What a payload shows of itself without being decoded: that a keyframe starts here, that it
//! carries the parameter sets a decoder needs first.
//!
//! Payloads are only looked at, never altered. A payload that is cut short or broken shows
//! nothing: it is forwarded all the same, since a decoder may know better.

mod av1;
pub mod h264;
mod h265;
mod vp8;
mod vp9;

use crate::media::Codec;

/// What [`inspect`] saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inspection {
    /// The first bytes of a keyframe's coded picture are in this payload. Later packets of the
    /// same keyframe do not say so, and neither do parameter sets that travel on their own.
    pub keyframe: bool,
    /// It carries, whole, parameter sets that the decoder needs before the picture: SPS or PPS
    /// (H.264), VPS, SPS or PPS (HEVC), a sequence header (AV1). Always false for VP8 and VP9,
    /// whose keyframes stand alone.
    pub parameter_sets: bool,
}

/// Looks at one RTP payload, without padding. Audio shows neither: a decoder may start with any
/// packet of Opus (RFC 7587 §4.2) or G.711 (RFC 3551 §4.5.14).
#[must_use]
pub fn inspect(codec: Codec, payload: &[u8]) -> Inspection {
    match codec {
        Codec::Vp8 => Inspection { keyframe: vp8::starts_keyframe(payload), parameter_sets: false },
        Codec::Vp9 => Inspection { keyframe: vp9::starts_keyframe(payload), parameter_sets: false },
        Codec::H264 => Inspection {
            keyframe: h264::starts_idr(payload),
            parameter_sets: h264::parameter_sets(payload).next().is_some(),
        },
        Codec::H265 => h265::inspect(payload),
        Codec::Av1 => av1::inspect(payload),
        Codec::Opus | Codec::Pcmu | Codec::Pcma => Inspection::default(),
    }
}
