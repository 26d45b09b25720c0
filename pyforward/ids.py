"""Identities: numbers that the engine knows and secrets that URLs carry."""

from __future__ import annotations

import secrets
from typing import NewType

SessionId = NewType("SessionId", int)
"""One ICE + DTLS association. 63 random bits, so that it can be shown and never collides."""

StreamId = NewType("StreamId", int)
"""One stream under a name; counted up, never reused."""


def new_session_id() -> SessionId:
    """A fresh session id."""
    return SessionId(secrets.randbits(63))


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
