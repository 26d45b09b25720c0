"""Prometheus: the catalog of every metric and the exporter over snapshots of engine and control."""

from __future__ import annotations

from pyforward.metrics.catalog import CATALOG, Metric
from pyforward.metrics.collector import ControlView, Exporter

__all__ = ["CATALOG", "ControlView", "Exporter", "Metric"]
