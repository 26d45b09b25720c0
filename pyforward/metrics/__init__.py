"""Prometheus: the catalog of every metric and the exporter over snapshots of engine and control."""

from __future__ import annotations

from pyforward.metrics.catalog import CATALOG, Metric
from pyforward.metrics.collector import Facts
from pyforward.metrics.exporter import Exporter
from pyforward.metrics.facts import facts_of
from pyforward.metrics.pulse import Pulse

__all__ = ["CATALOG", "Exporter", "Facts", "Metric", "Pulse", "facts_of"]
