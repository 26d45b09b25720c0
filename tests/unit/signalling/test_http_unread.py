"""Answers that nobody reads: what waits is bounded, in bytes and in time, and others are served."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from asyncio import StreamReader
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from pyforward.api import TokenAuthoriser, Unread, make_app, make_runner, unread
from pyforward.config import Config
from pyforward.errors import Overloaded
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import CERTIFICATE, Clock, running

LARGE = bytes(12_000_000)
"""More than all buffers on the way to a client hold together."""

LIMIT_BYTES = 100_000

HEAD_BYTES = 1024
"""More than an answer's head has, which is not counted."""

JOIN = offer("sendonly").encode()

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
"""Of server and client."""


@dataclass
class Served:
    """A server behind the runner that the real one uses; ``/metrics`` is large there."""

    unread: Unread
    clock: Clock
    runner: web.AppRunner
    address: tuple[str, int]
    tls: ssl.SSLContext | None

    @asynccontextmanager
    async def asking(self, path: str, times: int = 1) -> AsyncIterator[StreamReader]:
        """A client that asks at once so many times, and reads when the test does."""
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.tls, limit=1024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * times)
        try:
            yield reader
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def deaf(self, path: str = "/metrics", times: int = 1) -> AsyncIterator[StreamReader]:
        """The same when the answer is on its way and waits, since nobody reads."""
        before = self.unread.waiting_bytes
        async with self.asking(path, times) as reader:
            await until(lambda: self.unread.waiting_bytes > before)
            yield reader

    async def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """As somebody who reads."""
        async with self.asking(path) as reader:
            return await answer(reader)

    async def join(self) -> int:
        """The status of a join."""
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.tls)
        head = f"POST /whip/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(JOIN)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/sdp\r\n\r\n" + JOIN)
        status, _, _ = await answer(reader)
        writer.close()
        return status


@asynccontextmanager
async def serving(tls: Contexts | None = None) -> AsyncIterator[Served]:
    config, clock = Config(), Clock()
    book = Unread(LIMIT_BYTES, clock=clock)
    theirs, ours = tls or (None, None)
    async with running(config) as world:
        app = make_app(
            world.control, config, TokenAuthoriser(config), lambda _: (LARGE, "text/plain")
        )
        runner = make_runner(app, config, book)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=theirs).start()
            host, port = runner.addresses[0][:2]
            yield Served(book, clock, runner, (host, port), ours)
        finally:
            await runner.cleanup()


@pytest_asyncio.fixture(params=["plain", "tls"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Either way: TLS has buffers of its own."""
    async with serving(contexts(tmp_path) if request.param == "tls" else None) as one:
        yield one


def contexts(place: Path) -> Contexts:
    certificate, key = place / "cert.pem", place / "key.pem"
    pem, secret = serialization.Encoding.PEM, serialization.NoEncryption()
    certificate.write_bytes(CERTIFICATE.certificate.public_bytes(pem))
    key.write_bytes(CERTIFICATE.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


async def answer(reader: StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next one."""
    async with asyncio.timeout(20):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["Content-Length"]))
    return int(status.split()[1]), headers, body


async def until(true: Callable[[], object]) -> None:
    for _ in range(1_000_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come true")


async def test_who_reads_gets_all_of_it_and_nothing_waits_any_more(served: Served) -> None:
    status, _, body = await served.get("/metrics")
    assert status == 200
    assert body == LARGE
    await until(lambda: served.unread.waiting_bytes == 0)
    assert (served.unread.dropped, served.unread.refused) == (0, 0)


async def test_who_reads_nothing_is_cut_off_after_its_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "TAKE_LIMIT_S", 0.05)
    with capture_logs() as logged:
        async with served.asking("/metrics") as reader:
            await until(lambda: served.unread.dropped)
            with pytest.raises(ConnectionResetError):
                await answer(reader)
    assert served.unread.waiting_bytes == 0
    (line,) = [line for line in logged if line["event"] == "reader_dropped"]
    assert (line["peer"], line["reason"]) == ("127.0.0.1", "it takes too long to read")


async def test_beyond_the_limit_a_large_answer_is_refused_and_small_ones_are_not(
    served: Served,
) -> None:
    async with served.deaf() as reader:
        status, headers, body = await served.get("/metrics")
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "overloaded")
        assert problem["limit"] == "limits.unread_bytes"
        assert int(headers["Retry-After"]) >= 1
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert (await served.get("/healthz"))[0] == 200
        assert await served.join() == 201
        assert served.unread.refused == 1
        # Whoever was there first has its second for itself, and all of its answer.
        assert (await answer(reader))[2] == LARGE
        await until(lambda: not served.unread.waiting_bytes)
    assert served.unread.dropped == 0
    assert (await served.get("/metrics"))[0] == 200


async def test_who_has_had_its_time_gives_way_to_others(served: Served) -> None:
    async with served.deaf() as first, served.asking("/metrics") as refused:
        assert (await answer(refused))[0] == 503
        served.clock.now += unread.GRACE_S
        with capture_logs() as logged:
            assert (await served.get("/metrics"))[2] == LARGE
        with pytest.raises(ConnectionResetError):
            await answer(first)
    assert served.unread.dropped == 1
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == [
        "reader_dropped"
    ]


async def test_of_requests_on_one_connection_one_answer_waits(served: Served) -> None:
    async with served.deaf(times=3) as reader:
        for _ in range(100):
            await asyncio.sleep(0)
        assert served.unread.waiting_bytes == len(LARGE)
        for _ in range(3):
            assert (await answer(reader))[2] == LARGE
    assert (served.unread.dropped, served.unread.refused) == (0, 0)


async def test_what_was_read_is_not_kept_for_the_next_request(served: Served) -> None:
    held = sys.getrefcount(LARGE)
    async with served.asking("/metrics") as reader:
        assert (await answer(reader))[0] == 200
        # The connection stays, which may ask for more.
        await until(lambda: sys.getrefcount(LARGE) == held)


async def test_all_that_waits_is_counted_of_small_answers_too(served: Served) -> None:
    async with served.deaf("/static/admin.css", times=500):
        assert served.runner.server is not None
        (connection,) = served.runner.server.connections
        assert connection.transport is not None
        for _ in range(1000):
            await asyncio.sleep(0)
            held = connection.transport.get_write_buffer_size()
            assert held < served.unread.waiting_bytes + HEAD_BYTES
        await until(lambda: 0 < served.unread.waiting_bytes < unread.SMALL_BYTES)


async def test_of_who_goes_away_nothing_waits(served: Served) -> None:
    async with served.deaf():
        pass
    await until(lambda: served.unread.waiting_bytes == 0)
    assert served.unread.dropped == 0


@pytest.mark.parametrize(
    "test",
    [
        test_who_reads_gets_all_of_it_and_nothing_waits_any_more,
        test_beyond_the_limit_a_large_answer_is_refused_and_small_ones_are_not,
        test_who_has_had_its_time_gives_way_to_others,
        test_of_requests_on_one_connection_one_answer_waits,
        test_what_was_read_is_not_kept_for_the_next_request,
        test_all_that_waits_is_counted_of_small_answers_too,
    ],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_it_is_the_same_on_the_loop_of_the_server(
    test: Callable[[Served], Awaitable[None]], tls: bool, tmp_path: Path
) -> None:
    """Its transports have buffers of their own, and ways of their own to tell of them."""

    async def whole() -> None:
        async with serving(contexts(tmp_path) if tls else None) as served:
            await test(served)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


async def test_a_thousand_who_read_nothing_hold_the_limit_and_one_answer_at_most() -> None:
    clock, reasons = Clock(), list[str]()
    book = Unread(LIMIT_BYTES, clock=clock)
    size = unread.SMALL_BYTES + 1
    with ExitStack() as answers:
        for _ in range(1000):
            with suppress(Overloaded):
                book.admit(size)
                answers.enter_context(book.waiting(size, reasons.append))
            assert book.waiting_bytes < LIMIT_BYTES + size
            clock.now += 0.1
    assert book.refused > 0
    assert len(reasons) == book.dropped > 0
    assert book.waiting_bytes == 0
