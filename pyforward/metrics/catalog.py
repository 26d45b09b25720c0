"""Every metric, declared once: name, type, unit, labels, help and what feeds it.

The exporter, ``docs/metrics.md`` and the dashboards are derived from this list or checked against
it. Units are base units, ``_total`` stands on counters only, and every label has a bounded set of
values: nothing here is counted by stream, session or address (the API tells those).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Feed:
    """A counter of the engine that becomes one sample, under these label values, scaled."""

    counter: str
    labels: tuple[str, ...] = ()
    scale: float = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``feeds`` name counters of the engine; the collector reads the others."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    feeds: tuple[Feed, ...] = field(default=())
    by_shard: bool = False


# What control knows ------------------------------------------------------------------------------

STREAMS = Metric("pyforward_streams", "gauge", "Streams that exist, with a publisher or without.")
STREAMS_LIVE = Metric("pyforward_streams_live", "gauge", "Streams that have a publisher.")
VIEWERS = Metric("pyforward_viewers", "gauge", "Sessions that watch a stream.")
SESSIONS = Metric("pyforward_sessions", "gauge", "Sessions of publishers and viewers.")
HANDSHAKES = Metric(
    "pyforward_dtls_handshakes", "gauge", "DTLS handshakes by what they do now.", labels=("state",)
)
JOINS = Metric(
    "pyforward_joins_total",
    "counter",
    "Requests to publish or watch, by how they ended.",
    labels=("kind", "result", "reason"),
)

# What the engine counts --------------------------------------------------------------------------

DISCARDS = Metric(
    "pyforward_discards_total",
    "counter",
    "Received packets that went no further, by reason.",
    labels=("reason",),
)
TRAIN_PACKETS = Metric(
    "pyforward_train_packets",
    "histogram",
    "Packets in each message that carried media to a viewer.",
)
FORWARD_LATENCY = Metric(
    "pyforward_forward_latency_seconds",
    "histogram",
    "From a packet's arrival to the hand-over of its train to the kernel.",
    unit="seconds",
)
TURN = Metric(
    "pyforward_shard_turn_seconds",
    "histogram",
    "How long a shard was busy between two waits: whatever arrived meanwhile waited so long.",
    unit="seconds",
)
SHARDS = Metric("pyforward_shards", "gauge", "Threads that forward packets.")
BUILD_INFO = Metric(
    "pyforward_build_info", "info", "The running version.", labels=("version", "python")
)

_DIRECTED = ("direction", "transmission")

COUNTED = (
    Metric(
        "pyforward_packets_total",
        "counter",
        "Media packets: in from publishers, out to viewers.",
        labels=_DIRECTED,
        feeds=(
            Feed("packets_in", ("in", "first")),
            Feed("packets_in_retransmission", ("in", "retransmission")),
            Feed("packets_in_padding", ("in", "padding")),
            Feed("packets_out", ("out", "first")),
            Feed("packets_out_retransmission", ("out", "retransmission")),
        ),
    ),
    Metric(
        "pyforward_bytes_total",
        "counter",
        "Bytes of UDP payload of these packets.",
        unit="bytes",
        labels=_DIRECTED,
        feeds=(
            Feed("bytes_in", ("in", "first")),
            Feed("bytes_in_retransmission", ("in", "retransmission")),
            Feed("bytes_in_padding", ("in", "padding")),
            Feed("bytes_out", ("out", "first")),
            Feed("bytes_out_retransmission", ("out", "retransmission")),
        ),
    ),
    Metric(
        "pyforward_evening_bytes_total",
        "counter",
        "Bytes of RTP padding that made the packets of a train equally long; sent bytes hold them.",
        unit="bytes",
        feeds=(Feed("bytes_out_padding"),),
    ),
    Metric(
        "pyforward_send_drops_total",
        "counter",
        "Packets that were not sent to a viewer: the socket was full, or the kernel refused.",
        labels=("reason",),
        feeds=(Feed("send_drops_full", ("full",)), Feed("send_drops_error", ("error",))),
    ),
    Metric(
        "pyforward_unsegmented_trains_total",
        "counter",
        "Trains sent again packet by packet, because route or device refused the segment size.",
        feeds=(Feed("send_unsegmented"),),
    ),
    Metric(
        "pyforward_nacked_packets_total",
        "counter",
        "Packets asked for by NACK: in by viewers, out of publishers.",
        labels=("direction",),
        feeds=(Feed("nacks_in", ("in",)), Feed("nacks_out", ("out",))),
    ),
    Metric(
        "pyforward_nack_answers_total",
        "counter",
        "What became of packets that viewers asked for: served, missed by the cache, refused.",
        labels=("result",),
        feeds=(
            Feed("nacks_served", ("served",)),
            Feed("nacks_missed", ("missed",)),
            Feed("nacks_refused", ("refused",)),
        ),
    ),
    Metric(
        "pyforward_lost_packets_total",
        "counter",
        "Packets of publishers that were given up as lost.",
        feeds=(Feed("packets_lost"),),
    ),
    Metric(
        "pyforward_keyframe_requests_total",
        "counter",
        "PLI and FIR: in from viewers, out to publishers.",
        labels=("direction",),
        feeds=(
            Feed("keyframe_requests_in", ("in",)),
            Feed("keyframe_requests_out", ("out",)),
        ),
    ),
    Metric(
        "pyforward_keyframes_total",
        "counter",
        "Keyframes received from publishers.",
        feeds=(Feed("keyframes"),),
    ),
    Metric(
        "pyforward_ice_checks_total",
        "counter",
        "STUN binding requests that were answered.",
        feeds=(Feed("checks_answered"),),
    ),
    Metric(
        "pyforward_ice_checks_sent_total",
        "counter",
        "STUN binding requests that were sent, by sessions in the client role.",
        feeds=(Feed("checks_sent"),),
    ),
    Metric(
        "pyforward_shard_sessions_total",
        "counter",
        "Sessions that shards were told of, and those that they hold no more; each shard counts.",
        labels=("change",),
        feeds=(Feed("sessions_added", ("added",)), Feed("sessions_removed", ("removed",))),
    ),
    Metric(
        "pyforward_received_datagrams_total",
        "counter",
        "Datagrams of any protocol that arrived.",
        feeds=(Feed("datagrams_in"),),
    ),
    Metric(
        "pyforward_receive_drops_total",
        "counter",
        "Datagrams that the kernel dropped because the receive buffer was full.",
        feeds=(Feed("datagrams_dropped"),),
    ),
    Metric(
        "pyforward_sent_messages_total",
        "counter",
        "Messages, single datagrams and trains, that were handed to the kernel.",
        feeds=(Feed("messages_out"),),
    ),
    Metric(
        "pyforward_send_calls_total",
        "counter",
        "System calls that sent messages.",
        feeds=(Feed("send_calls"),),
    ),
    Metric(
        "pyforward_exchanged_messages_total",
        "counter",
        "Messages from one shard to another.",
        feeds=(Feed("exchanged_out"),),
    ),
    Metric(
        "pyforward_dropped_events_total",
        "counter",
        "Events that control did not take in time.",
        feeds=(Feed("events_dropped"),),
    ),
    Metric(
        "pyforward_shard_busy_seconds_total",
        "counter",
        "Time in which a shard was not waiting.",
        unit="seconds",
        labels=("shard",),
        feeds=(Feed("busy_micros", scale=1e-6),),
        by_shard=True,
    ),
)

CATALOG: tuple[Metric, ...] = (
    STREAMS,
    STREAMS_LIVE,
    VIEWERS,
    SESSIONS,
    JOINS,
    HANDSHAKES,
    *COUNTED,
    DISCARDS,
    TRAIN_PACKETS,
    FORWARD_LATENCY,
    TURN,
    SHARDS,
    BUILD_INFO,
)


def markdown() -> str:
    """The text of ``docs/metrics.md``."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |"
        for metric in CATALOG
    ]
    return "\n".join(
        [_INTRODUCTION, "| name | type | labels | meaning |", "|---|---|---|---|", *rows, ""]
    )


_INTRODUCTION = """\
# Metrics

<!-- Written by `python -m pyforward.metrics docs/metrics.md`; change the catalog instead. -->

`GET /metrics` answers in the Prometheus text format, or as OpenMetrics where the Accept header asks
for it. Labels are bounded; figures of single streams and viewers are in `/api`. The usual
`process_*` metrics are there as well.
"""
