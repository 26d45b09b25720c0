"""HTTP before there is a request: what cannot be read is answered and logged like all else.

aiohttp answers such input by itself, in plain text, without the headers that pages need, and logs
each as an error with its traceback, which would let any port scanner fill the log. Silence is
bounded here as well. What a request that can be read asks for is never decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pyforward.api.cors import add_cors_headers
from pyforward.api.problem import of_http_exception, response

KEEP_ALIVE_S = 75.0
"""How long a connection may stay between two requests: longer than proxies keep theirs, which is
60 s with the common ones, so that it is they who close."""

FIRST_REQUEST_S = 30.0
"""How long a connection may take over the head of its first request."""

UNREAD_MS = 30_000
"""A client that takes nothing of an answer for so long is cut off: by the kernel, which alone knows
(TCP_USER_TIMEOUT, RFC 5482). Otherwise whoever asks for much and reads nothing is kept forever."""

_log = structlog.get_logger("pyforward.http")

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Runner(web.AppRunner):
    """An AppRunner whose connections are :class:`_Connection`."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            _answering_exceptions(server.request_handler),
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=asyncio.get_running_loop(),
            # What the application's own server would give its connections.
            **server._kwargs,
        )


# Private -----------------------------------------------------------------------------------------


def _answering_exceptions(handle: Handle) -> Handle:
    """Exceptions of aiohttp that pass by the application's middleware, such as that of an Expect
    header which nobody meets."""

    async def answering(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPException as error:
            return of_http_exception(request, error)

    return answering


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, keepalive_timeout=KEEP_ALIVE_S, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ("_patience",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        self._patience = self._loop.call_later(FIRST_REQUEST_S, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("An answer has begun; another one cannot follow.")
        if isinstance(exc, HttpProcessingError):
            reason = _first_clause(message or "")
            _log.debug("unreadable_request", peer=request.remote, reason=reason)
            answer = response(
                HTTPStatus.BAD_REQUEST,
                "unreadable_request",
                f"This is no HTTP request that can be read: {reason}.",
            )
        else:
            _log.error("request_failed", peer=request.remote, exc_info=exc)
            answer = response(
                HTTPStatus(status), "internal", "Something went wrong here. The log tells more."
            )
        # The request never met the application, which adds these to every other response.
        add_cors_headers(answer)
        answer.force_close()
        return answer


def _first_clause(message: str) -> str:
    """What is wrong, without the bytes that are: these may hold a token."""
    clause = message.splitlines()[0] if message else ""
    return clause.partition(":")[0].rstrip(" .") or "it is malformed"
