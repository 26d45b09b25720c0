"""aiortc as a forwarder: its own ICE and DTLS transports, a packet in and one out to each viewer.

Nothing is decoded: what aiortc's media relay costs is an encoder for each viewer, which is no
forwarding. It runs on uvloop, which is quicker than asyncio's own loop.

    python -m pyforward_bench.rig.peers.relay --host 10.0.0.1

It is a WHIP and WHEP server at the URLs that it says, a full ICE agent, and the client of DTLS.
aiortc uses no loopback address.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pyforward import ice, sdp
from pyforward.errors import HostError
from pyforward_bench.rig.peers import front
from pyforward_bench.rig.peers.front import Place
from pyforward_bench.rig.peers.stream import Stream

if TYPE_CHECKING:
    from aiortc import RTCDtlsTransport


def missing() -> str | None:
    """Why it cannot be run here; None where it can."""
    if find_spec("aiortc") is None:
        return "aiortc is not installed; install it with: pip install aiortc"
    return None


class Relay:
    """The room. Raises HostError where it cannot be."""

    def __init__(self, _host: str) -> None:
        if (why := missing()) is not None:
            raise HostError(f"{why}.")
        from aiortc import RTCCertificate

        self._certificate = RTCCertificate.generateCertificate()
        self._stream = Stream()
        self._viewers: set[RTCDtlsTransport] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    async def publish(self, offer: sdp.SessionDescription) -> Place:
        return await self._place(offer, publishes=True)

    async def watch(self, offer: sdp.SessionDescription) -> Place:
        return await self._place(offer, publishes=False)

    async def close(self) -> None:
        for task in self._connecting:
            task.cancel()

    async def forward(self, packet: bytes) -> None:
        """To everybody who is connected."""
        for viewer in tuple(self._viewers):
            try:
                await viewer._send_rtp(packet)
            except ConnectionError:  # it has gone
                self._viewers.discard(viewer)

    # Private -------------------------------------------------------------------------------------

    async def _place(self, offer: sdp.SessionDescription, *, publishes: bool) -> Place:
        from aiortc import RTCDtlsTransport, RTCIceGatherer, RTCIceTransport

        forward, stream = self.forward, self._stream

        class Publisher(RTCDtlsTransport):
            async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
                packet = stream.packet(data)
                if packet is not None:
                    await forward(packet)

        gatherer = RTCIceGatherer(iceServers=[])
        await gatherer.gather()
        checked = RTCIceTransport(gatherer)
        kind = Publisher if publishes else RTCDtlsTransport
        transport = kind(checked, [self._certificate])
        transport._set_role("client")  # so that the viewer's order of SRTP profiles counts
        local = self._local(transport)
        answer = stream.answer_publisher if publishes else stream.answer_viewer
        text = answer(offer, local).replace("a=ice-lite\r\n", "")
        connecting = asyncio.ensure_future(self._connect(offer, transport, publishes=publishes))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)

        async def leave() -> None:
            connecting.cancel()
            self._viewers.discard(transport)
            await transport.stop()
            await checked.stop()

        return Place(text, leave)

    async def _connect(
        self, offer: sdp.SessionDescription, transport: RTCDtlsTransport, *, publishes: bool
    ) -> None:
        from aiortc import RTCDtlsFingerprint, RTCDtlsParameters, RTCIceParameters

        peer = sdp.offer_transport(offer)
        await transport.transport.start(RTCIceParameters(peer.ufrag, peer.pwd))
        fingerprints = [
            RTCDtlsFingerprint(algorithm, digest.hex(":"))
            for algorithm, digest in peer.fingerprints
        ]
        await transport.start(RTCDtlsParameters(fingerprints))
        if transport.state == "connected" and not publishes:
            self._viewers.add(transport)

    def _local(self, transport: RTCDtlsTransport) -> sdp.LocalTransport:
        gatherer = transport.transport.iceGatherer
        ours = gatherer.getLocalParameters()
        bound = [(each.ip, each.port) for each in gatherer.getLocalCandidates()]
        digests = {each.algorithm: each.value for each in self._certificate.getFingerprints()}
        fingerprint = ("sha-256", bytes.fromhex(digests["sha-256"].replace(":", "")))
        ufrag, pwd = ours.usernameFragment or "", ours.password or ""
        return sdp.LocalTransport(ufrag, pwd, fingerprint, "active", ice.host_candidates(bound))


def main() -> int:
    """The command; its exit code."""
    return front.main(__doc__ or "", Relay)


if __name__ == "__main__":
    sys.exit(main())
