# cython: wraparound=False
"""A histogram of high dynamic range: any quantile within 1/1024, in memory that never grows.

Values below 1024 have a cell each; from there on 512 cells share each power of two, so that the
middle of a cell is at most 1/1024 away from whatever fell into it. After HdrHistogram by Gil Tene,
with a fixed precision and midpoints.

In Cython's pure-Python mode: ``cython.…`` in an annotation is the C type of the compiled twin and
nothing to the uncompiled one, where what is annotated as a typed memoryview is simply the array.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import cython

MOST: Final = (1 << 40) - 1
"""What a larger value counts as. In microseconds: twelve days."""

CELLS: Final = 1_024 + 30 * 512  # and so 128 KiB


class Histogram:
    """Counts whole numbers from 0 to :data:`MOST`; a larger one counts as that.

    The unit is the caller's. ``count``, ``total``, ``least`` and ``most`` are exact, the last two 0
    while nothing was recorded.
    """

    __slots__ = ("_cells", "count", "least", "most", "total")

    def __init__(self) -> None:
        self._cells = array("Q", bytes(8 * CELLS))
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0

    def record(self, value: int, times: int = 1) -> None:
        """Count this value so many times. ValueError where either is negative."""
        if value < 0 or times < 0:
            raise ValueError(f"A histogram cannot count {value} {times} times.")
        if times > 0:
            value = min(value, MOST)
            self._cells[_cell(value)] += times
            self._note(times, value * times, value, value)

    def record_all(self, values: array[int], count: int) -> None:
        """Count each of the first ``count`` values of an array of type "q", none negative."""
        if count < 1:
            return
        v: cython.longlong[::1] = values
        cells: cython.ulonglong[::1] = self._cells
        many: cython.Py_ssize_t = count
        ceiling: cython.longlong = MOST
        total: cython.longlong = 0
        least: cython.longlong = ceiling
        most: cython.longlong = 0
        value: cython.longlong
        above: cython.longlong
        shift: cython.longlong
        i: cython.Py_ssize_t
        for i in range(many):
            value = v[i]
            if value > ceiling:
                value = ceiling
            if value > most:
                most = value
            if value < least:
                least = value
            total += value
            # As in _cell, which the compiled twin could only call through Python.
            above = value >> 10
            shift = 0
            while above >= 16:
                above >>= 4
                shift += 4
            while above > 0:
                above >>= 1
                shift += 1
            cells[(shift << 9) + (value >> shift)] += 1
        self._note(count, total, least, most)

    def merge(self, other: Histogram) -> None:
        """Count whatever the other one has counted."""
        if other.count == 0:
            return
        mine: cython.ulonglong[::1] = self._cells
        others: cython.ulonglong[::1] = other._cells
        size: cython.Py_ssize_t = CELLS
        i: cython.Py_ssize_t
        for i in range(size):
            mine[i] += others[i]
        self._note(other.count, other.total, other.least, other.most)

    def quantile(self, q: float) -> float | None:
        """The least value that a share ``q`` of all does not exceed, within 1/1024.

        None when empty. 0 gives the least value, 1 the largest, both exactly. ValueError where q is
        not in 0..1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"There is no quantile {q}: it goes from 0 to 1.")
        if self.count == 0:
            return None
        # 0.07 × 100 is a little more than 7, and means the seventh.
        rank: cython.ulonglong = max(1, math.ceil(q * self.count * (1.0 - 1e-12)))
        if rank >= self.count:
            return float(self.most)
        cells: cython.ulonglong[::1] = self._cells
        size: cython.Py_ssize_t = CELLS
        below: cython.ulonglong = 0
        i: cython.Py_ssize_t
        for i in range(size):
            below += cells[i]
            if below >= rank:
                return min(max(_middle(i), float(self.least)), float(self.most))
        return float(self.most)

    def up_to(self, value: int) -> int:
        """How many values are at most this one, or share its cell."""
        return sum(self._cells[: _cell(min(value, MOST)) + 1])

    @property
    def mean(self) -> float | None:
        """The mean of the values themselves, not of their cells; None when empty."""
        return self.total / self.count if self.count else None

    def copy(self) -> Histogram:
        """One that goes its own way."""
        twin = Histogram()
        twin.merge(self)
        return twin

    def clear(self) -> None:
        """Forget everything."""
        self._cells = array("Q", bytes(8 * CELLS))
        self.count = self.total = self.least = self.most = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, {self.least} to {self.most}>"

    def _all(self) -> tuple[object, ...]:
        return (self.count, self.total, self.least, self.most, self._cells)

    def _note(self, count: int, total: int, least: int, most: int) -> None:
        self.least = min(self.least, least) if self.count else least
        self.most = max(self.most, most)
        self.count += count
        self.total += total


def _cell(value: int) -> int:
    """Where a value is counted: by its leading ten bits."""
    shift = max(0, value.bit_length() - 10)
    return (shift << 9) + (value >> shift)


def _middle(cell: int) -> float:
    """The middle of what is counted there."""
    if cell < 1_024:
        return float(cell)
    shift = (cell >> 9) - 1
    return float((cell - (shift << 9)) << shift) + ((1 << shift) - 1) / 2
