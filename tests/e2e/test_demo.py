"""The demo, which publishes to its own server as anybody would: wherever that listens, and until
somebody else takes the stream. What it sends is watched by ``pyforward watch``."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import MISSING_TOOL
from tests.e2e.certificates import certified
from tests.e2e.commands import Ended, command, run
from tests.e2e.server import Server, has_ipv6, running, wait_for


def watched(server: Server, *arguments: str) -> Ended:
    return run("watch", f"{server.url}/whep/demo", "--duration=1", "--json", *arguments)


def test_on_ipv6_alone() -> None:
    if not has_ipv6():
        pytest.skip(f"{MISSING_TOOL}IPv6")
    with running("--media-bind=::1", command="demo", http="[::1]:0") as server:
        ended = watched(server)
        assert ended.code == 0, ended.err


def test_behind_an_address_that_is_not_ours() -> None:
    """Viewers are sent to the advertised address, where nobody is; the demo knows better."""
    media = ("--media-bind=127.0.0.1", "--media-advertise=192.0.2.1")
    with running(*media, command="demo") as server:
        (stream,) = server.streams()
        assert (stream["name"], stream["state"]) == ("demo", "live")
        ended = watched(server, "--ice-connect-timeout-s=1")
        assert ended.code == 1
        assert ended.figures["failed"] == {"never_connected": 1}
        assert all(track["packets_expected"] == 0 for track in ended.figures["tracks"])
        wait_for("no viewers", lambda: not server.viewers("demo"))


def test_somebody_else_takes_the_stream() -> None:
    with running(command="demo") as server:
        ours = publisher(server)
        with command("publish", "test", f"{server.url}/whip/demo") as other:
            other.says("publishing to")
            wait_for("the other", lambda: publisher(server) != ours)
            ended = watched(server)
            assert ended.code == 0, ended.err
            other.interrupt()
            assert other.ended().code == 0
        # It does not come back, and nothing of it is left.
        wait_for("no publisher", lambda: server.streams()[0]["state"] == "waiting")
        wait_for("no sessions", lambda: server.sessions() == 0)
        server.stop()


def publisher(server: Server) -> str:
    return str(server.get("/api/streams/demo").json["publisher"]["session"])


def test_an_end_that_its_public_url_cannot_hold_up() -> None:
    """The Location of its session is where only others get to; here: where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with running(f"--http-public-url={url}", command="demo") as server:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0, server.log.read_text()[-2000:]
            assert "most recent call first" not in server.log.read_text()


# TLS ----------------------------------------------------------------------------------------------


def test_behind_its_own_authority(tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    arguments = (f"--http-tls-cert={certificate}", f"--http-tls-key={key}")
    with running(*arguments, command="demo") as server:
        assert server.url.startswith("https://")
        for trusting in (f"--ca-file={certificate}", "--insecure"):
            ended = watched(server, trusting)
            assert ended.code == 0, ended.err
        ended = watched(server)
        assert (ended.code, ended.figures["failed"]) == (1, {"unreachable": 1})
        told = run("watch", f"{server.url}/whep/demo")
        assert "is not trusted" in told.out
        asked = http.client.HTTPSConnection(
            urlsplit(server.url).netloc, context=ssl.create_default_context(cafile=certificate)
        )
        asked.request("GET", "/api/streams/demo/viewers")
        assert json.loads(asked.getresponse().read())["items"] == []
        asked.close()
