"""A server on loopback that answers as a test says, and a client whose time passes at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from pyforward.client import Signalling
from pyforward.client.exchange import Permit, Trust

ANSWER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
OFFER = "v=0\r\nan offer\r\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Site:
    """The server: ``replies`` are given in turn, the last one again and again."""

    server: TestServer
    replies: list[Handler] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def url(self, path: str) -> str:
        return str(self.server.make_url(path))

    def requests(self, method: str) -> list[Seen]:
        return [item for item in self.seen if item.method == method]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(request.method, request.path_qs, dict(request.headers), await request.text())
        )
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(request)


@dataclass
class Time:
    """A clock that only ``sleep`` moves."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    *replies: Handler, host: str = "127.0.0.1", ssl: SSLContext | None = None
) -> AsyncIterator[Site]:
    """A server on a free port."""
    app = web.Application()
    server = TestServer(app, host=host, scheme="https" if ssl else "http")
    site = Site(server, list(replies))
    app.router.add_route("*", "/{path:.*}", site.handle)
    await server.start_server(ssl=ssl)
    try:
        yield site
    finally:
        await server.close()


@asynccontextmanager
async def client(
    time: Time | None = None,
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    patience_s: float = 60.0,
    time_limit_s: float = 20.0,
    leave_limit_s: float = 5.0,
    ssl: Trust = True,
    permit: Permit | None = None,
) -> AsyncIterator[Signalling]:
    time = time or Time()
    async with (
        aiohttp.ClientSession() as http,
        Signalling(
            http,
            token=token,
            headers=headers,
            ssl=ssl,
            patience_s=patience_s,
            time_limit_s=time_limit_s,
            leave_limit_s=leave_limit_s,
            permit=permit,
            rng=random.Random(1),
            clock=time,
            sleep=time.sleep,
        ) as signalling,
    ):
        yield signalling


# Replies ------------------------------------------------------------------------------------------


def status(
    code: int,
    text: str = "",
    content_type: str = "text/plain",
    **headers: str,
) -> Handler:
    """Always this answer; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, body=text.encode(), content_type=content_type, headers=named
        )

    return reply


def created(location: str = "/session/secret", **headers: str) -> Handler:
    """A join that succeeds."""
    return status(201, ANSWER, "application/sdp", Location=location, **headers)


def problem(code: int, detail: str, **headers: str) -> Handler:
    """A refusal with a reason; ``detail`` is JSON already."""
    return status(code, f'{{"detail": {detail}}}', "application/problem+json", **headers)
