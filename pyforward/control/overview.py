"""The figures of streams, viewers and the server, gathered from books and shards.

Questions to shards are bounded in size, so that the loop does other things between two of them.
What is gathered serves everybody who asks meanwhile, and where it takes several questions, within a
second after: a storm of requests costs one survey.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from itertools import chain
from math import ceil
from typing import Any, Literal, TypeVar

import pyforward
from pyforward.commands import SessionReport
from pyforward.control.context import Context
from pyforward.control.figures import (
    Page,
    ServerFigures,
    SinkFigures,
    StreamFigures,
    ViewerFigures,
)
from pyforward.control.health import health
from pyforward.control.rows import Row, badness, publisher_of, quality_of, since, viewer_of
from pyforward.errors import BadRequest, StreamNotFound
from pyforward.ids import SessionId
from pyforward.state import Session, Stream

FRESH_S = 1.0
"""How long what took several questions serves."""

BATCH = 500
"""Sessions in one question."""

SAMPLE = 2000
"""Viewers that are asked after for a list of streams, over all of them, where that gives each
stream enough."""

ENOUGH = 50
"""Viewers of one stream: of fewer, the worst tenth is a matter of luck, and so is its health."""

Order = Literal["worst", "joined"]
Rows = Sequence[Row]
Answer = TypeVar("Answer")


class Overview:
    """See the top of the file."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fresh: dict[Hashable, asyncio.Task[Any]] = {}
        self._started_at = context.clock()
        self._rates = _Rates(context)
        self._turn = 0

    # Streams -------------------------------------------------------------------------------------

    async def streams(self, after: str | None, limit: int) -> Page[StreamFigures]:
        """Streams by name, those that come after the cursor."""
        named = self._context.books.streams()
        found = [one for one in named if after is None or one.name > after]
        items = await self._sampled(found[:limit])
        return Page(items=items, next=found[limit - 1].name if len(found) > limit else None)

    async def largest(self, limit: int) -> tuple[StreamFigures, ...]:
        """The streams with the most viewers; those with as many by name."""
        named = self._context.books.streams()
        return await self._sampled(sorted(named, key=lambda one: -len(one.viewers))[:limit])

    async def stream(self, name: str) -> StreamFigures:
        """One stream, with the quality of all its viewers."""
        stream = find_stream(self._context, name)
        rows = await self._survey(stream)
        publisher = stream.publisher
        reports = await self._ask([] if publisher is None else [publisher])
        return self._stream(stream, reports, rows)

    async def _sampled(self, streams: Sequence[Stream]) -> tuple[StreamFigures, ...]:
        async def gather() -> list[tuple[Stream, StreamFigures]]:
            self._turn += 1
            sizes = _sample_sizes([len(one.viewers) for one in streams])
            taken = [
                _sample(one, most, self._turn) for one, most in zip(streams, sizes, strict=True)
            ]
            publishers = [one.publisher for one in streams if one.publisher is not None]
            reports = await self._ask([*publishers, *chain.from_iterable(taken)])
            return [
                (one, self._stream(one, reports, [(s, reports.get(s.id)) for s in sample]))
                for one, sample in zip(streams, taken, strict=True)
            ]

        fresh_s = FRESH_S if sum(len(one.viewers) for one in streams) > BATCH else 0.0
        found = await self._shared(tuple(one.id for one in streams), gather, fresh_s)
        # Which have ended since are ended.
        known = self._context.books.stream
        return tuple(figures for one, figures in found if known(one.name) is one)

    def _stream(
        self, stream: Stream, reports: dict[SessionId, SessionReport], rows: Rows
    ) -> StreamFigures:
        now = self._context.clock()
        session = stream.publisher
        publisher = None if session is None else publisher_of(session, reports.get(session.id), now)
        measured = quality_of(rows, now)
        flowed_at = session.flowed_at if session is not None else None
        flows_s = None if flowed_at is None else now - flowed_at
        level, why = health(publisher, measured, flows_s=flows_s)
        return StreamFigures(
            name=stream.name,
            state=stream.state,
            health=level,
            health_reason=why,
            age_s=since(stream.created_at, now),
            publisher=publisher,
            viewers=len(stream.viewers),
            quality=measured,
        )

    # Viewers -------------------------------------------------------------------------------------

    async def viewers(
        self, name: str, after: str | None, limit: int, order: Order
    ) -> Page[ViewerFigures]:
        """A stream's viewers that come after the cursor: the worst first, or as they joined."""
        stream = find_stream(self._context, name)
        first = _cursor_number(after)
        if order == "joined":
            found = [one for one in stream.viewers.values() if one.number > first]
            page = found[:limit]
            reports = await self._ask(page)
            rows: Rows = [(one, reports.get(one.id)) for one in page]
            following = str(page[-1].number) if len(found) > limit else None
        else:
            ranked = sorted(await self._survey(stream), key=badness)
            rows = ranked[first : first + limit]
            following = str(first + limit) if len(ranked) > first + limit else None
        now = self._context.clock()
        return Page(items=tuple(viewer_of(one, row, now) for one, row in rows), next=following)

    # The server ----------------------------------------------------------------------------------

    def server(self) -> ServerFigures:
        """The server at this moment."""
        context, books = self._context, self._context.books
        told = context.feed.stats()
        into, out = self._rates.now()
        return ServerFigures(
            version=pyforward.__version__,
            state="stopping" if context.stopping else "ready",
            uptime_s=since(self._started_at, context.clock()),
            streams=books.stream_count,
            streams_live=books.live_count,
            viewers=books.viewer_count,
            sessions=books.session_count,
            bitrate_in_bps=into,
            bitrate_out_bps=out,
            listeners=told.listeners,
            listeners_dropped=told.dropped,
            listeners_refused=told.refused,
            webhooks=tuple(
                SinkFigures(
                    target=one.target,
                    waiting=one.waiting,
                    delivered=one.delivered,
                    failed=one.failed,
                    dropped=one.dropped,
                )
                for one in told.sinks
            ),
        )

    # Asking --------------------------------------------------------------------------------------

    async def _survey(self, stream: Stream) -> Rows:
        async def gather() -> Rows:
            present = list(stream.viewers.values())
            reports = await self._ask(present)
            return [(one, reports.get(one.id)) for one in present]

        fresh_s = FRESH_S if len(stream.viewers) > BATCH else 0.0
        rows = await self._shared(stream.id, gather, fresh_s)
        # Who has gone since is gone.
        return [(one, row) for one, row in rows if one.id in stream.viewers]

    async def _shared(
        self, key: Hashable, make: Callable[[], Awaitable[Answer]], fresh_s: float
    ) -> Answer:
        """What was made within the last ``fresh_s``, or is being made, or is made now."""
        task = self._fresh.get(key)
        if task is None:
            task = self._fresh[key] = asyncio.ensure_future(make())
            loop = asyncio.get_running_loop()
            task.add_done_callback(
                lambda _: loop.call_later(fresh_s, lambda: self._fresh.pop(key, None))
            )
        # Whoever goes away while it is made does not take it from the others.
        answer: Answer = await asyncio.shield(task)
        return answer

    async def _ask(self, sessions: Iterable[Session]) -> dict[SessionId, SessionReport]:
        asked = [session.id for session in sessions]
        rows: dict[SessionId, SessionReport] = {}
        for start in range(0, len(asked), BATCH):
            rows |= await self._context.reports.ask(asked[start : start + BATCH])
        return rows


def find_stream(context: Context, name: str) -> Stream:
    """The stream, or :class:`StreamNotFound`."""
    found = context.books.stream(name)
    if found is None:
        raise StreamNotFound(name)
    return found


# Private -----------------------------------------------------------------------------------------


class _Rates:
    """Bits a second in and out, over the time since the last look that is long enough ago."""

    SHORTEST_S = 0.5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._at = context.clock()
        self._bytes = self._count()
        self._rates = (0, 0)

    def now(self) -> tuple[int, int]:
        now = self._context.clock()
        passed_s = now - self._at
        if passed_s >= self.SHORTEST_S:
            (before_in, before_out), (into, out) = self._bytes, self._count()
            self._rates = (
                round(8 * (into - before_in) / passed_s),
                round(8 * (out - before_out) / passed_s),
            )
            self._at, self._bytes = now, (into, out)
        return self._rates

    def _count(self) -> tuple[int, int]:
        shards = [shard.counters for shard in self._context.engine.stats().shards]
        return (
            sum(one.get("bytes_in", 0) + one.get("bytes_in_retransmission", 0) for one in shards),
            sum(one.get("bytes_out", 0) + one.get("bytes_out_retransmission", 0) for one in shards),
        )


def _sample_sizes(viewers: Sequence[int]) -> list[int]:
    """How many of each stream's viewers are asked after: all of small ones, and what these leave
    of ``SAMPLE`` is for the large ones."""
    sizes, left = [0] * len(viewers), SAMPLE
    by_size = sorted(range(len(viewers)), key=viewers.__getitem__)
    for done, index in enumerate(by_size):
        fair = max(0, left) // (len(by_size) - done)
        sizes[index] = min(viewers[index], max(ENOUGH, fair))
        left -= sizes[index]
    return sizes


def _sample(stream: Stream, most: int, turn: int) -> list[Session]:
    """At most so many viewers, spread over the order of their joining, others at each turn."""
    present = list(stream.viewers.values())
    if len(present) <= most:
        return present
    turned = turn % ceil(len(present) / most)
    return [present[number * len(present) // most + turned] for number in range(most)]


def _cursor_number(after: str | None) -> int:
    if after is None:
        return 0
    if not (after.isascii() and after.isdigit()) or len(after) > 18:
        raise BadRequest("after is a cursor that an earlier page gave as next.")
    return int(after)
