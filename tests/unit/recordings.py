"""Small media files, made with PyAV when a test asks for them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Timed = tuple[float, VideoStream | AudioStream, Any]

FRAMES_PER_S = 30
X264 = {"preset": "ultrafast", "profile": "baseline", "bf": "0", "g": "15"}
B_FRAMES = {"preset": "medium", "bf": "2", "g": "15", "x264-params": "b-adapt=0:scenecut=0"}
SAMPLES = 960
# 400 Hz: eight whole waves, so that frames join without a click; 16 bit, two channels alternating.
TONE = b"".join(
    2 * round(8_000 * math.sin(2 * math.pi * 8 * n / SAMPLES)).to_bytes(2, "little", signed=True)
    for n in range(SAMPLES)
)
VP8 = {"deadline": "realtime", "cpu-used": "8", "g": "15"}


def make(
    path: Path,
    *,
    video: str | None = "libx264",
    video_options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    audio: str | None = "libopus",
    layout: str = "stereo",
    seconds: float = 1.0,
    rate: int = FRAMES_PER_S,
    size: tuple[int, int] = (64, 48),
    tone: bool = False,
    cover: bool = False,
) -> Path:
    """A file whose container is named by its suffix; the picture moves, the sound is silence or, in
    stereo as libopus takes it, a ``tone``.

    ``cover`` makes the video the picture of a music file.
    """
    with av.open(str(path), "w") as out:
        streams: list[VideoStream | AudioStream] = []
        if video is not None:
            options = X264 if video_options is None else video_options
            picture = out.add_stream(video, rate=rate, options=options)
            assert isinstance(picture, VideoStream)
            picture.width, picture.height, picture.pix_fmt = *size, pix_fmt
            picture.time_base = picture.codec_context.time_base = Fraction(1, rate)
            if cover:
                picture.disposition = Disposition.attached_pic
            streams.append(picture)
        if audio is not None:
            sound = out.add_stream(audio, rate=48_000, layout=layout)
            assert isinstance(sound, AudioStream)
            streams.append(sound)

        def pictures(stream: VideoStream) -> Iterator[Timed]:
            for number in range(math.ceil(seconds * rate)):
                yield number / rate, stream, _picture(number, rate, size)

        def sounds(stream: AudioStream) -> Iterator[Timed]:
            for number in range(round(seconds * 50)):
                frame = _sound(number, layout, stream.format.name, tone=tone)
                yield number / 50, stream, frame

        # In the order of time, for a player reads a file from front to back.
        each = [
            pictures(stream) if isinstance(stream, VideoStream) else sounds(stream)
            for stream in streams
        ]
        for _, stream, frame in heapq.merge(*each, key=lambda one: one[0]):
            out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


def _picture(number: int, rate: int, size: tuple[int, int]) -> VideoFrame:
    frame = VideoFrame(*size, "yuv420p")
    for plane in frame.planes:
        row = bytes((x * 3 + number * 11) & 0xFF for x in range(plane.line_size))
        plane.update(row * (plane.buffer_size // plane.line_size))
    frame.pts, frame.time_base = number, Fraction(1, rate)
    return frame


def _sound(number: int, layout: str, sample_format: str, *, tone: bool) -> AudioFrame:
    frame = AudioFrame(sample_format, layout, SAMPLES)
    for plane in frame.planes:
        plane.update(TONE if tone else bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = 48_000, number * SAMPLES, Fraction(1, 48_000)
    return frame
