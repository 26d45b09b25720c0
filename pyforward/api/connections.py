"""HTTP before there is a request: what cannot be read is answered and logged like all else.

aiohttp answers such input by itself, in plain text, without the headers that pages need, and logs
each as an error with its traceback, which would let any port scanner fill the log. Silence is
bounded here as well, and so is what waits to be read, because every answer passes here, whatever
it answers. What a request that can be read asks for is never decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import HttpProcessingError

from pyforward.api.cors import add_cors_headers
from pyforward.api.problem import of_error, of_http_exception, response
from pyforward.api.unread import Unread
from pyforward.errors import Overloaded

KEEP_ALIVE_S = 75.0
"""How long a connection may stay between two requests: longer than proxies keep theirs, which is
60 s with the common ones, so that it is they who close."""

FIRST_REQUEST_S = 30.0
"""How long a connection may take over the head of its first request."""

UNREAD_MS = 30_000
"""A client that takes nothing for so long of what the kernel has for it is cut off: by the kernel,
which alone knows (TCP_USER_TIMEOUT, RFC 5482). Of the rest of an answer :mod:`.unread` knows."""

KERNEL_BUFFER_BYTES = 64 * 1024
"""What the kernel takes ahead of a reader. It would take megabytes, which nobody counts but the
control group."""

PIECE_BYTES = 64 * 1024

_log = structlog.get_logger("pyforward.http")

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Runner(web.AppRunner):
    """An AppRunner whose connections are :class:`_Connection`."""

    def __init__(self, app: web.Application, unread: Unread, **habits: Any) -> None:
        super().__init__(app, **habits)
        self._unread = unread

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            _answering(server.request_handler, self._unread),
            self._unread,
            request_factory=_writing_in_pieces(server.request_factory),
            handler_cancellation=server.handler_cancellation,
            loop=asyncio.get_running_loop(),
            # What the application's own server would give its connections.
            **server._kwargs,
        )


def cut_off(transport: asyncio.Transport | None) -> None:
    """Ends a connection whose client does not read. What waits for it is forgotten, in the kernel
    too: a close, and without SO_LINGER even an abort, would have it wait there to be read."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            at_once = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    transport.abort()


# Private -----------------------------------------------------------------------------------------


def _answering(handle: Handle, unread: Unread) -> Handle:
    """What passes by the application's middleware: exceptions of aiohttp, such as that of an Expect
    header which nobody meets, and answers for which there is no room. Those are let go of here,
    where nobody else holds them yet."""

    async def answering(request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await handle(request)
            unread.admit(answer.content_length or 0)
        except web.HTTPException as error:
            return of_http_exception(request, error)
        except Overloaded as error:
            return of_error(error)
        return answer

    return answering


def _writing_in_pieces(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """A factory of requests whose answers are written by :class:`_Writer`."""

    def making(
        message: object, payload: object, connection: web.RequestHandler, _: object, task: object
    ) -> web.BaseRequest:
        writer = _Writer(connection, asyncio.get_running_loop())
        return make(message, payload, connection, writer, task)

    return making


class _Writer(StreamWriter):
    """Hands a long answer over piece by piece, each when those before it are with the kernel. So
    what waits is the answer itself, and no copy of it on the way: not in a transport of TLS either,
    which takes all it is given, and keeps to itself how much of it is still there."""

    async def write_eof(self, chunk: bytes = b"") -> None:
        view, sent = memoryview(chunk), 0
        while len(view) - sent > PIECE_BYTES:
            await self.write(view[sent : sent + PIECE_BYTES])
            await self.drain()
            sent += PIECE_BYTES
        await super().write_eof(chunk[sent:])


class _Server(web.Server):
    def __init__(self, handle: Handle, unread: Unread, **habits: Any) -> None:
        super().__init__(handle, **habits)
        self._unread = unread

    def __call__(self) -> web.RequestHandler:
        habits = {"loop": self._loop, "keepalive_timeout": KEEP_ALIVE_S, **self._kwargs}
        return _Connection(self, self._unread, **habits)


class _Connection(web.RequestHandler):
    __slots__ = ("_patience", "_unread")

    def __init__(self, server: web.Server, unread: Unread, **habits: Any) -> None:
        super().__init__(server, **habits)
        self._unread = unread

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            # An answer is over when all of it is with the kernel, and the next one, of a request
            # that came behind, waits until then. (At 0 a transport of TLS would stop forthwith.)
            self.transport.set_write_buffer_limits(high=1, low=0)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        self._patience = self._loop.call_later(FIRST_REQUEST_S, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        def on_dropped(reason: str) -> None:
            _log.warning("reader_dropped", peer=request.remote, reason=reason)
            cut_off(self.transport)

        with self._unread.waiting(resp.content_length or 0, on_dropped):
            over = await super().finish_response(request, resp, start_time)
        if isinstance(resp, web.Response):
            # aiohttp holds it until the next answer, which may be a minute or never.
            resp.body = None
        return over

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
