"""Control in numbers, at one moment: what metrics tell of it. Walks streams, never sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from pyforward.commands import SrtpProfile
from pyforward.control.context import Context
from pyforward.control.joins import JoinKey
from pyforward.dtls import HELLO_BYTES, PoolStats
from pyforward.engine import Histogram
from pyforward.feed import FeedStats
from pyforward.ids import StreamId


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream that has a name; ``id`` is the engine's."""

    id: StreamId
    name: str
    viewers: int
    live: bool
    """It has a publisher."""


@dataclass(frozen=True, slots=True)
class Queue:
    """How much waits, or is worked on, and how much may be; None where that has no bound."""

    name: str
    depth: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class ControlView:
    """See the top of the file."""

    streams: int
    streams_live: int
    publishers: int
    viewers: int
    sessions: int
    """Those that are closing too."""
    joins: Mapping[JoinKey, int]
    handshakes: Mapping[str, int]
    """By what they do: waiting, handshaking, lingering."""
    closed: Mapping[tuple[str, str], int]
    """By role and reason."""
    ice_failures: Mapping[str, int]
    dtls_failures: Mapping[str, int]
    consent_expiries: Mapping[str, int]
    """By role."""
    reconnects: int
    gaps_s: float
    srtp_sessions: Mapping[str, int]
    answers: Histogram
    queues: tuple[Queue, ...]
    feed: FeedStats
    each_stream: tuple[StreamView, ...]
    """In the order in which they were made."""


def of(context: Context) -> ControlView:
    """As things stand."""
    books, tally, pool = context.books, context.tally, context.pool.stats()
    return ControlView(
        streams=books.stream_count,
        streams_live=books.live_count,
        publishers=books.publisher_count,
        viewers=books.viewer_count,
        sessions=books.session_count,
        joins=context.joins.counts,
        handshakes={
            "waiting": pool.waiting,
            "handshaking": pool.handshaking,
            "lingering": pool.lingering,
        },
        closed=dict(tally.closed),
        ice_failures=dict(tally.ice_failures),
        dtls_failures=dict(tally.dtls_failures),
        consent_expiries=dict(tally.consent_expiries),
        reconnects=books.reconnects,
        gaps_s=books.gaps_s,
        srtp_sessions=dict.fromkeys(get_args(SrtpProfile), 0) | books.keyed_counts,
        answers=tally.answers.snapshot(),
        queues=_queues(context, pool),
        feed=context.feed.stats(),
        each_stream=tuple(
            StreamView(stream.id, stream.name, len(stream.viewers), stream.publisher is not None)
            for stream in books.streams_in_order()
        ),
    )


def _queues(context: Context, pool: PoolStats) -> tuple[Queue, ...]:
    config = context.config
    placed = pool.handshaking + pool.lingering
    return (
        Queue("joins", context.joins.running, config.limits.concurrent_joins),
        Queue("half_open", context.books.half_open_count, config.limits.sessions_half_open),
        Queue("handshakes", placed, config.dtls.max_handshakes),
        # Their number has no bound of its own; what they hold has.
        Queue("hellos", pool.waiting, None),
        Queue("hello_bytes", pool.hello_bytes, HELLO_BYTES),
    )
