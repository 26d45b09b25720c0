"""What the engine records of a received packet: 32 bytes, packed, little-endian.

The same layout stands in ``native/core/src/record.rs``. Records reach Python as the bytes of the
event :class:`pyforward.commands.Records`, many at a time, in order of arrival on one shard.
"""

from __future__ import annotations

import struct
from collections.abc import Container
from typing import Final, NamedTuple

RECORD: Final = struct.Struct("<QIIIIIHH")
RECORD_BYTES: Final = RECORD.size

# What Record.flags holds.
VIDEO: Final = 1
MARKER: Final = 2
KEYFRAME: Final = 4
"""The packet has the timestamp of a keyframe."""
LATE: Final = 8
"""A packet with a higher sequence number came before."""
REPAIRED: Final = 16
"""It came because it was asked for, or as a retransmission."""
STAMPED: Final = 32
"""The payload ends with a stamp; ``counter`` is its."""
INTACT: Final = 64
"""The stamp's checksum is right."""
RESTARTED: Final = 128
"""The sender began anew (RFC 3550 §A.1): ``sequence`` does not follow the one before."""

UNKNOWN: Final = 0xFFFF_FFFF
"""``latency_us`` where there is no intact stamp, or one of another machine's clock."""


class Record(NamedTuple):
    """One received packet.

    ``arrival_us`` is by CLOCK_MONOTONIC, when the kernel had the packet, or when it was read where
    the kernel does not tell; of one viewer it never goes back. ``viewer`` is the number that the
    session was given, ``sequence`` the low 32 bits of the extended sequence number, ``timestamp``
    the RTP timestamp, ``counter`` counts the packets of the track at the publisher, ``latency_us``
    is the time since the publisher stamped it, ``size`` are the bytes of UDP payload.
    """

    arrival_us: int
    viewer: int
    sequence: int
    timestamp: int
    counter: int
    latency_us: int
    size: int
    flags: int


_VIEWER: Final = struct.Struct("<8xI")


def parted(data: bytes, viewers: Container[int]) -> tuple[bytes, bytes]:
    """The records of these viewers, and those of all others, each in their order."""
    theirs, others = bytearray(), bytearray()
    for at in range(0, len(data), RECORD_BYTES):
        part = theirs if _VIEWER.unpack_from(data, at)[0] in viewers else others
        part += data[at : at + RECORD_BYTES]
    return bytes(theirs), bytes(others)


def unpack(data: bytes) -> list[Record]:
    """All of them, one by one: for tests. ValueError where the last one is cut."""
    if len(data) % RECORD_BYTES:
        raise ValueError(f"{len(data)} bytes are no whole number of records")
    return [Record(*fields) for fields in RECORD.iter_unpack(data)]
