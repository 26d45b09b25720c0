"""Sessions in the client role between a server of our words, an engine and a handshake pool that do
nothing by themselves, and timers that run when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from unittest import mock

from pyforward import dtls
from pyforward.client import Session, Sessions, Signalling
from pyforward.commands import AddSession, Claimed, Closed, CloseReason, Command, RemoveSession
from pyforward.config import Config
from pyforward.config.models import Dtls
from pyforward.ids import SessionId, StreamId
from tests.unit.answers import FILE, SENDING
from tests.unit.client.site import Handler, Site, client, serving, status
from tests.unit.signalling.world import ADDRESS, CERTIFICATE, KEYS, FakeEngine, FakePool

STREAM = StreamId(1)


def answered(text: str = SENDING) -> Handler:
    """A join that succeeds with this answer; whatever else is asked is agreed to."""
    created = status(201, text, "application/sdp", Location="/session/1")
    fine = status(200)
    return lambda request: (created if request.method == "POST" else fine)(request)


def said(line: str, answer: str = SENDING) -> str:
    """The answer with a line more in its session part."""
    group = "a=group:BUNDLE 0 1\r\n"
    assert group in answer
    return answer.replace(group, f"{group}{line}\r\n")


class Timers:
    """The part of an event loop that sessions use, whose timers run by hand."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.started: list[tuple[float, asyncio.Handle]] = []

    def time(self) -> float:
        return self._loop.time()

    def call_later(
        self, delay: float, callback: Callable[..., object], *arguments: object
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, arguments, self._loop)
        self.started.append((delay, handle))
        return handle

    def expire(self) -> None:
        """Every time is over."""
        for _, handle in self.started:
            if not handle.cancelled():
                handle._run()


class Engine(FakeEngine):
    """Lets go of sessions where that is asked of it, if it ``obeys``."""

    obeys: Callable[[Closed], object] | None = None

    def __init__(self, shards: int) -> None:
        super().__init__(shards)
        self._heard = asyncio.Event()

    async def hears(self) -> None:
        """Something more is submitted."""
        self._heard.clear()
        await self._heard.wait()

    def submit(self, *commands: Command) -> None:
        super().submit(*commands)
        self._heard.set()
        for command in commands:
            if isinstance(command, RemoveSession) and self.obeys is not None:
                closed = Closed(command.session, command.reason)
                asyncio.get_running_loop().call_soon(self.obeys, closed)


@dataclass
class World:
    """One server and the sessions with it."""

    site: Site
    signalling: Signalling
    sessions: Sessions
    engine: Engine
    pool: FakePool
    timers: Timers

    async def watch(self) -> Session:
        return await self.sessions.watch(self.signalling, self.site.url("/whep/show"))

    async def publish(self) -> Session:
        """The tracks of :data:`FILE`."""
        url = self.site.url("/whip/show")
        return await self.sessions.publish(self.signalling, url, STREAM, FILE)

    async def sessions_of(self, count: int) -> list[Session]:
        """All in their order, as soon as there are so many."""
        while len(self.sessions._entries) < count:
            await self.engine.hears()
        return [entry.session for entry in self.sessions._entries.values()]

    def added(self) -> AddSession:
        (command,) = self.engine.taken(AddSession)
        return command

    def obey(self) -> None:
        """From now on the engine lets go where it is told to."""
        self.engine.obeys = self.sessions.handle

    def removed(self) -> list[CloseReason]:
        return [command.reason for command in self.engine.taken(RemoveSession)]

    def claim(self, session: Session) -> None:
        self.sessions.handle(Claimed(session.id, 0, ADDRESS))

    def connect(self, session: Session) -> None:
        """Checks and the handshake succeed."""
        self.claim(session)
        self.pool.on_keys(session.id, KEYS)

    def close(self, session: Session, reason: CloseReason) -> None:
        """The engine has let go of it."""
        self.sessions.handle(Closed(session.id, reason))

    async def settled(self) -> None:
        """What was begun in the background is done."""
        while self.sessions._tasks:
            await asyncio.wait(set(self.sessions._tasks))


@asynccontextmanager
async def world(*replies: Handler) -> AsyncIterator[World]:
    """A world whose server answers so, by default to viewers."""
    pools: list[FakePool] = []

    def make_pool(
        certificate: dtls.Certificate,
        limits: Dtls,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, dtls.Keys], None],
        on_failed: Callable[[SessionId, dtls.PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
        is_behind: Callable[[], bool],
        *,
        in_turn: bool,
    ) -> FakePool:
        # A swarm's sessions are all its own: none of them is left waiting for those after it.
        assert in_turn
        assert not is_behind()
        pools.append(FakePool(certificate, limits, on_flight, on_keys, on_failed, on_farewell))
        return pools[-1]

    engine = Engine(1)
    with mock.patch.object(dtls, "Pool", make_pool):
        sessions = Sessions(Config(), engine, CERTIFICATE)
    timers = Timers()
    sessions._loop = timers  # type: ignore[assignment]
    async with serving(*(replies or (answered(),))) as site, client() as signalling:
        yield World(site, signalling, sessions, engine, pools[0], timers)
