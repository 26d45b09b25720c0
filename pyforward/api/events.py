"""``GET /api/events``: the feed as server-sent events (the HTML standard, §9.2).

What one listener may hold up is bounded: events that wait in its queue, the piece that waits to be
written, seconds for which it may not read. A listener beyond any of these is dropped, counted, and
free to come back with Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import structlog
from aiohttp import web

from pyforward.api.connections import cut_off
from pyforward.api.operations import EVENT_STREAM, EventsQuery, parsed
from pyforward.control import Control
from pyforward.feed import Listener, Told

HEARTBEAT_S = 15.0
"""Shorter than the patience of proxies, which is a minute with the common ones."""

READ_LIMIT_S = 10.0
"""A listener that has not read by then what was written to it is dropped."""

PIECE_BYTES = 16 * 1024
RETRY_MS = 2000

_log = structlog.get_logger("pyforward.api")


async def listen(request: web.Request, control: Control) -> web.StreamResponse:
    """Answers until the listener goes, is dropped, or the server stops."""
    query = parsed(request, EventsQuery)
    headers = {
        "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
        "Cache-Control": "no-store",
        # nginx would otherwise keep events back until a buffer is full.
        "X-Accel-Buffering": "no",
    }
    if request.method == "HEAD":
        return web.Response(headers=headers)
    feed = control.feed
    last_untrusted = request.headers.get("Last-Event-ID")
    listener = feed.listen()
    response = web.StreamResponse(headers=headers)
    try:
        # In the same turn as listen(): nothing can happen between the two.
        if last_untrusted is not None:
            missed = feed.since(last_untrusted)
        else:
            missed = feed.kept() if query.kept == "true" else ()
        listener.on_dropped = lambda: _drop(request, "it is too far behind")
        await response.prepare(request)
        with contextlib.ExitStack() as shown:
            if query.figures == "true":
                shown.enter_context(control.screens.shown(listener, query.stream))
            await _pump(request, response, listener, missed, query.stream)
    except TimeoutError:
        listener.on_dropped = lambda: _drop(request, "it does not read")
        feed.drop(listener)
    except ConnectionError:
        pass  # it has gone, or was dropped while something was written to it
    finally:
        feed.leave(listener)
    return response


# Private -----------------------------------------------------------------------------------------


async def _pump(
    request: web.Request,
    response: web.StreamResponse,
    listener: Listener,
    missed: Sequence[Told],
    stream: str | None,
) -> None:
    await _write(request, response, chain([f"retry: {RETRY_MS}\n\n"], _pieces(missed, stream)))
    while True:
        told = await listener.wait(HEARTBEAT_S)
        if listener.is_over:
            return
        # A comment shows a listener that is still there, and proxies that we are.
        await _write(request, response, _pieces(told, stream) if told else [":\n\n"])


async def _write(request: web.Request, response: web.StreamResponse, pieces: Iterable[str]) -> None:
    async with asyncio.timeout(READ_LIMIT_S):
        for piece in pieces:
            await response.write(piece.encode())
            # write() looks at the connection only after much more than a listener may hold up.
            await request.writer.drain()


def _pieces(told: Sequence[Told], stream: str | None) -> Iterator[str]:
    """The blocks. Figures of many streams are more than a listener may hold up: they are cut, and
    what it has not taken yet stays where all listeners share it."""
    for one in told:
        if stream is not None and one.stream not in (None, stream):
            continue
        identity = f"id: {one.id}\n" if one.id else ""
        yield f"{identity}event: {one.kind}\ndata: {one.text[:PIECE_BYTES]}"
        for start in range(PIECE_BYTES, len(one.text), PIECE_BYTES):
            yield one.text[start : start + PIECE_BYTES]
        yield "\n\n"


def _drop(request: web.Request, reason: str) -> None:
    _log.warning("listener_dropped", peer=request.remote, reason=reason)
    cut_off(request.transport)
