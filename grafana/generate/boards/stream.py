"""Stream: one stream on its way from the publisher to its viewers."""

from __future__ import annotations

from grafana.generate.model import Board, Query, Row
from grafana.generate.panels import lines, number
from grafana.generate.query import IN, OUT, STREAM, ratio
from pyforward.metrics.catalog import streams

_BY = ("stream",)

_PUBLISHER = Row(
    "Publisher",
    (
        number(
            "publishers",
            "Publisher",
            "short",
            "1 while there is one. 0 with viewers below: they wait for it, for streams.wait_s.",
            Query(STREAM.gauge(streams.STREAM_PUBLISHERS, *_BY), "{{stream}}"),
            width=6,
        ),
        number(
            "packet-age",
            "Last packet",
            "s",
            "Since the publisher's last packet. Above 1 s the picture stands still; at "
            "ice.silence_s the publisher counts as gone.",
            Query(STREAM.gauge(streams.STREAM_PACKET_AGE, *_BY, fold="max"), "{{stream}}"),
            width=6,
            steps=(1, 5),
        ),
        number(
            "keyframe-age",
            "Last keyframe",
            "s",
            "Since the last keyframe. Much more than the interval with viewers who wait: the "
            "publisher does not answer requests, as OBS and FFmpeg do not.",
            Query(STREAM.gauge(streams.STREAM_KEYFRAME_AGE, *_BY, fold="max"), "{{stream}}"),
            width=6,
            steps=(10, 30),
        ),
        number(
            "keyframe-interval",
            "Keyframe interval",
            "s",
            "Between the last two. It bounds how long a viewer waits for a picture: set 2 s in the "
            "encoder where it does not answer requests.",
            Query(
                STREAM.gauge(streams.STREAM_KEYFRAME_INTERVAL, *_BY, fold="max"),
                "{{stream}}",
            ),
            width=6,
            steps=(4, 10),
        ),
        lines(
            "ingress",
            "Bitrate in",
            "bps",
            "What the publisher sends. A fall: its encoder, its uplink, or congestion control that "
            "answers loss on the way here.",
            Query(
                f"8 * {STREAM.rate(streams.STREAM_BYTES, *_BY, where=IN)}",
                "{{stream}}",
            ),
        ),
        lines(
            "packets-in",
            "Packets in and out",
            "pps",
            "In once, out once a viewer. Out that does not follow in × viewers: drops, or viewers "
            "who wait for a keyframe.",
            Query(STREAM.rate(streams.STREAM_PACKETS, *_BY, "direction"), "{{direction}}"),
        ),
        lines(
            "lost",
            "Lost on the way in",
            "pps",
            "Given up after asking again: every viewer lacks them, and a keyframe is asked for. "
            "Above 0 for long: the publisher's uplink.",
            Query(STREAM.rate(streams.STREAM_LOST, *_BY), "{{stream}}"),
        ),
        lines(
            "repair-in",
            "Repair on the way in",
            "pps",
            "What we asked the publisher for, and what came because of it. Asked and not come: it "
            "does not retransmit, or its uplink is full.",
            Query(STREAM.rate(streams.STREAM_NACKED, where=OUT), "asked"),
            Query(STREAM.rate(streams.STREAM_REPAIRED, where=IN), "came"),
        ),
        lines(
            "publisher-path",
            "Publisher's path",
            "s",
            "Round trip and jitter. Jitter far above a frame's time (33 ms): a queue fills on its "
            "uplink, loss comes next.",
            Query(
                STREAM.gauge(streams.STREAM_PUBLISHER_ROUND_TRIP, *_BY, fold="max"),
                "round trip",
            ),
            Query(STREAM.gauge(streams.STREAM_PUBLISHER_JITTER, *_BY, fold="max"), "jitter"),
        ),
        lines(
            "keyframes",
            "Keyframes",
            "ops",
            "Received in a second. Many: joins or losses ask for them, each costs bitrate; "
            "streams.keyframe_interval_ms bounds them.",
            Query(STREAM.rate(streams.STREAM_KEYFRAMES, *_BY), "{{stream}}"),
        ),
    ),
)

_VIEWERS = Row(
    "Viewers",
    (
        lines(
            "viewers",
            "Viewers and frozen ones",
            "short",
            "Frozen: they wait for a keyframe, or nothing comes from the publisher. All of them: "
            "look above; some of them: their ways lose packets.",
            Query(STREAM.gauge(streams.STREAM_VIEWERS), "viewers"),
            Query(STREAM.gauge(streams.STREAM_FROZEN), "frozen"),
        ),
        lines(
            "egress",
            "Bitrate out",
            "bps",
            "To all viewers together, first transmissions. Less than in × viewers: drops, or "
            "viewers who wait for a keyframe.",
            Query(
                f"8 * {STREAM.rate(streams.STREAM_BYTES, *_BY, where=OUT)}",
                "{{stream}}",
            ),
        ),
        lines(
            "loss",
            "Loss reported, mean",
            "percentunit",
            "Mean over reports. Above the loss of other streams: this one's bitrate is too much "
            "for its viewers' last miles.",
            Query(
                ratio(
                    STREAM.rate(streams.STREAM_REPORTED_LOSS, *_BY),
                    STREAM.rate(streams.STREAM_REPORTS, *_BY),
                ),
                "{{stream}}",
            ),
            steps=(0.02, 0.05),
        ),
        lines(
            "round-trip",
            "Round trip, mean",
            "s",
            "Mean over reports. A step: many viewers of another region, or a queue on our way out.",
            Query(
                ratio(
                    STREAM.rate(streams.STREAM_ROUND_TRIP, *_BY),
                    STREAM.rate(streams.STREAM_ROUND_TRIPS, *_BY),
                ),
                "{{stream}}",
            ),
        ),
        lines(
            "repair-out",
            "Repair on the way out",
            "pps",
            "Packets that viewers asked for, and retransmissions that they got. Asked and not "
            "sent: the cache lacks them, or budgets are spent.",
            Query(STREAM.rate(streams.STREAM_NACKED, where=IN), "asked"),
            Query(STREAM.rate(streams.STREAM_REPAIRED, where=OUT), "sent"),
        ),
        lines(
            "drops",
            "Dropped on the way out",
            "pps",
            "The kernel did not take them, because its send buffer was full or the address cannot "
            "be reached, or a shard without time for everybody left them out (shed). Above 0 for "
            "long: see the reason on the board of the engine; raise net.core.wmem_max, or the card "
            "or the shard is full.",
            Query(STREAM.rate(streams.STREAM_SEND_DROPS, *_BY), "{{stream}}"),
        ),
    ),
)

BOARD_STREAM = Board(
    "stream",
    "Stream",
    "One stream on its way from the publisher to its viewers. Past metrics.max_streams the rest "
    "are one, called other; /api/streams has each.",
    (_PUBLISHER, _VIEWERS),
    onward=("broadcast", "engine", "joins"),
    by_stream=True,
)
