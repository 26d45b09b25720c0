"""What a board, a panel and a rule are, before Grafana or Prometheus has a word in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. ``idle`` names the test that makes it fire, where a healthy server
    gives it nothing to show."""

    expr: str
    legend: str
    idle: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``description`` says what a bad value means; ``steps`` are thresholds: from which
    value on it is yellow, and from which on red. Widths are of 24 columns."""

    key: str
    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: Literal["lines", "number"]
    width: int
    steps: tuple[float, float] | None
    most: float | None
    stacked: bool

    @property
    def tells_streams_apart(self) -> bool:
        """Whether it has a line for each stream."""
        return any("{{stream}}" in query.legend for query in self.queries)


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. ``onward`` are the keys of the boards that its panels lead to, the likeliest
    first; ``by_stream`` boards choose one stream."""

    key: str
    title: str
    description: str
    rows: tuple[Row, ...]
    onward: tuple[str, ...]
    by_stream: bool = False
    beside_bench: bool = False
    """It shows a load test's own figures too."""

    @property
    def uid(self) -> str:
        """What links lead to; it never changes."""
        return f"pyforward-{self.key}"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Those of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)


@dataclass(frozen=True, slots=True)
class Recording:
    """A rule that keeps the value of a query, because boards and alerts share it."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that calls somebody. ``runbook`` is the heading in ``docs/operate/runbook.md``."""

    name: str
    expr: str
    wait: str
    severity: Literal["page", "ticket"]
    summary: str
    description: str

    @property
    def anchor(self) -> str:
        """The heading of its part of the runbook, as a fragment of a URL."""
        return self.name.lower()
