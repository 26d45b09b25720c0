//! All that control may ask of the engine. `pyforward/commands.py` is the same list; a contract
//! test holds the two against each other.
//!
//! Every command reaches every shard; a shard acts on what is its own. Commands are trusted:
//! control has validated them. They never fail; a command for a session that is gone is ignored,
//! because its `Closed` is on the way or has been told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::claim::{Claim, Proven};
use crate::ids::{PayloadType, SessionId, Ssrc, StreamId, Ticket};
use crate::link::Links;
use crate::media::{Codec, Extension, Format, Kind};
use crate::srtp::{KeyMaterial, Profile};

/// One request of control.
#[derive(Clone, Debug)]
pub enum Command {
    /// A stream exists from now on; publishers and viewers may name it.
    AddStream {
        /// Its id.
        stream: StreamId,
    },
    /// A stream exists no longer. Its sessions were removed before.
    RemoveStream {
        /// Its id.
        stream: StreamId,
    },
    /// A session may be claimed by its first authenticated check, or begins to check by itself.
    AddSession(Box<AddSession>),
    /// The peer restarts ICE (RFC 8445 §9); paths, DTLS and media go on meanwhile.
    RestartIce(Box<RestartIce>),
    /// Datagrams of a DTLS flight for the session's peer, in order.
    SendDtls {
        /// Whose.
        session: SessionId,
        /// Each goes out as one datagram.
        datagrams: Vec<Vec<u8>>,
    },
    /// The handshake is done: media may flow.
    InstallKeys {
        /// Whose.
        session: SessionId,
        /// The negotiated protection profile.
        profile: Profile,
        /// What we seal with.
        local: KeyMaterial,
        /// What we open with.
        remote: KeyMaterial,
    },
    /// The DTLS connection is about to be freed; this sealed close_notify is sent when the session
    /// ends. DTLS records that arrive after this are counted and ignored.
    KeepFarewell {
        /// Whose.
        session: SessionId,
        /// One sealed record, ready to send.
        close_notify: Vec<u8>,
    },
    /// The session ends now: viewers get BYE, whoever has a farewell gets it, `Closed` follows.
    RemoveSession {
        /// Whose.
        session: SessionId,
        /// Told back in `Closed`.
        reason: CloseReason,
    },
    /// Plain RTP packets of a local publisher (one added without ICE), in order.
    InjectRtp {
        /// The local publisher's session.
        session: SessionId,
        /// Whole RTP packets as on the wire, unencrypted.
        packets: Vec<Vec<u8>>,
        /// Their payloads end with stamps, which get their time and checksum now.
        stamped: bool,
    },
    /// Tell the figures of these sessions; every shard answers with one `Report`.
    ReportSessions {
        /// Comes back with the answers.
        ticket: Ticket,
        /// Which ones.
        sessions: Vec<SessionId>,
    },
    /// The process ends: every session says farewell; then each shard tells `Stopped`.
    Stop,
}

/// See [`Command::AddSession`].
#[derive(Clone, Debug)]
pub struct AddSession {
    /// Its id.
    pub session: SessionId,
    /// Credentials, or none for a local publisher, which lives on shard 0 and sends by `InjectRtp`.
    pub ice: Option<IceCredentials>,
    /// What it does; shared by the copies that the shards get.
    pub media: Arc<Media>,
    /// Where the peer may be reached. None: the server role; we are ICE-lite on the shared port and
    /// wait to be checked (RFC 8445 §2.5). With some: the client role; the session gets a socket of
    /// its own, checks these and nominates one.
    pub candidates: Vec<RemoteCandidate>,
    /// In the client role: what it is put to.
    pub trial: Option<Box<Trial>>,
    /// Which shard owns it; made with the command, shared by the copies that the shards get.
    pub claim: Claim,
}

/// What a session in the client role is put to when it measures its server.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Trial {
    /// Each packet that it receives is told by a record that calls it by this number. The kernel is
    /// asked when they come.
    pub record_as: Option<u32>,
    /// What lies between its socket and the server.
    pub links: Links,
    /// It reports so often what it receives; none: as ever.
    pub report_interval: Option<Duration>,
}

/// A candidate of the peer's: UDP, component 1 (RFC 8445 §5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteCandidate {
    /// Its transport address.
    pub address: SocketAddr,
    /// Its priority (RFC 8445 §5.1.2).
    pub priority: u32,
}

/// See [`Command::RestartIce`]. The new credentials lead to the session beside the old ones, until
/// the first authenticated check with them retires the old ones on every shard. A restart that
/// nobody has used yet is forgotten by the next one. A session in the client role ignores it: there
/// the restart would be ours to begin, with checks of our own.
#[derive(Clone, Debug)]
pub struct RestartIce {
    /// Whose.
    pub session: SessionId,
    /// The new ones of both sides.
    pub ice: IceCredentials,
    /// Made with the command, shared by the copies that the shards get.
    pub proven: Proven,
}

/// Short-term credentials (RFC 8445 §5.3, RFC 8839 §5.4).
#[derive(Clone, Debug)]
pub struct IceCredentials {
    /// Ours: the first half of the USERNAME of an incoming check.
    pub local_ufrag: String,
    /// Ours: the key of MESSAGE-INTEGRITY of an incoming check.
    pub local_pwd: String,
    /// The peer's: the second half of the USERNAME of an incoming check.
    pub remote_ufrag: String,
    /// The peer's; used when we send checks.
    pub remote_pwd: String,
}

/// What a session does.
#[derive(Clone, Debug)]
pub enum Media {
    /// It sends a stream to us.
    Publish {
        /// Under which name; [`StreamId::NOWHERE`] if it is only received and counted.
        stream: StreamId,
        /// At most one a kind.
        tracks: Vec<PublishTrack>,
    },
    /// It watches a stream.
    Subscribe {
        /// Which one.
        stream: StreamId,
        /// At most one a kind.
        tracks: Vec<SubscribeTrack>,
        /// SDES CNAME of our side, the same for all tracks (RFC 3550 §6.5.1).
        cname: String,
    },
}

/// A track as the publisher negotiated it.
#[derive(Clone, Debug)]
pub struct PublishTrack {
    /// Audio or video.
    pub kind: Kind,
    /// `a=mid`, empty if there is none.
    pub mid: String,
    /// The codec that was accepted, or that it begins with.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: PayloadType,
    /// The payload type of its retransmissions, if negotiated.
    pub rtx_payload_type: Option<PayloadType>,
    /// What else it may switch to at any packet, of the same clock rate: a server that we watch
    /// does when its publisher returns with another codec.
    pub alternatives: Vec<Format>,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Announced by `a=ssrc`; empty when they are to be learned from MID, RID or payload type.
    pub ssrcs: Vec<Ssrc>,
    /// (media, retransmission) pairs of `a=ssrc-group:FID`.
    pub rtx_ssrcs: Vec<(Ssrc, Ssrc)>,
    /// `a=rid` of simulcast layers, empty without simulcast.
    pub rids: Vec<String>,
    /// Negotiated header extensions by id (1 to 255).
    pub extensions: Vec<(u8, Extension)>,
    /// SSRC that our feedback about this track is sent from.
    pub feedback_ssrc: Ssrc,
    /// Generic NACK was negotiated (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Picture loss indication was negotiated (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Full intra request was negotiated (RFC 5104 §4.3.1).
    pub fir: bool,
    /// Feedback may come without a report before it (`a=rtcp-rsize`, RFC 5506).
    pub reduced_size: bool,
    /// Transport-wide congestion control feedback was negotiated.
    pub transport_cc: bool,
    /// Receiver estimated maximum bitrate was negotiated.
    pub remb: bool,
    /// Parameter sets from the SDP (`sprop-parameter-sets`), raw NAL units, for streams that carry
    /// none in-band.
    pub parameter_sets: Vec<Vec<u8>>,
}

/// A track as a viewer negotiated it.
#[derive(Clone, Debug)]
pub struct SubscribeTrack {
    /// Audio or video.
    pub kind: Kind,
    /// `a=mid`, written into every packet when the `mid` extension was negotiated.
    pub mid: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Our SSRC for the media.
    pub ssrc: Ssrc,
    /// Our SSRC for retransmissions, where RTX was negotiated.
    pub rtx_ssrc: Option<Ssrc>,
    /// Everything the viewer can take, in order of preference; the first with the stream's codec
    /// is used.
    pub formats: Vec<Format>,
    /// Negotiated header extensions by id (1 to 255).
    pub extensions: Vec<(u8, Extension)>,
    /// `a=extmap-allow-mixed`: two-byte headers may be used (RFC 8285 §4.3).
    pub extmap_allow_mixed: bool,
    /// Generic NACK was negotiated.
    pub nack: bool,
    /// The viewer may send RRTR and gets DLRR (RFC 3611 §4.4, §4.5).
    pub rrtr: bool,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CloseReason {
    /// DELETE, or the admin's.
    Deleted,
    /// An SRTCP-authenticated BYE for all of its tracks.
    Bye,
    /// No authenticated check or packet for 15 s.
    Silent,
    /// Another publisher took the stream.
    Replaced,
    /// The handshake failed or took too long.
    Handshake,
    /// No authenticated check ever came; in the client role: no check of ours was ever answered.
    NeverConnected,
    /// In the client role: the peer has answered no check for 30 s (RFC 7675 §5.1).
    ConsentExpired,
    /// In the client role: there was no socket for it.
    NoSocket,
    /// The stream ended.
    StreamEnded,
    /// The stream's codec is one that this viewer cannot take.
    NoCommonCodec,
    /// The process is stopping.
    Stopping,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [CloseReason; 11] = [
        CloseReason::Deleted,
        CloseReason::Bye,
        CloseReason::Silent,
        CloseReason::Replaced,
        CloseReason::Handshake,
        CloseReason::NeverConnected,
        CloseReason::ConsentExpired,
        CloseReason::NoSocket,
        CloseReason::StreamEnded,
        CloseReason::NoCommonCodec,
        CloseReason::Stopping,
    ];

    /// The reason's name in commands, events and the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Deleted => "deleted",
            CloseReason::Bye => "bye",
            CloseReason::Silent => "silent",
            CloseReason::Replaced => "replaced",
            CloseReason::Handshake => "handshake",
            CloseReason::NeverConnected => "never_connected",
            CloseReason::ConsentExpired => "consent_expired",
            CloseReason::NoSocket => "no_socket",
            CloseReason::StreamEnded => "stream_ended",
            CloseReason::NoCommonCodec => "no_common_codec",
            CloseReason::Stopping => "stopping",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<CloseReason> {
        CloseReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}
