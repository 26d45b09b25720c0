"""Plays bursts of packets at their time, by a clock that does not drift."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from pyforward.media.source import Burst

# After a longer halt (a suspended machine, a stopped process) it goes on from where it was: making
# up for it would flood every viewer.
MOST_LATE_S = 0.5


class Timers(Protocol):
    """The part of an event loop that is used here."""

    def time(self) -> float:
        """Seconds of a monotonic clock."""

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Calls back at that time of the same clock."""


class Playing:
    """One run through the bursts, begun at once. ``send`` gets what is due, ``on_end`` is called
    after the last of it, with the error where the source gave one."""

    def __init__(
        self,
        bursts: Iterator[Burst],
        timers: Timers,
        send: Callable[[tuple[bytes, ...]], object],
        on_end: Callable[[Exception | None], object],
    ) -> None:
        self._bursts = bursts
        self._timers = timers
        self._send = send
        self._on_end = on_end
        self._next: Burst | None = None
        self._zero: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._active = True
        self._advance()
        self._play()

    def stop(self) -> None:
        """Plays no further; ``on_end`` is not called any more."""
        self._active = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _play(self) -> None:
        """Sends what is due, and comes back when the next burst is.

        Each time is reckoned from the one zero, so that what a timer is late by never adds up.
        """
        now = self._timers.time()
        due: list[bytes] = []
        while self._next is not None and self._due(self._next, now) <= now:
            due.extend(self._next.packets)
            self._advance()
        if due:
            self._send(tuple(due))
        if self._active and self._next is not None:
            self._handle = self._timers.call_at(self._due(self._next, now), self._play)

    def _due(self, burst: Burst, now: float) -> float:
        if self._zero is None or now - self._zero - burst.due_s > MOST_LATE_S:
            self._zero = now - burst.due_s
        return self._zero + burst.due_s

    def _advance(self) -> None:
        error: Exception | None = None
        try:
            self._next = next(self._bursts, None)
        except Exception as failed:
            self._next, error = None, failed
        if self._next is None:
            # Not from within: what is due has still to be sent.
            asyncio.get_running_loop().call_soon(self._ended, error)

    def _ended(self, error: Exception | None) -> None:
        if self._active:
            self._active = False
            self._on_end(error)
