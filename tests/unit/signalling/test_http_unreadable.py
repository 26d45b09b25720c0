"""What arrives on the HTTP port and is no request: the answer, the log, the patience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
from aiohttp import web

from pyforward.api import TokenAuthoriser, Unread, connections, make_app, make_runner
from pyforward.config import Config
from tests.unit.signalling.site import EXPOSED
from tests.unit.signalling.world import running

POST = b"POST /whep/show HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
DEFAULTS = Config()
SECRET = b"Authorization: Bearer hunter2\r\n"


@asynccontextmanager
async def listening(config: Config = DEFAULTS) -> AsyncIterator[tuple[str, int]]:
    """The application behind the runner that the server uses."""
    async with running(config) as world:
        app = make_app(
            world.control, config, TokenAuthoriser(config), lambda _: (b"", "text/plain")
        )
        runner = make_runner(app, config, Unread(config.limits.unread_bytes))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield host, port
        finally:
            await runner.cleanup()


async def ask(address: tuple[str, int], sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these bytes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        POST + SECRET + b"Content-Length: -5\r\n\r\n",
        POST + SECRET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + SECRET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ],
    ids=["TLS", "method", "version", "no host", "path", "header", "length", "both", "chunk"],
)
async def test_answered_as_a_problem_and_logged_in_one_line_at_debug(sent: bytes) -> None:
    with structlog.testing.capture_logs() as entries:
        async with listening() as address:
            status, headers, body = await ask(address, sent)
    assert status == 400
    assert headers["Content-Type"].startswith("application/problem+json")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert set(headers["Access-Control-Expose-Headers"].split(", ")) == EXPOSED
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "unreadable_request")
    assert [entry["log_level"] for entry in entries if entry["log_level"] != "info"] == ["debug"]
    assert "hunter2" not in repr(entries)
    assert "hunter2" not in problem["detail"]


async def test_an_expectation_that_nobody_meets_is_a_problem_too() -> None:
    async with listening() as address:
        status, headers, body = await ask(
            address, POST + b"Expect: miracles\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
    assert (status, json.loads(body)["status"]) == (417, 417)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert headers["Access-Control-Allow-Origin"] == "*"


async def test_what_cannot_be_read_is_logged_as_an_access_as_well() -> None:
    config = Config.model_validate({"log": {"level": "debug"}})
    with structlog.testing.capture_logs() as entries:
        async with listening(config) as address:
            status, _, _ = await ask(address, b"G@T / HTTP/1.1\r\n\r\n")
    assert status == 400
    (access,) = [entry for entry in entries if entry["event"] == "request"]
    assert (access["route"], access["status"]) == ("(none)", 400)


async def test_who_never_asks_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.05)
    async with listening() as address:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
