"""What /metrics says: names, types, labels, sums over shards, both formats, and what it costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics

from pyforward.control import Queue
from pyforward.engine import ShardStats
from pyforward.metrics import CATALOG
from pyforward.metrics.catalog import COUNTED
from pyforward.metrics.catalog.render import markdown
from pyforward.metrics.exporter import BURST_S, SHARE
from tests.unit.metrics_world import World, named, of, samples, shard, stream, view

CORE = Path(__file__).parents[2] / "native" / "core" / "src"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_counters_add_up_over_shards() -> None:
    values = samples(World((shard(3), shard(4))).exporter())
    assert values[of("packets_total", direction="in", transmission="first")] == 7
    assert values[of("bytes_total", direction="out", transmission="first")] == 70
    assert values[of("discards_total", reason="srtp_auth")] == 7
    assert values[of("discards_total", reason="rtp_short")] == 0
    assert values[of("shard_busy_seconds_total", shard="1")] == 0.25
    assert values[of("shards")] == 2


def test_control_s_figures() -> None:
    values = samples(World((shard(1),)).exporter())
    assert values[of("streams")] == 2
    assert values[of("viewers")] == 3
    assert values[of("sessions")] == 4
    assert values[of("joins_total", kind="watch", result="refused", reason="not_found")] == 5
    assert values[of("dtls_handshakes", state="running")] == 1
    assert values[of("closed_sessions_total", kind="watch", reason="silent")] == 2
    assert values[of("publisher_gap_seconds_total")] == 2.5
    assert values[of("config_info", hash="abc")] == 1


def test_events_and_webhooks_of_one_origin_are_one_series() -> None:
    values = samples(World().exporter())
    assert values[of("events_total")] == 9
    assert values[of("event_listeners")] == 2
    assert values[of("event_listeners_dropped_total")] == 1
    assert values[of("event_listeners_refused_total")] == 3
    assert values[of("webhook_waiting_events", target="https://a")] == 3
    assert values[of("webhook_delivered_events_total", target="https://a")] == 11
    assert values[of("webhook_failed_attempts_total", target="https://a")] == 2
    assert values[of("webhook_dropped_events_total", target="https://a")] == 4


def test_answers_that_nobody_reads() -> None:
    values = samples(World().exporter())
    assert values[of("readers_dropped_total")] == 2
    assert values[of("answers_refused_total")] == 3


def test_queues_of_control_and_engine_stand_together_and_only_bounds_that_are() -> None:
    world = World(seen=view(queues=(Queue("joins", 1, 256),)))
    values = samples(world.exporter())
    depths = {labels: value for (name, labels), value in values.items() if "queue_depth" in name}
    assert depths == {
        frozenset({("queue", "joins")}): 1,
        frozenset({("queue", "unread_bytes")}): 5,
        frozenset({("queue", "commands")}): 7,
        frozenset({("queue", "events")}): 3,
    }
    assert values[of("queue_limit", queue="events")] == 65_536
    assert values[of("queue_limit", queue="unread_bytes")] == 20
    assert of("queue_limit", queue="commands") not in values


def test_histograms_are_cumulative_and_in_seconds() -> None:
    world = World((shard(1), shard(1, buckets=(10, 20), above=30)))
    values = samples(world.exporter())
    assert values[of("train_packets_bucket", le="1.0")] == 11
    assert values[of("train_packets_bucket", le="2.0")] == 33
    assert values[of("train_packets_bucket", le="+Inf")] == 66
    assert values[of("train_packets_count")] == 66
    assert values[of("train_packets_sum")] == 80
    assert values[of("forward_latency_seconds_bucket", le="0.001")] == 33
    assert values[of("forward_latency_seconds_sum")] == 0.5
    assert values[of("shard_turn_seconds_bucket", le="0.0001", shard="1")] == 1
    assert values[of("fan_out_seconds_sum", shard="0")] == 0.125
    assert values[of("join_stage_seconds_count", stage="ice")] == 4
    assert values[of("join_stage_seconds_count", stage="answer")] == 0


def test_capacity_is_the_busiest_resource_and_limits_that_are_none_do_not_count() -> None:
    values = samples(World(seen=view(viewers=9)).exporter())
    assert values[of("resource_used_ratio", resource="viewers")] == 0.75
    assert values[of("resource_used_ratio", resource="shard")] == 0.5
    assert of("resource_used_ratio", resource="streams") not in values
    assert values[of("capacity_used_ratio")] == 0.75


def test_a_bucket_names_a_session_where_the_format_can() -> None:
    one = World((shard(1),)).exporter()
    text, _ = one.text(OPENMETRICS)
    (line,) = [line for line in text.decode().splitlines() if "# {" in line]
    assert line.startswith('pyforward_join_stage_seconds_bucket{le="0.1",stage="ice"}')
    assert line.endswith('# {session="0000000000000abc"} 0.05')
    assert b"0000000000000abc" not in one.text()[0]


def test_names_without_what_others_may_not_have_are_as_the_library_writes_them() -> None:
    one = World((shard(1),)).exporter()
    ours, content_type = one.text(OPENMETRICS)
    encode, as_asked = choose_encoder(OPENMETRICS)
    theirs = encode(one._registry)
    assert content_type == as_asked
    assert told(ours) == told(theirs)
    dotted, content_type = one.text(f"{OPENMETRICS}; escaping=dots")
    assert content_type.endswith("escaping=dots")
    assert b"\npyforward__viewers " in dotted


def told(text: bytes) -> list[str]:
    """Without the values, which change from one moment to the next."""
    return [line.rsplit(" ", 1)[0] for line in text.decode().splitlines() if "# {" not in line]


@pytest.mark.parametrize("shards", [(), (shard(1),)])
def test_both_formats_are_well_formed_and_hold_the_whole_catalog(
    shards: tuple[ShardStats, ...],
) -> None:
    world = World(shards, view(each_stream=(named(1, "a"),)), [stream(1, publisher=5)])
    one = world.exporter()
    text, content_type = one.text(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families: dict[str, Metric] = {
        family.name: family
        for family in openmetrics.text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call]
    }
    for metric in CATALOG:
        family = families[metric.family]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        assert family.unit == metric.unit
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
    exposed = set(re.findall(r"^# TYPE (pyforward_\w+)", one.text()[0].decode(), re.M))
    assert exposed == {metric.name for metric in CATALOG}
    assert any(key[0] == "process_resident_memory_bytes" for key in samples(one))


def test_names_follow_the_rules() -> None:
    text = markdown()
    for metric in CATALOG:
        assert metric.name.startswith("pyforward_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.unit or metric.family.endswith(f"_{metric.unit}")
        assert f"`{metric.name}`" in text
        assert not {"session", "address", "viewer", "le"} & set(metric.labels)
        for feed in metric.feeds:
            assert len(feed.labels) + metric.by_shard == len(metric.labels)


def test_every_counter_of_the_engine_is_exported_once() -> None:
    counters = re.findall(r'^    \w+ = "(\w+)",$', (CORE / "stats.rs").read_text(), re.M)
    fed = [feed.counter for metric in COUNTED for feed in metric.feeds]
    assert counters
    assert sorted(counters) == sorted(fed)


def test_a_storm_of_scrapes_gets_its_share_of_the_loop_and_no_more() -> None:
    world = World((shard(1),), cost_s=0.010)
    one = world.exporter()
    while world.now < 60.0:
        one.text()
        world.now += 0.001
    taken = world.looks * world.cost_s
    assert SHARE * world.now < taken < SHARE * world.now + BURST_S + 0.1


def test_who_asks_now_and_then_is_told_how_things_stand_now() -> None:
    world = World((shard(1),), cost_s=0.010)
    one = world.exporter()
    for count in range(100):
        world.shards = (shard(count),)
        world.now += 0.05
        assert samples(one)[of("packets_total", direction="in", transmission="first")] == count


def test_what_is_told_again_is_of_the_same_format() -> None:
    world = World((shard(1),), cost_s=BURST_S)
    one = world.exporter()
    plain, _ = one.text()
    open_, _ = one.text(OPENMETRICS)
    assert open_.endswith(b"# EOF\n")
    assert not plain.endswith(b"# EOF\n")
    looks = world.looks
    assert one.text()[0] == plain
    assert one.text(OPENMETRICS)[0] == open_
    assert world.looks == looks
