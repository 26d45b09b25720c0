"""Declarations of the catalog as families of prometheus-client; nothing here knows a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.samples import Exemplar

from pyforward.engine import Histogram
from pyforward.metrics.catalog import Metric

Labelled = Iterable[tuple[tuple[str, ...], float]]
"""Values under the values of the labels, in their order."""

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily


def gauge(metric: Metric, samples: Labelled) -> Family:
    """A gauge."""
    family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def counter(metric: Metric, samples: Labelled) -> Family:
    """A counter."""
    family = CounterMetricFamily(metric.family, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def info(metric: Metric, values: Mapping[str, str]) -> Family:
    """Facts, as labels of a 1."""
    family = InfoMetricFamily(metric.family, metric.help)
    family.add_metric([], dict(values))
    return family


def histogram(
    metric: Metric,
    parts: Iterable[tuple[tuple[str, ...], Histogram]],
    exemplars: Mapping[tuple[tuple[str, ...], int], Exemplar] | None = None,
) -> Family:
    """A histogram, with cumulative buckets as the format wants them. ``exemplars`` stand under
    label values and the bucket's number."""
    family = HistogramMetricFamily(
        metric.family, metric.help, labels=metric.labels, unit=metric.unit
    )
    for labels, part in parts:
        bounds = (*(str(float(bound)) for bound in part.bounds), "+Inf")
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        count = 0
        for index, (bound, more) in enumerate(
            zip(bounds, (*part.buckets, part.above), strict=True)
        ):
            count += more
            exemplar = (exemplars or {}).get((labels, index))
            buckets.append((bound, count, exemplar) if exemplar else (bound, count))
        family.add_metric(labels, buckets, sum_value=part.sum)
    return family


def added(parts: Sequence[Histogram]) -> Histogram:
    """Histograms of the same bounds as one; of none an empty one."""
    if not parts:
        return Histogram((), (), 0, 0)
    buckets = tuple(map(sum, zip(*(part.buckets for part in parts), strict=True)))
    return Histogram(
        parts[0].bounds,
        buckets,
        sum(part.above for part in parts),
        sum(part.sum for part in parts),
    )
