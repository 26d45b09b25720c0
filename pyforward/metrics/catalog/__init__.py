"""Every metric, declared once: name, type, unit, labels, help, what feeds it and who shows it.

The exporter, ``docs/metrics.md``, the dashboards and the alerts are derived from these lists or
checked against them. Units are base units, ``_total`` stands on counters only, and every label has
a bounded set of values: never a session or an address, and streams up to ``metrics.max_streams``.
"""

from __future__ import annotations

from pyforward.metrics.catalog import control, engine, events, process, streams
from pyforward.metrics.catalog.engine import COUNTED
from pyforward.metrics.catalog.model import Feed, Kind, Metric

CATALOG: tuple[Metric, ...] = (
    *control.METRICS,
    *engine.METRICS,
    *process.METRICS,
    *events.METRICS,
    *streams.METRICS,
)

FOREIGN = frozenset(
    {
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "up",
    }
)
"""What prometheus-client tells of any process, and Prometheus of any target."""

__all__ = ["CATALOG", "COUNTED", "FOREIGN", "Feed", "Kind", "Metric"]
