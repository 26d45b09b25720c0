"""What is told of each stream. Past ``metrics.max_streams`` the rest are one, called ``other``."""

from __future__ import annotations

from pyforward.metrics.catalog.model import Metric

_ONE = ("stream",)
_DIRECTED = ("stream", "direction")

STREAM_VIEWERS = Metric(
    "pyforward_stream_viewers", "gauge", "Sessions that watch the stream.", labels=_ONE
)
STREAM_PUBLISHERS = Metric(
    "pyforward_stream_publishers",
    "gauge",
    "1 while the stream has a publisher; of the other streams, how many have one.",
    labels=_ONE,
)
STREAM_FROZEN = Metric(
    "pyforward_stream_frozen_viewers",
    "gauge",
    "Viewers with keys whose picture stands still: they wait for a keyframe, or nothing has come "
    "from the publisher for a second.",
    labels=_ONE,
)
STREAM_WITHOUT_MEDIA = Metric(
    "pyforward_stream_without_media",
    "gauge",
    "1 while viewers of the stream have no media: nobody publishes it, or nothing came for 5 s. "
    "Not told while nobody publishes and nobody watches. Of the other streams, how many; those "
    "that end so count for ten minutes, unless they are back.",
    labels=_ONE,
)
STREAM_PACKETS = Metric(
    "pyforward_stream_packets_total",
    "counter",
    "Media packets: in from the publisher, out to viewers for the first time.",
    labels=_DIRECTED,
)
STREAM_BYTES = Metric(
    "pyforward_stream_bytes_total",
    "counter",
    "Bytes of UDP payload of these packets.",
    unit="bytes",
    labels=_DIRECTED,
)
STREAM_NACKED = Metric(
    "pyforward_stream_nacked_packets_total",
    "counter",
    "Packets asked for by NACK: in by viewers, out of the publisher.",
    labels=_DIRECTED,
)
STREAM_REPAIRED = Metric(
    "pyforward_stream_repaired_packets_total",
    "counter",
    "Retransmissions: in from the publisher because we asked, out to viewers.",
    labels=_DIRECTED,
)
STREAM_LOST = Metric(
    "pyforward_stream_lost_packets_total",
    "counter",
    "Packets of the publisher that were given up: every viewer lacks them.",
    labels=_ONE,
)
STREAM_SEND_DROPS = Metric(
    "pyforward_stream_send_drops_total",
    "counter",
    "Packets that were not sent to a viewer: the kernel did not take them, or they were left out.",
    labels=_ONE,
)
STREAM_REPORTS = Metric(
    "pyforward_stream_viewer_reports_total",
    "counter",
    "Reports of viewers about what they receive.",
    labels=_ONE,
)
STREAM_REPORTED_LOSS = Metric(
    "pyforward_stream_reported_loss_ratio_total",
    "counter",
    "Shares lost by these reports, added up; divided by the reports it is their mean.",
    unit="ratio",
    labels=_ONE,
)
STREAM_ROUND_TRIPS = Metric(
    "pyforward_stream_viewer_round_trips_total",
    "counter",
    "Reports of viewers that told a round trip.",
    labels=_ONE,
)
STREAM_ROUND_TRIP = Metric(
    "pyforward_stream_viewer_round_trip_seconds_total",
    "counter",
    "These round trips, added up.",
    unit="seconds",
    labels=_ONE,
)
STREAM_KEYFRAMES = Metric(
    "pyforward_stream_keyframes_total",
    "counter",
    "Keyframes received from the publisher.",
    labels=_ONE,
)
STREAM_KEYFRAME_INTERVAL = Metric(
    "pyforward_stream_keyframe_interval_seconds",
    "gauge",
    "Between the last two keyframes; 0 before there were two. Of the other streams the longest.",
    unit="seconds",
    labels=_ONE,
)
STREAM_KEYFRAME_AGE = Metric(
    "pyforward_stream_keyframe_age_seconds",
    "gauge",
    "Since the last keyframe of a stream that has had one; of the other streams the oldest.",
    unit="seconds",
    labels=_ONE,
)
STREAM_PACKET_AGE = Metric(
    "pyforward_stream_packet_age_seconds",
    "gauge",
    "Since the publisher's last packet, once there was one; of the other streams the oldest.",
    unit="seconds",
    labels=_ONE,
)
STREAM_PUBLISHER_ROUND_TRIP = Metric(
    "pyforward_stream_publisher_round_trip_seconds",
    "gauge",
    "Round trip to the publisher; 0 before it was measured. Of the other streams the longest.",
    unit="seconds",
    labels=_ONE,
)
STREAM_PUBLISHER_JITTER = Metric(
    "pyforward_stream_publisher_jitter_seconds",
    "gauge",
    "Interarrival jitter of the publisher's packets, the worse track. Of the other streams the "
    "worst.",
    unit="seconds",
    labels=_ONE,
)

METRICS = (
    STREAM_VIEWERS,
    STREAM_PUBLISHERS,
    STREAM_FROZEN,
    STREAM_WITHOUT_MEDIA,
    STREAM_PACKETS,
    STREAM_BYTES,
    STREAM_NACKED,
    STREAM_REPAIRED,
    STREAM_LOST,
    STREAM_SEND_DROPS,
    STREAM_REPORTS,
    STREAM_REPORTED_LOSS,
    STREAM_ROUND_TRIPS,
    STREAM_ROUND_TRIP,
    STREAM_KEYFRAMES,
    STREAM_KEYFRAME_INTERVAL,
    STREAM_KEYFRAME_AGE,
    STREAM_PACKET_AGE,
    STREAM_PUBLISHER_ROUND_TRIP,
    STREAM_PUBLISHER_JITTER,
)
