"""Control: the one object that the API, the metrics and the server talk to.

It owns the books, the handshakes' callbacks and the timer; everything runs in the thread of the
event loop. The engine is handed in and stays the server's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from pyforward import dtls, ice, sdp
from pyforward.commands import InjectRtp, PublishTrack, Stop
from pyforward.config import Config
from pyforward.control import figures
from pyforward.control.access import Claims
from pyforward.control.context import Context, EnginePort, PoolPort
from pyforward.control.events import Events
from pyforward.control.figures import Page, StreamFigures, ViewerFigures
from pyforward.control.joins import JoinKey, Joins
from pyforward.control.publish import Accepted, publish, publish_local
from pyforward.control.trickle import check_fragment, check_if_match
from pyforward.control.watch import watch
from pyforward.errors import SessionNotFound
from pyforward.ids import SessionId
from pyforward.state import Books, Phase, Role, Session, Timing

# How long the engine may take over its farewells; SIGTERM allows 2 s for everything.
STOP_TIME_LIMIT_S = 1.5
# When a peer that has sent no media is taken to have received the last flight: a minute covers
# every retransmission of RFC 6347 §4.2.4.1 that a handshake within its deadline can ask for.
LINGER_S = 60.0

_log = structlog.get_logger("pyforward.control")


class MakePool(Protocol):
    """How :class:`dtls.Pool` is made; tests bring another one."""

    def __call__(
        self,
        certificate: dtls.Certificate,
        config: Config,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, dtls.Keys], None],
        on_failed: Callable[[SessionId, str], None],
        on_farewell: Callable[[SessionId, bytes], None],
    ) -> PoolPort:
        """A pool that calls back in the loop's thread."""


@dataclass(frozen=True, slots=True)
class ControlView:
    """The books in numbers, for metrics."""

    streams: dict[str, int]
    """By state: live, waiting."""
    viewers: int
    sessions: dict[tuple[Role, Phase], int]
    joins: dict[JoinKey, int]


class Control:
    """See the top of the file. Made in the event loop's thread."""

    def __init__(
        self,
        config: Config,
        engine: EnginePort,
        certificate: dtls.Certificate,
        *,
        make_pool: MakePool,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        rng = rng or random.SystemRandom()
        timing = Timing(
            connect_s=config.ice.connect_timeout_s,
            handshake_s=config.dtls.handshake_timeout_s,
            linger_s=LINGER_S,
            wait_s=config.streams.wait_s,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._context = Context(
            config=config,
            engine=engine,
            pool=_NoPool(),
            certificate=certificate,
            clock=clock,
            rng=rng,
            books=Books(timing, declared=config.streams.declared, now=clock()),
            joins=Joins(config.limits.concurrent_joins, rng),
            reports=Reports(engine.submit, len(engine.stats().shards)),
            candidates=ice.host_candidates(engine.addresses),
            on_deadlines_changed=self._arm,
        )
        self._events = Events(self._context)
        self._context.pool = make_pool(
            certificate,
            config,
            on_flight=self._events.on_flight,
            on_keys=self._events.on_keys,
            on_failed=self._events.on_failed,
            on_farewell=self._events.on_farewell,
        )
        self._context.commit(self._context.books.opening())
