"""A WHIP and WHEP server made of aiortc: a full ICE agent, which checks whoever checks it, in
either DTLS role, and which knows nothing of our own server's ways."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from pyforward import ice
from tests.e2e.pictures import Picture, Seen
from tests.e2e.server import SDP


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


def open_stranger(
    setup: str = "active", *, trickle: bool = False, lie: bool = False, deaf: bool = False
) -> Stranger:
    stranger = Stranger(setup, trickle, lie, deaf)
    stranger.released.set()
    return stranger
