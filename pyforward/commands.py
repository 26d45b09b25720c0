"""All that control may ask of the engine, and all that the engine may tell control.

The same vocabulary stands in ``native/core/src/command.rs`` and ``event.rs``; a contract test holds
the two against each other, name by name and field by field. Nothing here does anything.

Enumerations travel as their lower-case names: kinds ``audio`` and ``video``, codecs ``vp8 h264 vp9
av1 h265 opus pcmu pcma``, header extensions as in ``pyforward.sdp.extensions``, SRTP profiles by
their registered names (RFC 5764 §4.1.2, RFC 7714 §14.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pyforward.ids import SessionId, StreamId
from pyforward.srtp import SrtpProfile as SrtpProfile

Kind = Literal["audio", "video"]
Codec = Literal["vp8", "h264", "vp9", "av1", "h265", "opus", "pcmu", "pcma"]
CloseReason = Literal[
    "deleted",
    "bye",
    "silent",
    "replaced",
    "handshake",
    "never_connected",
    "consent_expired",
    "no_socket",
    "stream_ended",
    "no_common_codec",
    "stopping",
]


# What the commands carry -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """Short-term credentials of both sides (RFC 8445 §5.3)."""

    local_ufrag: str
    local_pwd: str = field(repr=False)
    remote_ufrag: str
    remote_pwd: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """A UDP candidate of the peer's: an IP address, a port and the priority (RFC 8445 §5.1.2)."""

    address: str
    port: int
    priority: int


@dataclass(frozen=True, slots=True)
class Format:
    """A codec under the payload types (0 to 127) that one peer gave it."""

    codec: Codec
    payload_type: int
    rtx_payload_type: int | None = None


@dataclass(frozen=True, slots=True)
class PublishTrack:
    """A track as the publisher negotiated it. ``extensions`` are (id, name) pairs;
    ``alternatives`` is what it may switch to at any packet, of the same clock rate."""

    kind: Kind
    mid: str
    codec: Codec
    payload_type: int
    rtx_payload_type: int | None
    clock_rate: int
    ssrcs: tuple[int, ...]
    rtx_ssrcs: tuple[tuple[int, int], ...]
    rids: tuple[str, ...]
    extensions: tuple[tuple[int, str], ...]
    feedback_ssrc: int
    nack: bool
    pli: bool
    fir: bool
    reduced_size: bool
    transport_cc: bool
    remb: bool
    parameter_sets: tuple[bytes, ...] = ()
    alternatives: tuple[Format, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscribeTrack:
    """A track as a viewer negotiated it; ``formats`` in order of preference."""

    kind: Kind
    mid: str
    clock_rate: int
    ssrc: int
    rtx_ssrc: int | None
    formats: tuple[Format, ...]
    extensions: tuple[tuple[int, str], ...]
    extmap_allow_mixed: bool
    nack: bool
    rrtr: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """The session sends a stream to us; at most one track a kind. Into the stream ``NOWHERE`` it
    is received and counted, and nobody can watch it."""

    stream: StreamId
    tracks: tuple[PublishTrack, ...]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The session watches a stream; ``cname`` is the same for all of its tracks."""

    stream: StreamId
    tracks: tuple[SubscribeTrack, ...]
    cname: str


@dataclass(frozen=True, slots=True)
class Link:
    """How a link treats the datagrams that cross it one way.

    ``loss`` is the share of them that is lost, 0 to 1, in runs of ``burst`` on the mean (up to 1:
    each by itself); each is under way for ``delay_us`` and up to ``jitter_us`` more, in order,
    except for the share ``reorder`` that is overtaken. ``seed`` (32 bits) makes a run repeatable.
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_us: int = 0
    jitter_us: int = 0
    reorder: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a session in the client role is put to when it measures its server.

    Every packet that it receives is told by a record of this number (``Records``), for which the
    kernel is asked when it came; what it receives and sends crosses these links; it reports at
    this interval instead of the usual one.
    """

    record_as: int | None = None
    inbound: Link | None = None
    outbound: Link | None = None
    report_interval_ms: int | None = None


# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddStream:
    """A stream exists from now on."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class RemoveStream:
    """A stream exists no longer; its sessions were removed before."""

    stream: StreamId


@dataclass(frozen=True, slots=True)
class AddSession:
    """A session begins; without ``ice`` it is a local publisher whose packets come by
    ``InjectRtp``.

    Without ``candidates`` it is in the server role: ICE-lite on the shared port, claimed by the
    first authenticated check. With candidates of the peer's it is in the client role: it gets a
    socket of its own, checks them and nominates one, and may be put to a ``trial``.
    """

    session: SessionId
    ice: IceCredentials | None
    media: Publish | Subscribe
    candidates: tuple[RemoteCandidate, ...] = ()
    trial: Trial | None = None


@dataclass(frozen=True, slots=True)
class RestartIce:
    """The peer restarts ICE: these credentials lead to the session too, and its old ones no more
    once a check with these was authenticated. Paths, DTLS and media go on meanwhile."""

    session: SessionId
    ice: IceCredentials


@dataclass(frozen=True, slots=True)
class SendDtls:
    """Datagrams of a DTLS flight, in order; each goes out as one datagram."""

    session: SessionId
    datagrams: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class InstallKeys:
    """The handshake is done: media may flow. Key and salt lengths follow from the profile."""

    session: SessionId
    profile: SrtpProfile
    local_key: bytes = field(repr=False)
    local_salt: bytes = field(repr=False)
    remote_key: bytes = field(repr=False)
    remote_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeepFarewell:
    """The DTLS connection is about to be freed; this sealed close_notify is sent at the end."""

    session: SessionId
    close_notify: bytes


@dataclass(frozen=True, slots=True)
class RemoveSession:
    """The session ends now; ``Closed`` follows with the reason."""

    session: SessionId
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class InjectRtp:
    """Whole, unencrypted RTP packets of a local publisher, in order. Where they are ``stamped``,
    each payload that ends with a stamp gets its time and checksum now
    (``native/core/src/stamp.rs``)."""

    session: SessionId
    packets: tuple[bytes, ...]
    stamped: bool = False


@dataclass(frozen=True, slots=True)
class ReportSessions:
    """Tell the figures of these sessions; every shard answers with one ``Report``."""

    ticket: int
    sessions: tuple[SessionId, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Every session says farewell; then each shard tells ``Stopped``."""


Command = (
    AddStream
    | RemoveStream
    | AddSession
    | RestartIce
    | SendDtls
    | InstallKeys
    | KeepFarewell
    | RemoveSession
    | InjectRtp
    | ReportSessions
    | Stop
)
Commands = Sequence[Command]


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """A session in the client role has its socket, bound to this port, and begins to check."""

    session: SessionId
    port: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """The first authenticated check arrived, or in the client role: ours was answered. The session
    lives on this shard from now on, and DTLS may begin."""

    session: SessionId
    shard: int
    address: tuple[str, int]


@dataclass(frozen=True, slots=True)
class DtlsReceived:
    """A datagram of DTLS records from an address that an authenticated check came from."""

    session: SessionId
    datagram: bytes


@dataclass(frozen=True, slots=True)
class Secured:
    """The first authenticated SRTP or SRTCP packet arrived: the peer has finished its handshake."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Flowing:
    """A publisher's first packet went to its stream, which it holds from now on, or a viewer's
    first packet was sent."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is gone from every shard; nothing more is told of it."""

    session: SessionId
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class TrackReport:
    """What was received of one track; see ``native/core/src/event.rs`` for each figure."""

    kind: Kind
    codec: Codec
    packets_expected: int
    packets_received: int
    packets_repaired: int
    packets_lost: int
    bytes: int
    jitter_ms: float | None
    frames: int
    keyframes: int
    first_packet_ms: float | None
    first_keyframe_ms: float | None


@dataclass(frozen=True, slots=True)
class SessionReport:
    """The figures of one session; see ``native/core/src/event.rs`` for each."""

    session: SessionId
    state: Literal["connecting", "starting", "live"]
    shard: int
    address: tuple[str, int] | None
    srtp_profile: str
    packets: int
    bytes: int
    nacks: int
    repaired: int
    drops: int
    loss: float
    rtt_ms: float | None
    bitrate_bps: int
    keyframe_interval_ms: float | None
    tracks: tuple[TrackReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A shard's answer to ``ReportSessions``: those of the sessions that live on it."""

    ticket: int
    shard: int
    rows: tuple[SessionReport, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """Records of packets that sessions on trial received: whole ones, packed as
    ``native/core/src/record.rs`` has them, in order of arrival."""

    shard: int
    records: bytes


@dataclass(frozen=True, slots=True)
class Stopped:
    """The shard has said its farewells and sends nothing any more."""

    shard: int


Event = Opened | Claimed | DtlsReceived | Secured | Flowing | Closed | Report | Records | Stopped
