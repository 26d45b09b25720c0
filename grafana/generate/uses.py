"""Which metrics the queries name, by the place that names them: what the catalog's ``shown`` has to
say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from grafana.generate.boards import BOARDS
from grafana.generate.rules import ALERTS, RECORDINGS
from pyforward.metrics.catalog import CATALOG

_NAME = re.compile(r"\bpyforward_[a-z_]+")
_PARTS = ("_bucket", "_sum", "_count")


def places() -> Iterator[tuple[str, str]]:
    """Each query with its place: ``board/panel``, ``record/…`` or ``alert/…``."""
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                yield f"{board.key}/{panel.key}", query.expr
    for recording in RECORDINGS:
        yield f"record/{recording.name}", recording.expr
    for alert in ALERTS:
        yield f"alert/{alert.name}", alert.expr


def shown() -> dict[str, tuple[str, ...]]:
    """The places of each metric that has any, in the order of the boards."""
    kinds = {metric.name: metric.kind for metric in CATALOG}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for place, expr in places():
        for name in dict.fromkeys(_NAME.findall(expr)):
            metric = name
            for part in _PARTS:
                if kinds.get(name.removesuffix(part)) == "histogram":
                    metric = name.removesuffix(part)
            if metric in kinds and place not in found[metric]:
                found[metric].append(place)
    return {name: tuple(found[name]) for name in kinds if found[name]}
