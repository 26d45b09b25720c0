"""``pyforward-bench compare``: do two results agree within the ranges that they state?

Figures that both hold against the ceiling sender are compared by their share of it: the speed of a
machine changes from hour to hour, and falls out of that. All others are compared as they stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyforward.client.running import Say
from pyforward_bench import results
from pyforward_bench.results import Results, Row, beside_ceiling, number, ratio

EXIT_DISAGREE = 1

_ROUNDED = 0.002
"""Ends that are apart by less than this share of themselves are the same. Viewers per core are
found in steps that both senders and all runs have in common, but their viewers are whole: 945 to
893 and 1,208 to 1,142 are a step each."""


@dataclass(frozen=True, slots=True)
class Span:
    """A median with its range."""

    median: float
    low: float
    high: float

    @property
    def is_a_point(self) -> bool:
        """It says nothing of how far another one may lie."""
        return self.low == self.high

    def overlaps(self, other: Span) -> bool:
        """Whether there is anything that lies in both, were it an end alone."""
        return _is_at_most(self.low, other.high) and _is_at_most(other.low, self.high)


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure of both results; ``by_share``: of what it is of the ceiling."""

    row: Row
    first: Span
    second: Span
    by_share: bool

    @property
    def agrees(self) -> bool:
        return self.first.overlaps(self.second)

    def told(self, span: Span) -> str:
        """Such as 12.3 ms (11.8 to 12.9)."""
        if self.by_share:
            told = f"{ratio(span.median, self.row.target)} {beside_ceiling(self.row)}"
            return f"{told} ({ratio(span.low)} to {ratio(span.high)})"
        told = f"{number(span.median, self.row.target)} {self.row.unit}".rstrip()
        return f"{told} ({number(span.low)} to {number(span.high)})"


@dataclass(slots=True)
class Comparison:
    """What two results have to say to each other. ``left_out`` are figures that are not compared,
    each with its reason."""

    pairs: list[Pair] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def agreeing(self) -> int:
        """How many figures agree."""
        return sum(pair.agrees for pair in self.pairs)

    @property
    def all_agree(self) -> bool:
        """Where nothing could be compared nothing agrees."""
        return 0 < self.agreeing == len(self.pairs)

    @property
    def told(self) -> Iterator[str]:
        """For the terminal, line by line."""
        yield "| row | what | first | second | agree |"
        yield "|---|---|---|---|---|"
        for pair in self.pairs:
            spans = f"{pair.told(pair.first)} | {pair.told(pair.second)}"
            agree = "yes" if pair.agrees else "**no**"
            yield f"| {pair.row.row} | {pair.row.name} | {spans} | {agree} |"
        yield ""
        yield from self.left_out
        yield f"{self.agreeing} of {len(self.pairs)} figures agree."


def run(first: Path, second: Path, say: Say) -> int:
    """Says whether the results in two files agree; the exit code is 0 if all figures do. Raises
    ConfigError where a file cannot be read or holds no results."""
    one, other = results.read(first), results.read(second)
    for warning in warnings(one, other):
        say(f"pyforward-bench: {warning}", err=True)
    for which, path, each in (("first", first, one), ("second", second, other)):
        say(f"{which}: {path}, {each.started:%Y-%m-%d %H:%M}, commit {each.commit}")
    say("")
    found = compared(one, other)
    for line in found.told:
        say(line)
    return 0 if found.all_agree else EXIT_DISAGREE


def warnings(first: Results, second: Results) -> Iterator[str]:
    """Why they may differ whatever was measured, or be worth nothing."""
    for what, one, other in (
        ("machine", _machine(first), _machine(second)),
        ("commit", first.commit, second.commit),
        ("length", _length(first), _length(second)),
    ):
        if one != other:
            yield f"The two are not of the same {what}: {one}, and {other}."
    for which, each in (("first", first), ("second", second)):
        if not each.valid:
            yield f"The {which} run is invalid: {' '.join(each.invalid_because)}"


def compared(first: Results, second: Results) -> Comparison:
    """Figure by figure, those of one name and unit."""
    others = {_key(row): row for row in second.rows}
    found = Comparison()
    for row in first.rows:
        other = others.pop(_key(row), None)
        if other is None:
            found.left_out.append(f"only in the first: {_named(row)}")
        elif row.value is None or other.value is None:
            found.left_out.append(_without_value(row, other))
        else:
            _add(found, row, other)
    found.left_out += [f"only in the second: {_named(row)}" for row in others.values()]
    return found


# Private -----------------------------------------------------------------------------------------


def _is_at_most(one: float, other: float) -> bool:
    return one <= other or math.isclose(one, other, rel_tol=_ROUNDED)


def _add(found: Comparison, row: Row, other: Row) -> None:
    """Two figures with values. Where both rest on one measurement there is nothing by which to tell
    a change from chance."""
    shares = (_share(row), _share(other))
    if shares[0] is not None and shares[1] is not None:
        pair = Pair(row, shares[0], shares[1], by_share=True)
    else:
        pair = Pair(row, _value(row), _value(other), by_share=False)
    if pair.first.is_a_point and pair.second.is_a_point:
        told = f"{number(pair.first.median)} and {number(pair.second.median)}"
        found.left_out.append(f"without a range in either: {_named(row)}: {told}")
    else:
        found.pairs.append(pair)


def _value(row: Row) -> Span:
    assert row.median is not None
    assert row.low is not None
    assert row.high is not None
    return Span(row.median, row.low, row.high)


def _share(row: Row) -> Span | None:
    """Of the ceiling. An older file has no range of it: then that of the figure, as a share of the
    median ceiling, which has the machine's drift in it."""
    if row.share_of_ceiling is None:
        return None
    if row.share_low is not None and row.share_high is not None:
        return Span(row.share_of_ceiling, row.share_low, row.share_high)
    value = _value(row)
    scale = row.share_of_ceiling / value.median if value.median else 0.0
    return Span(row.share_of_ceiling, value.low * scale, value.high * scale)


def _without_value(row: Row, other: Row) -> str:
    """Which of them has none, and why."""
    if row.value is None and other.value is None:
        return f"without a value in either: {_named(row)}: {row.why}"
    which, why = ("first", row.why) if row.value is None else ("second", other.why)
    return f"without a value in the {which}: {_named(row)}: {why}"


def _key(row: Row) -> tuple[str, str, str]:
    return (row.row, row.name, row.unit)


def _named(row: Row) -> str:
    return f"{row.row}, {row.name}"


def _machine(of: Results) -> str:
    on = of.machine
    return f"{on.cores} cores of {on.cpu}, {on.memory_mib} MiB, Linux {on.kernel}"


def _length(of: Results) -> str:
    return "a quick run" if "--quick" in of.argv else "a full run"
