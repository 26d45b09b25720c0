"""A command's life: its log, its loop, its limits, and the signals that end it."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import uvloop

from pyforward import log, process
from pyforward.config import Config

STOP_LIMIT_S: Final = 15.0
"""From the first signal to the end of the process: more than sessions take to be ended at a server
that hangs, and joins on their way after them."""


class Say(Protocol):
    """Prints a line."""

    def __call__(self, message: str, /, *, err: bool = False) -> None:
        """On stdout, or on stderr."""


def run_command(
    config: Config,
    work: Callable[[asyncio.Event], Coroutine[object, object, int]],
    *,
    stop_limit_s: float = STOP_LIMIT_S,
) -> int:
    """Runs the work to its end and gives its exit code. The event is set by the first SIGINT or
    SIGTERM; ``stop_limit_s`` later the process ends whatever it does."""
    log.set_up(config)

    async def run() -> int:
        process.raise_descriptor_limit()
        return await work(process.stop_on_signals(stop_limit_s))

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    finally:
        faulthandler.cancel_dump_traceback_later()


async def unless_stopped(
    work: asyncio.Future[Any],
    stop: asyncio.Event,
    duration_s: float | None = None,
) -> bool:
    """True when the work is done; otherwise it is given up."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, stopped], timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    if not work.done():
        await given_up(work)
        return False
    return True


async def given_up(work: asyncio.Future[Any]) -> None:
    """Cancelled, and come to its end: a join in its middle has then asked for its session to be
    deleted, while there is still somebody to do it. What had failed before is not raised."""
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
