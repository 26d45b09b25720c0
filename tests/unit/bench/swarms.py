"""A swarm in the world of the client's tests: a server of our words, an engine that does nothing by
itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from pyforward.client import Rooms, Target
from pyforward.commands import AddSession, Records, Trial
from pyforward.config import Config
from pyforward.engine import Engine
from pyforward_bench.records import INTACT, RECORD, STAMPED
from pyforward_bench.swarm import Member, Swarm
from tests.unit.client.site import Handler
from tests.unit.client.world import World, world


@asynccontextmanager
async def swarm(
    *replies: Handler, trial: Trial | None = None
) -> AsyncIterator[tuple[Swarm, World]]:
    """A swarm and the world that it is in; events of the engine are handled."""
    async with world(*replies) as w:

        @asynccontextmanager
        async def opening(config: Config, target: Target, connections: int) -> AsyncIterator[Rooms]:
            yield Rooms(cast("Engine", w.engine), w.sessions, w.signalling)

        events = asyncio.create_task(w.sessions.run_events())
        target = Target(w.site.url("/whep/show"))
        async with Swarm(Config(), target, trial=trial, opening=opening) as made:
            yield made, w
            w.obey()
        await w.settled()
        w.engine.end()
        await events


async def joined(made: Swarm, w: World, count: int, probes: int = 0) -> list[Member]:
    """So many join and are connected."""
    before = len(w.sessions._entries)
    joining = asyncio.create_task(made.join(count, probes=probes))
    for session in (await w.sessions_of(before + count))[before:]:
        w.connect(session)
    return list(await joining)


async def until(true: Callable[[], object]) -> None:
    """Whatever else is to be done is done until then."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - it is the state of others, who set no event
            await asyncio.sleep(0)


def trials(w: World) -> list[Trial | None]:
    """What was asked of each session."""
    return [command.trial for command in w.engine.taken(AddSession)]


def records(
    member: Member, *sequences: int, latency_us: int = 1_000, flags: int = STAMPED | INTACT
) -> Records:
    """Packets that a probe received, each with an intact stamp unless its flags say otherwise."""
    rows = [
        RECORD.pack(1_000_000 + n, member.number, n, 90 * n, n, latency_us, 100, flags)
        for n in sequences
    ]
    return Records(0, b"".join(rows))
