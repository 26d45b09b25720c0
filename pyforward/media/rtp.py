"""RTP headers before payloads (RFC 3550 §5.1): the packets of one track, numbered.

What comes out is what :class:`pyforward.commands.InjectRtp` carries: whole packets, unencrypted,
with neither header extensions nor padding.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

HEADER_BYTES = 12
# As browsers send: with tag, UDP, IPv6 and a tunnel's share it still fits every path in use.
MOST_PACKET_BYTES = 1_200
MOST_PAYLOAD_BYTES = MOST_PACKET_BYTES - HEADER_BYTES

_HEADER = struct.Struct("!BBHII")
_VERSION_2 = 0x80
_MARKER = 0x80


class Writer:
    """Numbers the packets of one track; ``first_timestamp`` is added to what each call tells."""

    def __init__(
        self, payload_type: int, ssrc: int, *, first_sequence: int = 0, first_timestamp: int = 0
    ) -> None:
        self.payload_type = payload_type
        self.ssrc = ssrc
        self._next_sequence = first_sequence
        self._first_timestamp = first_timestamp

    def packets(
        self, payloads: Sequence[bytes], timestamp: int, *, marker: bool
    ) -> tuple[bytes, ...]:
        """One packet a payload, all at ``timestamp`` (units of the track's clock, from its start,
        of any size); ``marker`` is for the last of them."""
        at = (self._first_timestamp + timestamp) & 0xFFFFFFFF
        last = len(payloads) - 1
        packets: list[bytes] = []
        for number, payload in enumerate(payloads):
            marked = _MARKER if marker and number == last else 0
            sequence = (self._next_sequence + number) & 0xFFFF
            packets.append(
                _HEADER.pack(_VERSION_2, marked | self.payload_type, sequence, at, self.ssrc)
                + payload
            )
        self._next_sequence += len(payloads)
        return tuple(packets)
