"""What a row is, and how its figures become the results' rows."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.rig.ceiling import Ceiling
from pyforward_bench.rig.stand import Stand


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the table. ``target`` is in words, None where a figure is only reported; ``counted``
    rows need the counter outside the server, ``ceiling`` rows are shown beside the ceiling
    sender."""

    row: str
    name: str
    unit: str
    target: str | None
    measure: Callable[[Stand, Spec], Awaitable[Sequence[Row]]]
    counted: bool = False
    ceiling: bool = False

    def could_not(self, why: str) -> Row:
        """The row without a figure."""
        return could_not(self.row, self.name, self.unit, why)

    def of(
        self,
        values: Sequence[float],
        *,
        name: str | None = None,
        unit: str | None = None,
        target: str | None = None,
        met: bool | None = None,
        ceiling: Ceiling | None = None,
        why: str | None = None,
    ) -> Row:
        """The row with a value a round; ``name`` and ``target`` where it has several."""
        row = row_of(
            self.row,
            name or self.name,
            unit or self.unit,
            values,
            ceiling=ceiling.value if ceiling is not None else None,
            target=target if name is not None else self.target,
            met=met,
        )
        return row.model_copy(update={"why": why}) if why else row


def quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest of these at or below which a share ``q`` of them lies."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]
