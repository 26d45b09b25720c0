"""Bursts are summed: so many lines of one event and one reason in a second, then a count.

Ten thousand viewers that leave together are fifty lines and a sum, and what they would have hidden
stays visible. A processor of structlog; it never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from structlog.typing import EventDict, WrappedLogger

WINDOW_S = 1.0

MOST_KEYS = 1024
"""Reasons may hold what a stranger wrote; beyond so many they share one place."""

_NAMED_BY = ("reason", "role", "limit")

Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Window:
    until: float
    level: str
    written: int = 0
    left_out: int = 0


class Bursts:
    """See the top of the file. ``most`` is lines a second, 0 for no limit. ``later`` calls a
    function after so many seconds."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        self._most = most
        self._clock = clock
        self._later = later or _by_the_loop
        self._windows: dict[Key, _Window] = {}
        self._lock = threading.Lock()
        self._is_due = False

    def __call__(self, _logger: WrappedLogger, method: str, entry: EventDict) -> EventDict:
        """Lets the entry pass, or raises DropEvent and counts it."""
        if not self._most or "repeated" in entry:
            return entry
        with self._lock:
            window = self._window(_key(entry), method)
            if window.written < self._most:
                window.written += 1
                return entry
            window.left_out += 1
            is_due, self._is_due = self._is_due, True
        if not is_due:
            self._later(WINDOW_S, self.flush)
        raise structlog.DropEvent

    def flush(self) -> None:
        """Writes the sums, and forgets the windows that are over."""
        with self._lock:
            self._is_due = False
            now = self._clock()
            sums = [
                (k, one.level, one.left_out) for k, one in self._windows.items() if one.left_out
            ]
            self._windows = {k: one for k, one in self._windows.items() if one.until > now}
            for one in self._windows.values():
                one.left_out = 0
        for (logger, event, named), level, left_out in sums:
            write = getattr(structlog.get_logger(logger), level)
            write(event, **dict(named), repeated=left_out)

    # Private -------------------------------------------------------------------------------------

    def _window(self, key: Key, level: str) -> _Window:
        now = self._clock()
        if key not in self._windows and len(self._windows) >= MOST_KEYS:
            self._windows = {
                one: window
                for one, window in self._windows.items()
                if window.until > now or window.left_out
            }
            if len(self._windows) >= MOST_KEYS:
                key = (key[0], key[1], ())
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now + WINDOW_S, level)
        elif window.until <= now:
            # What was left out stays until the sum is written.
            window.until = now + WINDOW_S
            window.written = 0
        return window


def _key(entry: EventDict) -> Key:
    named = tuple((name, str(entry[name])) for name in _NAMED_BY if name in entry)
    return str(entry.get("logger", "")), str(entry.get("event", "")), named


def _by_the_loop(wait_s: float, function: Callable[[], None]) -> None:
    # Without a loop in this thread the next flush, at the latest that at the end, writes it.
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop().call_later(wait_s, function)
