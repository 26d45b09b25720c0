"""Load test: the server and pyforward-bench side by side."""

from __future__ import annotations

from grafana.generate.model import Board, Query, Row
from grafana.generate.panels import lines, quantiles
from grafana.generate.query import BENCH, BOARD, OUT, ratio
from pyforward.metrics.catalog import control, engine, process
from pyforward_bench import exposition as bench

_BOTH = Row(
    "Both sides",
    (
        lines(
            "viewers",
            "Viewers",
            "short",
            "The harness's receive; the server's have a session. Fewer receive than have a "
            "session: media does not arrive, or waits for a keyframe.",
            Query(BOARD.gauge(control.VIEWERS), "server"),
            Query(BENCH.gauge(bench.VIEWERS, "state"), "bench {{state}}"),
            width=12,
        ),
        lines(
            "joins",
            "Joins",
            "ops",
            "The server's connected beside the harness's. A harness that joins slower than it was "
            "told to is itself at its limit.",
            Query(BOARD.rate(control.JOINS, where='kind="watch",result="connected"'), "server"),
            Query(BENCH.rate(bench.JOINS, "result"), "bench {{result}}"),
            width=12,
        ),
        lines(
            "packets",
            "Packets sent and received",
            "pps",
            "What the server sent and what the harness received. A gap is lost between the two: in "
            "a buffer of the harness, as a rule.",
            Query(BOARD.rate(engine.PACKETS, where=OUT), "sent"),
            Query(BENCH.rate(bench.PACKETS), "received"),
            width=12,
        ),
        lines(
            "bitrate",
            "Bitrate sent and received",
            "bps",
            "The same in bits, with retransmissions. A flat top is a card, a veth or "
            "a buffer, and not the server.",
            Query(f"8 * {BOARD.rate(engine.BYTES, where=OUT)}", "sent"),
            Query(f"8 * {BENCH.rate(bench.BYTES)}", "received"),
            width=12,
        ),
        lines(
            "latency",
            "Latency, p99",
            "s",
            "server: arrival to send; bench: publisher to viewer, both kernels included. Theirs "
            "alone rises: the harness reads late, and the run does not count.",
            Query(BOARD.quantile(0.99, engine.FORWARD_LATENCY), "server"),
            Query(BENCH.quantile(0.99, bench.LATENCY), "bench"),
            width=12,
        ),
        lines(
            "loss",
            "Dropped and lost",
            "pps",
            "What the server dropped, what the harness lacks, and what of it was repaired. Lacking "
            "without drops: the harness's buffers.",
            Query(BOARD.rate(engine.SEND_DROPS), "server dropped"),
            Query(BENCH.rate(bench.LOST), "bench lost"),
            Query(BENCH.rate(bench.REPAIRED), "bench repaired"),
            width=12,
        ),
    ),
)

_SERVER = Row(
    "The server",
    (
        lines(
            "capacity",
            "Capacity used",
            "percentunit",
            "At 1 the run shows this server's limit; well below it, something else is the limit.",
            Query(BOARD.gauge(process.CAPACITY_USED, fold="max"), "capacity"),
            most=1,
            steps=(0.7, 0.9),
        ),
        lines(
            "cpu-per-packet",
            "CPU per packet sent",
            "s",
            "Of shards. The figure to compare between two builds, at the same bitrate and viewers. "
            "Above 4 µs trains do not form, or others use this core.",
            Query(
                ratio(
                    BOARD.rate(engine.SHARD_CPU),
                    BOARD.rate(engine.PACKETS, where=OUT),
                ),
                "per packet",
            ),
        ),
        lines(
            "first-frame",
            "Time to first frame",
            "s",
            "While viewers come. It rises with --ramp when handshakes wait for CPU.",
            *quantiles(BOARD, control.JOIN_STAGES, 0.5, 0.99, where='stage="whole"'),
        ),
    ),
)

BOARD_LOAD = Board(
    "load",
    "Load test",
    "The server and pyforward-bench side by side.",
    (_BOTH, _SERVER),
    onward=("engine", "joins"),
    beside_bench=True,
)
