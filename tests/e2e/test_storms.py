"""Operators' own doors under abuse: scrapes without end, clients that never read, hostile names.

Memory stays bounded, and a viewer loses nothing meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import MISSING_TOOL
from tests.e2e.commands import command
from tests.e2e.peer import fingerprint
from tests.e2e.sdp import audio, offer, video
from tests.e2e.server import Server, running, wait_for

MOST_GROWTH_BYTES = 96 * 1024 * 1024

LISTENERS = 1000

REQUESTS = 400
"""Of each of sixteen scrapers."""


@contextlib.contextmanager
def undisturbed(server: Server) -> Iterator[None]:
    """Viewers of the demo that lose nothing while the block runs."""
    with command("watch", f"{server.url}/whep/demo", "--count", "3", "--json") as viewers:
        wait_for("the viewers", lambda: server.streams()[0]["quality"]["live"] >= 3, 60)
        yield
        viewers.interrupt()
        ended = viewers.ended()
    assert ended.code == 0, ended.err
    for track in ended.figures["tracks"]:
        assert track["packets_lost"] == 0, track
        assert track["packets_received"] > 0, track


@pytest.mark.alone
def test_a_storm_of_scrapes() -> None:
    paths = ("/metrics", "/api/streams", "/api/streams/demo", "/api/streams/demo/viewers")
    answers: list[int] = []

    def scrape(server: Server, path: str) -> None:
        mine = Server(server.process, server.url, server.media, server.log)
        for _ in range(REQUESTS):
            answers.append(mine.get(path).status)

    with running(command="demo") as server, undisturbed(server):
        before = server.rss_bytes()
        threads = [
            threading.Thread(target=scrape, args=(server, path)) for path in paths for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * (16 * REQUESTS)
        assert server.rss_bytes() - before < MOST_GROWTH_BYTES


@pytest.mark.alone
def test_scrapers_that_never_read_are_cut_off() -> None:
    names = ",".join(f"waiting-{number}" for number in range(900))

    def descriptors() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    with running("--streams-declared", names, command="demo") as server, undisturbed(server):
        before, memory = descriptors(), server.rss_bytes()
        with contextlib.ExitStack() as connections:
            for _ in range(50):
                connections.enter_context(asking(server, "/api/streams?limit=1000"))
            wait_for("their connections", lambda: descriptors() >= before + 50)
            wait_for("the end of all of them", lambda: descriptors() <= before + 5, 60)
            assert server.rss_bytes() - memory < MOST_GROWTH_BYTES


def asking(server: Server, path: str) -> socket.socket:
    """Asks for something that is large, and never reads it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    address = urlsplit(server.url)
    assert address.hostname
    connection.connect((address.hostname, address.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


@pytest.mark.alone
def test_a_thousand_listeners_that_never_read() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * LISTENERS:
        pytest.skip(f"{MISSING_TOOL}{2 * LISTENERS} descriptors for a process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * LISTENERS), hard))
    # Streams that wait make the figures large, so that buffers are soon full.
    names = ",".join(f"waiting-{number}" for number in range(40))
    asked = ("--events-listeners", str(LISTENERS), "--streams-declared", names)
    with (
        running(*asked, command="demo") as server,
        undisturbed(server),
        contextlib.ExitStack() as connections,
    ):
        before = server.rss_bytes()
        most = 0
        for _ in range(LISTENERS):
            connections.enter_context(asking(server, "/api/events?figures=true"))

        def all_dropped() -> bool:
            nonlocal most
            most = max(most, server.rss_bytes())
            figures = server.get("/api/server").json
            return bool(figures["listeners_dropped"] == LISTENERS)

        wait_for("the end of all of them", all_dropped, 90)
        assert server.get("/api/server").json["listeners"] == 0
        assert most - before < MOST_GROWTH_BYTES, f"{(most - before) / 1e6:.0f} MB more"
        assert "listener_dropped" in server.log.read_text()


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "a\n2026 [error] forged",
    "\x1b[2J\x1b[31mred",
    "\u202egnp.exe",
    '"}\n{"event":"forged"',
    "../../etc/passwd",
    "x" * 5000,
)


@pytest.mark.parametrize("form", ["text", "json"])
def test_hostile_names_forge_nothing(form: str) -> None:
    with running("--log-format", form, "--log-level", "debug", command="demo") as server:
        text = offer([audio(), video()], "sendonly", ("abcdefgh", "0" * 24), fingerprint())
        for name in HOSTILE:
            quoted = "".join(f"%{byte:02x}" for byte in name.encode())
            for answer in (
                server.offer(f"/whip/{quoted}", text),
                server.offer(f"/whep/{quoted}", text),
                server.get(f"/api/streams/{quoted}"),
                server.get(f"/api/streams/{quoted}/viewers"),
                server.request("DELETE", f"/api/streams/{quoted}"),
                server.request("DELETE", f"/api/sessions/{quoted}"),
            ):
                assert answer.status in (400, 404), (name, answer)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers.get("x-content-type-options", "nosniff") == "nosniff"
            page = server.get(f"/watch/{quoted}")
            assert page.status in (200, 400, 404)
            assert name not in page.text
        assert [one["name"] for one in server.streams()] == ["demo"]
        assert "forged" not in server.get("/metrics").text
        lines = server.log.read_bytes()
    assert b"\x1b" not in lines
    for line in lines.decode().splitlines():
        assert not line.startswith("2026 [error]")
        if form == "json" and line.startswith("{"):
            assert json.loads(line)["event"] != "forged"
