"""Identities: numbers that the engine knows and secrets that URLs carry."""

from __future__ import annotations

import secrets
import time
from typing import NewType

SessionId = NewType("SessionId", int)
"""One ICE + DTLS association. Counted up and never reused, also over restarts: of two publishers of
a stream every shard takes the one with the higher id, in whatever order it hears of them."""

StreamId = NewType("StreamId", int)
"""One stream under a name; counted up from 1, never reused."""

NOWHERE = StreamId(0)
"""No stream at all: what comes in there is received and counted, and nobody can watch it."""


_last_session = 0


def new_session_id() -> SessionId:
    """A fresh session id, higher than every one before: microseconds since 1970, or one more than
    the last. It fits 63 bits and grants nothing; what grants is :func:`new_secret`."""
    global _last_session
    _last_session = max(_last_session + 1, time.time_ns() // 1_000)
    return SessionId(_last_session)


def format_session(session: SessionId) -> str:
    """The id as the API shows it: 16 hexadecimal digits. It grants nothing."""
    return f"{session:016x}"


def parse_session(text: str) -> SessionId | None:
    """The id that :func:`format_session` wrote, or None."""
    if len(text) != 16 or not all(c in "0123456789abcdef" for c in text):
        return None
    return SessionId(int(text, 16))


def new_secret() -> str:
    """128 random bits for a session URL (RFC 9725 §4.2: unguessable)."""
    return secrets.token_urlsafe(16)


def new_etag() -> str:
    """A strong entity tag with its quotes (RFC 9110 §8.8.3)."""
    return f'"{new_secret()}"'
