"""RTP payloads with true headers around filler, each with a stamp at its end.

Any server sees keyframes, frames and Opus packets in them; a decoder would find noise. The stamp
lets a receiver check a payload byte by byte and tell how long it was on its way. It is cheap: a
payload is a few bytes of header, a slice of one block of noise, and the stamp.

Formats: RFC 6184 (H.264), RFC 7587 and RFC 6716 (Opus). Nothing here knows RTP headers or time.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from pyforward.media.packetizers.h264 import FU_A, STAP_A

# The stamp ---------------------------------------------------------------------------------------

MAGIC = b"pfst"
STAMP_BYTES = 24

_STAMP = struct.Struct("<4sIIQI")
_BLANK = struct.Struct("<4sI16x")
_CHECKSUM_BYTES = 4
_MOST_COUNTER = 0xFFFF_FFFF


class Stamp(NamedTuple):
    """The last :data:`STAMP_BYTES` of a payload, little-endian, after the magic.

    ``counter`` counts the packets of the track at the publisher, from 0, 32 bits. ``clock`` names
    the machine whose CLOCK_MONOTONIC ``sent_us`` is read from. ``checksum`` is the CRC-32 (zlib's)
    of all of the payload before it. The engine fills in all but the counter as it takes a packet,
    and judges the stamp at the receiver; here it is done once more, for tests and for tools.
    """

    counter: int
    clock: int
    sent_us: int
    checksum: int

    @classmethod
    def read(cls, payload_untrusted: bytes) -> Stamp | None:
        """The payload's, whether intact or not; None where there is none."""
        if len(payload_untrusted) < STAMP_BYTES:
            return None
        at = len(payload_untrusted) - STAMP_BYTES
        magic, *fields = _STAMP.unpack_from(payload_untrusted, at)
        return cls(*fields) if magic == MAGIC else None

    def pack(self) -> bytes:
        """The bytes that :meth:`read` reads."""
        return _STAMP.pack(MAGIC, *self)

    def is_of(self, payload_untrusted: bytes) -> bool:
        """Whether not a byte of the payload has changed since it was stamped."""
        return self.checksum == zlib.crc32(payload_untrusted[:-_CHECKSUM_BYTES])


def blank(counter: int) -> bytes:
    """The stamp of a payload that the engine has not taken yet."""
    return _BLANK.pack(MAGIC, counter & _MOST_COUNTER)


def completed(payload: bytes, clock: int, sent_us: int) -> bytes:
    """What the engine makes of a payload with a blank stamp. ValueError where there is none."""
    stamp = Stamp.read(payload)
    if stamp is None:
        raise ValueError("the payload has no stamp")
    timed = payload[:-STAMP_BYTES] + stamp._replace(clock=clock, sent_us=sent_us).pack()
    unchecked = timed[:-_CHECKSUM_BYTES]
    return unchecked + zlib.crc32(unchecked).to_bytes(_CHECKSUM_BYTES, "little")


# The filler --------------------------------------------------------------------------------------

_BLOCK_BYTES = 1 << 16
_LONGEST_BYTES = 1 << 12
# Without zeros, so that nobody finds a start code in it (ITU-T H.264 §7.4.1).
_BLOCK = random.Random(MAGIC).randbytes(_BLOCK_BYTES + _LONGEST_BYTES).replace(b"\0", b"\x5a")
_STRIDE = 40_503  # odd, so that every place in the block has its turn


def _filler(counter: int, count: int) -> bytes:
    """Noise; two packets have the same only where their counters are 65,536 apart."""
    at = counter * _STRIDE % _BLOCK_BYTES
    return _BLOCK[at : at + max(0, count)]


# Video -------------------------------------------------------------------------------------------

# Of constrained baseline streams of x264 at 30 frames/s, levels 4.0 and 3.1, by the picture's
# height.
_PARAMETER_SETS = {
    1080: (
        bytes.fromhex("6742c028da01e0089f9610000003001000000303c8f1832a"),
        bytes.fromhex("68ce3c80"),
    ),
    720: (
        bytes.fromhex("6742c01fda014016e840000003004000000f23c60ca8"),
        bytes.fromhex("68ce3c80"),
    ),
}
HEIGHTS: tuple[int, ...] = tuple(_PARAMETER_SETS)

_IDR, _OTHER, _FILLER_DATA, _SEI = 0x65, 0x41, 0x0C, 0x06  # NAL unit headers (RFC 6184 §1.3)
# first_mb_in_slice 0 and slice_type 7 (I) or 5 (P), as in ITU-T H.264 §7.3.3.
_SLICES = {_IDR: b"\x88", _OTHER: b"\x9a"}
_START, _END = 0x80, 0x40
# user_data_unregistered (ITU-T H.264 §D.1.7), with a UUID that stands for our stamps.
_SEI_TYPE = 5
_UUID = bytes.fromhex("5f6d0a1e4b7c43d9a8f2706673743031")

_SLICE_BYTES = 4 + STAMP_BYTES  # indicator, header, a byte of the slice and one of filler
_SEI_BYTES = 3 + len(_UUID) + STAMP_BYTES


class Video:
    """Payloads of one H.264 track, frame by frame; the counter of its packets runs on.

    The first packet of a keyframe is a STAP-A of parameter sets and an SEI unit, whose stamp is
    where its trailing bits would be; the picture comes in FU-As, or as one NAL unit where a single
    packet is left. A keyframe of one packet is a STAP-A with the picture in it.
    """

    def __init__(self, height: int = 1080) -> None:
        """``height`` is one of :data:`HEIGHTS`."""
        self.parameter_sets: tuple[bytes, bytes] = _PARAMETER_SETS[height]
        self.counter = 0
        # The beginning of a STAP-A (RFC 6184 §5.7.1).
        self._sets = bytes((0x60 | STAP_A,)) + b"".join(map(_with_size, self.parameter_sets))
        self.least_parameters_bytes: int = len(self._sets) + 2 + _SEI_BYTES
        """Of the first packet of a keyframe."""

    def frame(self, sizes: Sequence[int], *, keyframe: bool) -> list[bytes]:
        """A payload a size, in bytes. Where a size is too small for header and stamp, the payload
        is as long as it must be: 28 bytes, or :attr:`least_parameters_bytes`."""
        if not keyframe:
            return self._picture(sizes, _OTHER)
        if len(sizes) == 1:
            return [self._whole_keyframe(sizes[0])]
        return [self._parameters(sizes[0]), *self._picture(sizes[1:], _IDR)]

    def _picture(self, sizes: Sequence[int], unit: int) -> list[bytes]:
        if len(sizes) == 1:
            return [self._ended(bytes((unit,)) + _SLICES[unit], max(sizes[0], _SLICE_BYTES))]
        indicator, kind, last = unit & 0x60 | FU_A, unit & 0x1F, len(sizes) - 1
        payloads = []
        for number, size in enumerate(sizes):
            if number == 0:
                head = bytes((indicator, kind | _START)) + _SLICES[unit]
            else:
                head = bytes((indicator, kind | _END if number == last else kind))
            payloads.append(self._ended(head, max(size, _SLICE_BYTES)))
        return payloads

    def _parameters(self, size: int) -> bytes:
        spare = max(0, size - self.least_parameters_bytes)
        parts = [self._sets]
        if spare > 3:  # as a unit of filler data (ITU-T H.264 §7.3.2.7)
            parts.append(_with_size(bytes((_FILLER_DATA,)) + b"\xff" * (spare - 4) + b"\x80"))
            spare = 0
        data_bytes = len(_UUID) + spare + STAMP_BYTES
        sei = bytes((_SEI, _SEI_TYPE, data_bytes)) + _UUID
        parts.append((_SEI_BYTES + spare).to_bytes(2, "big") + sei)
        head = b"".join(parts)
        return self._ended(head, len(head) + spare + STAMP_BYTES)

    def _whole_keyframe(self, size: int) -> bytes:
        unit_bytes = max(size - len(self._sets) - 2, _SLICE_BYTES)
        head = self._sets + unit_bytes.to_bytes(2, "big") + bytes((_IDR,)) + _SLICES[_IDR]
        return self._ended(head, len(self._sets) + 2 + unit_bytes)

    def _ended(self, head: bytes, size: int) -> bytes:
        counter = self.counter
        self.counter = counter + 1
        return head + _filler(counter, size - len(head) - STAMP_BYTES) + blank(counter)


def _with_size(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit


# Audio -------------------------------------------------------------------------------------------


class Audio:
    """Payloads of one Opus track; the counter of its packets runs on."""

    # CELT, full band, 20 ms, stereo, one frame (RFC 6716 §3.1).
    _TOC: ClassVar[bytes] = b"\xfc"

    def __init__(self) -> None:
        self.counter = 0

    def packet(self, size: int) -> bytes:
        """Of this many bytes, but at least 25: one for the table of contents, then the stamp."""
        counter = self.counter
        self.counter = counter + 1
        return self._TOC + _filler(counter, size - 1 - STAMP_BYTES) + blank(counter)
