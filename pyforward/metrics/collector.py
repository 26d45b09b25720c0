"""One collector over snapshots: a scrape reads what others have counted, and walks no session."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.metrics_core import Metric as AnyFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Sampled

import pyforward
from pyforward.control import ControlView, Queue
from pyforward.engine import EngineStats, Exemplar, Histogram, StreamStats
from pyforward.feed import FeedStats
from pyforward.ids import format_session
from pyforward.metrics.catalog import (
    CATALOG,
    Feed,
    Metric,
    control,
    engine,
    events,
    process,
    streams,
)
from pyforward.metrics.families import Family, Labelled, added, counter, gauge, histogram, info
from pyforward.metrics.pulse import limited_shares
from pyforward.metrics.series import Series, StreamSeries


class EnginePort(Protocol):
    """The part of :class:`pyforward.engine.Engine` that metrics read."""

    def stats(self) -> EngineStats:
        """Every shard's figures."""

    def streams(self) -> list[StreamStats]:
        """Every stream on every shard."""

    def exemplars(self) -> list[Exemplar]:
        """Viewers by stage and bucket."""

    def queues(self) -> list[tuple[str, int, int | None]]:
        """What waits on the way to the shards and back."""


class ControlPort(Protocol):
    """The part of :class:`pyforward.control.Control` that metrics read."""

    def view(self) -> ControlView:
        """Control in numbers."""


class PulsePort(Protocol):
    """The part of :class:`pyforward.metrics.pulse.Pulse` that metrics read."""

    def shares(self) -> dict[str, float]:
        """Of each resource that is the process's own, 0 to 1."""

    def lateness(self) -> Histogram:
        """Of the control loop."""


class UnreadPort(Protocol):
    """The part of :class:`pyforward.api.Unread` that metrics read."""

    @property
    def waiting_bytes(self) -> int:
        """Of answers that wait to be read."""

    @property
    def limit_bytes(self) -> int:
        """How many may."""

    @property
    def dropped(self) -> int:
        """Readers that were cut off."""

    @property
    def refused(self) -> int:
        """Answers for which there was no room."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while the process runs. Limits of 0 are none."""

    config_hash: str
    max_streams: int
    limits: Mapping[str, int]
    """Of viewers and streams."""
    certificate_ends: Mapping[str, float]
    """Unix time by certificate."""


class Snapshots(Collector):
    """See the top of the file."""

    def __init__(
        self,
        source: EnginePort,
        control_port: ControlPort,
        pulse: PulsePort,
        unread: UnreadPort,
        facts: Facts,
    ) -> None:
        self._engine = source
        self._control = control_port
        self._pulse = pulse
        self._unread = unread
        self._facts = facts
        self._series = StreamSeries(facts.max_streams)
        self.last_scrape_s = 0.0

    def describe(self) -> Iterable[AnyFamily]:
        # Registering must not read the engine, which may not have started.
        return [AnyFamily(metric.family, metric.help, "untyped") for metric in CATALOG]

    def collect(self) -> Iterable[AnyFamily]:
        view, stats = self._control.view(), self._engine.stats()
        rows = self._engine.streams()
        yield from _control(view)
        yield self._join_stages(view, stats)
        unread = Queue("unread_bytes", self._unread.waiting_bytes, self._unread.limit_bytes)
        engine_queues = (Queue(*queue) for queue in self._engine.queues())
        yield from _queues((*view.queues, unread, *engine_queues))
        yield from _engine(stats)
        cached = sum(row.cache_bytes for row in rows)
        yield gauge(engine.CACHE_BYTES, [((), cached)])
        yield from self._process(view)
        yield from _events(view.feed)
        yield from _streams(self._series.look(view.each_stream, rows))

    def _join_stages(self, view: ControlView, stats: EngineStats) -> Family:
        parts: list[tuple[tuple[str, ...], Histogram]] = [(("answer",), view.answers)]
        for stage in stats.shards[0].stages if stats.shards else ():
            parts.append(((stage,), added([shard.stages[stage] for shard in stats.shards])))
        exemplars: dict[tuple[tuple[str, ...], int], Sampled] = {
            ((one.stage,), one.bucket): Sampled(
                {"session": format_session(one.session)}, one.seconds
            )
            for one in self._engine.exemplars()
        }
        return histogram(control.JOIN_STAGES, parts, exemplars)

    def _process(self, view: ControlView) -> Iterable[Family]:
        facts = self._facts
        used = {"viewers": view.viewers, "streams": view.streams}
        limited = {name: (used[name], most) for name, most in facts.limits.items()}
        shares = self._pulse.shares() | limited_shares(limited)
        yield gauge(process.CAPACITY_USED, [((), max(shares.values(), default=0.0))])
        yield gauge(process.RESOURCE_USED, _by_one(shares))
        yield counter(process.CONTROL_CPU, [((), time.thread_time())])
        yield histogram(process.LOOP_LAG, [((), self._pulse.lateness())])
        yield gauge(process.SCRAPE, [((), self.last_scrape_s)])
        yield counter(process.READERS_DROPPED, [((), self._unread.dropped)])
        yield counter(process.ANSWERS_REFUSED, [((), self._unread.refused)])
        yield gauge(process.CERTIFICATE_EXPIRY, _by_one(facts.certificate_ends))
        build = {"version": pyforward.__version__, "python": platform.python_version()}
        yield info(process.BUILD_INFO, build)
        yield info(process.CONFIG_INFO, {"hash": facts.config_hash})


def _control(view: ControlView) -> Iterable[Family]:
    for metric, value in (
        (control.STREAMS, view.streams),
        (control.STREAMS_LIVE, view.streams_live),
        (control.PUBLISHERS, view.publishers),
        (control.VIEWERS, view.viewers),
        (control.SESSIONS, view.sessions),
    ):
        yield gauge(metric, [((), value)])
    yield gauge(control.SRTP_SESSIONS, _by_one(view.srtp_sessions))
    yield gauge(control.HANDSHAKES, _by_one(view.handshakes))
    yield counter(control.JOINS, sorted(view.joins.items()))
    yield counter(control.CLOSED, sorted(view.closed.items()))
    yield counter(control.ICE_FAILURES, _by_one(view.ice_failures))
    yield counter(control.DTLS_FAILURES, _by_one(view.dtls_failures))
    yield counter(control.CONSENT_EXPIRIES, _by_one(view.consent_expiries))
    yield counter(control.RECONNECTS, [((), view.reconnects)])
    yield counter(control.GAPS, [((), view.gaps_s)])


def _queues(queues: Iterable[Queue]) -> Iterable[Family]:
    known = tuple(queues)
    yield gauge(control.QUEUE_DEPTH, [((queue.name,), queue.depth) for queue in known])
    limits = [((queue.name,), queue.limit) for queue in known if queue.limit is not None]
    yield gauge(control.QUEUE_LIMIT, limits)


def _events(feed: FeedStats) -> Iterable[Family]:
    yield counter(events.EVENTS, [((), feed.told)])
    yield gauge(events.LISTENERS, [((), feed.listeners)])
    yield counter(events.LISTENERS_DROPPED, [((), feed.dropped)])
    yield counter(events.LISTENERS_REFUSED, [((), feed.refused)])

    def by_target(name: str) -> Labelled:
        # Paths may be secret, so that webhooks of one origin look alike.
        sums: Counter[str] = Counter()
        for sink in feed.sinks:
            sums[sink.target] += getattr(sink, name)
        return _by_one(sums)

    yield gauge(events.WEBHOOK_WAITING, by_target("waiting"))
    yield counter(events.WEBHOOK_DELIVERED, by_target("delivered"))
    yield counter(events.WEBHOOK_FAILED, by_target("failed"))
    yield counter(events.WEBHOOK_DROPPED, by_target("dropped"))


def _engine(stats: EngineStats) -> Iterable[Family]:
    shards = stats.shards
    yield gauge(engine.SHARDS, [((), len(shards))])
    for metric in engine.COUNTED:
        yield counter(metric, _fed(metric, stats))
    reasons = shards[0].discards if shards else {}
    discards = [((reason,), sum(shard.discards[reason] for shard in shards)) for reason in reasons]
    yield counter(engine.DISCARDS, discards)
    for metric, name in (
        (engine.TRAIN_PACKETS, "train_packets"),
        (engine.FORWARD_LATENCY, "forward_latency"),
        (engine.VIEWER_LOSS, "viewer_loss"),
        (engine.VIEWER_JITTER, "viewer_jitter"),
        (engine.VIEWER_ROUND_TRIP, "viewer_round_trip"),
    ):
        yield histogram(metric, [((), added([getattr(shard, name) for shard in shards]))])
    for metric, name in ((engine.FAN_OUT, "fan_out"), (engine.TURN, "turns")):
        each = [((str(index),), getattr(shard, name)) for index, shard in enumerate(shards)]
        yield histogram(metric, each)


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


def _streams(series: Mapping[str, Series]) -> Iterable[Family]:
    def each(name: str, scale: float = 1) -> Labelled:
        """A state, where it is known."""
        for label, one in series.items():
            value = getattr(one, name)
            if value is not None:
                yield (label,), value * scale

    def total(name: str, scale: float = 1) -> Labelled:
        return [((label,), one.sums[name] * scale) for label, one in series.items()]

    def both(inward: str, outward: str) -> Labelled:
        for label, one in series.items():
            yield (label, "in"), one.sums[inward]
            yield (label, "out"), one.sums[outward]

    yield gauge(streams.STREAM_VIEWERS, each("viewers"))
    yield gauge(streams.STREAM_PUBLISHERS, each("publishers"))
    yield gauge(streams.STREAM_FROZEN, each("frozen"))
    yield gauge(streams.STREAM_WITHOUT_MEDIA, each("without_media"))
    yield counter(streams.STREAM_PACKETS, both("packets_in", "packets_out"))
    yield counter(streams.STREAM_BYTES, both("bytes_in", "bytes_out"))
    yield counter(streams.STREAM_NACKED, both("nacks_in", "nacks_out"))
    yield counter(streams.STREAM_REPAIRED, both("packets_repaired", "packets_resent"))
    yield counter(streams.STREAM_LOST, total("packets_lost"))
    yield counter(streams.STREAM_SEND_DROPS, total("send_drops"))
    yield counter(streams.STREAM_REPORTS, total("reports"))
    yield counter(streams.STREAM_REPORTED_LOSS, total("reported_loss", 1 / 256))
    yield counter(streams.STREAM_ROUND_TRIPS, total("round_trips"))
    yield counter(streams.STREAM_ROUND_TRIP, total("round_trips_us", 1e-6))
    yield counter(streams.STREAM_KEYFRAMES, total("keyframes"))
    yield gauge(streams.STREAM_KEYFRAME_INTERVAL, each("keyframe_interval_us", 1e-6))
    yield gauge(streams.STREAM_KEYFRAME_AGE, each("keyframe_age_us", 1e-6))
    yield gauge(streams.STREAM_PACKET_AGE, each("packet_age_us", 1e-6))
    yield gauge(streams.STREAM_PUBLISHER_ROUND_TRIP, each("round_trip_us", 1e-6))
    yield gauge(streams.STREAM_PUBLISHER_JITTER, each("jitter_us", 1e-6))


def _by_one(values: Mapping[str, float]) -> Labelled:
    """Values under the one label of their metric."""
    return [((label,), value) for label, value in values.items()]
