"""One way out for events: numbered, kept in a bounded ring, offered to every sink.

A sink that must not be waited for, a listener or the queue of a webhook, takes an event at once or
does without. All of it runs in the thread of the event loop and never blocks.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from pyforward.errors import Overloaded
from pyforward.feed.vocabulary import Event, Missed

FULL_RETRY_S = 5.0

_ID = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it goes out. ``id`` is empty for what is not numbered."""

    id: str
    kind: str
    stream: str | None
    text: str
    """JSON, one line."""


@dataclass(frozen=True, slots=True)
class SinkStats:
    """What became of the events of one webhook."""

    target: str
    """Scheme, host and port: the rest may be secret."""
    waiting: int
    delivered: int
    failed: int
    """Attempts."""
    dropped: int


@dataclass(frozen=True, slots=True)
class FeedStats:
    """A snapshot."""

    told: int
    listeners: int
    dropped: int
    """Listeners that read too slowly, or never."""
    refused: int
    """Listeners beyond the limit."""
    sinks: tuple[SinkStats, ...]


class Sink(Protocol):
    """What every event is offered to. It must return at once."""

    def offer(self, told: Told) -> None:
        """One more event."""

    def stats(self) -> SinkStats:
        """A snapshot."""


class Listener:
    """What waits for one listener: a bounded queue of events, and the newest figures only."""

    def __init__(self, limit: int, behind: Callable[[Listener], None]) -> None:
        self._queue: deque[Told] = deque()
        self._limit = limit
        self._behind = behind
        self._figures: Told | None = None
        self._ready = asyncio.Event()
        self.is_over = False
        """The feed has ended, or this listener was too slow: nothing more comes."""
        self.on_dropped: Callable[[], None] = _nothing
        """Called once if it is dropped: whoever writes to its socket may be waiting there."""

    def offer(self, told: Told) -> None:
        """One more event; a listener whose queue is full is dropped."""
        if self.is_over:
            return
        if len(self._queue) >= self._limit:
            self._behind(self)
            return
        self._queue.append(told)
        self._ready.set()

    def offer_figures(self, told: Told) -> None:
        """Figures replace those that were not read yet: only the newest matter."""
        if not self.is_over:
            self._figures = told
            self._ready.set()

    async def wait(self, limit_s: float) -> Sequence[Told]:
        """What has come, in order; nothing when ``limit_s`` has passed or it is over."""
        if not (self._queue or self._figures or self.is_over):
            self._ready.clear()
            try:
                async with asyncio.timeout(limit_s):
                    await self._ready.wait()
            except TimeoutError:
                return ()
        taken = list(self._queue)
        self._queue.clear()
        if self._figures is not None:
            taken.append(self._figures)
            self._figures = None
        return taken

    def end(self) -> None:
        """Nothing more comes, and what waits is forgotten."""
        if self.is_over:
            return
        self.is_over = True
        self._queue.clear()
        self._figures = None
        self._ready.set()


class Feed:
    """See the top of the file. ``wall`` gives seconds since 1970."""

    def __init__(
        self,
        *,
        kept: int = 1024,
        listeners: int = 64,
        queue: int = 256,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wall = wall
        # A restarted server numbers anew; the time of its start tells its numbers from older ones.
        self._run = f"{int(wall()):x}"
        self._count = 0
        self._ring: deque[Told] = deque(maxlen=kept)
        self._sinks: list[Sink] = []
        self._listeners: set[Listener] = set()
        self._limit = listeners
        self._queue = queue
        self._dropped = 0
        self._refused = 0

    def attach(self, sink: Sink) -> None:
        """The sink is offered every event from now on."""
        self._sinks.append(sink)

    def tell(self, event: Event) -> None:
        """It happened now."""
        self._count += 1
        told = self._numbered(event)
        self._ring.append(told)
        for sink in self._sinks:
            sink.offer(told)
        for listener in tuple(self._listeners):
            listener.offer(told)

    def listen(self) -> Listener:
        """A new listener, for what happens from now on. Raises Overloaded beyond the limit."""
        if len(self._listeners) >= self._limit:
            self._refused += 1
            raise Overloaded(
                FULL_RETRY_S,
                "This server has all the listeners that it may have.",
                limit="events.listeners",
                value=self._limit,
            )
        listener = Listener(self._queue, self._drop)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """The listener has gone by itself."""
        self._listeners.discard(listener)
        listener.end()

    def drop(self, listener: Listener) -> None:
        """The listener does not read; it is ended and counted."""
        self._drop(listener)

    def since(self, last_id_untrusted: str) -> Sequence[Told]:
        """What a listener that saw this event last has missed: the events that are still kept,
        after a ``missed`` where some are not. An id that this feed never gave misses all of it."""
        match = _ID.fullmatch(last_id_untrusted)
        run, number = (match[1], int(match[2])) if match else ("", 0)
        if run != self._run or number > self._count:
            return (self._missed(None), *self._ring)
        forgotten = self._count - len(self._ring)
        kept = tuple(self._ring)[max(0, number - forgotten) :]
        return (self._missed(forgotten - number), *kept) if number < forgotten else kept

    def kept(self) -> Sequence[Told]:
        """The events of before that are still kept."""
        return tuple(self._ring)

    def stats(self) -> FeedStats:
        """A snapshot."""
        return FeedStats(
            told=self._count,
            listeners=len(self._listeners),
            dropped=self._dropped,
            refused=self._refused,
            sinks=tuple(sink.stats() for sink in self._sinks),
        )

    def close(self) -> None:
        """Every listener is over."""
        for listener in tuple(self._listeners):
            self.leave(listener)

    # Private -------------------------------------------------------------------------------------

    def _drop(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._dropped += 1
            self.leave(listener)
            listener.on_dropped()

    def _numbered(self, event: Event) -> Told:
        name = f"{self._run}-{self._count}"
        whole = event.model_copy(update={"id": name, "time": rfc3339(self._wall())})
        return Told(name, event.kind, event.stream, whole.model_dump_json())

    def _missed(self, count: int | None) -> Told:
        event = Missed(time=rfc3339(self._wall()), count=count)
        return Told("", event.kind, None, event.model_dump_json())


def rfc3339(seconds: float) -> str:
    """UTC with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _nothing() -> None:
    """Nobody waits."""
