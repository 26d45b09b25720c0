"""H.264 access units to RTP payloads, packetization mode 1 (RFC 6184).

Small NAL units share a STAP-A, large ones become FU-As of even sizes. It looks at NAL unit headers
only, never into a slice, and knows nothing of RTP headers: the last payload of an access unit is
the one whose packet gets the marker.

In Cython's pure-Python mode: ``cython.…`` in an annotation is the C type of the compiled twin and
nothing to the uncompiled one, where what is annotated as a pointer is simply the ``bytes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyforward.errors import MediaError

if TYPE_CHECKING:
    import cython

STAP_A = 24  # RFC 6184 §5.2, the types that only exist in RTP
FU_A = 28

# With the two bytes of a FU-A there is room for one byte of the unit.
LEAST_PAYLOAD_BYTES = 3
# What the 16-bit sizes of a STAP-A can hold.
MOST_PAYLOAD_BYTES = 65_535


def packetize(access_unit: bytes, max_payload: int) -> list[bytes]:
    """The payloads, at most ``max_payload`` bytes each, of an access unit in Annex B form.

    An empty list when nothing in it is of use to a receiver. Raises :class:`MediaError` when it is
    no Annex B byte stream or a NAL unit is marked as broken.
    """
    if not LEAST_PAYLOAD_BYTES <= max_payload <= MOST_PAYLOAD_BYTES:
        raise ValueError(f"H.264 cannot be sent in payloads of {max_payload} bytes")
    limit: cython.Py_ssize_t = max_payload
    payloads: list[bytes] = []
    together: list[bytes] = []
    together_bytes: cython.Py_ssize_t = 1
    size: cython.Py_ssize_t
    for unit in nal_units(access_unit):
        if not _is_sent(unit):
            continue
        size = len(unit)
        if together_bytes + 2 + size > limit:
            _close(together, payloads)
            together, together_bytes = [], 1
        if size > limit:
            _fragment(unit, limit, payloads)
        else:
            together.append(unit)
            together_bytes += 2 + size
    _close(together, payloads)
    return payloads


def nal_units(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream (ITU-T H.264 §B.1), without start codes.

    Start codes of three and four bytes, leading and trailing zeros are all the stream's, not the
    units'; empty units are left out. Emulation prevention bytes stay: RTP carries them too.
    Raises :class:`MediaError` when the data does not begin with a start code.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    units: list[bytes] = []
    start: cython.Py_ssize_t = -1
    end: cython.Py_ssize_t
    at: cython.Py_ssize_t = 2  # where the 1 of a start code may be
    while at < size:
        if p[at] == 0:
            at += 1
            continue
        if p[at] == 1 and p[at - 1] == 0 and p[at - 2] == 0:
            end = at - 2
            # A unit never ends with a zero (§7.4.1): these are trailing_zero_8bits, or the first
            # byte of a long start code.
            while end > max(start, 0) and p[end - 1] == 0:
                end -= 1
            if start < 0 and end > 0:
                break
            if end > start >= 0:
                units.append(data[start:end])
            start = at + 1
        # The two zeros of the next start code come after a byte that is none.
        at += 3
    if start < 0:
        raise MediaError("The H.264 data does not begin with a start code.")
    end = size
    while end > start and p[end - 1] == 0:
        end -= 1
    if end > start:
        units.append(data[start:end])
    return units


def length_prefixed_units(data: bytes, length_bytes: int) -> list[bytes]:
    """The NAL units of an access unit as MP4 and Matroska hold it, each after its length of
    ``length_bytes`` (ISO/IEC 14496-15 §5.3.2, "AVCC"); empty units are left out.

    Raises :class:`MediaError` at a length that leads beyond the end.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    wide: cython.Py_ssize_t = length_bytes
    if not 1 <= wide <= 4:
        raise MediaError(f"The H.264 data claims lengths of {length_bytes} bytes.")
    units: list[bytes] = []
    at: cython.Py_ssize_t = 0
    number: cython.Py_ssize_t
    length: cython.Py_ssize_t
    while at < size:
        if size - at < wide:
            raise MediaError(f"The H.264 data ends inside a length, at byte {at} of {size}.")
        length = 0
        for number in range(wide):
            length = length << 8 | p[at + number]
        if length > size - at - wide:
            raise MediaError(
                f"The NAL unit at byte {at} claims {length} bytes, and {size - at - wide} are left."
            )
        at += wide
        if length > 0:
            units.append(data[at : at + length])
        at += length
    return units


def annex_b(units: list[bytes]) -> bytes:
    """The units as one byte stream, each after a start code of four bytes (§B.1)."""
    return b"".join([b"\0\0\0\1" + unit for unit in units])


def _is_sent(unit: bytes) -> bool:
    """Whether receivers have a use for the unit."""
    # A header and nothing else, as in the ends of sequence and stream (10, 11): what follows says
    # as much, and a payload of one byte is more than some depacketizers take.
    if len(unit) < 2:
        return False
    header: cython.int = unit[0]
    if header & 0x80:
        raise MediaError("A NAL unit has its forbidden_zero_bit set: the H.264 data is broken.")
    kind: cython.int = header & 0x1F
    # 9, access unit delimiter: the timestamp and the marker delimit. 12, filler data: exists to
    # fill a constant rate, which nobody asks for here.
    # 0 and 24–31 are unspecified (H.264 table 7-1), and RTP uses the same numbers for packets of
    # its own (RFC 6184 table 1): sent, they would be mistaken for those.
    return bool(kind != 9 and kind != 12 and 0 < kind < 24)


def _close(together: list[bytes], payloads: list[bytes]) -> None:
    """A single NAL unit packet (§5.6), or a STAP-A when several wait (§5.7.1)."""
    if len(together) == 1:
        payloads.append(together[0])
    elif together:
        importance: cython.int = 0
        parts: list[bytes] = [b""]
        for unit in together:
            importance = max(importance, unit[0] & 0x60)
            parts.append(len(unit).to_bytes(2, "big"))
            parts.append(unit)
        parts[0] = bytes((importance | STAP_A,))
        payloads.append(b"".join(parts))


def _fragment(unit: bytes, limit: int, payloads: list[bytes]) -> None:
    """FU-As (§5.8). As few as can be, and of one size; where that leaves a remainder, the first
    ones carry one byte more, so that packets which leave as one train differ in the last ones."""
    first: cython.int = unit[0]
    body_bytes: cython.Py_ssize_t = len(unit) - 1
    room: cython.Py_ssize_t = limit - 2
    count: cython.Py_ssize_t = (body_bytes + room - 1) // room
    shorter: cython.Py_ssize_t = body_bytes // count
    longer: cython.Py_ssize_t = body_bytes % count
    at: cython.Py_ssize_t = 1
    end: cython.Py_ssize_t
    number: cython.Py_ssize_t
    header: cython.int
    for number in range(count):
        end = at + shorter + (1 if number < longer else 0)
        header = first & 0x1F
        if number == 0:
            header |= 0x80
        if number == count - 1:
            header |= 0x40
        payloads.append(bytes((first & 0xE0 | FU_A, header)) + unit[at:end])
        at = end
