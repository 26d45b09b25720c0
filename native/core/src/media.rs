//! What was negotiated: kinds, codecs, header extensions, formats.

use crate::ids::PayloadType;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Audio.
    Audio = 0,
    /// Video.
    Video = 1,
}

impl Kind {
    /// Both, in the order in which tracks are stored.
    pub const ALL: [Kind; 2] = [Kind::Audio, Kind::Video];

    /// The kind's name in SDP and in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Everything that can be forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// VP8 (RFC 7741).
    Vp8,
    /// H.264 (RFC 6184).
    H264,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (AV1 RTP specification).
    Av1,
    /// HEVC (RFC 7798).
    H265,
    /// Opus (RFC 7587).
    Opus,
    /// G.711 µ-law (RFC 3551).
    Pcmu,
    /// G.711 A-law (RFC 3551).
    Pcma,
}

impl Codec {
    /// Every codec.
    pub const ALL: [Codec; 8] = [
        Codec::Vp8,
        Codec::H264,
        Codec::Vp9,
        Codec::Av1,
        Codec::H265,
        Codec::Opus,
        Codec::Pcmu,
        Codec::Pcma,
    ];

    /// The encoding name of `a=rtpmap`, lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Vp8 => "vp8",
            Codec::H264 => "h264",
            Codec::Vp9 => "vp9",
            Codec::Av1 => "av1",
            Codec::H265 => "h265",
            Codec::Opus => "opus",
            Codec::Pcmu => "pcmu",
            Codec::Pcma => "pcma",
        }
    }

    /// RTP clock in Hz, fixed by each payload format.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::Vp8 | Codec::H264 | Codec::Vp9 | Codec::Av1 | Codec::H265 => 90_000,
        }
    }

    /// The codec with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// Header extensions that we know (RFC 8285). `mid` … `layers_allocation` are hop by hop; from
/// `audio_level` on they are forwarded, with the id that each viewer negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Extension {
    /// RFC 8843 §15.
    Mid,
    /// RFC 8852.
    Rid,
    /// RFC 8852.
    RepairedRid,
    /// webrtc.org abs-send-time.
    AbsSendTime,
    /// RFC 5450.
    TransmissionOffset,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    TransportCc,
    /// webrtc.org video-layers-allocation00.
    LayersAllocation,
    /// AV1 RTP dependency descriptor; not forwarded until it is rewritten.
    DependencyDescriptor,
    /// RFC 6464.
    AudioLevel,
    /// 3GPP video orientation.
    VideoOrientation,
    /// webrtc.org playout-delay.
    PlayoutDelay,
    /// webrtc.org video-content-type.
    VideoContentType,
    /// webrtc.org video-timing.
    VideoTiming,
    /// webrtc.org color-space.
    ColorSpace,
    /// webrtc.org abs-capture-time.
    AbsCaptureTime,
}

impl Extension {
    /// Every extension, in the order of the enum.
    pub const ALL: [Extension; 15] = [
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::AbsSendTime,
        Extension::TransmissionOffset,
        Extension::TransportCc,
        Extension::LayersAllocation,
        Extension::DependencyDescriptor,
        Extension::AudioLevel,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::VideoContentType,
        Extension::VideoTiming,
        Extension::ColorSpace,
        Extension::AbsCaptureTime,
    ];

    /// The ones that travel from the publisher to the viewers.
    pub const FORWARDED: [Extension; 7] = [
        Extension::AudioLevel,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::VideoContentType,
        Extension::VideoTiming,
        Extension::ColorSpace,
        Extension::AbsCaptureTime,
    ];

    /// The extension's name in commands; `pyforward.sdp.extensions` relates it to its URI.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Extension::Mid => "mid",
            Extension::Rid => "rid",
            Extension::RepairedRid => "repaired_rid",
            Extension::AbsSendTime => "abs_send_time",
            Extension::TransmissionOffset => "transmission_offset",
            Extension::TransportCc => "transport_cc",
            Extension::LayersAllocation => "layers_allocation",
            Extension::DependencyDescriptor => "dependency_descriptor",
            Extension::AudioLevel => "audio_level",
            Extension::VideoOrientation => "video_orientation",
            Extension::PlayoutDelay => "playout_delay",
            Extension::VideoContentType => "video_content_type",
            Extension::VideoTiming => "video_timing",
            Extension::ColorSpace => "color_space",
            Extension::AbsCaptureTime => "abs_capture_time",
        }
    }

    /// The extension with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Extension> {
        Extension::ALL.into_iter().find(|extension| extension.name() == name)
    }
}

/// A codec under the payload types that one peer gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// What it carries.
    pub codec: Codec,
    /// The payload type of its packets.
    pub payload_type: PayloadType,
    /// The payload type of its retransmissions (RFC 4588), if negotiated.
    pub rtx_payload_type: Option<PayloadType>,
}
