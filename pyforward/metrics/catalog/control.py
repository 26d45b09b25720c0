"""What control knows: streams and sessions, how joins went, why sessions ended."""

from __future__ import annotations

from pyforward.metrics.catalog.model import Metric

STREAMS = Metric("pyforward_streams", "gauge", "Streams that exist, with a publisher or without.")
STREAMS_LIVE = Metric("pyforward_streams_live", "gauge", "Streams that have a publisher.")
PUBLISHERS = Metric(
    "pyforward_publishers",
    "gauge",
    "Sessions that publish, those included that wait to take a stream over.",
)
VIEWERS = Metric("pyforward_viewers", "gauge", "Sessions that watch a stream.")
SESSIONS = Metric(
    "pyforward_sessions", "gauge", "Sessions of publishers and viewers, those that close included."
)
SRTP_SESSIONS = Metric(
    "pyforward_srtp_sessions",
    "gauge",
    "Sessions with keys, by their protection profile. The CM profile costs four times the CPU.",
    labels=("profile",),
)
HANDSHAKES = Metric(
    "pyforward_dtls_handshakes", "gauge", "DTLS handshakes by what they do now.", labels=("state",)
)
JOINS = Metric(
    "pyforward_joins_total",
    "counter",
    "Requests to publish or watch, by how they ended: accepted or refused at once, then connected "
    "(it has keys) or failed.",
    labels=("kind", "result", "reason"),
)
JOIN_STAGES = Metric(
    "pyforward_join_stage_seconds",
    "histogram",
    "How long viewers took over a stage of joining: answer (POST to answer), ice (to the first "
    "check), dtls (to the keys), packet (to the first one sent), keyframe (to the first one sent), "
    "whole (from the answer to the keyframe).",
    unit="seconds",
    labels=("stage",),
)
CLOSED = Metric(
    "pyforward_closed_sessions_total",
    "counter",
    "Sessions that ended, by reason.",
    labels=("kind", "reason"),
)
ICE_FAILURES = Metric(
    "pyforward_ice_failures_total",
    "counter",
    "Sessions that ended without keys for want of connectivity: no check ever came, or they fell "
    "silent.",
    labels=("reason",),
)
DTLS_FAILURES = Metric(
    "pyforward_dtls_failures_total",
    "counter",
    "Handshakes that ended without keys, by cause.",
    labels=("reason",),
)
CONSENT_EXPIRIES = Metric(
    "pyforward_consent_expiries_total",
    "counter",
    "Sessions with keys that ended because nothing came from the peer any more (RFC 7675).",
    labels=("kind",),
)
RECONNECTS = Metric(
    "pyforward_publisher_reconnects_total",
    "counter",
    "Times that media came back to a stream after its publisher had gone.",
)
GAPS = Metric(
    "pyforward_publisher_gap_seconds_total",
    "counter",
    "How long streams were without media before it came back.",
    unit="seconds",
)
QUEUE_DEPTH = Metric(
    "pyforward_queue_depth",
    "gauge",
    "What waits, by queue; of several queues of a kind the fullest. Two count bytes: unread_bytes, "
    "of HTTP answers that wait to be read, and hello_bytes, of ClientHellos.",
    labels=("queue",),
)
QUEUE_LIMIT = Metric(
    "pyforward_queue_limit",
    "gauge",
    "How much may wait in a queue, or be worked on at one time. Two have none: commands, because "
    "none may be lost, and hellos, which hello_bytes bounds together.",
    labels=("queue",),
)

METRICS = (
    STREAMS,
    STREAMS_LIVE,
    PUBLISHERS,
    VIEWERS,
    SESSIONS,
    SRTP_SESSIONS,
    HANDSHAKES,
    JOINS,
    JOIN_STAGES,
    CLOSED,
    ICE_FAILURES,
    DTLS_FAILURES,
    CONSENT_EXPIRIES,
    RECONNECTS,
    GAPS,
    QUEUE_DEPTH,
    QUEUE_LIMIT,
)
