"""What a load test tells Prometheus while it runs: the board of load tests shows both sides.

The harness's own view, never the server's. A run makes an :class:`Exposition`, gives it a function
that tells how things stand, and serves it at an address of its own choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric as AnyFamily
from prometheus_client.registry import Collector

from pyforward.engine import Histogram
from pyforward.metrics.catalog import Metric
from pyforward.metrics.families import counter, gauge, histogram

LATENCY_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the buckets of ``pyforward_bench_latency_seconds``."""

VIEWERS = Metric("pyforward_bench_viewers", "gauge", "Viewers of the load test.", labels=("state",))
JOINS = Metric(
    "pyforward_bench_joins_total", "counter", "Joins that came to an end.", labels=("result",)
)
PACKETS = Metric("pyforward_bench_packets_total", "counter", "Media packets that viewers received.")
BYTES = Metric(
    "pyforward_bench_bytes_total", "counter", "Bytes of UDP payload of these.", unit="bytes"
)
LOST = Metric(
    "pyforward_bench_lost_packets_total", "counter", "Gaps in sequence numbers that stayed."
)
REPAIRED = Metric(
    "pyforward_bench_repaired_packets_total", "counter", "Gaps that were filled because of a NACK."
)
LATENCY = Metric(
    "pyforward_bench_latency_seconds",
    "histogram",
    "From the publisher's stamp to a probe's arrival.",
    unit="seconds",
)

_NO_LATENCY = Histogram(LATENCY_BOUNDS_S, (0,) * len(LATENCY_BOUNDS_S), 0, 0.0)

CATALOG = (VIEWERS, JOINS, PACKETS, BYTES, LOST, REPAIRED, LATENCY)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands; everything but ``viewers`` only grows."""

    viewers: Mapping[str, int] = field(default_factory=dict)
    """By state: joining, receiving."""
    joins: Mapping[str, int] = field(default_factory=dict)
    """By result: connected, or why not."""
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    repaired: int = 0
    latency: Histogram = _NO_LATENCY


class Exposition(Collector):
    """See the top of the file. ``standing`` is called by another thread, for each scrape."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        self._standing = standing

    def describe(self) -> Iterable[AnyFamily]:
        return [AnyFamily(metric.family, metric.help, "untyped") for metric in CATALOG]

    def collect(self) -> Iterable[AnyFamily]:
        now = self._standing()
        yield gauge(VIEWERS, [((state,), count) for state, count in now.viewers.items()])
        yield counter(JOINS, [((result,), count) for result, count in now.joins.items()])
        yield counter(PACKETS, [((), now.packets)])
        yield counter(BYTES, [((), now.bytes)])
        yield counter(LOST, [((), now.lost)])
        yield counter(REPAIRED, [((), now.repaired)])
        yield histogram(LATENCY, [((), now.latency)])

    def serve(self, address: str, port: int) -> tuple[WSGIServer, int]:
        """Answers scrapes in a thread of its own, until the server is shut down; the port."""
        registry = CollectorRegistry()
        registry.register(self)
        server, _ = start_http_server(port, address, registry)
        return server, server.server_port
