"""What /metrics says: names, types, labels, sums over shards, both formats."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pyforward.engine import EngineStats, Histogram, ShardStats
from pyforward.metrics import CATALOG, Exporter
from pyforward.metrics.catalog import COUNTED, markdown

CORE = Path(__file__).parents[2] / "native" / "core" / "src"


@dataclass(frozen=True)
class View:
    streams: int
    streams_live: int
    viewers: int
    sessions: int
    joins: dict[tuple[str, str, str], int]
    handshakes: dict[str, int]


def shard(packets: int, buckets: tuple[int, ...] = (1, 2), above: int = 3) -> ShardStats:
    return ShardStats(
        counters={"packets_in": packets, "bytes_out": 10 * packets, "busy_micros": 250_000},
        discards={"srtp_auth": packets, "rtp_short": 0},
        train_packets=Histogram((1, 2), buckets, above, 40),
        forward_latency=Histogram((50e-6, 1e-3), buckets, above, 0.25),
        turns=Histogram((1e-4,), (packets,), 1, 0.125),
    )


def exporter(*shards: ShardStats) -> Exporter:
    view = View(
        streams=2,
        streams_live=1,
        viewers=3,
        sessions=4,
        joins={("watch", "refused", "not_found"): 5, ("watch", "accepted", ""): 6},
        handshakes={"running": 1, "waiting": 0},
    )
    return Exporter(lambda: EngineStats(shards), lambda: view)


def samples(one: Exporter) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text, content_type = one.text()
    assert content_type.startswith("text/plain")
    families: Iterable[Metric] = text_string_to_metric_families(text.decode())
    found = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in found}


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"pyforward_{name}", frozenset(labels.items())


def test_counters_add_up_over_shards() -> None:
    values = samples(exporter(shard(3), shard(4)))
    assert values[of("packets_total", direction="in", transmission="first")] == 7
    assert values[of("bytes_total", direction="out", transmission="first")] == 70
    assert values[of("discards_total", reason="srtp_auth")] == 7
    assert values[of("discards_total", reason="rtp_short")] == 0
    assert values[of("shard_busy_seconds_total", shard="1")] == 0.25
    assert values[of("shards")] == 2


def test_control_s_figures() -> None:
    values = samples(exporter(shard(1)))
    assert values[of("streams")] == 2
    assert values[of("viewers")] == 3
    assert values[of("sessions")] == 4
    assert values[of("joins_total", kind="watch", result="refused", reason="not_found")] == 5
    assert values[of("dtls_handshakes", state="running")] == 1


def test_histograms_are_cumulative_and_in_seconds() -> None:
    values = samples(exporter(shard(1), shard(1, buckets=(10, 20), above=30)))
    assert values[of("train_packets_bucket", le="1.0")] == 11
    assert values[of("train_packets_bucket", le="2.0")] == 33
    assert values[of("train_packets_bucket", le="+Inf")] == 66
    assert values[of("train_packets_count")] == 66
    assert values[of("train_packets_sum")] == 80
    assert values[of("forward_latency_seconds_bucket", le="0.001")] == 33
    assert values[of("forward_latency_seconds_sum")] == 0.5
    assert values[of("shard_turn_seconds_bucket", le="0.0001")] == 2
    assert values[of("shard_turn_seconds_sum")] == 0.25


@pytest.mark.parametrize("shards", [(), (shard(1),)])
def test_both_formats_are_well_formed_and_hold_the_whole_catalog(
    shards: tuple[ShardStats, ...],
) -> None:
    one = exporter(*shards)
    text, content_type = one.text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families: dict[str, Metric] = {
        family.name: family
        for family in openmetrics.text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]
    }
    for metric in CATALOG:
        family = families[metric.name.removesuffix("_total").removesuffix("_info")]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
    named = set(re.findall(r"^# TYPE (pyforward_\w+)", one.text()[0].decode(), re.M))
    assert named == {metric.name for metric in CATALOG}
    assert any(key[0] == "process_resident_memory_bytes" for key in samples(one))


def test_names_follow_the_rules() -> None:
    for metric in CATALOG:
        assert metric.name.startswith("pyforward_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.unit or metric.unit in metric.name
        assert f"`{metric.name}`" in markdown()
        for feed in metric.feeds:
            assert len(feed.labels) + metric.by_shard == len(metric.labels)


def test_every_counter_of_the_engine_is_exported_once() -> None:
    counters = re.findall(r'^    \w+ = "(\w+)",$', (CORE / "stats.rs").read_text(), re.M)
    fed = [feed.counter for metric in COUNTED for feed in metric.feeds]
    assert counters
    assert sorted(counters) == sorted(fed)
