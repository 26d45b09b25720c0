"""What aiortc sends in the tests, and what it has decoded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
from aiortc.mediastreams import MediaStreamTrack, VideoStreamTrack

PATIENCE_S = 30.0


class Picture(VideoStreamTrack):
    """A small picture in one colour, 30 times a second."""

    def __init__(self, luma: int) -> None:
        super().__init__()
        self._luma = luma

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame(160, 120, "yuv420p")
        for plane, value in zip(frame.planes, (self._luma, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, Fraction(time_base)
        return frame


@dataclass
class Seen:
    """What a viewer has decoded."""

    frames: dict[str, int] = field(default_factory=lambda: {"audio": 0, "video": 0})
    luma: int = -1
    size: tuple[int, int] = (0, 0)
    ended: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def changed(self) -> None:
        """Another frame has come."""
        self._changed.clear()
        await self._changed.wait()

    async def more(self, kinds: Sequence[str] = ("audio", "video"), count: int = 10) -> None:
        """So many more frames of each."""
        before = dict(self.frames)
        async with asyncio.timeout(PATIENCE_S):
            while any(self.frames[kind] < before[kind] + count for kind in kinds):
                await self.changed()

    async def shows(self, luma: int) -> None:
        """The picture has this brightness."""
        async with asyncio.timeout(PATIENCE_S):
            while abs(self.luma - luma) > 12:
                await self.changed()

    async def watch(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(Exception):  # MediaStreamError at the end of a track
            while True:
                frame = await track.recv()
                self.frames[track.kind] += 1
                if isinstance(frame, av.VideoFrame):
                    self.size = frame.width, frame.height
                    self.luma = bytes(frame.planes[0])[0]
                self._changed.set()
        self.ended.add(track.kind)
