"""What publish, watch and events work with: the rooms below, the clock, and one way to act.

:meth:`Context.commit` is the only place where commands leave for the engine, so that their order,
the end of handshakes and the timer follow from one rule.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pyforward import dtls, ice, sdp
from pyforward.commands import Command, Event, IceCredentials, KeepFarewell, RemoveSession
from pyforward.config import Config
from pyforward.control.access import Claims
from pyforward.control.chronicle import Chronicle
from pyforward.control.joins import Joins, jittered
from pyforward.control.tally import Tally
from pyforward.errors import Overloaded
from pyforward.feed import Feed
from pyforward.ids import SessionId, new_etag, new_secret, new_session_id
from pyforward.reports import Reports
from pyforward.state import Books, DtlsRole, Peer


class ShardStatsPort(Protocol):
    """The part of a shard's statistics that control reads."""

    @property
    def counters(self) -> Mapping[str, int]:
        """By the names of ``native/core/src/stats.rs``."""


class EngineStatsPort(Protocol):
    """The part of the engine's statistics that control reads."""

    @property
    def shards(self) -> Sequence[ShardStatsPort]:
        """One entry a shard."""


class EnginePort(Protocol):
    """The part of :class:`pyforward.engine.Engine` that control uses."""

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where media is bound."""

    @property
    def is_behind(self) -> bool:
        """Whether events wait that :meth:`events` has not told yet."""

    def submit(self, *commands: Command) -> None:
        """Hands commands over in order; never blocks."""

    def events(self) -> AsyncIterator[Event]:
        """Everything that the engine tells, in order."""

    def stats(self) -> EngineStatsPort:
        """Counters by shard."""


class PoolPort(Protocol):
    """The part of :class:`pyforward.dtls.Pool` that control uses."""

    def start(
        self,
        session: SessionId,
        role: DtlsRole,
        fingerprints: Sequence[tuple[str, bytes]],
    ) -> None:
        """The session may shake hands from now on; nothing is held before a ClientHello."""

    def receive(self, session: SessionId, datagram: bytes) -> None:
        """A datagram of the session's peer."""

    def secured(self, session: SessionId) -> None:
        """The last flight will not be asked for again: keep the farewell, free the rest."""

    def drop(self, session: SessionId) -> bytes | None:
        """Forgets the session; its close_notify where that was not told yet."""

    def stats(self) -> dtls.PoolStats:
        """A snapshot."""

    async def close(self) -> None:
        """Tells the farewells that are left and ends the threads."""


@dataclass(slots=True)
class Context:
    """See the top of the file. ``clock`` gives seconds of a monotonic clock."""

    config: Config
    engine: EnginePort
    pool: PoolPort
    certificate: dtls.Certificate
    clock: Callable[[], float]
    rng: random.Random
    books: Books
    joins: Joins
    tally: Tally
    feed: Feed
    chronicle: Chronicle
    reports: Reports
    candidates: Sequence[ice.Candidate]
    on_deadlines_changed: Callable[[], None]
    stopping: bool = False
    stopped_shards: set[int] = field(default_factory=set)
    all_stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def commit(self, commands: Iterable[Command] = ()) -> None:
        """Submits what the books returned, and sets the timer to what is due now. The handshake of
        a session that ends is given up; what it would say at the end goes first."""
        ordered: list[Command] = []
        for command in commands:
            if isinstance(command, RemoveSession):
                close_notify = self.pool.drop(command.session)
                if close_notify:
                    ordered.append(KeepFarewell(command.session, close_notify))
            ordered.append(command)
        if ordered:
            self.engine.submit(*ordered)
        self.on_deadlines_changed()

    def retry_after_s(self, least_s: float = 1.0) -> float:
        """A jittered wait for whoever is sent away."""
        return jittered(self.rng, least_s)

    def admit(self) -> None:
        """Refuses a join while stopping, or while too many sessions are half-open."""
        if self.stopping:
            raise Overloaded(self.retry_after_s(2.0), "This server is stopping; ask again later.")
        limit = self.config.limits.sessions_half_open
        if self.books.half_open_count >= limit:
            raise Overloaded(
                self.retry_after_s(),
                "Too many sessions are still connecting; ask again later.",
                limit="limits.sessions_half_open",
                value=limit,
            )


def new_credentials(context: Context) -> tuple[str, str]:
    """Our (ufrag, pwd) for a session that begins or restarts; no other session has this ufrag."""
    ufrag, pwd = ice.new_credentials(context.config.ice.node)
    while context.books.is_ufrag_taken(ufrag):
        ufrag, pwd = ice.new_credentials(context.config.ice.node)
    return ufrag, pwd


@dataclass(frozen=True, slots=True)
class Negotiation:
    """One offer with our side of the transport."""

    description: sdp.SessionDescription
    local: sdp.LocalTransport
    peer: Peer


def begin(context: Context, offer_untrusted: str, claims: Claims) -> Negotiation:
    """Reads the offer and makes our credentials. Changes nothing: what fails later leaves nothing
    behind."""
    description = sdp.parse(offer_untrusted)
    remote = sdp.offer_transport(description)
    ufrag, pwd = new_credentials(context)
    local = sdp.LocalTransport(
        ufrag=ufrag,
        pwd=pwd,
        fingerprint=context.certificate.fingerprint,
        setup=remote.our_setup,
        candidates=context.candidates,
    )
    expires_in_s = claims.expires_in_s
    peer = Peer(
        session=new_session_id(),
        secret=new_secret(),
        etag=new_etag(),
        ice=IceCredentials(ufrag, pwd, remote.ufrag, remote.pwd),
        # The active side sends the ClientHello (RFC 8842 §5.3).
        dtls_role="client" if remote.our_setup == "active" else "server",
        fingerprints=remote.fingerprints,
        expires_at=None if expires_in_s is None else context.clock() + expires_in_s,
    )
    return Negotiation(description, local, peer)
