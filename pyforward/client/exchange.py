"""One HTTP request to a server that nobody vouches for: bounded in bytes and in time, no redirect
followed, and whatever goes wrong told in one sentence that says what and where.

Sentences name a server by its origin alone: paths and queries of WHIP and WHEP addresses are often
secrets.
"""

from __future__ import annotations

import json
import os
import socket
import ssl as tls
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from pyforward.errors import ConfigError, Unreachable

MAX_BODY_BYTES: Final = 64 * 1024
MAX_DETAIL_CHARS: Final = 240

PROBLEM_TYPE: Final = "application/problem+json"

Trust = tls.SSLContext | bool
"""What aiohttp takes: a context, True for the system's authorities, False for no check at all."""

Permit = Callable[[str], object]
"""Judges a host or an address before anything is sent there: raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``trouble`` says in a clause why ``body`` is not all that was sent, and is
    empty where it is."""

    url: URL
    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes
    trouble: str

    @property
    def where(self) -> str:
        """Who answered."""
        return where(self.url)

    def sentence(self) -> str:
        """The status, and what the server says of it in a problem body (RFC 9457)."""
        try:
            phrase = f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            phrase = str(self.status)
        detail = self._detail()
        return f"{self.where} answered {phrase}{f': {detail}' if detail else ''}."

    def _detail(self) -> str:
        if self.content_type != PROBLEM_TYPE:
            return ""
        try:
            problem = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        detail = problem.get("detail") if isinstance(problem, dict) else None
        return detail[:MAX_DETAIL_CHARS].strip().rstrip(".") if isinstance(detail, str) else ""


class Exchange:
    """Makes requests over an HTTP session that somebody else opens and closes."""

    def __init__(
        self, http: aiohttp.ClientSession, ssl: Trust, permit: Permit | None = None
    ) -> None:
        self._http = http
        self._ssl = ssl
        self._permit = permit

    def check(self, url: URL) -> None:
        """Raises ConfigError where nothing may be asked."""
        if self._permit is not None and url.host is not None:
            self._permit(url.host)

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: str | None = None,
        *,
        time_limit_s: float,
    ) -> Reply:
        """The reply, with its body as far as it came; raises
        :class:`~pyforward.errors.Unreachable` where there is none, and as :meth:`check` does."""
        self.check(url)
        if self._http.closed:
            raise Unreachable(f"{where(url)} is asked nothing any more: the client is closed.")
        try:
            async with self._http.request(
                method,
                url,
                data=None if body is None else body.encode(),
                headers={"Accept-Encoding": "identity", **headers},
                allow_redirects=False,
                auto_decompress=False,
                ssl=self._ssl,
                timeout=aiohttp.ClientTimeout(total=time_limit_s),
            ) as response:
                content, trouble = await _read(response)
                return Reply(
                    url,
                    response.status,
                    response.headers,
                    response.content_type,
                    content,
                    trouble,
                )
        except TimeoutError:
            raise Unreachable(f"{where(url)} did not answer within {time_limit_s:g} s.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(_unreachable(where(url), error)) from error


def where(url: URL) -> str:
    """Scheme, host and port."""
    return str(url.origin())


def trust(ca_file: Path | None = None, *, insecure: bool = False) -> Trust:
    """Whose certificates are believed: the system's authorities, those of a PEM file, or anybody.
    Raises ConfigError for a file that holds none."""
    if insecure:
        return False
    if ca_file is None:
        return True
    try:
        return tls.create_default_context(cafile=str(ca_file))
    except OSError as error:  # SSLError is one
        reason = "there is no certificate in it" if isinstance(error, tls.SSLError) else None
        raise ConfigError(
            f"The CA file {ca_file} cannot be used: {reason or error.strerror}."
        ) from None


# Private -----------------------------------------------------------------------------------------


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, str]:
    """The body and what is wrong with it. Never raises: the headers came, and they may name a
    resource that has to be deleted."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return b"", "is encoded in a way that was not asked for"
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return b"", f"has more than {MAX_BODY_BYTES} bytes"
    except TimeoutError:
        return b"", "did not come in time"
    except (aiohttp.ClientError, OSError):
        return b"", "broke off"
    return bytes(body), ""


def _unreachable(place: str, error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            reason = getattr(cause, "verify_message", "") or type(cause).__name__
            return f"The certificate of {place} is not trusted: {reason}."
        case aiohttp.ClientConnectorSSLError():
            cause = error.os_error
            return f"TLS with {place} failed: {getattr(cause, 'reason', '') or cause}."
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, socket.gaierror):
            return f"The host of {place} is not known: {error.os_error.strerror}."
        case aiohttp.ClientConnectorError():
            # aiohttp's own text repeats the address; the number says what happened.
            number = error.os_error.errno
            return f"{place} cannot be reached: {os.strerror(number) if number else error}."
        case aiohttp.ServerDisconnectedError():
            return f"{place} closed the connection without an answer."
        case aiohttp.ClientResponseError():
            return f"{place} answered what is no HTTP."
        case _:
            return f"The request to {place} failed: {str(error) or type(error).__name__}."
