"""VP8 frames to RTP payloads (RFC 7741).

Each payload is a descriptor of four bytes and an even part of the frame. As libwebrtc does, a frame
is cut without regard to its partitions: they all count as partition 0. It never looks further into
a frame than its first three bytes.

In Cython's pure-Python mode, as ``h264``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyforward.errors import MediaError

if TYPE_CHECKING:
    import cython

DESCRIPTOR_BYTES = 4
LEAST_PAYLOAD_BYTES = DESCRIPTOR_BYTES + 1
FRAME_TAG_BYTES = 3


def packetize(frame: bytes, picture_id: int, max_payload: int) -> list[bytes]:
    """The payloads, at most ``max_payload`` bytes each, of one frame.

    ``picture_id`` is the number of the frame; its low 15 bits are sent. Raises :class:`MediaError`
    when the frame is too short to be one.
    """
    if max_payload < LEAST_PAYLOAD_BYTES:
        raise ValueError(f"VP8 cannot be sent in payloads of {max_payload} bytes")
    size: cython.Py_ssize_t = len(frame)
    if size < FRAME_TAG_BYTES:
        raise MediaError(f"A VP8 frame has {size} bytes, too few for its first header.")
    room: cython.Py_ssize_t = max_payload - DESCRIPTOR_BYTES
    count: cython.Py_ssize_t = (size + room - 1) // room
    shorter: cython.Py_ssize_t = size // count
    longer: cython.Py_ssize_t = size % count
    payloads: list[bytes] = []
    # §4.2: X, I and a PictureID of 15 bits (M); S is set in the first payload alone, PID is 0.
    descriptor: bytes = bytes((0x90, 0x80, 0x80 | picture_id >> 8 & 0x7F, picture_id & 0xFF))
    at: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t
    number: cython.Py_ssize_t
    for number in range(count):
        # Where the sizes cannot be equal, the first ones are longer by a byte, as with H.264.
        end = at + shorter + (1 if number < longer else 0)
        payloads.append(descriptor + frame[at:end])
        if number == 0:
            descriptor = b"\x80" + descriptor[1:]
        at = end
    return payloads


def is_keyframe(frame: bytes) -> bool:
    """RFC 6386 §9.1: the lowest bit of a frame is 0 in a keyframe, 1 in any other."""
    return len(frame) >= FRAME_TAG_BYTES and frame[0] & 1 == 0
