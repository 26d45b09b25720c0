"""An exporter over figures that a test chooses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pyforward.control import ControlView, Queue, StreamView
from pyforward.engine import EngineStats, Exemplar, Histogram, ShardStats, StreamStats
from pyforward.feed import FeedStats, SinkStats
from pyforward.ids import SessionId, StreamId
from pyforward.metrics import Exporter, Facts

EMPTY = Histogram((0.001, 0.1), (0, 0), 0, 0.0)

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def shard(packets: int, buckets: tuple[int, ...] = (1, 2), above: int = 3) -> ShardStats:
    return ShardStats(
        counters={"packets_in": packets, "bytes_out": 10 * packets, "busy_micros": 250_000},
        discards={"srtp_auth": packets, "rtp_short": 0},
        train_packets=Histogram((1, 2), buckets, above, 40),
        forward_latency=Histogram((50e-6, 1e-3), buckets, above, 0.25),
        turns=Histogram((1e-4,), (packets,), 1, 0.125),
        fan_out=Histogram((1e-4,), (packets,), 1, 0.125),
        viewer_loss=EMPTY,
        viewer_jitter=EMPTY,
        viewer_round_trip=EMPTY,
        stages={"ice": Histogram((0.001, 0.1), (packets, 0), 1, 0.5)},
    )


def view(**figures: Any) -> ControlView:
    plain = ControlView(
        streams=2,
        streams_live=1,
        publishers=1,
        viewers=3,
        sessions=4,
        joins={("watch", "refused", "not_found"): 5, ("watch", "accepted", ""): 6},
        handshakes={"running": 1, "waiting": 0},
        closed={("watch", "silent"): 2},
        ice_failures={"never_connected": 1},
        dtls_failures={"fingerprint": 1},
        consent_expiries={"watch": 2},
        reconnects=1,
        gaps_s=2.5,
        srtp_sessions={"SRTP_AEAD_AES_128_GCM": 4},
        answers=EMPTY,
        queues=(Queue("joins", 1, 256),),
        feed=FeedStats(
            told=9,
            listeners=2,
            dropped=1,
            refused=3,
            sinks=(SinkStats("https://a", 1, 5, 2, 0), SinkStats("https://a", 2, 6, 0, 4)),
        ),
        each_stream=(),
    )
    return replace(plain, **figures)


def stream(number: int, **figures: int) -> StreamStats:
    """A stream on one shard; what is not given is zero."""
    words = dict.fromkeys(StreamStats.__dataclass_fields__, 0) | figures
    return StreamStats(**(words | {"stream": StreamId(number)}))  # type: ignore[arg-type]


def named(number: int, name: str, viewers: int = 0, *, live: bool = True) -> StreamView:
    return StreamView(StreamId(number), name, viewers, live)


@dataclass
class Waiting:
    """What waits to be read."""

    waiting_bytes: int = 5
    limit_bytes: int = 20
    dropped: int = 2
    refused: int = 3


@dataclass
class World:
    """Engine, control and pulse in one."""

    shards: tuple[ShardStats, ...] = ()
    seen: ControlView = field(default_factory=view)
    rows: list[StreamStats] = field(default_factory=list)
    looks: int = 0
    now: float = 0.0
    cost_s: float = 0.0
    """What a scrape takes of the clock."""

    def exporter(self, max_streams: int = 10) -> Exporter:
        facts = Facts("abc", max_streams, {"viewers": 12, "streams": 0}, {"dtls": 1e9})
        return Exporter(self, self, self, Waiting(), facts, clock=lambda: self.now)

    def stats(self) -> EngineStats:
        self.looks += 1
        self.now += self.cost_s
        return EngineStats(self.shards)

    def streams(self) -> list[StreamStats]:
        return self.rows

    def exemplars(self) -> list[Exemplar]:
        return [Exemplar("ice", 1, SessionId(0xABC), 0.05)]

    def queues(self) -> list[tuple[str, int, int | None]]:
        return [("commands", 7, None), ("events", 3, 65_536)]

    def view(self) -> ControlView:
        return self.seen

    def shares(self) -> dict[str, float]:
        return {"shard": 0.5, "control": 0.1}

    def lateness(self) -> Histogram:
        return EMPTY


def samples(one: Exporter) -> Values:
    text, content_type = one.text()
    assert content_type.startswith("text/plain")
    families: Iterable[Metric] = text_string_to_metric_families(text.decode())
    found = [sample for family in families for sample in family.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in found}


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"pyforward_{name}", frozenset(labels.items())
