"""What the browser tests have in common: the server as a process, pages that publish and watch, and
waiting for what has to become true. It never measures time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, Page

ROOT = Path(__file__).parents[3]
RIG = (Path(__file__).parent / "rig.js").read_text()

START_S = 60.0
"""How long anything may take to start on a busy machine."""

T = TypeVar("T")


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, *, timeout_s: float = START_S
) -> T:
    """Looks again and again until there is something to see."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = await look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s:.0f} s"
        await asyncio.sleep(0.1)


# The server --------------------------------------------------------------------------------------


@dataclass
class Server:
    """A running ``pyforward`` process."""

    process: subprocess.Popen[str]
    url: str
    media: Sequence[tuple[str, int]]
    log: Path

    def get(self, path: str) -> str:
        """The body of a page that has to be there."""
        # The word is not asked for where the caller is on loopback.
        asked = urllib.request.Request(
            self.url + path, headers={"Authorization": "Bearer operator"}
        )
        with urllib.request.urlopen(asked, timeout=10) as response:
            return str(response.read().decode())

    def api(self, path: str) -> dict[str, Any]:
        """What ``/api`` answers."""
        answer: dict[str, Any] = json.loads(self.get(f"/api/{path}"))
        return answer

    def metric(self, name: str) -> float:
        """The sum of a metric over those labels that the name does not fix."""
        pattern = rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$"
        found = re.findall(pattern, self.get("/metrics"), flags=re.MULTILINE)
        assert found, name
        return sum(float(value) for value in found)

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_server(
    directory: Path, *arguments: str, command: str = "serve", http: str = "127.0.0.1:0"
) -> Server:
    """Starts it and waits for the ready file."""
    ready, log = directory / "ready", directory / "log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
    asked = ("--http-bind", http, "--media-port", "0", "--ready-file", str(ready), *arguments)
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyforward", command, *asked],
            cwd=ROOT,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    deadline = time.monotonic() + START_S
    while not ready.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = json.loads(ready.read_text())
    media = [(row["address"], row["port"]) for row in told["media"]]
    return Server(process, told["http_url"], media, log)


# Pages -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """``getStats()`` of one peer connection, the rows that matter here."""

    state: str
    cipher: str | None
    remote: str | None
    ufrag: str | None = None
    """Its own, in the ICE session that carries media now."""
    video: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Decoded by a viewer, sent by a publisher."""
        return int(self.video.get("framesDecoded", self.video.get("framesSent", 0)))

    @property
    def freezes(self) -> int:
        return int(self.video.get("freezeCount", 0))

    @property
    def size(self) -> tuple[int, int]:
        return int(self.video.get("frameWidth", 0)), int(self.video.get("frameHeight", 0))

    @property
    def audio_energy(self) -> float:
        return float(self.audio.get("totalAudioEnergy", 0.0))


class Peer:
    """One peer connection in a page of its own, or in a page that holds several."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name

    async def stats(self) -> Figures:
        return Figures(**await self.call("stats"))

    async def leave(self) -> int:
        """DELETE; the status."""
        return int(await self.call("leave"))

    async def call(self, function: str, *arguments: object) -> Any:
        """A function of rig.js with this peer's name and the arguments."""
        return await self.page.evaluate(
            f"(given) => rig.{function}(...given)", [self.name, *arguments]
        )

    async def moving(self, frames: int = 10, *, timeout_s: float = START_S) -> Figures:
        """Waits for so many frames more, sent or decoded."""
        wanted = (await self.stats()).frames + frames

        async def look() -> Figures | None:
            seen = await self.stats()
            return seen if seen.frames >= wanted else None

        return await until(look, f"{frames} frames of {self.name}", timeout_s=timeout_s)

    async def sounding(self) -> Figures:
        """Waits until more sound is heard."""
        before = (await self.stats()).audio_energy

        async def look() -> Figures | None:
            seen = await self.stats()
            return seen if seen.audio_energy > before else None

        return await until(look, f"sound of {self.name}")


async def open_page(context: BrowserContext, server: Server) -> Page:
    """An empty page of the server's own origin with the rig in it."""
    page = await context.new_page()
    await page.goto(f"{server.url}/healthz")
    await page.evaluate(RIG)
    return page


async def publish(
    context: BrowserContext, server: Server, stream: str = "live", **options: object
) -> Peer:
    """A page that publishes; returns when frames are sent."""
    peer = Peer(await open_page(context, server), f"publisher of {stream}")
    await peer.call("publish", f"{server.url}/whip/{stream}", options)
    await peer.moving()
    return peer


async def watch(
    context: BrowserContext,
    server: Server,
    stream: str = "live",
    *,
    name: str = "viewer",
    **options: object,
) -> Peer:
    """A page that watches; returns when frames are decoded."""
    peer = Peer(await open_page(context, server), name)
    await peer.call("watch", f"{server.url}/whep/{stream}", options)
    await peer.moving()
    return peer


async def watch_directly(publisher: Peer, context: BrowserContext, server: Server) -> Peer:
    """The control: a second peer connection from the publisher's page straight to a new page."""
    sender = Peer(publisher.page, "control sender")
    viewer = Peer(await open_page(context, server), "control")
    codec = (await publisher.stats()).video["codec"].removeprefix("video/")
    offer = await sender.call("directOffer", {"codec": codec})
    await sender.call("directAccept", await viewer.call("directAnswer", offer))
    await viewer.moving()
    return viewer
