"""aiortc publishes, aiortc watches: an independent WebRTC implementation on both ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from aiortc.rtcdtlstransport import SRTP_AES128_CM_SHA1_80, SRTPProtectionProfile

from tests.e2e.pictures import PATIENCE_S, Picture, Seen
from tests.e2e.server import SDP, Server, running, wait_for

CM_ALONE = (SRTP_AES128_CM_SHA1_80,)


class Party:
    """Peer connections, ended at the end; at most one SRTP suite where that is asked for."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.peers: list[RTCPeerConnection] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def publish(
        self,
        name: str,
        luma: int,
        codec: str = "video/VP8",
        suites: Sequence[SRTPProtectionProfile] = (),
        media: str = "",
    ) -> RTCPeerConnection:
        """Publishes audio and video, in this codec, with these SRTP suites."""
        peer = self._peer()
        peer.addTrack(AudioStreamTrack())
        video = peer.addTransceiver(Picture(luma), "sendonly")
        codecs = RTCRtpSender.getCapabilities("video").codecs
        wanted = [c for c in codecs if c.mimeType in (codec, "video/rtx")]
        video.setCodecPreferences(wanted)
        await self._join(peer, f"/whip/{name}", media, suites)
        return peer

    async def watch(
        self, name: str, suites: Sequence[SRTPProtectionProfile] = (), media: str = ""
    ) -> tuple[RTCPeerConnection, Seen]:
        """Watches with everything aiortc has, or with these SRTP suites alone."""
        peer, seen = self._peer(), Seen()
        for kind in ("audio", "video"):
            peer.addTransceiver(kind, direction="recvonly")

        @peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self.tasks.append(asyncio.create_task(seen.watch(track)))

        await self._join(peer, f"/whep/{name}", media, suites)
        return peer, seen

    async def offer(self, path: str, sdp: str) -> tuple[int, str, str]:
        """Status, body and Location."""
        async with self.http.post(
            self.server.url + path, data=sdp, headers={"Content-Type": SDP}
        ) as response:
            return response.status, await response.text(), response.headers.get("Location", "")

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for task in self.tasks:
            task.cancel()

    def _peer(self) -> RTCPeerConnection:
        peer = RTCPeerConnection()
        self.peers.append(peer)
        return peer

    async def _join(
        self,
        peer: RTCPeerConnection,
        path: str,
        media: str,
        suites: Sequence[SRTPProtectionProfile] = (),
    ) -> None:
        offer = await peer.createOffer()
        for transceiver in peer.getTransceivers():
            if suites:
                transceiver.sender.transport._srtp_profiles = list(suites)
        await peer.setLocalDescription(offer)
        status, answer, _ = await self.offer(path, peer.localDescription.sdp)
        assert status == 201, answer
        if media:
            # Of the server's candidates only this address is left.
            lines = answer.split("\r\n")
            kept = [
                line for line in lines if not line.startswith("a=candidate") or f" {media} " in line
            ]
            assert len(kept) < len(lines)
            answer = "\r\n".join(kept)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))


@contextlib.asynccontextmanager
async def party(server: Server) -> AsyncIterator[Party]:
    async with aiohttp.ClientSession() as http:
        present = Party(server, http)
        try:
            yield present
        finally:
            await present.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


async def until_closed(peer: RTCPeerConnection) -> None:
    closed = asyncio.Event()

    def changed() -> None:
        if peer.connectionState == "closed":
            closed.set()

    peer.on("connectionstatechange", changed)
    changed()
    async with asyncio.timeout(PATIENCE_S):
        await closed.wait()


def stream(server: Server, name: str) -> dict[str, Any]:
    return dict(server.get(f"/api/streams/{name}").json)


@pytest.mark.parametrize(
    ("codec", "suites", "profile"),
    [
        ("VP8", (), "SRTP_AEAD_AES_128_GCM"),
        ("H264", (), "SRTP_AEAD_AES_128_GCM"),
        ("VP8", CM_ALONE, "SRTP_AES128_CM_SHA1_80"),
    ],
    ids=["vp8", "h264", "cm"],
)
async def test_it_publishes_and_watches(
    server: Server, codec: str, suites: Sequence[SRTPProtectionProfile], profile: str
) -> None:
    name = f"both-{codec}-{len(suites)}"
    async with party(server) as present:
        await present.publish(name, 200, f"video/{codec}", suites)
        _, seen = await present.watch(name)
        _, cm = await present.watch(name, CM_ALONE)
        await asyncio.gather(seen.more(), cm.more())
        assert seen.size == cm.size == (160, 120)
        assert abs(seen.luma - 200) < 12
        profiles = {viewer["srtp_profile"] for viewer in server.viewers(name)}
        assert profiles == {"SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"}
        published = stream(server, name)["publisher"]
        assert published["codecs"] == ["opus", codec.lower()]
        assert published["srtp_profile"] == profile


async def test_over_ipv6(server: Server) -> None:
    async with party(server) as present:
        await present.publish("six", 90, media="::1")
        _, seen = await present.watch("six", media="::1")
        await seen.more()
        (viewer,) = server.viewers("six")
        assert viewer["address"].startswith("[")


async def test_a_second_publisher_keeps_the_viewers(server: Server) -> None:
    async with party(server) as present:
        first = await present.publish("again", 60)
        _, seen = await present.watch("again")
        await seen.more()
        assert abs(seen.luma - 60) < 12
        before = stream(server, "again")["publisher"]["session"]

        await present.publish("again", 210)
        async with asyncio.timeout(PATIENCE_S):
            while abs(seen.luma - 210) > 12:
                await seen.changed()
        await seen.more()
        assert not seen.ended
        now = stream(server, "again")
        assert (now["viewers"], now["state"]) == (1, "live")
        assert now["publisher"]["session"] != before
        await until_closed(first)  # it was told


async def test_a_publisher_that_goes_and_comes_back_keeps_the_viewers(server: Server) -> None:
    async with party(server) as present:
        first = await present.publish("back", 60)
        _, seen = await present.watch("back")
        await seen.more()
        await first.close()
        wait_for("waiting", lambda: stream(server, "back")["state"] == "waiting")
        await present.publish("back", 210, "video/VP8")
        await seen.more()
        assert not seen.ended


async def test_a_late_viewer_starts(server: Server) -> None:
    async with party(server) as present:
        await present.publish("late", 120)
        _, first = await present.watch("late")
        await first.more(count=60)
        _, late = await present.watch("late")
        await asyncio.gather(late.more(), first.more())


async def test_a_conflict_is_rejected_where_that_is_configured() -> None:
    with running("--streams-conflict", "reject") as server:
        async with party(server) as present:
            first = await present.publish("one", 60)
            _, seen = await present.watch("one")
            await seen.more()
            second = RTCPeerConnection()
            present.peers.append(second)
            second.addTransceiver("video", "sendonly")
            await second.setLocalDescription(await second.createOffer())
            status, body, _ = await present.offer("/whip/one", second.localDescription.sdp)
            assert status == 409
            assert "already has a publisher" in body
            await seen.more()
            assert first.connectionState == "connected"
            assert server.sessions() == 2
