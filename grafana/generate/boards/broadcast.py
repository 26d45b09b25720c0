"""Broadcast overview: are viewers well, and if not, where to look."""

from __future__ import annotations

from grafana.generate.model import Board, Query, Row
from grafana.generate.panels import lines, number, quantiles
from grafana.generate.query import BOARD, OUT, ratio
from pyforward.metrics.catalog import control, engine, process, streams

_LOSS = ratio(BOARD.rate(streams.STREAM_REPORTED_LOSS), BOARD.rate(streams.STREAM_REPORTS))
_FROZEN = ratio(BOARD.gauge(streams.STREAM_FROZEN), BOARD.gauge(streams.STREAM_VIEWERS))
_ANSWERED = BOARD.rate(engine.NACK_ANSWERS, where='result="served"')
_ASKED = BOARD.rate(engine.NACK_ANSWERS, where='result=~"served|missed|refused"')
_EGRESS = f"8 * {BOARD.rate(engine.BYTES, where=OUT)}"
_WHOLE = 'stage="whole"'

_NOW = Row(
    "Now",
    (
        number(
            "viewers",
            "Viewers",
            "short",
            "Sessions that watch. A sudden fall with streams still live is trouble here or on the "
            "way; one that follows its streams is the audience going home.",
            Query(BOARD.gauge(control.VIEWERS), "viewers"),
            width=3,
        ),
        number(
            "live",
            "Streams live",
            "short",
            "Streams that have a publisher. Fewer than are on air: a publisher is gone.",
            Query(BOARD.gauge(control.STREAMS_LIVE), "streams"),
            width=3,
        ),
        number(
            "egress",
            "Egress",
            "bps",
            "What leaves for viewers, as UDP payload. At the limit of the network card viewers "
            "lose packets that no figure of this server shows but their loss.",
            Query(_EGRESS, "egress"),
            width=3,
        ),
        number(
            "first-frame",
            "Time to first frame, p95",
            "s",
            "From the answer to the first keyframe sent, of those who joined just now. Above 3 s "
            "viewers go away: the board of joins shows which stage takes so long.",
            Query(BOARD.quantile(0.95, control.JOIN_STAGES, where=_WHOLE), "p95"),
            width=3,
            steps=(2, 4),
        ),
        number(
            "loss",
            "Loss, mean",
            "percentunit",
            "Mean of what viewers report as lost. Above 2 % on all streams it is this server's way "
            "out; on one stream it is its publisher; on few viewers it is their last mile.",
            Query(_LOSS, "loss"),
            width=3,
            steps=(0.02, 0.05),
        ),
        number(
            "repaired",
            "Repaired",
            "percentunit",
            "Of the packets that viewers asked for again, how many were sent; asking again within "
            "a round trip counts once. Low: the cache lacks them (missed) or budgets are spent "
            "(refused); the picture breaks.",
            Query(
                ratio(_ANSWERED, _ASKED),
                "repaired",
                idle="test_a_lossy_way_shows",
            ),
            width=3,
            most=1,
        ),
        number(
            "frozen",
            "Frozen",
            "percentunit",
            "Share of viewers whose picture stands still: they wait for a keyframe, or the "
            "publisher has been silent for a second. Above 5 %: see the stream's keyframes.",
            Query(_FROZEN, "frozen"),
            width=3,
            steps=(0.05, 0.2),
        ),
        number(
            "capacity",
            "Capacity used",
            "percentunit",
            "Share of the busiest resource of the busiest server. Add a server at 70 %: above 90 % "
            "viewers get packets late.",
            Query(BOARD.gauge(process.CAPACITY_USED, fold="max"), "capacity"),
            width=3,
            steps=(0.7, 0.9),
            most=1,
        ),
    ),
)

_AUDIENCE = Row(
    "Audience",
    (
        lines(
            "viewers-by-stream",
            "Viewers by stream",
            "short",
            "The ten largest. A step down of one stream alone: its publisher or its codec; of all "
            "at once: this server or its network.",
            Query(
                f"topk(10, {BOARD.gauge(streams.STREAM_VIEWERS, 'stream')})",
                "{{stream}}",
            ),
            stacked=True,
        ),
        lines(
            "egress-by-stream",
            "Egress by stream",
            "bps",
            "The ten largest. A stream whose bitrate falls while its viewers stay: the publisher's "
            "encoder or uplink is in trouble.",
            Query(
                "topk(10, 8 * " + BOARD.rate(streams.STREAM_BYTES, "stream", where=OUT) + ")",
                "{{stream}}",
            ),
            stacked=True,
        ),
        lines(
            "joins",
            "Joins by result",
            "ops",
            "Requests in a second. Refused or failed beside connected: the board of joins names "
            "the reasons.",
            Query(BOARD.rate(control.JOINS, "result"), "{{result}}"),
        ),
    ),
)

_QUALITY = Row(
    "What viewers get",
    (
        lines(
            "first-frame-quantiles",
            "Time to first frame",
            "s",
            "A p99 far above p50: few viewers, on bad ways or waiting for a keyframe. A p50 that "
            "rises: the publisher's keyframe interval, or handshakes that wait for CPU.",
            *quantiles(BOARD, control.JOIN_STAGES, 0.5, 0.95, 0.99, where=_WHOLE),
        ),
        lines(
            "loss-quantiles",
            "Loss reported by viewers",
            "percentunit",
            "Quantiles over reports. p50 above 0: packets are lost before the ways part, at this "
            "server's card or uplink.",
            *quantiles(BOARD, engine.VIEWER_LOSS, 0.5, 0.95, 0.99),
        ),
        lines(
            "nack-answers",
            "What became of NACKs",
            "pps",
            "Served is good. Missed: asked for too late, or lost by the publisher. Refused: more "
            "than the budget of a viewer or a shard. Merged: the answer is on its way.",
            Query(BOARD.rate(engine.NACK_ANSWERS, "result"), "{{result}}"),
        ),
        lines(
            "frozen-by-stream",
            "Frozen viewers by stream",
            "short",
            "The ten worst. All viewers of a stream: its publisher sends nothing, or no keyframe.",
            Query(f"topk(10, {BOARD.gauge(streams.STREAM_FROZEN, 'stream')})", "{{stream}}"),
        ),
        lines(
            "round-trip",
            "Round trip to viewers",
            "s",
            "Quantiles over reports. It rises with the queue at a viewer's last mile, and for all "
            "of them at once with the queue at ours.",
            *quantiles(BOARD, engine.VIEWER_ROUND_TRIP, 0.5, 0.95),
        ),
        lines(
            "resources",
            "Capacity used by resource",
            "percentunit",
            "Which resource is the busiest. shard: packets; control: joins and answers; the others "
            "are limits of the process or of limits.* in the settings.",
            Query(
                BOARD.gauge(process.RESOURCE_USED, "resource", fold="max"),
                "{{resource}}",
            ),
            steps=(0.7, 0.9),
            most=1,
        ),
    ),
)

BOARD_BROADCAST = Board(
    "broadcast",
    "Broadcast overview",
    "Are viewers well, and if not, where to look.",
    (_NOW, _AUDIENCE, _QUALITY),
    onward=("stream", "joins", "engine"),
)
