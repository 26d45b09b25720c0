"""Operators' screens: figures once a second for whoever looks, gathered once for all of them.

Nobody looks: no timer runs and nothing is asked. A screen shows all streams, or one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from pyforward.control.figures import Figures, StreamFigures, ViewerFigures
from pyforward.control.overview import Overview
from pyforward.errors import StreamNotFound
from pyforward.feed import Listener, Told, rfc3339

_log = structlog.get_logger("pyforward.control")

EVERY_S = 1.0
STREAMS = 200
WORST = 10


@dataclass(slots=True)
class _Screen:
    task: asyncio.Task[None]
    listeners: set[Listener] = field(default_factory=set)
    newest: Told | None = None


class Screens:
    """See the top of the file. ``wall`` gives seconds since 1970."""

    def __init__(
        self,
        overview: Overview,
        every_s: float = EVERY_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._overview = overview
        self._every_s = every_s
        self._wall = wall
        self._screens: dict[str | None, _Screen] = {}

    @contextlib.contextmanager
    def shown(self, listener: Listener, stream: str | None) -> Iterator[None]:
        """While inside, the listener gets figures: of one stream, or with None of all."""
        screen = self._screens.get(stream)
        if screen is None:
            task = asyncio.create_task(self._run(stream), name="figures")
            screen = self._screens[stream] = _Screen(task)
        screen.listeners.add(listener)
        if screen.newest is not None:
            listener.offer_figures(screen.newest)
        try:
            yield
        finally:
            screen.listeners.discard(listener)
            if not screen.listeners:
                screen.task.cancel()
                del self._screens[stream]

    @property
    def is_idle(self) -> bool:
        """Whether nobody looks."""
        return not self._screens

    async def figures(self, stream: str | None) -> Figures:
        """What a screen shows now. A stream that is not there leaves its place empty."""
        streams: tuple[StreamFigures, ...] = ()
        worst: tuple[ViewerFigures, ...] = ()
        if stream is None:
            streams = await self._overview.largest(STREAMS)
        else:
            with contextlib.suppress(StreamNotFound):
                streams = (await self._overview.stream(stream),)
                page = await self._overview.viewers(stream, None, WORST, "worst")
                worst = page.items
        server = self._overview.server()
        return Figures(
            time=rfc3339(self._wall()),
            server=server,
            streams=streams,
            left_out=max(0, server.streams - len(streams)) if stream is None else 0,
            worst=worst,
        )

    async def _run(self, stream: str | None) -> None:
        # What is asked takes its time; the pause comes after it, so that a busy server is asked
        # less often.
        while True:
            try:
                figures = await self.figures(stream)
            except Exception:
                _log.exception("figures_failed")
                await asyncio.sleep(self._every_s)
                continue
            screen = self._screens[stream]
            screen.newest = Told("", figures.kind, stream, figures.model_dump_json())
            for listener in screen.listeners:
                listener.offer_figures(screen.newest)
            await asyncio.sleep(self._every_s)
