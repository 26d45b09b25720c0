"""Viewers that cost next to nothing: a WHEP join, ICE checks, DTLS, and then only counting.

Fifty Chromium pages would measure Chromium. A light viewer is one socket with UDP_GRO, so that a
train is read in one call and its length is seen from outside. It decodes nothing, and it opens
SRTP only when it is asked to. It sends no RTCP of its own accord, so it never repairs a loss.

As a program it brings many of them and tells what they counted::

    python -m tests.e2e.light_viewer http://127.0.0.1:8080/whep/demo --viewers 50

It prints ``watching`` once every viewer has media, waits for the end of standard input, leaves,
and prints a JSON object with the fields of :class:`Counts`, summed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import aiohttp
import pylibsrtp
from aioice import stun
from aioice.candidate import Candidate

from pyforward.dtls import Certificate, Handshake, Keys
from pyforward.dtls.handshake import new_context

VIDEO = {"VP8": 96, "H264": 98}
AUDIO = {"opus": 111}
RTX = {96: 97, 98: 99}

PROFILES: Final = {
    "SRTP_AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "SRTP_AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


@dataclass(slots=True)
class Counts:
    """What came. ``trains`` counts reads by the number of media datagrams in each."""

    packets: int = 0
    octets: int = 0
    reports: int = 0
    unopened: int = 0
    trains: Counter[int] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Sums up."""
        self.packets += other.packets
        self.octets += other.octets
        self.reports += other.reports
        self.unopened += other.unopened
        self.trains.update(other.trains)


class RefusedError(Exception):
    """The server's status and its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status


class LightViewer:
    """One session. :meth:`join` returns when its keys are there; ``counts`` then grows.

    ``on_packet`` gets every RTP packet: opened when ``opens`` is set, otherwise as it came.
    ``check_every_s=None`` sends no check after the first, which lets consent run out.
    """

    def __init__(
        self,
        *,
        profiles: Sequence[str] = tuple(PROFILES),
        opens: bool = False,
        kinds: Sequence[str] = ("audio", "video"),
        check_every_s: float | None = 2.5,
        on_packet: Callable[[bytes], None] | None = None,
    ) -> None:
        self.counts = Counts()
        self.ufrag = secrets.token_hex(4)
        self.pwd = secrets.token_hex(16)
        self.location = ""
        self.answer = ""
        self.remote: tuple[str, int] | None = None
        self.keys: Keys | None = None
        self._profiles = tuple(profiles)
        self._kinds = tuple(kinds)
        self._opens = opens
        self._on_packet = on_packet
        self._check_every_s = check_every_s
        self._certificate = Certificate.generate()
        self._opener: pylibsrtp.Session | None = None
        self._sealer: pylibsrtp.Session | None = None
        self._handshake: Handshake | None = None
        self._socket: socket.socket | None = None
        self._transaction = b""
        self._checked = asyncio.Event()
        self._secured = asyncio.Event()
        self._flowing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(
        self, http: aiohttp.ClientSession, url: str, *, token: str = "", timeout_s: float = 30
    ) -> None:
        """Offers, checks, shakes hands. Raises :class:`RefusedError`, TimeoutError."""
        headers = {"Content-Type": "application/sdp"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with http.post(url, data=self.offer(), headers=headers) as response:
            text = await response.text()
            if response.status != 201:
                raise RefusedError(response.status, text)
            self.location = urljoin(url, response.headers["Location"])
        self.answer = text
        self._open_socket()
        async with asyncio.timeout(timeout_s):
            await self._until(self._checked, self._send_check, every_s=0.5)
            self._start_handshake()
            await self._until(self._secured, self._turn_handshake, every_s=0.1)
        if self._check_every_s is not None:
            self._tasks.append(asyncio.create_task(self._keep_consent(self._check_every_s)))

    async def watch(self, timeout_s: float = 30) -> None:
        """Waits for the first media packet."""
        async with asyncio.timeout(timeout_s):
            await self._flowing.wait()

    def send_rtcp(self, compound: bytes) -> None:
        """Seals and sends a compound."""
        assert self._sealer is not None
        self.send(self._sealer.protect_rtcp(compound))

    def send(self, datagram: bytes) -> None:
        """As it is, from this viewer's address."""
        assert self._socket is not None
        self._socket.send(datagram)

    async def leave(self, http: aiohttp.ClientSession) -> int:
        """DELETE, and the socket is closed; the status."""
        async with http.delete(self.location) as response:
            self.close()
            return response.status

    def close(self) -> None:
        """Falls silent without a word."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def offer(self) -> str:
        """The offer's text: DTLS client, no candidates (an ICE-lite server needs none)."""
        algorithm, digest = self._certificate.fingerprint
        lines = [
            "v=0",
            f"o=- {secrets.randbits(62)} 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {' '.join(str(mid) for mid in range(len(self._kinds)))}",
            "a=extmap-allow-mixed",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:{algorithm} {digest.hex(':').upper()}",
            "a=setup:active",
        ]
        for mid, kind in enumerate(self._kinds):
            lines += _section(kind, mid)
        return "\r\n".join(lines) + "\r\n"

    # Private

    def _open_socket(self) -> None:
        found = [Candidate.from_sdp(value) for value in _values(self.answer, "a=candidate:")]
        best = max(found, key=lambda candidate: candidate.priority)
        family = socket.AF_INET6 if ":" in best.host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        with contextlib.suppress(OSError):  # an older kernel: every train is then of one packet
            opened.setsockopt(_SOL_UDP, _UDP_GRO, 1)
        opened.connect((best.host, best.port))
        self.remote = (best.host, best.port)
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._read)

    async def _until(
        self, event: asyncio.Event, act: Callable[[], None], *, every_s: float
    ) -> None:
        while not event.is_set():
            act()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), every_s)

    async def _keep_consent(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._send_check()
            self._turn_handshake()

    def _send_check(self) -> None:
        """RFC 8445 §7.1.1, with the regular nomination of a controlling agent."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        self._transaction = message.transaction_id
        remote_ufrag = _value(self.answer, "a=ice-ufrag:")
        message.attributes["USERNAME"] = f"{remote_ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 0x6E7F1EFF
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(_value(self.answer, "a=ice-pwd:").encode())
        self._try_to_send(bytes(message))

    def _start_handshake(self) -> None:
        algorithm, _, digest = _value(self.answer, "a=fingerprint:").partition(" ")
        context = new_context(self._certificate, srtp_profiles=self._profiles)
        expected = [(algorithm.lower(), bytes.fromhex(digest.replace(":", "")))]
        self._handshake = Handshake(context, "client", expected)

    def _turn_handshake(self) -> None:
        handshake = self._handshake
        assert handshake is not None
        handshake.handle_timeout()
        for datagram in handshake.take_flight():
            self._try_to_send(datagram)
        assert handshake.failure is None or self.keys is not None, handshake.failure
        if handshake.result is not None and self.keys is None:
            self._take_keys(handshake.result)

    def _take_keys(self, keys: Keys) -> None:
        self.keys = keys
        policy = pylibsrtp.Policy(
            key=keys.remote_key + keys.remote_salt,
            ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
            srtp_profile=PROFILES[keys.profile],
        )
        policy.window_size = 1024
        self._opener = pylibsrtp.Session(policy)
        self._sealer = pylibsrtp.Session(
            pylibsrtp.Policy(
                key=keys.local_key + keys.local_salt,
                ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
                srtp_profile=PROFILES[keys.profile],
            )
        )
        self._secured.set()

    def _try_to_send(self, datagram: bytes) -> None:
        # What is lost here is sent again by the timers; a refused port is the server's absence.
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self.send(datagram)

    def _read(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._socket is None:
                return
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65535, _CONTROL_BYTES)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._take(data, _segment_bytes(ancillary))

    def _take(self, data: bytes, segment: int) -> None:
        media = 0
        for start in range(0, len(data), segment or len(data) or 1):
            datagram = data[start : start + segment] if segment else data
            first = datagram[0]
            if first >= 128:  # RFC 7983 §7
                media += self._take_protected(datagram)
            elif first < 4:
                self._take_stun(datagram)
            elif 20 <= first < 64 and self._handshake is not None:
                self._handshake.receive(datagram)
                self._turn_handshake()
        if media:
            self.counts.trains[media] += 1
            self._flowing.set()

    def _take_protected(self, datagram: bytes) -> int:
        if 192 <= datagram[1] < 224:  # RFC 5761 §4
            self.counts.reports += 1
            return 0
        self.counts.packets += 1
        self.counts.octets += len(datagram)
        if self._opens and self._opener is not None:
            try:
                datagram = self._opener.unprotect(datagram)
            except pylibsrtp.Error:
                self.counts.unopened += 1
                return 1
        if self._on_packet is not None:
            self._on_packet(datagram)
        return 1

    def _take_stun(self, datagram: bytes) -> None:
        """Chromium judges the integrity of answers; here the transaction is enough."""
        with contextlib.suppress(ValueError):
            message = stun.parse_message(datagram)
            ours = message.transaction_id == self._transaction
            if ours and message.message_class is stun.Class.RESPONSE:
                self._checked.set()


# Private -----------------------------------------------------------------------------------------

_SOL_UDP = 17
_UDP_GRO = 104
_CONTROL_BYTES = 64
_RECEIVE_BUFFER_BYTES = 1 << 20
_READS_PER_TURN = 64


def _section(kind: str, mid: int) -> Iterator[str]:
    codecs = AUDIO if kind == "audio" else VIDEO
    types = [t for pt in codecs.values() for t in (pt, RTX.get(pt)) if t is not None]
    yield f"m={kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, types))}"
    yield from ("c=IN IP4 0.0.0.0", f"a=mid:{mid}", "a=recvonly", "a=rtcp-mux", "a=rtcp-rsize")
    yield "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid"
    for name, payload_type in codecs.items():
        clock = "48000/2" if kind == "audio" else "90000"
        yield f"a=rtpmap:{payload_type} {name}/{clock}"
        if kind == "audio":
            continue
        for feedback in ("nack", "nack pli", "ccm fir"):
            yield f"a=rtcp-fb:{payload_type} {feedback}"
        if name == "H264":
            yield (
                f"a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode=1;"
                "profile-level-id=42e01f"
            )
        yield f"a=rtpmap:{RTX[payload_type]} rtx/90000"
        yield f"a=fmtp:{RTX[payload_type]} apt={payload_type}"


def _values(text: str, prefix: str) -> list[str]:
    return [line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)]


def _value(text: str, prefix: str) -> str:
    """The first; bundled sections repeat it."""
    return _values(text, prefix)[0]


def _segment_bytes(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if (level, kind) == (_SOL_UDP, _UDP_GRO):
            return int(struct.unpack_from("=i", value)[0]) if len(value) >= 4 else 0
    return 0


async def _crowd(url: str, viewers: int) -> Counts:
    crowd = [LightViewer() for _ in range(viewers)]
    async with aiohttp.ClientSession() as http:
        for viewer in crowd:
            await viewer.join(http, url)
        await asyncio.gather(*(viewer.watch() for viewer in crowd))
        sys.stdout.write("watching\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        total = Counts()
        for viewer in crowd:
            total.add(viewer.counts)
            await viewer.leave(http)
    return total


def _main() -> None:
    parser = argparse.ArgumentParser(description="Light viewers of one stream.")
    parser.add_argument("url", help="the WHEP endpoint")
    parser.add_argument("--viewers", type=int, default=1)
    asked = parser.parse_args()
    counts = asyncio.run(_crowd(asked.url, asked.viewers))
    json.dump({name: getattr(counts, name) for name in Counts.__slots__}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    _main()
