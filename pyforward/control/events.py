"""What happens when the engine, a handshake or a clock tells something.

Each handler changes the books first and commits what they return; a session that is gone or closing
is passed over, because its ``Closed`` is on the way or has been told.
"""

from __future__ import annotations

from typing import assert_never

import structlog

from pyforward import dtls
from pyforward.commands import (
    Claimed,
    Closed,
    CloseReason,
    DtlsReceived,
    Event,
    Flowing,
    InstallKeys,
    KeepFarewell,
    Opened,
    Records,
    Report,
    Secured,
    SendDtls,
    Stopped,
)
from pyforward.control.chronicle import named
from pyforward.control.context import Context
from pyforward.ids import SessionId
from pyforward.state import Phase, Stream

_log = structlog.get_logger("pyforward.control")


class Events:
    """Handlers by source: :meth:`handle` for the engine, ``on_*`` for the handshakes,
    :meth:`tick` for the clock."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def handle(self, event: Event) -> None:
        """One event of the engine."""
        match event:
            case Opened() | Records():
                pass  # of sessions in the client role, which are not made here
            case Claimed():
                self._claimed(event)
            case DtlsReceived():
                self._dtls_received(event)
            case Secured():
                self._context.pool.secured(event.session)
            case Flowing():
                self._flowing(event.session)
            case Closed():
                self._closed(event)
            case Report():
                self._context.reports.answered(event)
            case Stopped():
                self._stopped(event.shard)
            case _:
                assert_never(event)

    # The engine ----------------------------------------------------------------------------------

    def _claimed(self, event: Claimed) -> None:
        context = self._context
        session = context.books.claimed(event.session, event.shard, event.address, context.clock())
        if session is None:
            return
        if context.stopping:
            return
        # The engine has answered the check by now: as a client we may send the ClientHello.
        context.pool.start(session.id, session.peer.dtls_role, session.peer.fingerprints)
        context.commit()

    def _dtls_received(self, event: DtlsReceived) -> None:
        if self._is_open(event.session) and not self._context.stopping:
            self._context.pool.receive(event.session, event.datagram)

    def _flowing(self, session_id: SessionId) -> None:
        context = self._context
        session = context.books.flowing(session_id, context.clock())
        if session is not None:
            context.chronicle.flows(session)
            context.commit(context.books.overtake(session))

    def _closed(self, event: Closed) -> None:
        context = self._context
        session = context.books.session(event.session)
        if session is None:
            return
        if not session.is_keyed:
            context.joins.count(session.role, "failed", event.reason)
        context.tally.count_closed(session, event.reason)
        context.pool.drop(event.session)
        context.commit(context.books.closed(event.session, event.reason, context.clock()))
        context.chronicle.closed(session, event.reason)

    def _stopped(self, shard: int) -> None:
        context = self._context
        context.stopped_shards.add(shard)
        if len(context.stopped_shards) >= len(context.engine.stats().shards):
            context.all_stopped.set()

    # The handshakes ------------------------------------------------------------------------------

    def on_flight(self, session_id: SessionId, datagrams: list[bytes]) -> None:
        """A handshake wants to send."""
        if self._is_open(session_id):
            self._context.engine.submit(SendDtls(session_id, tuple(datagrams)))

    def on_keys(self, session_id: SessionId, keys: dtls.Keys) -> None:
        """A handshake is done, and the peer's certificate was the one its offer names."""
        context = self._context
        session = context.books.keyed(session_id, keys.profile)
        if session is None:
            return
        context.joins.count(session.role, "connected")
        context.chronicle.connected(session)
        context.commit(
            [
                InstallKeys(
                    session_id,
                    keys.profile,
                    keys.local_key,
                    keys.local_salt,
                    keys.remote_key,
                    keys.remote_salt,
                ),
                *context.books.overtake(session),
            ]
        )

    def on_failed(self, session_id: SessionId, failure: dtls.PoolFailure) -> None:
        """A handshake cannot come to an end any more, or its peer has closed the connection."""
        context = self._context
        session = context.books.session(session_id)
        if session is None:
            return
        # With keys it is an authenticated alert: the peer says that it goes.
        reason: CloseReason = "bye" if session.is_keyed else "handshake"
        context.tally.count_handshake(session, failure)
        _log.info("dtls_ended", **named(session), failure=failure)
        context.commit(context.books.end_session(session_id, reason, context.clock()))

    def on_farewell(self, session_id: SessionId, close_notify: bytes) -> None:
        """A connection is about to be freed; what it would say at the end is kept."""
        if self._is_open(session_id):
            self._context.engine.submit(KeepFarewell(session_id, close_notify))

    # The clock -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Does what is due."""
        context = self._context
        now = context.clock()
        for (what, _), entry in context.books.take_due(now):
            if isinstance(entry, Stream):
                context.chronicle.stream_ended(entry, "no_publisher")
                context.commit(context.books.end_stream(entry, "stream_ended", now))
            elif what == "expiry":
                context.commit(context.books.end_session(entry.id, "deleted", now))
            elif entry.phase is Phase.OFFERED:
                context.commit(context.books.end_session(entry.id, "never_connected", now))
            else:
                context.tally.count_handshake(entry, "timeout")
                context.commit(context.books.end_session(entry.id, "handshake", now))
        context.on_deadlines_changed()

    # Private -------------------------------------------------------------------------------------

    def _is_open(self, session_id: SessionId) -> bool:
        session = self._context.books.session(session_id)
        return session is not None and session.phase is not Phase.CLOSING
