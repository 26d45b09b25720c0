"""A small WHIP and WHEP forwarder that does everything right, or one thing wrong.

The harness measures other people's servers. This one says beforehand what is wrong with it, and
:class:`Done` what it did, so that a test can hold the harness's figures against both. It has one
stream, H.264 and Opus, a socket for each session, and forwards payloads untouched; it answers NACKs
from what it sent, unless it means a packet to be missing. It is ICE-lite and the server of DTLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy
from pylibsrtp import Session as Srtp

from pyforward import ice, sdp
from pyforward.commands import Kind
from pyforward.dtls import Certificate, Handshake, Keys
from pyforward.dtls.handshake import new_context
from tests.e2e import stun
from tests.e2e.peer import PROFILES, Rtp, packets_of
from tests.e2e.server import SDP

KEPT = 512
"""Packets of a track that a viewer may ask for again."""

STAMP_BYTES = 24
"""The end of a payload of ``pyforward-bench publish``, which nobody but it may touch."""


@dataclass
class Mischief:
    """What is wrong. Shares are of the packets of each track of each viewer, evenly spread: 0.01 is
    every hundredth. All of it may be changed while the forwarder runs."""

    drop: float = 0.0
    """Not forwarded, and not given again to who asks."""
    renumber: bool = False
    """What follows a dropped packet takes its number, so that nobody can tell by the numbers."""
    repeat: float = 0.0
    """Sent once more as a packet of its own: sealed anew, under the next number."""
    echo: float = 0.0
    """The same datagram once more."""
    delay_s: float = 0.0
    """Every packet waits so long."""
    corrupt: float = 0.0
    """One byte of the payload, before its stamp, is another one. Sealed afterwards."""
    damage: float = 0.0
    """One byte of the sealed packet is another one. Not given again to who asks."""
    withholds: tuple[str, ...] = ()
    """Sends no media of these kinds, and does everything else."""

    meets: str = "/whep"
    """Whom the rest is for: viewers, or with ``/whip`` publishers."""
    ignores_dtls: bool = False
    """Answers checks alone."""
    refuses: int = 0
    """With this HTTP status."""
    bend: Callable[[str], str] | None = None
    """What is done to an answer before it is sent."""


@dataclass
class Done:
    """What was done, over all viewers. ``sent`` counts new packets that left in one piece."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    repeated: int = 0
    echoed: int = 0
    corrupted: int = 0
    damaged: int = 0
    repaired: int = 0
    deleted: int = 0


class BadForwarder:
    """It serves HTTP on ``host`` from :meth:`start` on, and its media leaves from there."""

    def __init__(self, mischief: Mischief | None = None, *, host: str = "127.0.0.1") -> None:
        self.mischief = mischief or Mischief()
        self.done = Done()
        self.host = host
        self.url = ""
        self.viewers: list[Viewing] = []
        self.publisher: Publishing | None = None
        self.live: tuple[sdp.LiveTrack, ...] = ()
        self.certificate = Certificate.generate()
        self.dtls = new_context(self.certificate)
        self._sessions: dict[str, Party] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/whip", self._join)
        app.router.add_post("/whep", self._join)
        app.router.add_delete("/session/{secret}", self._delete)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, 0).start()
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def die(self) -> None:
        """Every socket closes at once, and nobody hears a word."""
        for party in self._sessions.values():
            party.close()
        self._sessions.clear()
        self.viewers.clear()
        self.publisher = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _join(self, request: web.Request) -> web.Response:
        offer = sdp.parse(await request.text())
        is_met = request.path == self.mischief.meets
        if self.mischief.refuses and is_met:
            return web.Response(status=self.mischief.refuses, text="No.")
        party: Party
        if request.path == "/whip":
            party = Publishing(self, offer)
        elif self.publisher is None:
            return web.Response(status=404, text="Nobody publishes.")
        else:
            party = Viewing(self, offer)
        party.ignores_dtls = self.mischief.ignores_dtls and is_met
        answer = await party.open()
        secret = secrets.token_hex(8)
        self._sessions[secret] = party
        if self.mischief.bend is not None and is_met:
            answer = self.mischief.bend(answer)
        where = {"Location": f"/session/{secret}"}
        return web.Response(status=201, text=answer, content_type=SDP, headers=where)

    async def _delete(self, request: web.Request) -> web.Response:
        party = self._sessions.pop(request.match_info["secret"], None)
        if party is None:
            return web.Response(status=404)
        self.done.deleted += 1
        party.close()
        return web.Response()


class Party(ABC, asyncio.DatagramProtocol):
    """A session: its socket, checks, DTLS, SRTP."""

    def __init__(self, forwarder: BadForwarder, offer: sdp.SessionDescription) -> None:
        self.forwarder = forwarder
        self.offer = offer
        self.ufrag, self.pwd = ice.new_credentials("00")
        self.ignores_dtls = False
        self.address: tuple[str, int] | None = None
        self.inbound: Srtp | None = None
        self.outbound: Srtp | None = None
        peer = sdp.offer_transport(offer)
        self._handshake = Handshake(forwarder.dtls, "server", peer.fingerprints)
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> str:
        """The answer's text."""
        loop = asyncio.get_running_loop()
        local = (self.forwarder.host, 0)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=local)
        opened = self._transport.get_extra_info("socket")
        # A keyframe at once, while this process is busy elsewhere.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        candidates = ice.host_candidates([opened.getsockname()[:2]])
        fingerprint = self.forwarder.certificate.fingerprint
        return self.answer(
            sdp.LocalTransport(self.ufrag, self.pwd, fingerprint, "passive", candidates)
        )

    @abstractmethod
    def answer(self, local: sdp.LocalTransport) -> str:
        """To its offer."""

    def handle_rtp(self, packet: Rtp) -> None:
        """An RTP packet of the peer's."""

    def handle_rtcp(self, compound: bytes) -> None:
        """An RTCP compound of the peer's."""

    def send(self, datagram: bytes) -> None:
        """To where the last check came from."""
        if self._transport is not None and self.address is not None:
            self._transport.sendto(datagram, self.address)

    def close(self) -> None:
        """Falls silent without a word."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, datagram: bytes, address: tuple[str, int]) -> None:
        """By the first byte (RFC 7983 §7)."""
        first = datagram[0]
        if first < 4:
            self._handle_check(datagram, address)
        elif 20 <= first < 64 and not self.ignores_dtls:
            self._handshake.receive(datagram)
            self._turn_handshake()
        elif first >= 128 and self.inbound is not None:
            self._handle_sealed(datagram)

    # Private -------------------------------------------------------------------------------------

    def _handle_check(self, datagram: bytes, address: tuple[str, int]) -> None:
        kind, transaction, _ = stun.parse(datagram)
        if kind == stun.REQUEST and stun.is_authentic(datagram, self.pwd):
            self.address = address
            mapped = [(stun.XOR_MAPPED, _xored(address, transaction))]
            self.send(stun.message(stun.SUCCESS, mapped, self.pwd, transaction=transaction))

    def _turn_handshake(self) -> None:
        self._handshake.handle_timeout()
        for datagram in self._handshake.take_flight():
            self.send(datagram)
        if self._handshake.result is not None and self.inbound is None:
            self._take(self._handshake.result)
        if self._timer is not None:
            self._timer.cancel()
        timeout_s = self._handshake.timeout_s()
        if timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_s + 0.01, self._turn_handshake)

    def _take(self, keys: Keys) -> None:
        number, _, _ = PROFILES[keys.profile]
        inbound = Policy(
            keys.remote_key + keys.remote_salt, Policy.SSRC_ANY_INBOUND, srtp_profile=number
        )
        inbound.window_size = 1024
        self.inbound = Srtp(inbound)
        self.outbound = Srtp(
            Policy(keys.local_key + keys.local_salt, Policy.SSRC_ANY_OUTBOUND, srtp_profile=number)
        )

    def _handle_sealed(self, datagram: bytes) -> None:
        assert self.inbound is not None
        with contextlib.suppress(SrtpError):  # a repeat of the network's
            if 64 <= datagram[1] & 0x7F < 96:  # RFC 5761 §4
                self.handle_rtcp(bytes(self.inbound.unprotect_rtcp(datagram)))
            else:
                self.handle_rtp(Rtp(bytes(self.inbound.unprotect(datagram)), datagram))


class Publishing(Party):
    """What it sends goes to every viewer."""

    def answer(self, local: sdp.LocalTransport) -> str:
        answered = sdp.answer_publish(self.offer, local, prefer=("h264", "opus"))
        self.forwarder.publisher = self
        self.forwarder.live = answered.live
        self._kinds: dict[int, Kind] = {track.payload_type: track.kind for track in answered.tracks}
        return answered.text

    def handle_rtp(self, packet: Rtp) -> None:
        kind = self._kinds.get(packet.payload_type)
        if kind is None:  # a retransmission, of what nobody here asked for
            return
        forwarder = self.forwarder
        forwarder.done.received += 1
        if kind in forwarder.mischief.withholds:
            return
        for viewer in forwarder.viewers:
            if not forwarder.mischief.delay_s:
                viewer.forward(kind, packet)
                continue
            loop = asyncio.get_running_loop()
            loop.call_later(forwarder.mischief.delay_s, viewer.forward, kind, packet)


class Viewing(Party):
    """Gets what the publisher sends, under SSRCs and numbers of its own."""

    def answer(self, local: sdp.LocalTransport) -> str:
        live = self.forwarder.live
        answered = sdp.answer_watch(self.offer, local, live, msid_stream="bad")
        self._tracks = {
            track.kind: _Track(track.ssrc, track.formats[0].payload_type)
            for track in answered.tracks
        }
        self.forwarder.viewers.append(self)
        return answered.text

    def close(self) -> None:
        super().close()
        if self in self.forwarder.viewers:
            self.forwarder.viewers.remove(self)

    def forward(self, kind: Kind, packet: Rtp) -> None:
        """One packet, with the mischief that is due."""
        track = self._tracks.get(kind)
        if track is None or self.outbound is None:
            return
        mischief, done = self.forwarder.mischief, self.forwarder.done
        if track.first is None:
            track.first = packet.sequence
        if track.is_due("drop", mischief.drop):
            done.dropped += 1
            track.shift -= mischief.renumber
            return
        payload = packet.payload
        if track.is_due("corrupt", mischief.corrupt):
            done.corrupted += 1
            payload = _flipped(payload, (len(payload) - STAMP_BYTES) // 2)
        sealed = self._seal(track, packet, payload)
        if track.is_due("damage", mischief.damage):
            done.damaged += 1
            self.send(_flipped(sealed, len(sealed) // 2))
            return
        done.sent += 1
        self._send_new(track, sealed)
        if track.is_due("echo", mischief.echo):
            done.echoed += 1
            self.send(sealed)
        if track.is_due("repeat", mischief.repeat):
            done.repeated += 1
            track.shift += 1
            self._send_new(track, self._seal(track, packet, payload))

    def handle_rtcp(self, compound: bytes) -> None:
        """NACKs (RFC 4585 §6.2.1) are answered with the very datagram that was sent."""
        for kind, format_, body in packets_of(compound):
            if (kind, format_) != (205, 1):
                continue
            (ssrc,) = struct.unpack_from("!I", body, 4)
            for track in self._tracks.values():
                asked = _asked(body) if track.ssrc == ssrc else ()
                for sealed in filter(None, map(track.sent.get, asked)):
                    self.forwarder.done.repaired += 1
                    self.send(sealed)

    # Private -------------------------------------------------------------------------------------

    def _seal(self, track: _Track, packet: Rtp, payload: bytes) -> bytes:
        assert track.first is not None
        assert self.outbound is not None
        # The first is 1, wherever the publisher began, so that no rollover comes early.
        sequence = (packet.sequence - track.first + track.shift + 1) & 0xFFFF
        marker = 0x80 if packet.marker else 0
        head = struct.pack(
            "!BBHII", 0x80, track.payload_type | marker, sequence, packet.timestamp, track.ssrc
        )
        return bytes(self.outbound.protect(head + payload))

    def _send_new(self, track: _Track, sealed: bytes) -> None:
        sequence = int.from_bytes(sealed[2:4], "big")
        track.sent[sequence] = sealed
        track.sent.pop((sequence - KEPT) & 0xFFFF, None)
        self.send(sealed)


@contextlib.asynccontextmanager
async def forwarding(
    mischief: Mischief | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[BadForwarder]:
    """It runs, and is gone at the end."""
    forwarder = BadForwarder(mischief, host=host)
    await forwarder.start()
    try:
        yield forwarder
    finally:
        await forwarder.die()


# Private ------------------------------------------------------------------------------------------

_COOKIE: Final = struct.pack("!I", stun.COOKIE)


@dataclass
class _Track:
    """A track on its way to one viewer. ``shift`` is what was repeated less what was renumbered
    away."""

    ssrc: int
    payload_type: int
    first: int | None = None
    shift: int = 0
    sent: dict[int, bytes] = field(default_factory=dict)
    _owed: dict[str, float] = field(default_factory=dict)

    def is_due(self, name: str, share: float) -> bool:
        """For this packet: shares add up until they make one."""
        owed = self._owed.get(name, 0.0) + share
        self._owed[name] = owed - int(owed)
        return owed >= 1


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]


def _asked(body: bytes) -> Iterator[int]:
    """Sequence numbers of a NACK: each entry names one and, by a mask, those after it."""
    for at in range(8, len(body), 4):
        first, mask = struct.unpack_from("!HH", body, at)
        yield first
        yield from ((first + 1 + bit) & 0xFFFF for bit in range(16) if mask >> bit & 1)


def _xored(address: tuple[str, int], transaction: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS (RFC 8489 §14.2)."""
    packed = ipaddress.ip_address(address[0]).packed
    mask = _COOKIE + transaction
    family = 1 if len(packed) == 4 else 2
    port = address[1] ^ (stun.COOKIE >> 16)
    return struct.pack("!BBH", 0, family, port) + bytes(map(int.__xor__, packed, mask))
