"""RTP packets in a file: the rtpdump format of rtptools, read with bounds and written.

A line ``#!rtpplay1.0 address/port``, a header of 16 bytes, then records: two lengths, the offset
from the start in milliseconds, the packet. It never plays anything, and never looks beyond the
fixed RTP header. Format: the ``rtpdump(1)`` and ``rtpplay(1)`` manual pages of rtptools.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pyforward.errors import PyforwardError

_FIRST_LINE = b"#!rtpplay1.0 127.0.0.1/5000\n"
_MAGIC = b"#!rtpplay1.0 "
_LONGEST_FIRST_LINE_BYTES = 80
_FILE_HEADER = struct.Struct("!IIIHH")
_RECORD = struct.Struct("!HHI")
_RTP_HEADER_BYTES = 12

LARGEST_PACKET_BYTES = 1_500
MOST_RECORDS = 1_000_000


class RtpdumpError(PyforwardError):
    """The bytes are no rtpdump file, or break its lengths; the message says where."""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole RTP packet, and when it was sent, in milliseconds from the start."""

    offset_ms: int
    packet: bytes

    @property
    def payload_type(self) -> int:
        """RFC 3550 §5.1."""
        return self.packet[1] & 0x7F

    @property
    def sequence(self) -> int:
        """16 bits."""
        return int.from_bytes(self.packet[2:4], "big")

    @property
    def timestamp(self) -> int:
        """32 bits, in units of the payload type's clock."""
        return int.from_bytes(self.packet[4:8], "big")

    @property
    def ssrc(self) -> int:
        """32 bits."""
        return int.from_bytes(self.packet[8:12], "big")


def read(data: bytes) -> tuple[Record, ...]:
    """The RTP packets of a file, in its order; its RTCP packets are left out.

    Raises :class:`RtpdumpError` at the first byte that cannot be what the format says.
    """
    position = _after_headers(data)
    records: list[Record] = []
    while position < len(data):
        if len(records) == MOST_RECORDS:
            raise RtpdumpError(f"The recording has more than {MOST_RECORDS} packets.")
        if len(data) - position < _RECORD.size:
            raise RtpdumpError(f"The recording ends inside a record header, at byte {position}.")
        record_bytes, packet_bytes, offset_ms = _RECORD.unpack_from(data, position)
        start, end = position + _RECORD.size, position + record_bytes
        if end < start or end > len(data):
            raise RtpdumpError(f"The record at byte {position} has a wrong length.")
        if packet_bytes != 0:  # zero says RTCP
            records.append(Record(offset_ms, _rtp(data[start:end], packet_bytes, position)))
        position = end
    return tuple(records)


def write(records: Iterable[Record]) -> bytes:
    """The file that :func:`read` gives ``records`` back from."""
    out = bytearray(_FIRST_LINE)
    out += _FILE_HEADER.pack(0, 0, 0x7F000001, 5000, 0)
    for record in records:
        size = len(record.packet)
        if not _RTP_HEADER_BYTES <= size <= LARGEST_PACKET_BYTES:
            raise RtpdumpError(f"A packet of {size} bytes cannot be recorded.")
        out += _RECORD.pack(_RECORD.size + size, size, record.offset_ms)
        out += record.packet
    return bytes(out)


def _after_headers(data: bytes) -> int:
    """Where the records begin."""
    end = data.find(b"\n", 0, _LONGEST_FIRST_LINE_BYTES)
    if not data.startswith(_MAGIC) or end < 0:
        raise RtpdumpError("The recording does not begin as an rtpdump file does.")
    position = end + 1 + _FILE_HEADER.size
    if position > len(data):
        raise RtpdumpError("The recording ends inside its header.")
    return position


def _rtp(packet: bytes, announced_bytes: int, position: int) -> bytes:
    """The packet, when it is whole (rtpdump can record headers alone) and looks like RTP."""
    if len(packet) != announced_bytes:
        raise RtpdumpError(f"The packet at byte {position} was not recorded whole.")
    if not _RTP_HEADER_BYTES <= len(packet) <= LARGEST_PACKET_BYTES or packet[0] >> 6 != 2:
        raise RtpdumpError(f"The packet at byte {position} is not RTP.")
    return packet
