"""Panels and their queries as boards write them down: each kind of panel has one builder here."""

from __future__ import annotations

from grafana.generate.model import Panel, Query
from grafana.generate.query import Scope
from pyforward.metrics.catalog import Metric


def number(
    key: str,
    title: str,
    unit: str,
    description: str,
    query: Query,
    *,
    width: int,
    steps: tuple[float, float] | None = None,
    most: float | None = None,
) -> Panel:
    """The value of this moment."""
    return Panel(
        key, title, unit, description, (query,), "number", width, steps, most, stacked=False
    )


def lines(
    key: str,
    title: str,
    unit: str,
    description: str,
    *queries: Query,
    width: int = 8,
    steps: tuple[float, float] | None = None,
    most: float | None = None,
    stacked: bool = False,
) -> Panel:
    """Values over time; three such panels are a row."""
    return Panel(key, title, unit, description, queries, "lines", width, steps, most, stacked)


def quantiles(scope: Scope, metric: Metric, *qs: float, where: str = "") -> tuple[Query, ...]:
    """A line for each of these quantiles, called ``p95`` and so on."""
    return tuple(Query(scope.quantile(q, metric, where=where), f"p{q * 100:g}") for q in qs)
