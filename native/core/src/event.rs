//! All that the engine may tell control. `pyforward/commands.py` has the same list.
//!
//! Changes of state only, never a packet; the one exception is a DTLS record, whose handshake
//! control does. After `Closed` nothing more is told of a session.

use std::net::SocketAddr;

use crate::command::CloseReason;
use crate::ids::{SessionId, ShardIndex, Ticket};
use crate::media::{Codec, Kind};

/// One change of state.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session in the client role has its socket and begins to check.
    Opened {
        /// Whose.
        session: SessionId,
        /// The socket's local port.
        port: u16,
    },
    /// The first authenticated check arrived, or in the client role: ours was answered; the session
    /// lives on this shard from now on, and DTLS may begin.
    Claimed {
        /// Whose.
        session: SessionId,
        /// Where it lives.
        shard: ShardIndex,
        /// Where the peer is.
        address: SocketAddr,
    },
    /// A datagram of DTLS records from an address that an authenticated check came from.
    DtlsReceived {
        /// Whose.
        session: SessionId,
        /// As received.
        datagram: Vec<u8>,
    },
    /// The first authenticated SRTP or SRTCP packet arrived: the peer has finished its handshake
    /// and will not ask for our last flight again.
    Secured {
        /// Whose.
        session: SessionId,
    },
    /// Media flows: a publisher's first packet went to its stream, which it holds from now on; a
    /// viewer's first packet was sent.
    Flowing {
        /// Whose.
        session: SessionId,
    },
    /// The session is gone from every shard.
    Closed {
        /// Whose.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// A shard's answer to `ReportSessions`: those of the sessions that live on it.
    Report {
        /// The question's.
        ticket: Ticket,
        /// Who answers.
        shard: ShardIndex,
        /// One for each session that lives here.
        rows: Vec<SessionReport>,
    },
    /// Packets that sessions received which are to be recorded, in order of arrival.
    Records {
        /// Who tells.
        shard: ShardIndex,
        /// Whole records of [`crate::record`].
        records: Vec<u8>,
    },
    /// The shard has said its farewells and sends nothing any more.
    Stopped {
        /// Who.
        shard: ShardIndex,
    },
}

/// The figures of one session.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Whose.
    pub session: SessionId,
    /// `connecting` (no keys yet), `starting` (waits for media or a keyframe) or `live`.
    pub state: &'static str,
    /// Where it lives.
    pub shard: ShardIndex,
    /// Where its packets go, or come from; none for a local publisher.
    pub address: Option<SocketAddr>,
    /// The name of the protection profile in RFC 5764 and 7714, empty before keys.
    pub srtp_profile: &'static str,
    /// Media packets: received of a publisher, first transmissions to a viewer.
    pub packets: u64,
    /// Bytes of UDP payload of these.
    pub bytes: u64,
    /// Packets that NACKs asked for: of us by a viewer, by us of a publisher.
    pub nacks: u64,
    /// Packets that retransmission brought.
    pub repaired: u64,
    /// Packets that were given up: not sent to a viewer, never received from a publisher.
    pub drops: u64,
    /// Fraction lost by the viewer's last reports, 0 to 1, the worse track; of a publisher: ours.
    pub loss: f64,
    /// Round trip in milliseconds by the last reports; none before the first.
    pub rtt_ms: Option<f64>,
    /// Bits a second over the last whole second.
    pub bitrate_bps: u64,
    /// Milliseconds between the last two keyframes of a publisher's video; none before two.
    pub keyframe_interval_ms: Option<f64>,
    /// What was received, by track; none of a viewer.
    pub tracks: Vec<TrackReport>,
}

/// What was received of one track. Of simulcast layers all are counted.
#[derive(Clone, Debug)]
pub struct TrackReport {
    /// Audio or video.
    pub kind: Kind,
    /// What it carries.
    pub codec: Codec,
    /// Packets from the first that came to the newest, by their sequence numbers.
    pub packets_expected: u64,
    /// Of these so many are here, each counted once, however it came.
    pub packets_received: u64,
    /// Of these so many came as retransmissions, or because they were asked for.
    pub packets_repaired: u64,
    /// Packets that are given up.
    pub packets_lost: u64,
    /// Bytes of UDP payload of those that are here.
    pub bytes: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1) in milliseconds; none before the first packet.
    pub jitter_ms: Option<f64>,
    /// Pictures, or packets of audio, by their timestamps.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// From when the session was added, or claimed, to its first packet; none before.
    pub first_packet_ms: Option<f64>,
    /// The same to the last packet of the first keyframe.
    pub first_keyframe_ms: Option<f64>,
}
