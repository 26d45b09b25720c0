"""One address: its queue, and the one delivery that is under way.

Events are delivered in order and one at a time. What fails is sent again, later each time and not
before the receiver wants it; what waits meanwhile is bounded, and beyond that the oldest is
dropped: whoever was away for long wants to know what is, rather than what was.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from yarl import URL

from pyforward.config.models import Webhooks as Settings
from pyforward.feed import SinkStats, Told
from pyforward.webhooks.signature import headers

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_ASKED_S = 300.0
"""A receiver that asks for more time than this is asked again then all the same."""

_log = structlog.get_logger("pyforward.webhooks")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said. It wants to be left alone for ``retry_after_s``; 0 where it does not
    say."""

    status: int
    retry_after_s: float = 0.0


Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]
"""URL, body and headers to the answer; raises OSError or TimeoutError."""


class Target:
    """See the top of the file. A sink of the feed."""

    def __init__(
        self,
        url: str,
        key: bytes,
        settings: Settings,
        post: Post,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._name = str(URL(url).origin())
        self._key = key
        self._settings = settings
        self._post = post
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()
        self._wall = wall
        self._queue: deque[Told] = deque()
        self._under_way = False
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._delivered = self._failed = self._dropped = 0

    def offer(self, told: Told) -> None:
        """One more event waits."""
        if len(self._queue) >= self._settings.queue:
            self._queue.popleft()
            self._dropped += 1
            _log.warning("webhook_dropped", target=self._name, reason="queue_full")
        self._queue.append(told)
        self._idle.clear()
        self._ready.set()

    def stats(self) -> SinkStats:
        """A snapshot."""
        return SinkStats(
            target=self._name,
            waiting=len(self._queue) + self._under_way,
            delivered=self._delivered,
            failed=self._failed,
            dropped=self._dropped,
        )

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        while True:
            while not self._queue:
                self._idle.set()
                self._ready.clear()
                await self._ready.wait()
            self._under_way = True
            try:
                await self._deliver(self._queue.popleft())
            finally:
                self._under_way = False

    async def wait_idle(self) -> None:
        """Returns when nothing waits and nothing is under way."""
        await self._idle.wait()

    # Private -------------------------------------------------------------------------------------

    async def _deliver(self, told: Told) -> None:
        for attempt in range(1, self._settings.attempts + 1):
            reason, asked_s = await self._try(told)
            if not reason:
                self._delivered += 1
                return
            self._failed += 1
            if attempt < self._settings.attempts:
                _log.warning("webhook_failed", target=self._name, reason=reason, attempts=attempt)
                await self._sleep(max(self._wait_s(attempt), asked_s))
        self._dropped += 1
        _log.error(
            "webhook_given_up",
            target=self._name,
            reason=reason,
            attempts=self._settings.attempts,
        )

    async def _try(self, told: Told) -> tuple[str, float]:
        """Why it failed, empty if it did not; and how long the receiver wants to be left alone."""
        body = told.text.encode()
        # Signed anew each time: a receiver takes no old one.
        signed = headers(self._key, told.id, int(self._wall()), body)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._post(self._url, body, signed)
        except TimeoutError:
            return "timeout", 0.0
        except OSError:
            return "unreachable", 0.0
        if 200 <= answer.status < 300:
            return "", 0.0
        return f"http_{answer.status}", min(answer.retry_after_s, LONGEST_ASKED_S)

    def _wait_s(self, attempt: int) -> float:
        """Doubled each time, and spread, so that many servers do not fall upon one receiver."""
        most = min(FIRST_WAIT_S * 2.0 ** (attempt - 1), LONGEST_WAIT_S)
        return most * (0.5 + 0.5 * self._rng.random())
