"""Media that a test publishes packet by packet: VP8 pictures of random bytes, Opus packets."""

from __future__ import annotations

import random
import struct

from tests.e2e.peer import Peer


class Camera:
    """Packets of one SSRC in their order. What it made is kept by sequence number."""

    def __init__(self, peer: Peer, ssrc: int = 0x1111, payload_type: int = 96) -> None:
        self.peer = peer
        self.ssrc = ssrc
        self.payload_type = payload_type
        self.sequence = 1000
        self.timestamp = 50_000
        self.made: dict[int, bytes] = {}
        self._random = random.Random(ssrc)

    def packet(self, payload: bytes, *, marker: bool = False, first: int = 0x80) -> bytes:
        """The next packet, plain. ``first`` is the header's first byte."""
        head = struct.pack(
            "!BBHII",
            first,
            self.payload_type | (0x80 if marker else 0),
            self.sequence,
            self.timestamp,
            self.ssrc,
        )
        self.made[self.sequence] = payload
        self.sequence = (self.sequence + 1) & 0xFFFF
        return head + payload

    def picture(self, *, key: bool = False, packets: int = 3, size: int = 600) -> list[bytes]:
        """The packets of the next picture (RFC 7741 §4)."""
        made = []
        for number in range(packets):
            if number == 0:
                begin = b"\x10\x00\x00\x00\x9d\x01\x2a" if key else b"\x10\x01"
            else:
                begin = b"\x00"
            # Not all equally long, as an encoder's are.
            body = self._random.randbytes(size - len(begin) - (number % 2))
            made.append(self.packet(begin + body, marker=number == packets - 1))
        self.timestamp = (self.timestamp + 3000) & 0xFFFFFFFF
        return made

    def show(self, *, key: bool = False, packets: int = 3, size: int = 600) -> None:
        """Sends the next picture."""
        for packet in self.picture(key=key, packets=packets, size=size):
            self.peer.send_rtp(packet)
