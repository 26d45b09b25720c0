//! The packet path's only error: a packet that goes no further, and why.

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was dropped. Each reason is a counter of `pyforward_discards_total`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Discard { $($(#[$doc])* $variant,)* }

        impl Discard {
            /// Every reason, in the order of its counters.
            pub const ALL: &'static [Discard] = &[$(Discard::$variant,)*];

            /// The reason as the metric's label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Discard::$variant => $name,)* }
            }
        }
    };
}

discards! {
    /// Shorter than an RTP header with what it announces, or not version 2.
    RtpShort = "rtp_short",
    /// A header extension that ends beyond the packet.
    RtpExtension = "rtp_extension",
    /// Padding longer than the payload, or of length zero.
    RtpPadding = "rtp_padding",
    /// An SSRC that no track of the session explains, or one too many.
    RtpUnknownSsrc = "rtp_unknown_ssrc",
    /// A payload type that was not negotiated.
    RtpPayloadType = "rtp_payload_type",
    /// A packet that was already received.
    RtpDuplicate = "rtp_duplicate",
    /// A packet too old for the stream's timeline.
    RtpLate = "rtp_late",
    /// RTX with too short a payload or for a packet that is not missing.
    RtpRtx = "rtp_rtx",
    /// A layer that nobody watches.
    RtpLayer = "rtp_layer",
    /// The SRTP tag does not hold.
    SrtpAuth = "srtp_auth",
    /// An SRTP index that was seen or lies before the window.
    SrtpReplay = "srtp_replay",
    /// Media or RTCP before keys.
    SrtpNoKeys = "srtp_no_keys",
    /// RTCP that breaks its own lengths.
    RtcpMalformed = "rtcp_malformed",
    /// STUN that breaks its own lengths or is no binding request.
    StunMalformed = "stun_malformed",
    /// MESSAGE-INTEGRITY is missing or wrong.
    StunIntegrity = "stun_integrity",
    /// FINGERPRINT is missing or wrong.
    StunFingerprint = "stun_fingerprint",
    /// A username whose local part is no session's.
    StunUnknownUfrag = "stun_unknown_ufrag",
    /// STUN that is not asked for: indications and responses.
    StunUnexpected = "stun_unexpected",
    /// DTLS from an address that no authenticated check has come from.
    DtlsUnknownAddress = "dtls_unknown_address",
    /// DTLS beyond what a handshake may use, or after its end.
    DtlsLimit = "dtls_limit",
    /// Neither STUN nor DTLS nor RTP by its first byte (RFC 7983, 9443).
    UnknownProtocol = "unknown_protocol",
    /// Media from an address of no session.
    UnknownSession = "unknown_session",
    /// A path whose owner is alive; the newcomer is refused.
    PathTaken = "path_taken",
    /// A ring to another shard was full.
    ExchangeFull = "exchange_full",
}
