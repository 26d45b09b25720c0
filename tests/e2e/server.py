"""A server in a process of its own, and what a test asks it: HTTP, metrics, memory.

It knows no media; :mod:`tests.e2e.peer` speaks that.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

T = TypeVar("T")


def wait_for(what: str, true: Callable[[], T], within_s: float = 20.0) -> T:
    """What ``true`` gives as soon as that is true; asks until then."""
    until = time.monotonic() + within_s
    while True:
        if found := true():
            return found
        assert time.monotonic() < until, f"{what}: not within {within_s} s"
        time.sleep(0.02)


def has_ipv6() -> bool:
    """Whether this machine has its loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """The sentence of a problem."""
        assert self.headers["content-type"].startswith("application/problem+json"), self
        return str(self.json["detail"])


@dataclass
class Server:
    """A server that answers."""

    process: subprocess.Popen[str]
    url: str
    media: Sequence[tuple[str, int]]
    log: Path
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        **more: str,
    ) -> Answer:
        """One request on a connection that is kept; not for two threads at a time."""
        headers = {**(headers or {}), **{k.replace("_", "-"): v for k, v in more.items()}}
        data = body.encode() if isinstance(body, str) else body
        for last in (False, True):
            kept = self._connection is not None
            connection = self._connection or self.connect()
            self._connection = connection
            try:
                connection.request(method, path, data, headers)
                response = connection.getresponse()
                answered = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, answered, response.read())
            except (http.client.HTTPException, OSError):
                # The server may close a connection that was idle.
                connection.close()
                self._connection = None
                if last or not kept:
                    raise
        raise AssertionError

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def offer(self, path: str, sdp: str | bytes) -> Answer:
        return self.request("POST", path, sdp, content_type=SDP)

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as it is written."""
        text = self.get("/metrics").text
        samples = re.findall(r"^([^#\s]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in samples}

    def metric(self, name: str) -> float:
        return self.metrics()[name]

    def discards(self, reason: str) -> int:
        """Packets that were dropped for this reason since the start."""
        return int(self.metric(f'pyforward_discards_total{{reason="{reason}"}}'))

    def sessions(self) -> int:
        return int(self.metric("pyforward_sessions"))

    def streams(self) -> list[dict[str, Any]]:
        return list(self.get("/api/streams").json["items"])

    def viewers(self, stream: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/streams/{stream}/viewers").json["items"])

    def rss_bytes(self) -> int:
        """Memory that the process has now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def stop(self) -> None:
        """SIGTERM, and a clean end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()[-4000:]


@contextlib.contextmanager
def running(
    *arguments: str, command: str = "serve", within: Sequence[str] = (), http: str = "127.0.0.1:0"
) -> Iterator[Server]:
    """A server with these arguments; ``demo`` publishes the stream of that name by itself.
    ``within`` is what the process is started by, such as a network namespace.

    At the end nothing in its log may be an error: whatever a test sends, the server takes it.
    """
    with tempfile.TemporaryDirectory() as directory:
        ready, log = Path(directory, "ready"), Path(directory, "log")
        ports = ("--http-bind", http, "--media-port", "0", "--ready-file", str(ready))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
        with log.open("w") as file:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "pyforward", command, *ports, *arguments],
                cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdout=file,
                stderr=file,
                text=True,
            )
        try:
            wait_for("the ready file", lambda: ready.exists() or process.poll() is not None, 60)
            assert process.poll() is None, log.read_text()
            told = json.loads(ready.read_text())
            media = [(entry["address"], entry["port"]) for entry in told["media"]]
            yield Server(process, str(told["http_url"]), media, log)
            assert process.poll() in (None, 0), log.read_text()[-4000:]
            wrong = [line for line in log.read_text().splitlines() if _is_wrong(line)]
            assert not wrong, wrong
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _is_wrong(line: str) -> bool:
    return "Traceback" in line or "panicked" in line or "[error" in line or "never awaited" in line
