"""How many viewers are too many: more and more of them, and then a closer look at where it ended.

Several senders climb in turns, so that a noisy minute of the machine falls on all of them; each
until it is wrong by the widest limit, however far the others come.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


class Step(Protocol):
    """What so many viewers got."""

    @property
    def viewers(self) -> float: ...

    def wrong(self, limit_ms: float) -> str | None:
        """Why they were too many under this limit; None where all was well."""


S = TypeVar("S", bound=Step)


class Staircase(Generic[S]):
    """The steps of one sender, held against several limits of latency of which the last is the
    widest."""

    def __init__(
        self, measure: Callable[[float], Awaitable[S]], limits_ms: Sequence[float]
    ) -> None:
        self.steps: list[S] = []
        """By their viewers."""
        self._measure = measure
        self._limits_ms = tuple(limits_ms)

    @property
    def ended(self) -> bool:
        """It is of no use to climb higher."""
        return self.last(self._limits_ms[-1])[1] is not None

    async def step(self, viewers: float) -> None:
        """Measures so many; once more where they would be the first who are too many, because once
        is chance."""
        found = await self._measure(viewers)
        if any(self._would_end(found, limit_ms) for limit_ms in self._limits_ms):
            found = await self._measure(viewers)
        bisect.insort(self.steps, found, key=lambda step: step.viewers)

    def last(self, limit_ms: float) -> tuple[float, S | None]:
        """The viewers of the last step before the first one that was wrong, and that one."""
        viewers = 0.0
        for step in self.steps:
            if step.wrong(limit_ms) is not None:
                return viewers, step
            viewers = step.viewers
        return viewers, None

    def between(self, limit_ms: float, within: float) -> float | None:
        """Whom to measure to know more exactly where it ends: the middle between those who were
        well and those who were too many, unless they are ``within`` such a ratio already."""
        viewers, first = self.last(limit_ms)
        if first is None or first.viewers <= within * viewers:
            return None
        return math.sqrt(viewers * first.viewers) if viewers else first.viewers / 2

    def _would_end(self, step: S, limit_ms: float) -> bool:
        _, first = self.last(limit_ms)
        return step.wrong(limit_ms) is not None and (first is None or step.viewers < first.viewers)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of this ratio, shares of what could be served at most; and the ratio within which its
    end is to be known."""

    first: float
    ratio: float
    most: float
    within: float
    looks: int
    """So often it looks in between at most."""

    def numbers(self, whole: float) -> Iterator[float]:
        """The viewers of the steps."""
        viewers = self.first * whole
        while viewers <= self.most * whole:
            yield viewers
            viewers *= self.ratio


async def climb(stairs: Sequence[Staircase[Any]], numbers: Iterable[float]) -> None:
    """All in turns, each until it has ended."""
    for viewers in numbers:
        for each in stairs:
            if not each.ended:
                await each.step(viewers)


async def look_closer(stairs: Sequence[Staircase[Any]], limit_ms: float, plan: Plan) -> None:
    """All in turns, each between its own last two steps."""
    for _ in range(plan.looks):
        for each in stairs:
            if (viewers := each.between(limit_ms, plan.within)) is not None:
                await each.step(viewers)
