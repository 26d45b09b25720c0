"""When what is due: one heap for all sessions and streams, driven by the caller's clock.

A key has at most one deadline. Setting it again moves it; the overtaken entry stays in the heap
until it surfaces or until dead entries outnumber the living.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[K]):
    """Keys with the time at which each is due."""

    __slots__ = ("_entries", "_heap", "_number")

    def __init__(self) -> None:
        # The number breaks ties in order of setting, so that keys are never compared.
        self._heap: list[tuple[float, int, K]] = []
        self._entries: dict[K, int] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, due_at: float) -> None:
        """The key is due at this time, and no longer at an earlier given one."""
        self._number += 1
        self._entries[key] = self._number
        heapq.heappush(self._heap, (due_at, self._number, key))
        if len(self._heap) > 2 * len(self._entries) + _SLACK:
            self._compact()

    def cancel(self, key: K) -> None:
        """The key is not due any more. Unknown keys are fine."""
        self._entries.pop(key, None)

    def next_at(self) -> float | None:
        """When the next key is due; None if nothing is."""
        self._drop_dead()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[K]:
        """Removes and returns the keys that are due, the earliest first."""
        due: list[K] = []
        self._drop_dead()
        while self._heap and self._heap[0][0] <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._entries[key]
            due.append(key)
            self._drop_dead()
        return due

    def _drop_dead(self) -> None:
        while self._heap and self._entries.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._entries.get(entry[2]) == entry[1]]
        heapq.heapify(self._heap)
