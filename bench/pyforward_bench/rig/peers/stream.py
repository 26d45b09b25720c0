"""The one stream of a peer that is made here: its session descriptions, and its packets.

All viewers are told the same SSRC and payload type, so that a packet's header is written once and
what remains for each viewer is to seal and to send: that is what is compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pyforward import sdp
from pyforward.commands import Kind
from pyforward.errors import Unprocessable

SSRCS: Final[dict[Kind, int]] = {"audio": 0x7066_0001, "video": 0x7066_0002}
"""What viewers receive the tracks under."""

LEAST_BYTES: Final = 12
MOST_BYTES: Final = 1356
"""Of an RTP packet, header and all: what pylibsrtp seals."""


class Stream:
    """At most one track a kind, without repair."""

    def __init__(self) -> None:
        self._live: Sequence[sdp.LiveTrack] = ()
        self._kinds: dict[int, Kind] = {}
        self._payload_types: dict[Kind, int] = {}

    def answer_publisher(self, offer: sdp.SessionDescription, local: sdp.LocalTransport) -> str:
        """The answer's text; it is the publisher from now on. Raises RequestError."""
        answered = sdp.answer_publish(offer, local, prefer=("h264", "opus"))
        self._live = answered.live
        self._kinds = {track.payload_type: track.kind for track in answered.tracks}
        return answered.text

    def answer_viewer(self, offer: sdp.SessionDescription, local: sdp.LocalTransport) -> str:
        """The answer's text. Raises RequestError, also where nobody publishes yet."""
        if not self._live:
            raise Unprocessable("Nobody publishes.")
        answered = sdp.answer_watch(offer, local, self._live, msid_stream="peer")
        text = answered.text
        for track in answered.tracks:
            theirs = track.formats[0].payload_type
            if self._payload_types.setdefault(track.kind, theirs) != theirs:
                raise Unprocessable("Other viewers have another payload type.")
            text = re.sub(rf"\b{track.ssrc}\b", str(SSRCS[track.kind]), text)
        return text

    def packet(self, untrusted: bytes) -> bytes | None:
        """The publisher's packet as all viewers get it: its payload, number, timestamp and marker
        under a header of ours, without extensions. None for what is no packet of a track."""
        packet = untrusted
        if not LEAST_BYTES <= len(packet) <= MOST_BYTES or packet[0] >> 6 != 2:
            return None
        kind = self._kinds.get(packet[1] & 0x7F)
        payload = _payload(packet)
        if kind is None or payload is None:
            return None
        marker, payload_type = packet[1] & 0x80, self._payload_types.get(kind, 0)
        head = bytes((0x80, marker | payload_type)) + packet[2:8]
        return head + SSRCS[kind].to_bytes(4, "big") + payload


# Private -----------------------------------------------------------------------------------------


def _payload(packet: bytes) -> bytes | None:
    """Without CSRCs, extensions and padding (RFC 3550 §5.1); None where they are no such."""
    begin, end = 12 + 4 * (packet[0] & 0x0F), len(packet)
    if packet[0] & 0x10:
        begin += 4 + 4 * int.from_bytes(packet[begin + 2 : begin + 4], "big")
    if packet[0] & 0x20:
        end -= packet[-1]
    return packet[begin:end] if begin <= end else None
