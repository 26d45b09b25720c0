"""Joins and failures: who does not get in, at which stage, and who is lost later."""

from __future__ import annotations

from grafana.generate.model import Board, Query, Row
from grafana.generate.panels import lines, quantiles
from grafana.generate.query import BOARD, ratio
from pyforward.metrics.catalog import control, engine, process

_JOINS = Row(
    "Joining",
    (
        lines(
            "result",
            "Joins by result",
            "ops",
            "Accepted has its answer, connected has keys. The gap between the two is joins on "
            "their way, or failing: see ICE and DTLS below.",
            Query(BOARD.rate(control.JOINS, "kind", "result"), "{{kind}} {{result}}"),
        ),
        lines(
            "refused",
            "Refused, by reason",
            "ops",
            "At once, with an HTTP status. overloaded: a limit of this server; stream_not_live: "
            "its publisher is gone; unauthorised: no token; forbidden: a wrong one.",
            Query(
                BOARD.rate(control.JOINS, "reason", where='result="refused"'),
                "{{reason}}",
                idle="test_failures_show",
            ),
        ),
        lines(
            "failed-share",
            "Failed of accepted",
            "percentunit",
            "Of those who got an answer, how many never got keys. Above 5 %: UDP does not reach "
            "this server for some; check media.advertise and the firewall.",
            Query(
                ratio(
                    BOARD.rate(control.JOINS, where='result="failed"'),
                    BOARD.rate(control.JOINS, where='result="accepted"'),
                ),
                "failed",
            ),
            steps=(0.05, 0.2),
        ),
        lines(
            "stages",
            "Stages, p95",
            "s",
            "answer: the control loop; ice: the viewer's checks; dtls: handshakes, with CPU; "
            "packet: our sending; keyframe: the publisher's interval. The tallest is the one to "
            "shorten.",
            Query(
                BOARD.quantile(0.95, control.JOIN_STAGES, "stage"),
                "{{stage}}",
            ),
            width=12,
        ),
        lines(
            "stages-mean",
            "Stages, mean",
            "s",
            "The same as means. A mean that moves with its p95: all viewers; a p95 alone: few. "
            "Exemplars name a session: look it up in the log.",
            Query(BOARD.mean(control.JOIN_STAGES, "stage"), "{{stage}}"),
            width=12,
        ),
        lines(
            "handshakes",
            "Handshakes",
            "short",
            "Waiting is for a place or a thread. For longer than a moment: more joins than the CPU "
            "of dtls.threads can do, or a flood of hellos.",
            Query(BOARD.gauge(control.HANDSHAKES, "state"), "{{state}}"),
        ),
        lines(
            "keyframe-requests",
            "Keyframe requests",
            "ops",
            "In from viewers, out to publishers, merged into another. Out near the bound of "
            "streams.keyframe_interval_ms for long: publishers do not answer.",
            Query(BOARD.rate(engine.KEYFRAME_REQUESTS, "direction"), "{{direction}}"),
            Query(BOARD.rate(engine.MERGED_KEYFRAME_REQUESTS), "merged"),
        ),
        lines(
            "requests-by-kind",
            "PLI and FIR",
            "ops",
            "Viewers of browsers send PLI when a picture cannot be decoded: many mean loss that is "
            "not repaired. FIR comes from few clients.",
            Query(BOARD.rate(engine.PLIS, "direction"), "PLI {{direction}}"),
            Query(BOARD.rate(engine.FIRS, "direction"), "FIR {{direction}}"),
        ),
    ),
)

_FAILURES = Row(
    "Failing and leaving",
    (
        lines(
            "ice-failures",
            "ICE failures",
            "ops",
            "never_connected: no check came, so UDP does not get here. silent: checks came, then "
            "nothing more before the keys.",
            Query(BOARD.rate(control.ICE_FAILURES, "reason"), "{{reason}}"),
        ),
        lines(
            "dtls-failures",
            "DTLS failures",
            "ops",
            "timeout and overload: too little CPU, or a flood. fingerprint: the offer and the "
            "certificate do not belong together. no_srtp_profile: dtls.srtp_profiles is too short.",
            Query(BOARD.rate(control.DTLS_FAILURES, "reason"), "{{reason}}"),
        ),
        lines(
            "closed",
            "Sessions that ended",
            "ops",
            "deleted and bye are people going. silent: their networks, or ours. stream_ended: the "
            "publisher did not come back in streams.wait_s.",
            Query(BOARD.rate(control.CLOSED, "reason"), "{{reason}}"),
        ),
        lines(
            "consent",
            "Consent expiries",
            "ops",
            "Sessions with keys that fell silent. Many at once: a network between them and us has "
            "failed.",
            Query(BOARD.rate(control.CONSENT_EXPIRIES, "kind"), "{{kind}}"),
        ),
        lines(
            "reconnects",
            "Publishers that came back",
            "ops",
            "Each was a picture that stood still. Again and again: the publisher's network or "
            "encoder.",
            Query(BOARD.rate(control.RECONNECTS), "reconnects"),
        ),
        lines(
            "gaps",
            "Time without publisher",
            "percentunit",
            "Seconds without media in each second, of streams whose media came back, all streams "
            "added up. For so long viewers looked at a picture that stood still.",
            Query(BOARD.rate(control.GAPS), "gaps"),
        ),
        lines(
            "half-open",
            "Queues of joining",
            "short",
            "What is on its way in. half_open near its limit: sessions are announced and never "
            "come, a flood or a blocked UDP port.",
            Query(
                BOARD.gauge(
                    control.QUEUE_DEPTH,
                    "queue",
                    where='queue=~"joins|half_open|handshakes|hellos"',
                    fold="max",
                ),
                "{{queue}}",
            ),
        ),
        lines(
            "certificate",
            "Certificates end in",
            "s",
            "Below 14 days: renew the file and start again. The one of DTLS is made anew by each "
            "start unless dtls.cert_file names one.",
            Query(
                BOARD.gauge(process.CERTIFICATE_EXPIRY, "certificate", fold="min") + " - time()",
                "{{certificate}}",
            ),
        ),
        lines(
            "reported-jitter",
            "Jitter reported by viewers",
            "s",
            "Quantiles over reports. Above 30 ms players buffer more: latency grows for everybody "
            "behind that way.",
            *quantiles(BOARD, engine.VIEWER_JITTER, 0.5, 0.95),
        ),
    ),
)

BOARD_JOINS = Board(
    "joins",
    "Joins and failures",
    "Who does not get in, at which stage and why, and who is lost later.",
    (_JOINS, _FAILURES),
    onward=("stream", "engine", "broadcast"),
)
