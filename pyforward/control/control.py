"""Control: the one object that the API, the metrics and the server talk to.

It owns the books, the handshakes' callbacks and the timer; everything runs in the thread of the
event loop. The engine is handed in and stays the server's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import structlog

from pyforward import dtls, ice
from pyforward.commands import Stop
from pyforward.config import Config
from pyforward.config.models import Dtls
from pyforward.control import view
from pyforward.control.access import Claims
from pyforward.control.chronicle import Chronicle
from pyforward.control.context import Context, EnginePort, PoolPort
from pyforward.control.events import Events
from pyforward.control.figures import Page, ServerFigures, StreamFigures, ViewerFigures
from pyforward.control.joins import Joins
from pyforward.control.overview import Order, Overview, find_stream
from pyforward.control.publish import Accepted, publish
from pyforward.control.screens import Screens
from pyforward.control.tally import Tally
from pyforward.control.trickle import Patched, patch
from pyforward.control.view import ControlView
from pyforward.control.watch import watch
from pyforward.errors import SessionNotFound
from pyforward.feed import Crowd, Feed
from pyforward.ids import SessionId
from pyforward.reports import Reports
from pyforward.state import Books, Role, Session, Timing

# How long the engine may take over its farewells; SIGTERM allows 2 s for everything.
STOP_TIME_LIMIT_S = 1.5

_log = structlog.get_logger("pyforward.control")


class MakePool(Protocol):
    """How a pool is made; see :class:`pyforward.dtls.Pool`."""

    def __call__(
        self,
        certificate: dtls.Certificate,
        limits: Dtls,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, dtls.Keys], None],
        on_failed: Callable[[SessionId, dtls.PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
        is_behind: Callable[[], bool],
    ) -> PoolPort:
        """A pool that calls back in the loop's thread, and never before this has returned."""


class Control:
    """See the top of the file. Made in the thread of a running loop; :meth:`run_events` must run
    beside it."""

    def __init__(
        self,
        config: Config,
        engine: EnginePort,
        certificate: dtls.Certificate,
        *,
        make_pool: MakePool = dtls.Pool,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        feed: Feed | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        rng = rng or random.SystemRandom()
        timing = Timing(
            connect_s=config.ice.connect_timeout_s,
            handshake_s=config.dtls.handshake_timeout_s,
            wait_s=config.streams.wait_s,
        )
        pool = make_pool(
            certificate,
            config.dtls,
            on_flight=lambda session, datagrams: self._events.on_flight(session, datagrams),
            on_keys=lambda session, keys: self._events.on_keys(session, keys),
            on_failed=lambda session, reason: self._events.on_failed(session, reason),
            on_farewell=lambda session, record: self._events.on_farewell(session, record),
            is_behind=lambda: engine.is_behind,
        )
        self.feed = feed or Feed()
        """What operators are told as it happens."""
        crowd = Crowd(self.feed.tell, config.events.viewers_per_s, self._loop.call_later)
        chronicle = Chronicle(self.feed, crowd, clock)
        self._context = Context(
            config=config,
            engine=engine,
            pool=pool,
            certificate=certificate,
            clock=clock,
            rng=rng,
            books=Books(timing, declared=config.streams.declared, now=clock()),
            joins=Joins(config.limits.concurrent_joins, rng, chronicle.refused),
            tally=Tally(),
            feed=self.feed,
            chronicle=chronicle,
            reports=Reports(engine.submit, len(engine.stats().shards)),
            candidates=ice.host_candidates(engine.addresses, config.media.advertise),
            on_deadlines_changed=self._arm,
        )
        self._events = Events(self._context)
        self._overview = Overview(self._context)
        self.screens = Screens(self._overview)
        """Figures once a second, for whoever looks."""
        self._context.commit(self._context.books.opening())

    # Joining -------------------------------------------------------------------------------------

    def joining(self, role: Role) -> AbstractContextManager[None]:
        """Around a whole join, from the first look at the request: bounds how many there are, and
        counts how they end. Raises Overloaded."""
        return self._timed(role) if role == "watch" else self._context.joins.slot(role)

    async def publish(self, name: str, offer: str, claims: Claims) -> Accepted:
        """An offer becomes the publisher of a stream."""
        return publish(self._context, name, offer, claims)

    async def watch(self, name: str, offer: str, claims: Claims) -> Accepted:
        """An offer becomes a viewer of a stream."""
        return watch(self._context, name, offer, claims)

    # Sessions by their URL -----------------------------------------------------------------------

    def require_session(self, role: Role, name: str, secret: str) -> None:
        """Raises SessionNotFound unless there is one: its URL serves one role and one stream."""
        self._find(role, name, secret)

    async def trickle(
        self, role: Role, name: str, secret: str, fragment: str, if_match: str | None
    ) -> Patched:
        """Takes a fragment with candidates, or one that restarts ICE. Whatever is refused, the
        session lives on."""
        return patch(self._context, self._find(role, name, secret), fragment, if_match)

    async def delete(self, role: Role, name: str, secret: str) -> None:
        """Ends the session at once."""
        session = self._find(role, name, secret)
        context = self._context
        context.commit(context.books.end_session(session.id, "deleted", context.clock()))

    # What operators ask --------------------------------------------------------------------------

    async def streams(self, after: str | None = None, limit: int = 100) -> Page[StreamFigures]:
        """Streams by name, those after the cursor."""
        return await self._overview.streams(after, limit)

    async def stream(self, name: str) -> StreamFigures:
        """One stream."""
        return await self._overview.stream(name)

    async def viewers(
        self,
        name: str,
        after: str | None = None,
        limit: int = 100,
        order: Order = "joined",
    ) -> Page[ViewerFigures]:
        """A stream's viewers that come after the cursor: as they joined, or the worst first."""
        return await self._overview.viewers(name, after, limit, order)

    def server(self) -> ServerFigures:
        """The server at this moment."""
        return self._overview.server()

    async def remove_stream(self, name: str) -> None:
        """Ends a stream with its publisher and its viewers; a declared one stays, waiting."""
        context = self._context
        stream = find_stream(context, name)
        context.chronicle.stream_ended(stream, "deleted")
        context.commit(context.books.end_stream(stream, "deleted", context.clock()))

    async def remove_session(self, session: SessionId) -> None:
        """Ends one session."""
        context = self._context
        commands = context.books.end_session(session, "deleted", context.clock())
        if not commands:
            raise SessionNotFound
        context.commit(commands)

    def view(self) -> ControlView:
        """The books in numbers."""
        return view.of(self._context)

    # Running -------------------------------------------------------------------------------------

    async def run_events(self) -> None:
        """Handles what the engine tells until the engine is closed. One event that cannot be
        handled is logged and does not keep the others waiting."""
        async for event in self._context.engine.events():
            try:
                self._events.handle(event)
            except Exception:
                _log.exception("event_failed", kind=type(event).__name__)

    def tick(self) -> None:
        """Does what is due by the clock. The timer calls it; a test with its own clock may."""
        self._events.tick()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`close` has begun: nobody joins any more."""
        return self._context.stopping

    async def close(self) -> None:
        """Says farewell to everybody, and waits a bounded time for every shard to have done so.
        The engine itself is closed by whoever started it."""
        context = self._context
        if context.stopping:
            return
        context.stopping = True
        self._disarm()
        context.chronicle.stopping()
        # First, because connections that still linger have a farewell to hand over.
        await context.pool.close()
        context.engine.submit(Stop())
        try:
            async with asyncio.timeout(STOP_TIME_LIMIT_S):
                await context.all_stopped.wait()
        except TimeoutError:
            _log.warning("shards_did_not_stop", stopped=sorted(context.stopped_shards))
        context.chronicle.stopped()

    # Private -------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, role: Role) -> Iterator[None]:
        """The same; what is refused is not timed."""
        context = self._context
        began_at = context.clock()
        with context.joins.slot(role):
            yield
        context.tally.answers.observe(context.clock() - began_at)

    def _find(self, role: Role, name: str, secret: str) -> Session:
        session = self._context.books.by_secret(secret)
        if session is None or session.role != role or session.stream.name != name:
            raise SessionNotFound
        return session

    def _arm(self) -> None:
        """Keeps one timer for the earliest deadline."""
        due_at = self._context.books.next_deadline()
        if due_at == self._timer_at or self._context.stopping:
            return
        self._disarm()
        if due_at is not None:
            self._timer_at = due_at
            wait_s = max(0.0, due_at - self._context.clock())
            self._timer = self._loop.call_later(wait_s, self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_at = None

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        self._events.tick()
