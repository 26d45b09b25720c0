"""``pyforward watch`` and ``pyforward publish`` at servers made of aiortc: full ICE agents, which
check us as we check them, in either DTLS role, and which know nothing of our own server's ways."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from pyforward import ice
from tests.e2e.commands import Command, Ended, command
from tests.e2e.pictures import PATIENCE_S, Picture, Seen
from tests.e2e.server import SDP
from tests.unit.recordings import VP8, make


@dataclass
class Stranger:
    """A WHIP and WHEP server with one session at a time."""

    setup: str = "active"
    trickle: bool = False
    lie: bool = False
    """About its certificate."""
    deaf: bool = False
    """Its candidates lead to nobody."""
    peers: list[RTCPeerConnection] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    fragments: list[ice.Fragment] = field(default_factory=list)
    deleted: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def join(self, request: web.Request) -> web.Response:
        peer = RTCPeerConnection()
        self.peers.append(peer)

        @peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self.tasks.append(asyncio.create_task(self.seen.watch(track)))

        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        if request.path == "/whep":
            for kind, track in (("audio", AudioStreamTrack()), ("video", Picture(90))):
                (mine,) = [t for t in peer.getTransceivers() if t.kind == kind]
                mine.sender.replaceTrack(track)
                mine.direction = "sendonly"
        answer = await peer.createAnswer()
        text = answer.sdp.replace("a=setup:active", f"a=setup:{self.setup}")
        await peer.setLocalDescription(RTCSessionDescription(text, "answer"))
        told = peer.localDescription.sdp
        assert f"a=setup:{self.setup}" in told
        assert "a=ice-lite" not in told
        self.asked.set()
        await self.released.wait()
        return web.Response(
            status=201,
            text=self._altered(told),
            content_type=SDP,
            headers={"Location": "/session/1"},
        )

    def _altered(self, answer: str) -> str:
        if self.trickle:
            answer = answer.replace("t=0 0\r\n", "t=0 0\r\na=ice-options:trickle\r\n")
        if self.lie:
            answer = re.sub(r"(a=fingerprint:\S+ )(..:..)", r"\g<1>00:00", answer)
        if self.deaf:
            lines = [line for line in answer.split("\r\n") if not line.startswith("a=candidate")]
            at = lines.index("a=end-of-candidates")
            lines.insert(at, "a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host")
            answer = "\r\n".join(lines)
        return answer

    async def patch(self, request: web.Request) -> web.Response:
        self.fragments.append(ice.parse_fragment(await request.text()))
        return web.Response(status=204)

    async def delete(self, _: web.Request) -> web.Response:
        self.deleted += 1
        return web.Response()

    async def move(self, request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"/{request.match_info['to']}"})

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for task in self.tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def serving(stranger: Stranger) -> AsyncIterator[str]:
    """Its URL."""
    app = web.Application()
    app.router.add_post("/whip", stranger.join)
    app.router.add_post("/whep", stranger.join)
    app.router.add_post("/moved/{to}", stranger.move)
    app.router.add_patch("/session/1", stranger.patch)
    app.router.add_delete("/session/1", stranger.delete)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await stranger.close()
        await server.close()


async def ended(running: Command) -> Ended:
    return await asyncio.to_thread(running.ended)


async def run(*arguments: str) -> Ended:
    with command(*arguments) as running:
        return await ended(running)


def open_stranger(
    setup: str = "active", *, trickle: bool = False, lie: bool = False, deaf: bool = False
) -> Stranger:
    stranger = Stranger(setup, trickle, lie, deaf)
    stranger.released.set()
    return stranger


# Media, both ways ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("trickle", [False, True], ids=["silent", "trickle"])
async def test_watching_one(setup: str, trickle: bool) -> None:
    stranger = open_stranger(setup, trickle=trickle)
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/whep", "--duration=3", "--json")
        assert told.code == 0, told.err
        figures = told.figures
        assert figures["joined"] == 1
        assert {track["kind"] for track in figures["tracks"]} == {"audio", "video"}
        for track in figures["tracks"]:
            assert track["packets_received"] > 10
            assert track["packets_lost"] == 0
        (video,) = [track for track in figures["tracks"] if track["kind"] == "video"]
        assert video["keyframes"] >= 1
        assert video["frames"] > 10
        assert figures["first_keyframe_ms"] > 0
        assert stranger.deleted == 1
        if trickle:
            (fragment,) = stranger.fragments
            assert fragment.candidates
        else:
            assert stranger.fragments == []


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_publishing_to_one(setup: str, codec: str, tmp_path: Path) -> None:
    if codec == "h264":
        path = make(tmp_path / "film.mp4", seconds=1.0)
    else:
        path = make(tmp_path / "film.webm", video="libvpx", video_options=VP8, seconds=1.0)
    stranger = open_stranger(setup)
    async with serving(stranger) as url:
        with command("publish", str(path), f"{url}/whip", "--loop") as publishing:
            await stranger.seen.more()
            publishing.interrupt()
            told = await ended(publishing)
        assert told.code == 0, told.err
        assert stranger.seen.size == (64, 48)
        assert "packets sent" in told.out
        assert stranger.deleted == 1


async def test_one_that_has_moved() -> None:
    stranger = open_stranger()
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/moved/whep", "--duration=1", "--json")
        assert told.figures["joined"] == 1
        assert stranger.deleted == 1


# What goes wrong ----------------------------------------------------------------------------------


async def test_one_that_lies_about_its_certificate() -> None:
    stranger = open_stranger(lie=True)
    async with serving(stranger) as url:
        told = await run("watch", f"{url}/whep", "--json", "--duration=1")
        assert (told.code, told.figures["failed"]) == (1, {"handshake": 1})
        assert stranger.deleted == 1
        told = await run("publish", "test", f"{url}/whip", "--duration=1")
        assert told.code == 1
        assert told.sentence == "The DTLS handshake came to no end: fingerprint."
        assert stranger.deleted == 2


async def test_one_that_answers_no_checks() -> None:
    stranger = open_stranger(deaf=True)
    async with serving(stranger) as url:
        limit = "--ice-connect-timeout-s=1"
        told = await run("watch", f"{url}/whep", "--count=3", "--json", limit)
        assert (told.code, told.figures["failed"]) == (1, {"never_connected": 3})
        assert told.figures["joined"] == 0
        assert stranger.deleted == 3


async def test_one_that_takes_the_audio_alone() -> None:
    stranger = open_stranger()
    async with serving(stranger) as url:
        stranger._altered = _without_video  # type: ignore[method-assign]
        told = await run("publish", "test", f"{url}/whip")
        assert told.code == 1
        assert told.sentence == "The server does not take the video (h264) of this source."
        assert stranger.deleted == 1


def _without_video(answer: str) -> str:
    head, _, rest = answer.partition("m=video ")
    _, _, formats = rest.partition(" ")
    return f"{head}m=video 0 {formats}"


# Ctrl-C in the middle of a join -------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("watch",), ("publish", "test")])
async def test_a_session_that_is_answered_after_ctrl_c_is_deleted(
    arguments: tuple[str, ...],
) -> None:
    stranger = Stranger()
    async with serving(stranger) as url, asyncio.timeout(PATIENCE_S):
        with command(*arguments, f"{url}/{'whep' if len(arguments) == 1 else 'whip'}") as joining:
            await stranger.asked.wait()
            joining.interrupt()
            # Its answer comes when it has been told that nobody waits for it any more.
            await asyncio.sleep(0.5)
            stranger.released.set()
            told = await ended(joining)
        assert told.code == 1
        assert stranger.deleted == 1


async def test_a_server_that_never_answers_is_not_waited_for() -> None:
    stranger = Stranger()
    async with serving(stranger) as url, asyncio.timeout(PATIENCE_S):
        with command("watch", f"{url}/whep", "--count=2", "--json") as joining:
            await stranger.asked.wait()
            joining.interrupt()
            told = await ended(joining)
        assert told.code == 1
        assert told.figures["joined"] == 0
        assert told.figures["failed"] == {}
        stranger.released.set()
