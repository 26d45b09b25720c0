"""One collector over snapshots: nothing is counted in Python, and a scrape costs two reads."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

import pyforward
from pyforward.engine import EngineStats, Histogram
from pyforward.metrics import catalog
from pyforward.metrics.catalog import Feed, Metric


class ControlView(Protocol):
    """What control knows at one moment."""

    @property
    def streams(self) -> int: ...

    @property
    def streams_live(self) -> int: ...

    @property
    def viewers(self) -> int: ...

    @property
    def sessions(self) -> int: ...

    @property
    def joins(self) -> Mapping[Any, int]:
        """How often, by (kind, result, reason); the values of each are a bounded set."""

    @property
    def handshakes(self) -> Mapping[str, int]:
        """DTLS handshakes by their state."""


class Exporter:
    """The text of ``/metrics``."""

    def __init__(
        self,
        engine_stats: Callable[[], EngineStats],
        control_view: Callable[[], ControlView],
    ) -> None:
        # A registry of our own: what libraries register globally is not ours to publish.
        self._registry = CollectorRegistry()
        self._registry.register(_Snapshots(engine_stats, control_view))
        ProcessCollector(registry=self._registry)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type, as the Accept header asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Snapshots(Collector):
    def __init__(
        self,
        engine_stats: Callable[[], EngineStats],
        control_view: Callable[[], ControlView],
    ) -> None:
        self._engine_stats = engine_stats
        self._control_view = control_view

    def describe(self) -> Iterable[Family]:
        # Registering must not read the engine, which may not have started.
        return [Family(_family_name(metric), metric.help, "untyped") for metric in catalog.CATALOG]

    def collect(self) -> Iterable[Family]:
        yield from _control(self._control_view())
        yield from _engine(self._engine_stats())
        build = InfoMetricFamily(_family_name(catalog.BUILD_INFO), catalog.BUILD_INFO.help)
        build.add_metric(
            [], {"version": pyforward.__version__, "python": platform.python_version()}
        )
        yield build


def _control(view: ControlView) -> Iterable[Family]:
    for metric, value in (
        (catalog.STREAMS, view.streams),
        (catalog.STREAMS_LIVE, view.streams_live),
        (catalog.VIEWERS, view.viewers),
        (catalog.SESSIONS, view.sessions),
    ):
        yield GaugeMetricFamily(metric.name, metric.help, value=value)
    yield _counter(catalog.JOINS, sorted(view.joins.items()))
    handshakes = GaugeMetricFamily(
        catalog.HANDSHAKES.name, catalog.HANDSHAKES.help, labels=catalog.HANDSHAKES.labels
    )
    for state, count in view.handshakes.items():
        handshakes.add_metric([state], count)
    yield handshakes


def _engine(stats: EngineStats) -> Iterable[Family]:
    shards = stats.shards
    yield GaugeMetricFamily(catalog.SHARDS.name, catalog.SHARDS.help, value=len(shards))
    for metric in catalog.COUNTED:
        yield _counter(metric, _fed(metric, stats))
    reasons = shards[0].discards if shards else {}
    yield _counter(
        catalog.DISCARDS,
        [((reason,), sum(shard.discards[reason] for shard in shards)) for reason in reasons],
    )
    yield _histogram(catalog.TRAIN_PACKETS, [shard.train_packets for shard in shards])
    yield _histogram(catalog.FORWARD_LATENCY, [shard.forward_latency for shard in shards])
    yield _histogram(catalog.TURN, [shard.turns for shard in shards])


def _fed(metric: Metric, stats: EngineStats) -> Iterable[tuple[tuple[str, ...], float]]:
    for feed in metric.feeds:
        values = [_value(feed, shard.counters) for shard in stats.shards]
        if metric.by_shard:
            for index, value in enumerate(values):
                yield (*feed.labels, str(index)), value
        else:
            yield feed.labels, sum(values)


def _value(feed: Feed, counters: Mapping[str, int]) -> float:
    value = counters.get(feed.counter, 0)
    return value if feed.scale == 1 else value * feed.scale


def _counter(
    metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(_family_name(metric), metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, parts: list[Histogram]) -> HistogramMetricFamily:
    """The shards' histograms added up, with cumulative buckets as the format wants them."""
    family = HistogramMetricFamily(metric.name, metric.help)
    bounds = parts[0].bounds if parts else ()
    buckets: list[tuple[str, float]] = []
    count = 0
    for index, bound in enumerate(bounds):
        count += sum(part.buckets[index] for part in parts)
        buckets.append((str(float(bound)), count))
    count += sum(part.above for part in parts)
    buckets.append(("+Inf", count))
    family.add_metric([], buckets, sum_value=sum(part.sum for part in parts))
    return family


def _family_name(metric: Metric) -> str:
    """The name without the suffix that the text format puts on itself."""
    suffix = {"counter": "_total", "info": "_info"}.get(metric.kind, "")
    return metric.name.removesuffix(suffix)
