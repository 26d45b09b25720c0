"""The commands ``watch`` and ``publish``: each runs until its work is done or a signal comes, and
leaves nothing behind at the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterator
from typing import Any

from pyforward.client.publication import Publication
from pyforward.client.rooms import Target, open_rooms
from pyforward.client.running import Say, given_up, run_command, unless_stopped
from pyforward.client.screen import Screen, sent, told
from pyforward.client.sessions import Session
from pyforward.client.watching import Crowd
from pyforward.config import Config
from pyforward.media import pacer
from pyforward.media.source import Burst, Source

LOOK_EVERY_S = 1.0


def watch(
    config: Config,
    target: Target,
    *,
    count: int,
    duration_s: float | None,
    as_json: bool,
    say: Say,
) -> int:
    """Watches until a signal, the duration after the last join, or the end of every viewer. The
    exit code is 0 when all of them joined and received something, and nobody was lost."""

    async def run(stop: asyncio.Event) -> int:
        async with open_rooms(config, target, connections=count) as rooms:

            def join() -> Awaitable[Session]:
                return rooms.sessions.watch(rooms.signalling, target.url)

            crowd = Crowd(rooms.sessions, count, join)
            with Screen(target.place, quiet=as_json) as screen:
                await _watch(crowd, screen, stop, duration_s)
            await crowd.look()
            figures = crowd.figures()
            await crowd.leave()
        say(json.dumps(figures.to_json(), indent=2) if as_json else told(figures, crowd.viewers))
        return 0 if crowd.is_well else 1

    return run_command(config, run)


def publish(
    config: Config,
    target: Target,
    source: Source,
    *,
    bursty: bool,
    duration_s: float | None,
    say: Say,
) -> int:
    """Publishes until a signal, the duration, or the end of the source. The exit code is 1 when the
    session ended before, or never began."""

    def pace(bursts: Iterator[Burst]) -> Iterator[Burst]:
        return pacer.bursty(bursts) if bursty else pacer.paced(bursts, source.video_bits_per_s)

    async def run(stop: asyncio.Event) -> int:
        async with open_rooms(config, target, connections=4) as rooms:
            publication = Publication(rooms.sessions, source, pace=pace)
            joining = asyncio.ensure_future(publication.begin(rooms.signalling, target.url))
            if not await unless_stopped(joining, stop):
                say("pyforward: stopped before anything was published.", err=True)
                return 1
            session = joining.result()
            say(f"pyforward: publishing to {target.place}; Ctrl-C stops it", err=True)
            over = asyncio.ensure_future(publication.wait())
            finished = await unless_stopped(over, stop, duration_s)
            report = await publication.report()
            await publication.end()
            if finished:
                over.result()
            if session.closed.done() and session.closed.result() != "deleted":
                reason = session.closed.result()
                say(f"pyforward: the session is over before its end ({reason}).", err=True)
                return 1
            if report is not None:
                say(sent(report))
            return 0

    return run_command(config, run)


# Private -----------------------------------------------------------------------------------------


async def _watch(
    crowd: Crowd, screen: Screen, stop: asyncio.Event, duration_s: float | None
) -> None:
    loop = asyncio.get_running_loop()
    gathering = asyncio.ensure_future(crowd.gather())
    until: float | None = None
    try:
        while not stop.is_set():
            if gathering.done():
                gathering.result()
                if until is None and duration_s is not None:
                    until = loop.time() + duration_s
                if crowd.is_empty or (until is not None and loop.time() >= until):
                    return
            wait_s = LOOK_EVERY_S
            if until is not None:
                wait_s = min(wait_s, until - loop.time())
            stopped = asyncio.ensure_future(stop.wait())
            waits: list[asyncio.Future[Any]] = [stopped]
            waits += [] if gathering.done() else [gathering]
            await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            await crowd.look()
            screen.show(crowd.figures())
    finally:
        await given_up(gathering)
