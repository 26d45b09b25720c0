"""aiortc as a publisher and as a viewer: an independent WebRTC implementation.

``python -m tests.e2e.aiortc_peers URL NAME LUMA`` publishes until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from aiortc.rtcdtlstransport import SRTPProtectionProfile

from tests.e2e.pictures import PATIENCE_S, Picture, Seen
from tests.e2e.server import SDP


class Party:
    """Peer connections, ended at the end; at most one SRTP suite where that is asked for."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
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
        self,
        name: str,
        suites: Sequence[SRTPProtectionProfile] = (),
        media: str = "",
        codec: str = "",
    ) -> tuple[RTCPeerConnection, Seen]:
        """Watches with everything aiortc has, or with these SRTP suites or this codec alone."""
        peer, seen = self._peer(), Seen()
        peer.addTransceiver("audio", direction="recvonly")
        video = peer.addTransceiver("video", direction="recvonly")
        if codec:
            codecs = RTCRtpSender.getCapabilities("video").codecs
            video.setCodecPreferences([c for c in codecs if c.mimeType in (codec, "video/rtx")])

        @peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self.tasks.append(asyncio.create_task(seen.watch(track)))

        await self._join(peer, f"/whep/{name}", media, suites)
        return peer, seen

    async def offer(self, path: str, sdp: str) -> tuple[int, str, str]:
        """Status, body and Location."""
        async with self.http.post(
            self.url + path, data=sdp, headers={"Content-Type": SDP}
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
async def party(url: str) -> AsyncIterator[Party]:
    """Whoever is at this server, gone at the end."""
    async with aiohttp.ClientSession() as http:
        present = Party(url, http)
        try:
            yield present
        finally:
            await present.close()


async def until_closed(peer: RTCPeerConnection) -> None:
    closed = asyncio.Event()

    def changed() -> None:
        if peer.connectionState == "closed":
            closed.set()

    peer.on("connectionstatechange", changed)
    changed()
    async with asyncio.timeout(PATIENCE_S):
        await closed.wait()


async def _publish_for_ever(url: str, name: str, luma: str) -> None:
    async with party(url) as present:
        await present.publish(name, int(luma))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_publish_for_ever(*sys.argv[1:]))
