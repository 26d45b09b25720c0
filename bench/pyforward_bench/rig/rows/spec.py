"""What a row is, and how its figures become the results' rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.rig.stand import Stand


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the results, and what is to be said of it. One that is ``lacking`` has no value for
    want of what this machine or its user does not have; other rows without a value have failed."""

    row: Row
    note: str | None = None
    lacking: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the table. ``target`` is in words, None where a figure is only reported or where
    several figures have targets of their own; ``counted`` rows need the counter outside the server,
    ``ceiling`` rows are shown beside the ceiling sender."""

    row: str
    name: str
    unit: str
    target: str | None
    measure: Callable[[Stand, Spec], Awaitable[Sequence[Figure]]]
    counted: bool = False
    ceiling: bool = False

    def could_not(self, why: str, part: str | None = None, *, lacking: bool = False) -> Figure:
        """The row, or a part of it, without a figure."""
        row = could_not(self.row, self.named(part), self.unit, why)
        return Figure(row, lacking=lacking)

    def of(
        self,
        values: Sequence[float],
        *,
        part: str | None = None,
        unit: str | None = None,
        target: str | None = None,
        met: bool | None = None,
        ceilings: Sequence[float] = (),
        less_is_better: bool = False,
        note: str | None = None,
    ) -> Figure:
        """The row with a value a round, and the ceiling sender's beside each or none. Where it has
        several figures, each is a ``part`` with its own unit and target."""
        row = row_of(
            self.row,
            self.named(part),
            self.unit if unit is None else unit,
            values,
            ceilings=ceilings,
            less_is_better=less_is_better,
            target=self.target if part is None else target,
            met=met,
        )
        return Figure(row, note)

    def named(self, part: str | None) -> str:
        """What a figure is called."""
        return self.name if part is None else f"{self.name}: {part}"


def joined(*notes: str | None) -> str | None:
    """Several as one; None without any."""
    return "; ".join(note for note in notes if note) or None


def is_most(values: Sequence[float], limit: float) -> bool:
    """Whether their median is at most this."""
    return statistics.median(values) <= limit


def is_least(values: Sequence[float], limit: float) -> bool:
    """Whether their median is at least this."""
    return statistics.median(values) >= limit


def quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest of these at or below which a share ``q`` of them lies."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]
