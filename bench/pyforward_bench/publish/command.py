"""One run of ``publish``: joins, plays until its end, and tells what it did, whatever came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from pyforward.client import Publication, Rooms, Session, Target, open_rooms
from pyforward.client.running import run_command, unless_stopped
from pyforward.config import Config
from pyforward.media import pacer
from pyforward.media.source import Burst
from pyforward_bench import guard, host, results
from pyforward_bench.host import Usage, Watch
from pyforward_bench.measuring import (
    EXIT_INVALID,
    LOOK_EVERY_S,
    PROGRAM,
    Output,
    deliver,
    harness_rows,
)
from pyforward_bench.publish.figures import COMMAND, Figures, Line, figures, rows
from pyforward_bench.publish.lag import Lag
from pyforward_bench.publish.options import Options
from pyforward_bench.publish.source import TraceSource

CONNECTIONS: Final = 4


def run(config: Config, target: Target, options: Options, output: Output) -> int:
    """Publishes until a signal, the duration, or the end of the session. Exit codes: 0; 1 where the
    session ended before, or never began; 4 where the publisher fell behind. Raises ConfigError,
    MediaError and HostError for what keeps it from beginning, RemoteError where the server does."""
    guard.check(target.url, options.allowed)
    target = replace(target, permit=guard.gate(options.allowed))
    place = target.place
    output = output.checked(COMMAND)
    source = TraceSource(options.load(), rate=options.rate)

    async def work(stop: asyncio.Event) -> int:
        started = datetime.now(UTC)
        async with open_rooms(for_publishing(config), target, CONNECTIONS) as rooms:
            publishing = Publishing(rooms, source, paced=options.paced)
            joining = asyncio.ensure_future(publishing.begin(target.url))
            if not await unless_stopped(joining, stop):
                output.say(f"{PROGRAM}: stopped before anything was published.", err=True)
                return 1
            joining.result()
            output.say(f"{PROGRAM}: publishing to {place}; Ctrl-C stops it", err=True)
            async with Watch(rooms.engine) as watch:
                with Line(place, quiet=output.as_json) as line:
                    looking = asyncio.ensure_future(publishing.look_until_over(line))
                    if await unless_stopped(looking, stop, options.duration_s):
                        looking.result()
                await publishing.look()
                usage = watch.usage()
            return await told(publishing, usage, started, output)

    return run_command(config, work)


def for_publishing(config: Config) -> Config:
    """What is sent is the trace: nothing is gathered until a frame is whole, and nothing padded.
    One session needs one shard."""
    engine = config.engine.model_copy(
        update={"frame_window_ms": 0.0, "padding": False, "shards": 1}
    )
    return config.model_copy(update={"engine": engine})


class Publishing:
    """The source on its way to the server, and what is known of it."""

    def __init__(self, rooms: Rooms, source: TraceSource, *, paced: bool) -> None:
        self._rooms = rooms
        self._loop = asyncio.get_running_loop()
        self.lag = Lag(time.monotonic, source.step_s)

        def pace(bursts: Iterator[Burst]) -> Iterator[Burst]:
            spread = pacer.paced(bursts, source.video_bits_per_s) if paced else bursts
            return self.lag.observed(spread)

        self._publication = Publication(rooms.sessions, source, pace=pace, stamped=True)
        self._session: Session | None = None
        self._begun_s = 0.0
        self.figures: Figures | None = None
        """By the last look while the session lived."""

    async def begin(self, url: str) -> None:
        """Joins, and plays from then on. Raises RemoteError."""
        self._session = await self._publication.begin(self._rooms.signalling, url)
        self._begun_s = self._loop.time()

    async def look_until_over(self, line: Line) -> None:
        """Shows the newest figures again and again, until the session ends by itself."""
        over = asyncio.ensure_future(self._publication.wait())
        try:
            while not over.done():
                await asyncio.wait([over], timeout=LOOK_EVERY_S)
                await self.look()
                if self.figures is not None:
                    line.show(self.figures)
            over.result()
        finally:
            over.cancel()

    async def look(self) -> None:
        """Asks for the newest figures."""
        seconds = self._loop.time() - self._begun_s
        report = await self._publication.report()
        if report is not None:
            self.figures = figures(report, self.lag, seconds)

    async def end(self) -> str:
        """Leaves. Empty, or why the session was over before."""
        assert self._session is not None
        before = self._session.closed.result() if self._session.is_over else ""
        await self._publication.end()
        return before


async def told(publishing: Publishing, usage: Usage, started: datetime, output: Output) -> int:
    """Leaves the server, delivers the results, and gives the exit code."""
    reason = await publishing.end()
    because = [*publishing.lag.verdict(), *host.verdict(usage)]
    found = publishing.figures
    written = results.begin(
        command=COMMAND,
        argv=output.argv,
        started=started,
        duration_s=(datetime.now(UTC) - started).total_seconds(),
        commit=output.commit,
        rows=[*(rows(found) if found is not None else ()), *harness_rows(COMMAND, usage)],
        notes=[],
        invalid_because=because,
    )
    problems = [f"The session is over before its end ({reason})."] if reason else []
    deliver(written, problems, output)
    if because:
        return EXIT_INVALID
    return 1 if problems else 0
