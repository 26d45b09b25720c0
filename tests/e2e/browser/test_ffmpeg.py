"""FFmpeg publishes a file with its own WHIP muxer, as either end of DTLS, and Chromium watches.

The muxer of FFmpeg 8.1 checks every 5 s, that of 8.0 never again once it is connected. So silence
is allowed for less than 5 s here: what keeps the session is its media.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from cryptography.hazmat.primitives import serialization
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.lossy import Namespace
from tests.e2e.browser.rig import ROOT, START_S, Figures, Peer, Server, open_page, until, watch
from tests.e2e.ffmpeg_publisher import MUXER, Counts
from tests.e2e.peer import identity
from tests.e2e.server import running
from tests.unit import recordings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.alone,
    pytest.mark.skipif(
        MUXER not in av.formats_available,
        reason=f"{MISSING_TOOL}FFmpeg with the WHIP muxer and DTLS (PyAV 17.1 or newer has it)",
    ),
]

SECONDS = 60
RATE = 30
KEYFRAME_EVERY_S = 2
SIZE = (320, 180)
SILENCE_S = 3
WINDOW_S = 40
"""Of the file's sixty seconds: the pages need some time to come and to go."""
TOKEN = "studio"
REPAIRED = 'pyforward_packets_total{direction="in",transmission="retransmission"}'
ROLES = ("passive", "active")


@dataclass
class FFmpeg:
    """A publisher's process."""

    role: str
    process: asyncio.subprocess.Process

    async def line(self) -> str:
        assert self.process.stdout is not None
        read = await asyncio.wait_for(self.process.stdout.readline(), START_S)
        assert read, f"FFmpeg as {self.role} has ended: {self.process.returncode}"
        return read.decode().strip()

    async def counts(self) -> Counts:
        """What it has sent by now."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return Counts(**json.loads(await self.line()))

    async def ended(self) -> Counts:
        """Waits for the end of the file; what it has sent altogether."""
        counts = Counts(**json.loads(await self.line()))
        assert await self.process.wait() == 0
        return counts


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 baseline and Opus, as such a file usually is."""
    every = str(KEYFRAME_EVERY_S * RATE)
    return recordings.make(
        tmp_path_factory.mktemp("film") / "film.mp4",
        video_options={**recordings.X264, "g": every, "sc_threshold": "0"},
        seconds=SECONDS,
        rate=RATE,
        size=SIZE,
        tone=True,
    )


@contextlib.asynccontextmanager
async def publishing(film: Path, url: str, role: str, pem: Path) -> AsyncIterator[FFmpeg]:
    """Its stream is named by its role; connected when it comes back."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.ffmpeg_publisher", film, f"{url}/whip/{role}"),
        *(f"--token={TOKEN}", f"--certificate={pem}", f"--key={pem}"),
        *(["--active"] if role == "active" else []),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        ffmpeg = FFmpeg(role, process)
        assert await ffmpeg.line() == "publishing"
        yield ffmpeg
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_both_roles_for_a_minute(
    film: Path, tmp_path: Path, serve: Serve, chromium: BrowserContext
) -> None:
    server = serve(
        "--engine-shards=2", f"--ice-silence-s={SILENCE_S}", f"--auth-publish-token={TOKEN}"
    )
    pem = certificate(tmp_path / "ffmpeg.pem")
    control = await directly(chromium, server)
    async with contextlib.AsyncExitStack() as stack:
        ffmpegs = [
            await stack.enter_async_context(publishing(film, server.url, role, pem))
            for role in ROLES
        ]
        pages = [await watch(chromium, server, role, name=role) for role in ROLES]
        ours = [await watched_by_us(server, role) for role in ROLES]

        before = [await page.stats() for page in (control, *pages)]
        earlier = [await ffmpeg.counts() for ffmpeg in ffmpegs]
        await asyncio.sleep(WINDOW_S)
        later = [await ffmpeg.counts() for ffmpeg in ffmpegs]
        # The last frames are on their way.
        await asyncio.gather(*(page.moving(1) for page in pages))
        after = [await page.stats() for page in (control, *pages)]

        freezes = [now.freezes - then.freezes for then, now in zip(before, after, strict=True)]
        sent = [now.frames - then.frames for then, now in zip(earlier, later, strict=True)]
        halts = max(now.halts - then.halts for then, now in zip(earlier, later, strict=True))
        for page, frames, then, now in zip(pages, sent, before[1:], after[1:], strict=True):
            assert now.frames - then.frames >= 0.95 * frames, (page.name, frames, then, now)
            is_seen_and_heard(then, now)
        assert max(freezes[1:]) <= freezes[0] + halts, (freezes, earlier, later)

        for role, process in zip(ROLES, ours, strict=True):
            nothing_is_lost(json.loads((await process.communicate())[0]), role)
        for role in ROLES:
            is_told(server, role)
        # Its offer takes no request for a keyframe.
        asked = 'pyforward_keyframe_requests_total{direction="out"}'
        assert server.metric(asked) == 0
        # What it sends right behind its handshake, its first keyframe, has waited for the keys.
        assert server.metric('pyforward_discards_total{reason="srtp_no_keys"}') == 0

        for ffmpeg in ffmpegs:
            whole = await ffmpeg.ended()
            assert whole.frames == SECONDS * RATE, whole
            await until(lambda: has_left(server, ffmpeg.role), f"the end of {ffmpeg.role}")  # noqa: B023
    log = server.log.read_text()
    assert log.count("reason=deleted role=publish") == len(ROLES), log


@pytest.mark.namespaces
async def test_it_repairs_what_is_lost(film: Path, tmp_path: Path, lossy: Namespace) -> None:
    """The server is where packets are lost on their way in: FFmpeg ends when it cannot send one."""
    pem = certificate(tmp_path / "ffmpeg.pem")
    within = ("ip", "netns", "exec", lossy.name)
    open_to_all = ("--http-allow-open", "--auth-admin-token=operator")
    with running(*open_to_all, within=within, http=f"{lossy.inside}:0") as started:
        server = Server(started.process, started.url, started.media, started.log)
        async with publishing(film, server.url, "passive", pem):

            async def is_repaired() -> bool:
                return server.metric(REPAIRED) >= 30 and lossy.lost("into") >= 30

            await until(is_repaired, "thirty repairs")
            # Given up after a second; sound has no retransmission, and is spared by the dice.
            assert server.metric("pyforward_lost_packets_total") == 0


def certificate(path: Path) -> Path:
    """A key on P-256 and its certificate, both in one file."""
    key, signed = identity()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


async def directly(context: BrowserContext, server: Server) -> Peer:
    """What this machine freezes at the same time without a server: one page to another."""
    sender = Peer(await open_page(context, server), "control sender")
    control = Peer(await open_page(context, server), "control")
    width, height = SIZE
    asked = {"codec": "VP8", "width": width, "height": height, "fps": RATE}
    answer = await control.call("directAnswer", await sender.call("directOffer", asked))
    await sender.call("directAccept", answer)
    await control.moving()
    return control


async def watched_by_us(server: Server, stream: str) -> asyncio.subprocess.Process:
    """``pyforward watch`` on it, for a while."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pyforward", "watch", f"{server.url}/whep/{stream}", "--json"),
        *("--duration", str(WINDOW_S / 2)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )


def is_seen_and_heard(then: Figures, now: Figures) -> None:
    assert now.size == SIZE
    assert now.video["codec"] == "video/H264"
    assert now.audio["codec"] == "audio/opus"
    assert now.video["packetsLost"] == 0
    assert now.audio_energy > then.audio_energy
    # A tone is heard all the time, not in rags.
    heard = now.audio["totalSamplesReceived"] - then.audio["totalSamplesReceived"]
    concealed = now.audio["concealedSamples"] - then.audio["concealedSamples"]
    assert concealed < 0.05 * heard


def nothing_is_lost(told: dict[str, Any], role: str) -> None:
    """What ``pyforward watch`` prints."""
    assert told["joined"] == 1, (role, told)
    tracks = {track["codec"]: track for track in told["tracks"]}
    assert set(tracks) == {"h264", "opus"}, (role, told)
    for track in tracks.values():
        assert track["packets_lost"] == 0, (role, told)
        assert track["frames"] > 0, (role, told)
    assert tracks["h264"]["keyframes"] >= WINDOW_S / 2 / KEYFRAME_EVERY_S - 2, (role, told)


def is_told(server: Server, role: str) -> None:
    """What the API says of it."""
    (publisher,) = (
        item["publisher"] for item in server.api("streams")["items"] if item["name"] == role
    )
    assert sorted(publisher["codecs"]) == ["h264", "opus"]
    assert publisher["srtp_profile"] == "SRTP_AES128_CM_SHA1_80"
    assert 0.5 < publisher["keyframe_interval_ms"] / (1000 * KEYFRAME_EVERY_S) < 1.5


async def has_left(server: Server, role: str) -> bool:
    """Viewers wait for the next publisher of the stream."""
    items = {item["name"]: item for item in server.api("streams")["items"]}
    return role not in items or items[role]["publisher"] is None
