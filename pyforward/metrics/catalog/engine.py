"""What the engine counts: packets on every way, what was dropped and why, how long things took."""

from __future__ import annotations

from pyforward.metrics.catalog.model import Feed, Metric

_DIRECTED = ("direction", "transmission")

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
FAN_OUT = Metric(
    "pyforward_fan_out_seconds",
    "histogram",
    "How long packets that came together took to go round all viewers of a shard.",
    unit="seconds",
    labels=("shard",),
)
TURN = Metric(
    "pyforward_shard_turn_seconds",
    "histogram",
    "How long a shard was busy between two waits: whatever arrived meanwhile waited so long.",
    unit="seconds",
    labels=("shard",),
)
VIEWER_LOSS = Metric(
    "pyforward_viewer_loss_ratio",
    "histogram",
    "Share of packets lost, by each report of each viewer, before repair where RTX is negotiated.",
    unit="ratio",
)
VIEWER_JITTER = Metric(
    "pyforward_viewer_jitter_seconds",
    "histogram",
    "Interarrival jitter, by each report of each viewer (RFC 3550 §6.4.1).",
    unit="seconds",
)
VIEWER_ROUND_TRIP = Metric(
    "pyforward_viewer_round_trip_seconds",
    "histogram",
    "Round trip to viewers, by each report of theirs that answers one of ours.",
    unit="seconds",
)
SHARDS = Metric("pyforward_shards", "gauge", "Threads that forward packets.")
CACHE_BYTES = Metric(
    "pyforward_cache_bytes",
    "gauge",
    "Packets in the caches that answer NACKs and start viewers, of all streams and shards.",
    unit="bytes",
)

PACKETS = Metric(
    "pyforward_packets_total",
    "counter",
    "Media packets: in from publishers, out to viewers.",
    labels=_DIRECTED,
    feeds=(
        Feed("packets_in", ("in", "first")),
        Feed("packets_in_retransmission", ("in", "retransmission")),
        Feed("packets_in_padding", ("in", "padding")),
        Feed("packets_in_probe", ("in", "probe")),
        Feed("packets_out", ("out", "first")),
        Feed("packets_out_retransmission", ("out", "retransmission")),
    ),
)
BYTES = Metric(
    "pyforward_bytes_total",
    "counter",
    "Bytes of UDP payload of these packets.",
    unit="bytes",
    labels=_DIRECTED,
    feeds=(
        Feed("bytes_in", ("in", "first")),
        Feed("bytes_in_retransmission", ("in", "retransmission")),
        Feed("bytes_in_padding", ("in", "padding")),
        Feed("bytes_in_probe", ("in", "probe")),
        Feed("bytes_out", ("out", "first")),
        Feed("bytes_out_retransmission", ("out", "retransmission")),
    ),
)
EVENING_BYTES = Metric(
    "pyforward_evening_bytes_total",
    "counter",
    "Bytes of RTP padding that made the packets of a train equally long; sent bytes hold them.",
    unit="bytes",
    feeds=(Feed("bytes_out_padding"),),
)
SEND_DROPS = Metric(
    "pyforward_send_drops_total",
    "counter",
    "Packets that were not sent to a viewer: the socket was full, the kernel refused, or the shard "
    "could not keep up and left them out.",
    labels=("reason",),
    feeds=(
        Feed("send_drops_full", ("full",)),
        Feed("send_drops_error", ("error",)),
        Feed("send_drops_shed", ("shed",)),
    ),
)
UNSEGMENTED = Metric(
    "pyforward_unsegmented_trains_total",
    "counter",
    "Trains sent again packet by packet, because route or device refused the segment size.",
    feeds=(Feed("send_unsegmented"),),
)
NACKED = Metric(
    "pyforward_nacked_packets_total",
    "counter",
    "Packets asked for by NACK: in by viewers, out of publishers.",
    labels=("direction",),
    feeds=(Feed("nacks_in", ("in",)), Feed("nacks_out", ("out",))),
)
NACK_ANSWERS = Metric(
    "pyforward_nack_answers_total",
    "counter",
    "What became of packets that viewers asked for: served, missed by the cache, refused by a "
    "budget, merged with an answer of less than a round trip ago.",
    labels=("result",),
    feeds=(
        Feed("nacks_served", ("served",)),
        Feed("nacks_merged", ("merged",)),
        Feed("nacks_missed", ("missed",)),
        Feed("nacks_refused", ("refused",)),
    ),
)
LOST = Metric(
    "pyforward_lost_packets_total",
    "counter",
    "Packets of publishers that were given up as lost.",
    feeds=(Feed("packets_lost"),),
)
KEYFRAME_REQUESTS = Metric(
    "pyforward_keyframe_requests_total",
    "counter",
    "PLI and FIR: in from viewers, out to publishers.",
    labels=("direction",),
    feeds=(
        Feed("keyframe_requests_in", ("in",)),
        Feed("keyframe_requests_out", ("out",)),
    ),
)
PLIS = Metric(
    "pyforward_plis_total",
    "counter",
    "Picture loss indications: in from viewers, out to publishers.",
    labels=("direction",),
    feeds=(Feed("plis_in", ("in",)), Feed("plis_out", ("out",))),
)
FIRS = Metric(
    "pyforward_firs_total",
    "counter",
    "Full intra requests: in from viewers, out to publishers.",
    labels=("direction",),
    feeds=(Feed("firs_in", ("in",)), Feed("firs_out", ("out",))),
)
MERGED_KEYFRAME_REQUESTS = Metric(
    "pyforward_merged_keyframe_requests_total",
    "counter",
    "Wishes for a keyframe, of viewers and for new ones, that another request stands for.",
    feeds=(Feed("keyframe_requests_merged"),),
)
KEYFRAMES = Metric(
    "pyforward_keyframes_total",
    "counter",
    "Keyframes received from publishers.",
    feeds=(Feed("keyframes"),),
)
ICE_CHECKS = Metric(
    "pyforward_ice_checks_total",
    "counter",
    "STUN binding requests that were answered.",
    feeds=(Feed("checks_answered"),),
)
ICE_CHECKS_SENT = Metric(
    "pyforward_ice_checks_sent_total",
    "counter",
    "STUN binding requests that were sent, by sessions in the client role.",
    feeds=(Feed("checks_sent"),),
)
SHARD_SESSIONS = Metric(
    "pyforward_shard_sessions_total",
    "counter",
    "Sessions that shards were told of, and those that they hold no more; each shard counts.",
    labels=("change",),
    feeds=(Feed("sessions_added", ("added",)), Feed("sessions_removed", ("removed",))),
)
RECEIVED_DATAGRAMS = Metric(
    "pyforward_received_datagrams_total",
    "counter",
    "Datagrams of any protocol that arrived.",
    feeds=(Feed("datagrams_in"),),
)
RECEIVE_DROPS = Metric(
    "pyforward_receive_drops_total",
    "counter",
    "Datagrams that the kernel dropped because the receive buffer was full.",
    feeds=(Feed("datagrams_dropped"),),
)
SENT_MESSAGES = Metric(
    "pyforward_sent_messages_total",
    "counter",
    "Messages, single datagrams and trains, that were handed to the kernel.",
    feeds=(Feed("messages_out"),),
)
SEND_CALLS = Metric(
    "pyforward_send_calls_total",
    "counter",
    "System calls that sent messages.",
    feeds=(Feed("send_calls"),),
)
EXCHANGED = Metric(
    "pyforward_exchanged_messages_total",
    "counter",
    "Messages from one shard to another.",
    feeds=(Feed("exchanged_out"),),
)
DROPPED_EVENTS = Metric(
    "pyforward_dropped_events_total",
    "counter",
    "Events that control did not take in time.",
    feeds=(Feed("events_dropped"),),
)
SHARD_BUSY = Metric(
    "pyforward_shard_busy_seconds_total",
    "counter",
    "Time in which a shard was not waiting, for whatever reason.",
    unit="seconds",
    labels=("shard",),
    feeds=(Feed("busy_micros", scale=1e-6),),
    by_shard=True,
)
SHARD_CPU = Metric(
    "pyforward_shard_cpu_seconds_total",
    "counter",
    "CPU that a shard's thread used, told twice a second.",
    unit="seconds",
    labels=("shard",),
    feeds=(Feed("cpu_micros", scale=1e-6),),
    by_shard=True,
)

COUNTED = (
    PACKETS,
    BYTES,
    EVENING_BYTES,
    SEND_DROPS,
    UNSEGMENTED,
    NACKED,
    NACK_ANSWERS,
    LOST,
    KEYFRAME_REQUESTS,
    PLIS,
    FIRS,
    MERGED_KEYFRAME_REQUESTS,
    KEYFRAMES,
    ICE_CHECKS,
    ICE_CHECKS_SENT,
    SHARD_SESSIONS,
    RECEIVED_DATAGRAMS,
    RECEIVE_DROPS,
    SENT_MESSAGES,
    SEND_CALLS,
    EXCHANGED,
    DROPPED_EVENTS,
    SHARD_BUSY,
    SHARD_CPU,
)
"""Those that are fed by counters."""

METRICS = (
    *COUNTED,
    DISCARDS,
    TRAIN_PACKETS,
    FORWARD_LATENCY,
    FAN_OUT,
    TURN,
    VIEWER_LOSS,
    VIEWER_JITTER,
    VIEWER_ROUND_TRIP,
    SHARDS,
    CACHE_BYTES,
)
