"""The rows, each declared once: what it is called, its unit, its target, and what it takes.

A row's function brings about what it needs, measures, and gives one :class:`Figure` or several. The
order of the table is the order of a run: rows that share a server and its viewers are neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyforward.errors import ConfigError
from pyforward_bench.rig.rows import (
    capacity,
    cost,
    joining,
    latency,
    loss,
    memory,
    overload,
    peers,
    techniques,
    throughput,
)
from pyforward_bench.rig.rows.spec import Figure, Spec

TABLE: tuple[Spec, ...] = (
    *throughput.ROWS,
    *capacity.ROWS,
    *latency.ROWS,
    *overload.ROWS,
    *cost.ROWS,
    *throughput.ON_TWO_CORES,
    *loss.ROWS,
    *joining.ROWS,
    *memory.ROWS,
    *peers.ROWS,
    *techniques.ROWS,
)


def chosen(names: Sequence[str]) -> list[Spec]:
    """Those of these names, or all, in the order of a run. Raises ConfigError for others."""
    known = {spec.row for spec in TABLE}
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no row {name}; there are {', '.join(sorted(known))}.")
    return [spec for spec in TABLE if not names or spec.row in names]


__all__ = ["TABLE", "Figure", "Spec", "chosen"]
