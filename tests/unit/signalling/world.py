"""Control between an engine and a handshake pool that do nothing by themselves, under a clock that
moves when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pyforward import dtls
from pyforward.commands import (
    AddSession,
    Claimed,
    Closed,
    CloseReason,
    Command,
    Event,
    RemoveSession,
    Report,
    ReportSessions,
    SessionReport,
    Stop,
    Stopped,
)
from pyforward.config import Config
from pyforward.config.models import Dtls
from pyforward.control import Accepted, Claims, Control
from pyforward.ids import SessionId

C = TypeVar("C")

ADDRESS = ("192.0.2.7", 51234)
KEYS = dtls.Keys("SRTP_AEAD_AES_128_GCM", b"l" * 16, b"s" * 12, b"r" * 16, b"t" * 12)


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class FakeShard:
    counters: dict[str, int]


@dataclass(frozen=True)
class FakeStats:
    shards: tuple[FakeShard, ...]


class FakeEngine:
    """Keeps what is submitted and tells what a test tells it to."""

    def __init__(self, shards: int = 2) -> None:
        self.submitted: list[Command] = []
        self.rows: dict[SessionId, SessionReport] = {}
        self.silent_shards: set[int] = set()
        self.counters: dict[str, int] = {}
        self.is_behind = False
        self._shards = shards
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return (("127.0.0.1", 8189),)

    def submit(self, *commands: Command) -> None:
        for command in commands:
            self.submitted.append(command)
            if isinstance(command, ReportSessions):
                self._report(command)
            elif isinstance(command, Stop):
                for shard in self._answering():
                    self.tell(Stopped(shard))

    def stats(self) -> FakeStats:
        return FakeStats(tuple(FakeShard(self.counters) for _ in range(self._shards)))

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            yield event
            self._queue.task_done()

    def tell(self, *events: Event) -> None:
        for event in events:
            self._queue.put_nowait(event)

    async def settle(self) -> None:
        await self._queue.join()

    def end(self) -> None:
        self._queue.put_nowait(None)

    def taken(self, kind: type[C]) -> list[C]:
        """The commands of one kind so far."""
        return [command for command in self.submitted if isinstance(command, kind)]

    def forget(self) -> None:
        self.submitted.clear()

    def _report(self, command: ReportSessions) -> None:
        for shard in self._answering():
            rows = [self.rows[s] for s in command.sessions if s in self.rows]
            mine = tuple(row for row in rows if row.shard == shard)
            self.tell(Report(command.ticket, shard, mine))

    def _answering(self) -> list[int]:
        return [shard for shard in range(self._shards) if shard not in self.silent_shards]


class FakePool:
    """Keeps what it is asked; a test ends handshakes by calling the callbacks."""

    def __init__(
        self,
        _certificate: dtls.Certificate,
        _limits: Dtls,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, dtls.Keys], None],
        on_failed: Callable[[SessionId, dtls.PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
    ) -> None:
        self.on_flight = on_flight
        self.on_keys = on_keys
        self.on_failed = on_failed
        self.on_farewell = on_farewell
        self.started: list[tuple[SessionId, str, tuple[tuple[str, bytes], ...]]] = []
        self.received: list[tuple[SessionId, bytes]] = []
        self.told_secured: list[SessionId] = []
        self.dropped: list[SessionId] = []
        self.lingering: dict[SessionId, bytes] = {}
        self.closed = False

    def start(
        self, session: SessionId, role: str, fingerprints: Sequence[tuple[str, bytes]]
    ) -> None:
        self.started.append((session, role, tuple(fingerprints)))

    def receive(self, session: SessionId, datagram: bytes) -> None:
        self.received.append((session, datagram))

    def secured(self, session: SessionId) -> None:
        self.told_secured.append(session)
        farewell = self.lingering.pop(session, None)
        if farewell is not None:
            self.on_farewell(session, farewell)

    def drop(self, session: SessionId) -> bytes | None:
        self.dropped.append(session)
        return self.lingering.pop(session, None)

    def stats(self) -> dtls.PoolStats:
        return dtls.PoolStats(
            sessions=0,
            handshaking=0,
            lingering=len(self.lingering),
            waiting=0,
            hello_bytes=700,
            completed=0,
            failed=0,
        )

    async def close(self) -> None:
        self.closed = True
        for session in list(self.lingering):
            self.secured(session)


@dataclass
class World:
    """Everything around one Control."""

    config: Config = field(default_factory=Config)
    clock: Clock = field(default_factory=Clock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    pools: list[FakePool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control = Control(
            self.config,
            self.engine,
            CERTIFICATE,
            make_pool=self._make_pool,
            clock=self.clock,
            rng=random.Random(1),
        )
        (self.pool,) = self.pools

    def _make_pool(
        self,
        certificate: dtls.Certificate,
        limits: Dtls,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, dtls.Keys], None],
        on_failed: Callable[[SessionId, dtls.PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
        is_behind: Callable[[], bool],
    ) -> FakePool:
        assert not is_behind()
        self.pools.append(FakePool(certificate, limits, on_flight, on_keys, on_failed, on_farewell))
        return self.pools[-1]

    async def publish(self, name: str, offer: str) -> Accepted:
        """A publisher joins, counted as the API does it."""
        with self.control.joining("publish"):
            return await self.control.publish(name, offer, Claims("publish"))

    async def watch(self, name: str, offer: str) -> Accepted:
        """A viewer joins, counted as the API does it."""
        with self.control.joining("watch"):
            return await self.control.watch(name, offer, Claims("watch"))

    async def tell(self, *events: Event) -> None:
        """The engine tells, and control has handled it."""
        self.engine.tell(*events)
        await self.engine.settle()

    async def connect(self, session: SessionId, shard: int = 0) -> None:
        """The session's check comes and its handshake succeeds."""
        await self.tell(Claimed(session, shard, ADDRESS))
        self.pool.on_keys(session, KEYS)

    async def close(self, session: SessionId, reason: CloseReason = "deleted") -> None:
        """The engine has let go of it."""
        await self.tell(Closed(session, reason))

    async def close_removed(self) -> None:
        """The engine lets go of every session that it was told to remove."""
        for command in self.engine.taken(RemoveSession):
            await self.close(command.session, command.reason)

    def pass_time(self, seconds: float) -> None:
        """The clock moves, and what is due is done."""
        self.clock.now += seconds
        self.control.tick()

    def added(self) -> list[AddSession]:
        """The sessions that the engine was told of, in order."""
        return self.engine.taken(AddSession)


CERTIFICATE = dtls.Certificate.generate()


@asynccontextmanager
async def running(config: Config | None = None, shards: int = 2) -> AsyncIterator[World]:
    """A world whose events are being handled."""
    world = World(config=config or Config(), engine=FakeEngine(shards))
    task = asyncio.create_task(world.control.run_events())
    try:
        yield world
    finally:
        world.engine.end()
        await task


def report_row(session: SessionId, shard: int = 0, **more: object) -> SessionReport:
    """Figures of one session."""
    values: dict[str, object] = {
        "session": session,
        "state": "live",
        "shard": shard,
        "address": ADDRESS,
        "srtp_profile": KEYS.profile,
        "packets": 100,
        "bytes": 120_000,
        "nacks": 5,
        "repaired": 4,
        "drops": 1,
        "loss": 0.25,
        "rtt_ms": 12.5,
        "bitrate_bps": 900_000,
        "keyframe_interval_ms": 2000.0,
    }
    return SessionReport(**(values | more))  # type: ignore[arg-type]
