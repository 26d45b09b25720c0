"""The one error tree.

Four kinds: what stops a start (:class:`ConfigError`, :class:`HostError`), what answers a request
(:class:`RequestError`), what comes of asking another server (:class:`RemoteError`), and a run that
failed (:class:`RunError`). Every message is a sentence that a person can act on. This file knows no
HTTP status of ours: ``pyforward.api.problem`` alone maps the request errors; the exit codes of the
others are used by ``pyforward.options`` alone.
"""
# ruff: noqa: N818 - a request error is named by the answer that it becomes.

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class PyforwardError(Exception):
    """Whatever pyforward itself raises. ``exit_code`` ends the process when nobody catches it."""

    exit_code: ClassVar[int] = 1


# What stops a start or a run ---------------------------------------------------------------------


class RunError(PyforwardError):
    """The server ran and failed."""


class ConfigError(PyforwardError):
    """A setting is unknown or wrong. The message names it, where it came from and what to do."""

    exit_code = 2


class HostError(PyforwardError):
    """The machine does not give what is needed: a port in use, a permission, the native module."""

    exit_code = 3


class MediaError(PyforwardError):
    """A media file, or a frame in it, cannot be sent as it is. The message says what is wrong and,
    where a conversion helps, the command that converts."""

    exit_code = 2


# What answers a request --------------------------------------------------------------------------


class RequestError(PyforwardError):
    """A request that is refused. ``detail`` is the sentence for the client.

    ``extra`` holds further members of a problem body, ``retry_after_s`` is set where asking again
    later may help.
    """

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.extra: dict[str, object] = extra


class BadRequest(RequestError):
    """A name, a cursor or a body that cannot be what it should be."""


class BadOffer(RequestError):
    """An SDP text or a trickle fragment that cannot be read, or that breaks its own grammar.

    ``line`` counts from 1 and is None where no single line is to blame.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        if line is None:
            super().__init__(reason)
        else:
            super().__init__(f"line {line}: {reason}", line=line)
        self.line = line


class Unprocessable(RequestError):
    """A well-formed request that asks for what is not done here."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None, **extra: object) -> None:
        super().__init__(reason, retry_after_s=retry_after_s, **extra)


class NoCommonCodec(Unprocessable):
    """The viewer offers none of the stream's codecs. ``codecs`` are the stream's."""

    def __init__(self, codecs: Sequence[str]) -> None:
        names = ", ".join(codecs)
        super().__init__(
            f"The offer has no codec in common with the stream, which carries {names}.",
            codecs=list(codecs),
        )
        self.codecs = tuple(codecs)


class StreamNotFound(RequestError):
    """No stream of this name exists."""

    def __init__(self, name: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"There is no stream {name!r}.", retry_after_s=retry_after_s)
        self.name = name


class StreamNotLive(RequestError):
    """The stream is declared, but nobody publishes it."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__(
            f"Nobody publishes the stream {name!r} yet; ask again later.",
            retry_after_s=retry_after_s,
        )
        self.name = name


class StreamInUse(RequestError):
    """Another publisher has the stream, and ``streams.conflict`` is ``reject``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The stream {name!r} already has a publisher.")
        self.name = name


class SessionNotFound(RequestError):
    """No session answers to this URL or id; it may have ended."""

    def __init__(self) -> None:
        super().__init__("There is no such session; it may have ended.")


class Overloaded(RequestError):
    """A limit is reached; asking again later may help.

    ``limit`` names the setting, or what else sets the limit, and ``value`` is how much it allows;
    ``stream`` is set where it is the stream that is full.
    """

    def __init__(
        self,
        retry_after_s: float = 1.0,
        reason: str = "Too many joins at once; ask again later.",
        *,
        limit: str = "",
        value: int = 0,
        stream: str | None = None,
    ) -> None:
        extra = {"limit": limit} if limit else {}
        super().__init__(reason, retry_after_s=retry_after_s, **extra)
        self.limit = limit
        self.value = value
        self.stream = stream


class Unauthorised(RequestError):
    """The request carries no token, and one is needed."""

    def __init__(self, reason: str = "Send a token: Authorization: Bearer <token>.") -> None:
        super().__init__(reason)


class Forbidden(RequestError):
    """The token is wrong, or does not allow this."""

    def __init__(self, reason: str = "This token does not allow that.") -> None:
        super().__init__(reason)


class PreconditionFailed(RequestError):
    """If-Match names another state of the session than the present one."""

    def __init__(self, reason: str = "If-Match is not the ETag of this session.") -> None:
        super().__init__(reason)


class PreconditionRequired(RequestError):
    """If-Match is missing where it is needed (RFC 6585 §3)."""

    def __init__(self, reason: str = "Send If-Match with the session's ETag.") -> None:
        super().__init__(reason)


class BodyTooLarge(RequestError):
    """The body is larger than ``limits.body_bytes``."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body may have at most {limit_bytes} bytes.")


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The body did not arrive within {limit_s:g} s.")


class UnsupportedMediaType(RequestError):
    """The body is not of the type that this resource takes."""

    def __init__(self, expected: str) -> None:
        super().__init__(f"Send the body as {expected}.")
        self.expected = expected


# What comes of asking another server -------------------------------------------------------------


class RemoteError(PyforwardError):
    """Another server did not do what it was asked.

    The sentence may quote what that server wrote, and ends up on terminals: whatever is not
    printable becomes a blank, and it is bounded.
    """

    MAX_CHARS: ClassVar[int] = 500

    def __init__(self, sentence_untrusted: str) -> None:
        kept = sentence_untrusted[: self.MAX_CHARS]
        super().__init__("".join(char if char.isprintable() else " " for char in kept))


class Unreachable(RemoteError):
    """No connection, no trust in its certificate, or no answer in time."""


class SessionFailed(RemoteError):
    """Signalling was done, and yet the session never connected. ``reason`` is the engine's."""

    _SENTENCES: ClassVar[dict[str, str]] = {
        "never_connected": (
            "No check was answered: UDP does not get from here to the server's candidates, or not "
            "back."
        ),
        "handshake": "The DTLS handshake came to no end{failure}.",
        "no_socket": "This process has no socket left; raise its limit of open files (ulimit -n).",
    }

    def __init__(self, reason: str, failure: str = "") -> None:
        default = "The session ended before it was connected ({reason})."
        sentence = self._SENTENCES.get(reason, default)
        told = f": {failure.replace('_', ' ')}" if failure else ""
        super().__init__(sentence.format(reason=reason, failure=told))
        self.reason = reason


class BadAnswer(RemoteError):
    """It answered what cannot be read or cannot be used."""


class Refused(RemoteError):
    """It answered with a status that is no success."""

    def __init__(self, sentence_untrusted: str, status: int) -> None:
        super().__init__(sentence_untrusted)
        self.status = status


class NotYet(Refused):
    """It asked to come again later, and later is past our patience."""
