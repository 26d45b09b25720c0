"""Every handshake of the server, on a few threads.

The rest of the program lives in the loop's thread and never waits for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pyforward.dtls.certificate import Certificate
from pyforward.dtls.handshake import Failure, Keys, Role
from pyforward.ids import SessionId

PoolFailure = Failure | Literal["timeout", "overload"]


class Limits(Protocol):
    """The section ``dtls`` of the configuration."""

    @property
    def max_handshakes(self) -> int: ...
    @property
    def handshake_timeout_s(self) -> float: ...
    @property
    def threads(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot."""

    sessions: int
    """Known: between ``start`` and keys kept, failure or ``drop``."""
    handshaking: int
    """Connection objects without keys yet."""
    lingering: int
    """Connection objects with keys, kept because the peer may ask for our last flight again."""
    waiting: int
    """Sessions whose ClientHello is here, but no place for a connection object yet."""
    completed: int
    failed: int


class Pool:
    """The DTLS side of all sessions. Use it from the loop's thread only; the callbacks run there.

    ``on_flight(session, datagrams)``: to be sent, each as one datagram.
    ``on_keys(session, keys)``: once; its last flight was handed to ``on_flight`` just before.
    ``on_failed(session, reason)``: the session is forgotten here.
    ``on_farewell(session, record)``: the connection is freed and the session forgotten; ``record``
    is the sealed close_notify to send when the session ends.
    """

    def __init__(
        self,
        certificate: Certificate,
        limits: Limits,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, Keys], None],
        on_failed: Callable[[SessionId, PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
    ) -> None:
        raise NotImplementedError

    def start(
        self, session: SessionId, role: Role, fingerprints: Sequence[tuple[str, bytes]]
    ) -> None:
        """The session may shake hands from now on; call it when ``Claimed`` was told. As a client
        we begin at once, as a server nothing is held until a ClientHello is here."""
        raise NotImplementedError

    def receive(self, session: SessionId, datagram: bytes) -> None:
        """A datagram of the session's peer; those of unknown sessions are ignored."""
        raise NotImplementedError

    def secured(self, session: SessionId) -> None:
        """The peer's first SRTP packet proved that it has our last flight: the connection is freed
        and ``on_farewell`` called."""
        raise NotImplementedError

    def drop(self, session: SessionId) -> bytes | None:
        """The session ends: forget it. Where keys were told and ``on_farewell`` was not, its
        close_notify record comes back, to be kept or sent before the session is removed."""
        raise NotImplementedError

    def stats(self) -> PoolStats:
        """A snapshot."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends the threads. Lingering sessions get their ``on_farewell`` first."""
        raise NotImplementedError
