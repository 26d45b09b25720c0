"""Alerts and the recordings that they share, as Prometheus reads them.

Each alert stands for something that viewers notice, or soon will; what to do stands in the runbook
under its name.
"""

from __future__ import annotations

from typing import Any

import yaml

from grafana.generate.model import Alert, Recording
from grafana.generate.query import RULE, ratio
from pyforward.control.joins import FAULTS
from pyforward.metrics.catalog import control, engine, events, process, streams

_EACH = ("job", "instance")
_OURS = 'reason=~"full|shed"'
_FAULTS = f'reason=~"{"|".join(FAULTS)}"'

LOSS = Recording(
    "pyforward:viewer_loss_ratio:mean5m",
    ratio(
        RULE.rate(streams.STREAM_REPORTED_LOSS, *_EACH),
        RULE.rate(streams.STREAM_REPORTS, *_EACH),
    ),
)
FIRST_FRAME = Recording(
    "pyforward:first_frame_seconds:p95_5m",
    RULE.quantile(0.95, control.JOIN_STAGES, *_EACH, where='stage="whole"'),
)
JOINS_FAILED = Recording(
    "pyforward:joins_failed:ratio5m",
    ratio(
        RULE.rate(control.JOINS, *_EACH, where=_FAULTS),
        RULE.rate(control.JOINS, *_EACH, where='result=~"accepted|refused"'),
    ),
)
SHARD_BUSY = Recording(
    "pyforward:shard_busy_ratio:rate5m", RULE.rate(engine.SHARD_BUSY, *_EACH, "shard")
)
DROPPED = Recording(
    "pyforward:dropped_packets:rate5m",
    f"{RULE.rate(engine.SEND_DROPS, *_EACH, where=_OURS)} + "
    f"{RULE.rate(engine.RECEIVE_DROPS, *_EACH)}",
)
LOOP_LATE = Recording(
    "pyforward:event_loop_lag_seconds:p99_5m", RULE.quantile(0.99, process.LOOP_LAG, *_EACH)
)

RECORDINGS = (LOSS, FIRST_FRAME, JOINS_FAILED, SHARD_BUSY, DROPPED, LOOP_LATE)

_MEMORY = RULE.foreign("process_resident_memory_bytes")

ALERTS = (
    Alert(
        "PyforwardTargetDown",
        # A load test's own figures are there while it runs, and nobody misses them afterwards.
        'up{job=~"pyforward.*",job!="pyforward-bench"} == 0',
        "1m",
        "page",
        "{{ $labels.instance }} does not answer scrapes.",
        "The process is gone, or its HTTP port cannot be reached. Media may go on, joins do not.",
    ),
    Alert(
        "PyforwardPublisherGone",
        # It is told no more of a stream that its viewers have left, declared or ended.
        f"last_over_time({streams.STREAM_WITHOUT_MEDIA.name}[10m]) > 0",
        "10s",
        "page",
        "Viewers of {{ $labels.stream }} have no media.",
        "Its publisher is gone or silent; the value says of how many streams. Viewers are kept for "
        "streams.wait_s, and this alert goes on for ten minutes after them unless the stream is "
        "back. The stream other stands for those past metrics.max_streams: the log names them.",
    ),
    Alert(
        "PyforwardViewersFrozen",
        f"{ratio(streams.STREAM_FROZEN.name, streams.STREAM_VIEWERS.name)} > 0.1",
        "30s",
        "page",
        "{{ $value | humanizePercentage }} of the viewers of {{ $labels.stream }} stand still.",
        "They are connected and lose nothing, and yet have no picture: no keyframe comes, or the "
        "server leaves them out.",
    ),
    Alert(
        "PyforwardJoinsFailing",
        f"{JOINS_FAILED.name} > 0.05",
        "2m",
        "page",
        "{{ $value | humanizePercentage }} of joins fail at {{ $labels.instance }}.",
        "Joins that this server refused or that never got keys; mistakes of clients do not count.",
    ),
    Alert(
        "PyforwardLossHigh",
        f"{LOSS.name} > 0.02",
        "2m",
        "page",
        "Viewers of {{ $labels.instance }} lose {{ $value | humanizePercentage }} on the mean.",
        "A mean over all viewers this high is no last mile: it is the way out of this server.",
    ),
    Alert(
        "PyforwardFirstFrameSlow",
        f"{FIRST_FRAME.name} > 4",
        "5m",
        "ticket",
        "New viewers of {{ $labels.instance }} wait {{ $value | humanizeDuration }} (p95).",
        "From the answer to the first keyframe. The board of joins shows which stage it is.",
    ),
    Alert(
        "PyforwardShardSaturated",
        f"{SHARD_BUSY.name} > 0.85",
        "2m",
        "page",
        "Shard {{ $labels.shard }} of {{ $labels.instance }} is busy "
        "{{ $value | humanizePercentage }} of the time.",
        "Packets leave late, and soon they will be dropped.",
    ),
    Alert(
        "PyforwardEventLoopLate",
        f"{LOOP_LATE.name} > 0.25",
        "2m",
        "ticket",
        "The control loop of {{ $labels.instance }} is {{ $value | humanizeDuration }} late.",
        "Joins and the API wait so long. Media does not.",
    ),
    Alert(
        "PyforwardDropping",
        f"{DROPPED.name} > 1",
        "1m",
        "page",
        "{{ $labels.instance }} drops {{ $value | humanize }} packets a second.",
        "A send buffer or a receive buffer was full, or a shard had no time for everybody.",
    ),
    Alert(
        "PyforwardMemoryGrowing",
        f"({_MEMORY} > 1.3 * ({_MEMORY} offset 1h) and on (job, instance) "
        f"{control.SESSIONS.name} <= {control.SESSIONS.name} offset 1h) "
        f'or {process.RESOURCE_USED.name}{{resource="memory"}} > 0.9',
        "15m",
        "ticket",
        "Memory of {{ $labels.instance }} grows without viewers, or is nearly spent.",
        "It will be killed when it meets the limit of its control group or of the machine.",
    ),
    Alert(
        "PyforwardCapacityHigh",
        f"{process.CAPACITY_USED.name} > 0.8",
        "5m",
        "ticket",
        "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its busiest resource.",
        "Add a server, or send new viewers elsewhere.",
    ),
    Alert(
        "PyforwardCertificateEnding",
        f"{process.CERTIFICATE_EXPIRY.name} - time() < 14 * 86400",
        "1h",
        "ticket",
        "The certificate {{ $labels.certificate }} of {{ $labels.instance }} ends in "
        "{{ $value | humanizeDuration }}.",
        "Renew the file and start the server again.",
    ),
    Alert(
        "PyforwardWebhookDropping",
        f"{RULE.rate(events.WEBHOOK_DROPPED, *_EACH, 'target')} > 0",
        "1m",
        "ticket",
        "{{ $labels.instance }} drops events for the webhook at {{ $labels.target }}.",
        "It does not take them: whoever counts by these events counts wrong from now on.",
    ),
)

_HEADING = "# Written by `make dashboards`; change grafana/generate/rules.py instead.\n---\n"


def to_yaml(runbook_url: str) -> str:
    """The file's text. Alerts link to ``runbook_url``, each to its own heading."""
    groups = [
        {"name": "pyforward-recordings", "rules": [_recording(one) for one in RECORDINGS]},
        {"name": "pyforward-alerts", "rules": [_alert(one, runbook_url) for one in ALERTS]},
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=96, allow_unicode=True)
    return _HEADING + text


def _recording(rule: Recording) -> dict[str, Any]:
    return {"record": rule.name, "expr": rule.expr}


def _alert(rule: Alert, runbook_url: str) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": rule.expr,
        "for": rule.wait,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": f"{runbook_url}#{rule.anchor}",
        },
    }
