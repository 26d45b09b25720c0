"""A session as control sees it: who the peer is, what it does, how far it got."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from pyforward.commands import Codec, IceCredentials
from pyforward.ids import SessionId
from pyforward.sdp import LiveTrack

if TYPE_CHECKING:
    from pyforward.state.streams import Stream

Role = Literal["publish", "watch"]
"""What the peer does: it sends a stream to us, or it watches one."""

DtlsRole = Literal["server", "client"]
"""Ours in the handshake: server unless the offer is passive (RFC 8842 §5.3)."""


class Phase(Enum):
    """How far a session got. It only ever moves down this list."""

    OFFERED = "offered"
    """Answered; no authenticated check has come yet."""
    CLAIMED = "claimed"
    """A shard owns it; the handshake runs."""
    KEYED = "keyed"
    """SRTP keys are installed."""
    FLOWING = "flowing"
    """Media flows, or has flowed."""
    CLOSING = "closing"
    """Told to end; ``Closed`` is on its way."""


HALF_OPEN = frozenset({Phase.OFFERED, Phase.CLAIMED})

_ORDER = list(Phase)


@dataclass(frozen=True, slots=True)
class Peer:
    """What control agreed on with the other side.

    ``secret`` ends the session's URL, ``etag`` is a strong entity tag with its quotes. ``ice`` is
    None for a local publisher, which needs neither checks nor a handshake. ``expires_at`` is on the
    books' clock.
    """

    session: SessionId
    secret: str = field(repr=False)
    etag: str
    ice: IceCredentials | None = None
    dtls_role: DtlsRole = "server"
    fingerprints: tuple[tuple[str, bytes], ...] = ()
    expires_at: float | None = None


@dataclass(slots=True, eq=False)
class Session:
    """One entry of the book. Only :class:`pyforward.state.books.Books` writes it."""

    peer: Peer
    role: Role
    stream: Stream = field(repr=False)
    number: int
    """Counted up; viewers are listed in this order."""
    opened_at: float
    codecs: tuple[Codec, ...]
    """What a publisher sends, or what a viewer can take."""
    live: tuple[LiveTrack, ...] = ()
    """What a publisher sends, in more words; empty for a viewer."""
    phase: Phase = Phase.OFFERED
    shard: int | None = None
    address: tuple[str, int] | None = None
    replaced_ice: IceCredentials | None = None
    """Those before the last restart: fragments that still name them come late."""
    flowed_at: float | None = None
    """When its first media came or went; None before."""
    srtp_profile: str = ""
    """Empty before the keys; it stays when the session closes."""

    def rank(self) -> tuple[int, int]:
        """Orders publishers of a stream: who got further goes first, then who came later."""
        return _ORDER.index(self.phase), self.number

    def is_overtaken_by(self, other: Session) -> bool:
        """Of two publishers of a stream: whether the other one came later and got as far."""
        return other.number > self.number and other.rank() > self.rank()

    @property
    def is_keyed(self) -> bool:
        """Whether it ever had keys, or needs none."""
        return bool(self.srtp_profile) or self.peer.ice is None

    @property
    def id(self) -> SessionId:
        """The number that the engine knows it by."""
        return self.peer.session
