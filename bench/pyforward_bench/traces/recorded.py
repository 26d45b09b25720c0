"""Traces from recordings in the rtpdump format, with the payload types of the demo's: 96 for H.264
and 111 for Opus.

A frame is what shares a timestamp, and timestamps say when it is due: the file's own times are in
milliseconds, and of packets that a network or a pacer had spread. Only sizes are taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyforward.commands import Kind
from pyforward.errors import MediaError
from pyforward.media import rtpdump
from pyforward.media.packetizers import h264
from pyforward.media.rtp import HEADER_BYTES, MOST_PAYLOAD_BYTES
from pyforward.media.source import (
    AUDIO_CLOCK_HZ,
    AUDIO_PAYLOAD_TYPE,
    VIDEO_CLOCK_HZ,
    VIDEO_PAYLOAD_TYPE,
)
from pyforward_bench.traces.model import MOST_DUE_US, MOST_PACKETS, Frame

MAGIC = b"#!rtpplay1.0"

_TRACKS: dict[int, tuple[Kind, int]] = {
    VIDEO_PAYLOAD_TYPE: ("video", VIDEO_CLOCK_HZ),
    AUDIO_PAYLOAD_TYPE: ("audio", AUDIO_CLOCK_HZ),
}
_IDR = 5


def frames(name: str, data_untrusted: bytes) -> tuple[Frame, ...]:
    """In the order of their time. MediaError names the packet that is wrong."""
    try:
        records = rtpdump.read(data_untrusted)
    except rtpdump.RtpdumpError as error:
        raise MediaError(f"{name}: {error}") from error
    if len(records) > MOST_PACKETS:
        raise MediaError(f"{name} has more than {MOST_PACKETS} packets.")
    tracks: dict[int, _Track] = {}
    for number, record in enumerate(records, 1):
        try:
            if record.payload_type not in _TRACKS:
                raise MediaError(f"its payload type is {record.payload_type}, not 96 or 111.")
            if record.payload_type not in tracks:
                kind, clock_hz = _TRACKS[record.payload_type]
                tracks[record.payload_type] = _Track(kind, clock_hz, record)
            tracks[record.payload_type].take(record)
        except MediaError as error:
            raise MediaError(f"{name}, packet {number}: {error}") from None
    whole = [frame for track in tracks.values() for frame in track.frames()]
    if not whole:
        raise MediaError(f"{name} has no packets.")
    return tuple(sorted(whole, key=lambda frame: frame.due_us))


# Private -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Picture:
    sizes: list[int] = field(default_factory=list)
    keyframe: bool = False


class _Track:
    """Its packets by the ticks since its first one."""

    def __init__(self, kind: Kind, clock_hz: int, first: rtpdump.Record) -> None:
        self._kind = kind
        self._clock_hz = clock_hz
        self._begin_us = first.offset_ms * 1_000
        self._newest = first.timestamp
        self._ticks = 0
        self._pictures: dict[int, _Picture] = {}

    def take(self, record: rtpdump.Record) -> None:
        step = (record.timestamp - self._newest + (1 << 31)) % (1 << 32) - (1 << 31)
        self._newest = record.timestamp
        self._ticks += step
        if not 0 <= self._due_us(self._ticks) <= MOST_DUE_US:
            raise MediaError("its timestamp is before the first or a day after it.")
        payload = _payload(record.packet)
        picture = self._pictures.setdefault(self._ticks, _Picture())
        picture.sizes.append(len(payload))
        picture.keyframe |= self._kind == "video" and _is_idr(payload)

    def frames(self) -> list[Frame]:
        return [
            Frame(self._due_us(ticks), self._kind, tuple(picture.sizes), picture.keyframe)
            for ticks, picture in self._pictures.items()
        ]

    def _due_us(self, ticks: int) -> int:
        return self._begin_us + ticks * 1_000_000 // self._clock_hz


def _payload(packet_untrusted: bytes) -> bytes:
    """Without header, extension and padding (RFC 3550 §5.1 and §5.3.1)."""
    first = packet_untrusted[0]
    begin = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        begin += 4 + 4 * int.from_bytes(packet_untrusted[begin + 2 : begin + 4], "big")
    end = len(packet_untrusted) - (packet_untrusted[-1] if first & 0x20 else 0)
    if not 1 <= end - begin <= MOST_PAYLOAD_BYTES:
        raise MediaError(f"its payload is not of 1 to {MOST_PAYLOAD_BYTES} bytes.")
    return packet_untrusted[begin:end]


def _is_idr(payload_untrusted: bytes) -> bool:
    """Whether a part of a keyframe's picture is in it."""
    match payload_untrusted[0] & 0x1F:
        case h264.FU_A:
            return len(payload_untrusted) > 1 and payload_untrusted[1] & 0x1F == _IDR
        case h264.STAP_A:
            at = 1
            while at + 2 < len(payload_untrusted):
                if payload_untrusted[at + 2] & 0x1F == _IDR:
                    return True
                at += 2 + int.from_bytes(payload_untrusted[at : at + 2], "big")
            return False
        case kind:
            return kind == _IDR
