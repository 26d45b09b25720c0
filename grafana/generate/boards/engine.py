"""Engine: shards, trains, latency, drops, and what a packet costs."""

from __future__ import annotations

from grafana.generate.model import Board, Query, Row
from grafana.generate.panels import lines, quantiles
from grafana.generate.query import BOARD, OUT, ratio
from pyforward.metrics.catalog import control, engine, events, process

_SHARD = ("instance", "shard")
_SHARD_OF = "shard {{shard}} of {{instance}}"
_PACKETS_OUT = BOARD.rate(engine.PACKETS, where=OUT)

_SHARDS = Row(
    "Shards",
    (
        lines(
            "busy",
            "Shards busy",
            "percentunit",
            "Share of time in which a shard was not waiting. Above 85 % packets leave late. One "
            "far above the others: few viewers, whose addresses fell unevenly.",
            Query(BOARD.rate(engine.SHARD_BUSY, *_SHARD), _SHARD_OF),
            steps=(0.7, 0.85),
            most=1,
        ),
        lines(
            "cpu",
            "CPU by thread",
            "percentunit",
            "Of one core. Busy above CPU: a shard did not get its core, something else runs there. "
            "control near 1: joins and answers wait.",
            Query(BOARD.rate(engine.SHARD_CPU, *_SHARD), _SHARD_OF),
            Query(BOARD.rate(process.CONTROL_CPU, "instance"), "control of {{instance}}"),
            most=1,
        ),
        lines(
            "cpu-per-packet",
            "CPU per packet sent",
            "s",
            "Of shards. 1 to 2 µs with trains of 8; above 4 µs trains do not form: see their "
            "length, and unsegmented ones.",
            Query(ratio(BOARD.rate(engine.SHARD_CPU), _PACKETS_OUT), "per packet"),
        ),
        lines(
            "turns",
            "Turns of a shard, p99",
            "s",
            "How long a shard was busy between two waits: whatever comes meanwhile is so late. "
            "Above 10 ms: too many viewers, or a core shared with others.",
            Query(BOARD.quantile(0.99, engine.TURN, *_SHARD), _SHARD_OF),
            steps=(0.01, 0.05),
        ),
        lines(
            "fan-out",
            "Fan-out, p99",
            "s",
            "How long a packet takes to go round all viewers of a shard: so much later than the "
            "first gets the last one it. Above 10 ms: more viewers on a shard than see it in time.",
            Query(BOARD.quantile(0.99, engine.FAN_OUT, *_SHARD), _SHARD_OF),
        ),
        lines(
            "latency",
            "Arrival to send",
            "s",
            "What this server adds to each packet; a frame's first packets wait for its last one, "
            "engine.frame_window_ms at most, 1 ms unless set. p99 above 50 ms: a shard is "
            "saturated.",
            *quantiles(BOARD, engine.FORWARD_LATENCY, 0.5, 0.99),
            steps=(0.05, 0.1),
        ),
    ),
)

_PACKETS = Row(
    "Packets",
    (
        lines(
            "packets",
            "Packets",
            "pps",
            "In from publishers, out to viewers. Retransmissions above 5 % of first ones: ways "
            "lose packets, or a NACK storm; see what became of NACKs.",
            Query(
                BOARD.rate(engine.PACKETS, "direction", "transmission"),
                "{{direction}} {{transmission}}",
            ),
        ),
        lines(
            "bytes",
            "Bitrate",
            "bps",
            "UDP payload. Out at the card's speed: packets are lost behind this server.",
            Query(
                f"8 * {BOARD.rate(engine.BYTES, 'direction', 'transmission')}",
                "{{direction}} {{transmission}}",
            ),
        ),
        lines(
            "train",
            "Packets in a message",
            "short",
            "Trains of 8 and more cost a third of single packets. Means near 1: small streams, or "
            "segmentation is off or refused.",
            Query(BOARD.mean(engine.TRAIN_PACKETS), "mean"),
            Query(BOARD.quantile(0.9, engine.TRAIN_PACKETS), "p90"),
        ),
        lines(
            "calls",
            "Messages in a system call",
            "short",
            "How many messages one sendmmsg carries. Near 1 with many viewers: engine.sendmmsg is "
            "off.",
            Query(ratio(BOARD.rate(engine.SENT_MESSAGES), BOARD.rate(engine.SEND_CALLS)), "mean"),
        ),
        lines(
            "unsegmented",
            "Unsegmented trains",
            "ops",
            "Sent again packet by packet, because route or device refused the segment size. For "
            "long: a tunnel or a small MTU on the way out.",
            Query(BOARD.rate(engine.UNSEGMENTED), "trains"),
        ),
        lines(
            "evening",
            "Padding that evens trains",
            "percentunit",
            "Of what leaves. Above 2 %: the publisher's packets are of very unequal sizes; "
            "engine.padding turns it off.",
            Query(
                ratio(BOARD.rate(engine.EVENING_BYTES), BOARD.rate(engine.BYTES, where=OUT)),
                "padding",
            ),
        ),
    ),
)

_DROPS = Row(
    "Dropped",
    (
        lines(
            "drops",
            "Dropped",
            "pps",
            "send full: the send buffer (net.core.wmem_max) or the card; send error: unreachable "
            "viewers; send shed: left out by a shard that has too much to do; receive: a shard did "
            "not read in time; lost: the publisher's way.",
            Query(BOARD.rate(engine.SEND_DROPS, "reason"), "send {{reason}}"),
            Query(BOARD.rate(engine.RECEIVE_DROPS), "receive"),
            Query(BOARD.rate(engine.LOST), "lost"),
            Query(BOARD.rate(engine.DROPPED_EVENTS), "events"),
        ),
        lines(
            "discards",
            "Discarded, by reason",
            "pps",
            "Received packets that went no further. srtp_auth, stun_integrity: strangers or broken "
            "peers; rtp_late, rtp_duplicate: a bad way in; exchange_full: a shard is stuck.",
            Query(
                f"{BOARD.rate(engine.DISCARDS, 'reason')} > 0",
                "{{reason}}",
                idle="test_discards_show",
            ),
        ),
        lines(
            "nacks",
            "NACKs",
            "pps",
            "Packets asked for: in by viewers, out of publishers. In on all streams: our way out "
            "loses packets.",
            Query(BOARD.rate(engine.NACKED, "direction"), "{{direction}}"),
        ),
        lines(
            "datagrams",
            "Datagrams in",
            "pps",
            "Of any protocol. Far above packets in: a flood, or many checks and reports of many "
            "viewers.",
            Query(BOARD.rate(engine.RECEIVED_DATAGRAMS), "datagrams"),
            Query(BOARD.rate(engine.ICE_CHECKS), "checks"),
            Query(BOARD.rate(engine.ICE_CHECKS_SENT), "checks sent"),
        ),
        lines(
            "exchange",
            "Between shards",
            "ops",
            "Messages. They grow with packets in and shards, never with viewers. None with two "
            "shards and viewers on both: half of them see nothing.",
            Query(BOARD.rate(engine.EXCHANGED), "messages"),
        ),
        lines(
            "keyframes-in",
            "Keyframes in",
            "ops",
            "Of all publishers. None while streams are live: nobody can begin to watch.",
            Query(BOARD.rate(engine.KEYFRAMES), "keyframes"),
        ),
    ),
)

_PROCESS = Row(
    "The process",
    (
        lines(
            "lag",
            "Control loop late",
            "s",
            "Joins, DELETEs and the API wait so long; media does not. Above 0.1 s: too many joins, "
            "listeners or scrapes at a time.",
            *quantiles(BOARD, process.LOOP_LAG, 0.5, 0.99),
            steps=(0.1, 0.5),
        ),
        lines(
            "queues",
            "Queues, share of their limits",
            "percentunit",
            "At 1 what comes next is refused or dropped. events: control does not follow; "
            "exchanges: a shard does not; unread_bytes: clients of HTTP do not read; hello_bytes: "
            "a flood of ClientHellos.",
            Query(BOARD.share(control.QUEUE_DEPTH, control.QUEUE_LIMIT, "queue"), "{{queue}}"),
            most=1,
            steps=(0.5, 0.8),
        ),
        lines(
            "memory",
            "Memory",
            "bytes",
            "Resident, and the caches in it. It grows with viewers (some 26 KiB each) and streams; "
            "growing without them is a leak.",
            Query(BOARD.foreign("process_resident_memory_bytes"), "resident {{instance}}"),
            Query(BOARD.gauge(engine.CACHE_BYTES), "caches"),
        ),
        lines(
            "descriptors",
            "Descriptors",
            "short",
            "Open, and the limit. They grow with HTTP connections, not with viewers.",
            Query(BOARD.foreign("process_open_fds"), "open {{instance}}"),
            Query(BOARD.foreign("process_max_fds"), "limit {{instance}}"),
        ),
        lines(
            "profiles",
            "Sessions by SRTP profile",
            "short",
            "Sessions with AES128_CM cost four times the CPU of GCM: old clients, or "
            "dtls.srtp_profiles in another order.",
            Query(BOARD.gauge(control.SRTP_SESSIONS, "profile"), "{{profile}}"),
            stacked=True,
        ),
        lines(
            "sessions",
            "Sessions and shards",
            "short",
            "Sessions that control knows, and those that shards were told of each second. Told of "
            "and never gone: a leak.",
            Query(BOARD.gauge(control.SESSIONS), "sessions"),
            Query(BOARD.gauge(control.PUBLISHERS), "publishers"),
            Query(BOARD.gauge(control.STREAMS), "streams"),
            Query(BOARD.gauge(engine.SHARDS), "shards"),
            Query(BOARD.rate(engine.SHARD_SESSIONS, "change"), "{{change}} in a second"),
        ),
        lines(
            "scrape",
            "Scrape",
            "s",
            "How long the control loop was kept by /metrics. Above 50 ms: metrics.max_streams is "
            "too high for this machine.",
            Query(BOARD.gauge(process.SCRAPE, "instance", fold="max"), "{{instance}}"),
            steps=(0.05, 0.2),
        ),
        lines(
            "unread",
            "Answers that are not read",
            "ops",
            "Cut off: clients that asked for much and did not read it, in time or when others "
            "needed the room; the log has their addresses. Refused: large answers for which there "
            "was no room.",
            Query(BOARD.rate(process.READERS_DROPPED), "readers cut off"),
            Query(BOARD.rate(process.ANSWERS_REFUSED), "answers refused"),
        ),
        lines(
            "build",
            "Builds and settings",
            "short",
            "Servers by version and by the hash of their settings. More than one of a kind: a "
            "deployment that is not finished.",
            Query(
                BOARD.count(process.BUILD_INFO, "version"),
                "version {{version}}",
            ),
            Query(
                BOARD.count(process.CONFIG_INFO, "hash"),
                "settings {{hash}}",
            ),
        ),
        lines(
            "uptime",
            "Running for",
            "s",
            "Short, again and again: the process dies and is started anew; see its log.",
            Query(f"time() - {BOARD.foreign('process_start_time_seconds')}", "{{instance}}"),
        ),
    ),
)

_EVENTS = Row(
    "Events",
    (
        lines(
            "events",
            "Events told",
            "ops",
            "To listeners and webhooks; viewers beyond events.viewers_per_s are summed. Dropped: "
            "a listener does not read. Refused: more of them than events.listeners.",
            Query(BOARD.rate(events.EVENTS), "told"),
            Query(BOARD.rate(events.LISTENERS_DROPPED), "listeners dropped"),
            Query(BOARD.rate(events.LISTENERS_REFUSED), "listeners refused"),
        ),
        lines(
            "listeners",
            "Listeners, and what waits",
            "short",
            "Consoles and others at /api/events, and events that wait for each webhook. Many for "
            "long: it is slow or away, and beyond webhooks.queue the oldest are dropped.",
            Query(BOARD.gauge(events.LISTENERS), "listeners"),
            Query(BOARD.gauge(events.WEBHOOK_WAITING, "target"), "waiting {{target}}"),
        ),
        lines(
            "webhooks",
            "Webhooks",
            "ops",
            "Failed attempts are made again, webhooks.attempts in all. Dropped: whoever counts "
            "viewers by these events counts wrong from now on.",
            Query(BOARD.rate(events.WEBHOOK_DELIVERED, "target"), "delivered {{target}}"),
            Query(BOARD.rate(events.WEBHOOK_FAILED, "target"), "failed {{target}}"),
            Query(BOARD.rate(events.WEBHOOK_DROPPED, "target"), "dropped {{target}}"),
        ),
    ),
)

BOARD_ENGINE = Board(
    "engine",
    "Engine",
    "Shards, trains, latency, drops, and what a packet costs.",
    (_SHARDS, _PACKETS, _DROPS, _PROCESS, _EVENTS),
    onward=("broadcast", "stream", "load"),
)
