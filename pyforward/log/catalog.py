"""Every entry of the log, declared once: its name, level, fields and meaning.

``python -m pyforward.log docs/operate/logs.md`` writes the document; a contract test holds each
call of a logger against this list. Nothing here logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]

FIELDS: dict[str, str] = {
    "attempts": "how often it was sent",
    "away_s": "seconds without a publisher",
    "exception": "the traceback, without values of variables",
    "failure": "what ended the handshake, see [Reasons](#reasons)",
    "http": "the URL of HTTP, as this machine reaches it",
    "kind": "the engine's event",
    "lasted_s": "seconds from the offer to the end of a session, or from start to end of a stream",
    "limit": "the setting that says no",
    "media": "the addresses and ports of media",
    "method": "the HTTP method",
    "ms": "how long the answer took",
    "note": "a sentence",
    "peer": "the address that HTTP sees, that of a proxy where one is between",
    "profile": "the SRTP protection profile",
    "published_s": "seconds from a publisher's first media to its end",
    "reason": "why, see [Reasons](#reasons)",
    "refused": "joins refused for this since the last entry",
    "replaced": "the session id of the publisher before",
    "role": "`publish` or `watch`",
    "route": "the path with placeholders, never with a secret",
    "session": "the session's id, as in the API; it grants nothing",
    "status": "the HTTP status",
    "stopped": "the shards that did stop",
    "stream": "the stream's name",
    "target": "scheme, host and port of a webhook's address; the rest may be secret",
    "told": "the engine's event, in the client role",
    "took_s": "seconds from the offer",
    "value": "how much the limit allows",
    "version": "pyforward's version",
    "viewers": "viewers of the stream at this moment",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of entry. ``fields`` are those it always has."""

    name: str
    level: Level
    fields: tuple[str, ...]
    meaning: str


SESSION = ("role", "stream", "session")
"""What names a session."""

CATALOG: tuple[Entry, ...] = (
    # The process
    Entry("engine_note", "warning", ("note",), "The machine could serve the engine better."),
    Entry("ready", "info", ("version", "http", "media"), "Everything answers."),
    Entry("stopping", "info", (), "A signal ends the server."),
    Entry(
        "shards_did_not_stop", "warning", ("stopped",), "Farewells were not all said in the time."
    ),
    Entry("events_ended", "error", ("exception",), "The engine tells nothing more; exit code 1."),
    # Streams
    Entry("stream_started", "info", ("stream", "session"), "The first media of a stream came."),
    Entry(
        "publisher_lost",
        "warning",
        ("stream", "session", "reason", "published_s", "viewers"),
        "The publisher is gone; its viewers are kept for `streams.wait_s`.",
    ),
    Entry(
        "publisher_back",
        "info",
        ("stream", "session", "away_s", "viewers"),
        "A publisher came back; the same viewers go on.",
    ),
    Entry(
        "publisher_replaced",
        "info",
        ("stream", "session", "replaced"),
        "Another publisher took the stream over.",
    ),
    Entry("stream_ended", "info", ("stream", "reason", "lasted_s"), "The stream is over."),
    # Sessions
    Entry(
        "session_connected",
        "info",
        (*SESSION, "profile", "took_s"),
        "The handshake is done and the keys are installed.",
    ),
    Entry("session_flows", "info", (*SESSION, "took_s"), "The first media came, or went out."),
    Entry("ice_restarts", "info", SESSION, "The peer asked for a restart of ICE, and has it."),
    Entry(
        "dtls_ended",
        "info",
        (*SESSION, "failure"),
        "The handshake failed, or the peer closed the connection.",
    ),
    Entry("session_closed", "info", (*SESSION, "reason", "lasted_s"), "The session is gone."),
    # Joins and limits
    Entry("join_refused", "debug", ("role", "reason"), "An offer was not taken."),
    Entry(
        "capacity_reached",
        "warning",
        ("limit", "value", "stream", "refused"),
        "Joins are refused because a limit is reached; at most every 10 s for each limit.",
    ),
    # HTTP
    Entry("request", "debug", ("method", "route", "status", "peer", "ms"), "A request is over."),
    Entry("unreadable_request", "debug", ("peer", "reason"), "What came is no HTTP."),
    Entry(
        "request_failed",
        "error",
        ("exception",),
        "A bug: an answer 500. Where the request could be read, `method` and `route` say which; "
        "else `peer` says whose.",
    ),
    Entry("event_failed", "error", ("exception",), "A bug: an event could not be handled."),
    Entry("figures_failed", "error", ("exception",), "A bug: a screen gets no figures."),
    Entry("handshake_broke", "error", ("exception",), "A bug: a handshake was given up."),
    # Readers, listeners and webhooks
    Entry(
        "reader_dropped",
        "warning",
        ("peer", "reason"),
        "A client did not read what it had asked for over HTTP.",
    ),
    Entry(
        "listener_dropped",
        "warning",
        ("peer", "reason"),
        "A listener of `/api/events` did not read what it was sent.",
    ),
    Entry(
        "webhook_failed",
        "warning",
        ("target", "reason", "attempts"),
        "An event could not be delivered; it will be sent again.",
    ),
    Entry(
        "webhook_given_up",
        "error",
        ("target", "reason", "attempts"),
        "An event was not delivered and will not be.",
    ),
    Entry("webhook_dropped", "warning", ("target", "reason"), "Too many events wait: the oldest."),
    # The client role, in `watch`, `publish` and the demo
    Entry("trickle_refused", "info", ("reason",), "The server did not take a candidate."),
)


@dataclass(frozen=True, slots=True)
class Reasons:
    """What ``reason``, or another field, may say in these entries, and what each means."""

    entries: tuple[str, ...]
    words: Mapping[str, str]
    field: str = "reason"


REASONS: tuple[Reasons, ...] = (
    Reasons(
        ("session_closed", "publisher_lost"),
        {
            "deleted": "a DELETE of its own, or by an operator",
            "bye": "the peer said goodbye: BYE and silence after it, or close_notify",
            "silent": "nothing authenticated came for `ice.silence_s`",
            "replaced": "another publisher has the stream",
            "handshake": "DTLS came to no end; `dtls_ended` says why",
            "never_connected": "no check came within `ice.connect_timeout_s`: UDP is lost",
            "consent_expired": "in the client role: no check was answered for 30 s",
            "no_socket": "in the client role: the kernel gave no socket",
            "stream_ended": "its stream is over",
            "no_common_codec": "the viewer lacks the codec of a publisher that came",
            "stopping": "the server stops",
        },
    ),
    Reasons(
        ("stream_ended",),
        {
            "no_publisher": "nobody published it again within `streams.wait_s`",
            "deleted": "an operator ended it",
            "stopping": "the server stops",
        },
    ),
    Reasons(
        ("dtls_ended",),
        {
            "fingerprint": "the certificate is not the one that the offer names",
            "closed": "the peer said close_notify; with keys that is its goodbye",
            "no_srtp_profile": "none in common; see `dtls.srtp_profiles`",
            "protocol": "an alert of the peer's, or what is no DTLS",
            "timeout": "not done within `dtls.handshake_timeout_s`",
            "overload": "silent too long while others waited for a place",
        },
        field="failure",
    ),
    Reasons(
        ("join_refused",),
        {
            "bad_request": "the stream's name can be none, or the offer is no text",
            "bad_offer": "the offer cannot be read",
            "unprocessable": "the offer asks for what is not done here",
            "no_common_codec": "the viewer has no codec of the stream's",
            "unauthorised": "no token",
            "forbidden": "a wrong token, or one that does not allow this",
            "stream_not_found": "there is no such stream",
            "stream_not_live": "nobody publishes it",
            "stream_in_use": "it has a publisher, and `streams.conflict` is `reject`",
            "overloaded": "a limit is reached; `capacity_reached` names it",
            "body_too_large": "more than `limits.body_bytes`",
            "body_too_slow": "the offer did not arrive in time",
            "unsupported_media_type": "the body is not called `application/sdp`",
        },
    ),
    Reasons(
        ("listener_dropped",),
        {
            "it is too far behind": "`events.queue` events waited for it",
            "it does not read": "it took nothing for 10 s",
        },
    ),
    Reasons(
        ("reader_dropped",),
        {
            "it takes too long to read": "it had not taken all of an answer after 30 s",
            "it does not read, and others need the room": "`limits.unread_bytes` waited",
        },
    ),
    Reasons(
        ("webhook_failed", "webhook_given_up"),
        {
            "timeout": "no answer within `webhooks.timeout_s`",
            "unreachable": "no connection, or no trust in its certificate",
            "http_…": "it answered with this status, which is no success",
        },
    ),
    Reasons(("webhook_dropped",), {"queue_full": "`webhooks.queue` events waited"}),
    Reasons(("unreadable_request",), {"…": "the HTTP parser's clause, without what was sent"}),
    Reasons(("trickle_refused",), {"…": "the sentence with the server's answer"}),
)
"""Those that are a closed set in the code are held against it by a contract test."""


def by_name() -> dict[str, Entry]:
    """Every entry under its name."""
    return {entry.name: entry for entry in CATALOG}


_INTRODUCTION = """\
# Logs

<!-- Written by `python -m pyforward.log docs/operate/logs.md`; change the catalog instead. -->

The log goes to standard error, one line an entry: readable text, or with `log.format = "json"` one
JSON object. Each has `timestamp` (UTC), `level`, `logger` and `event`, and the fields below. An
entry is written for each change of state, never for a packet. It holds no token, no URL of a
session and nothing of a payload; control characters in what a stranger sent are written as escapes,
so that nobody forges an entry.

**Bursts.** Of one event with one reason (and one role and limit) at most `log.lines_per_s` lines
are written in a second. The rest is summed in one line at the second's end: the same event, with
`reason`, `role` and `limit` where it has them, and `repeated`, which is how many were left out.
Nothing is left out of the [metrics](../metrics.md) and of the [events](console.md#events).

To follow one viewer, search for its `session`, which the console and the API show."""


def markdown() -> str:
    """The text of ``docs/operate/logs.md``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield ""
    yield "| event | level | fields | meaning |"
    yield "|---|---|---|---|"
    for entry in CATALOG:
        fields = ", ".join(f"`{name}`" for name in entry.fields)
        yield f"| `{entry.name}` | {entry.level} | {fields} | {entry.meaning} |"
    yield ""
    yield "## Reasons"
    for one in REASONS:
        names = ", ".join(f"`{name}`" for name in one.entries)
        yield ""
        yield f"| `{one.field}` of {names} | because |"
        yield "|---|---|"
        for word, meaning in one.words.items():
            yield f"| `{word}` | {meaning} |"
    yield ""
    yield "## Fields"
    yield ""
    yield "| field | is |"
    yield "|---|---|"
    for name, meaning in sorted(FIELDS.items()):
        yield f"| `{name}` | {meaning} |"
