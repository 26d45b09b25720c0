"""H.264 and Opus of a loop of pictures and sound, for the scripts that make recordings.

Two turns of the loop are encoded and the second is kept, so that it has no seam. It needs PyAV
(``pip install 'pyforward[media]'``), whose wheel carries GPL encoders; what it makes is data. The
same PyAV gives the same bytes on every run.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

SAMPLES_PER_S, SAMPLES_PER_PACKET = 48_000, 960
CHANNELS = 2

Planes = Sequence[bytes | bytearray]
"""Of a 4:2:0 picture, without padding: luma, and two of half its width and height."""


@dataclass(frozen=True)
class Video:
    """What is asked of x264: a keyframe every ``keyframe_frames`` and nowhere else. ``options`` are
    PyAV's, ``x264`` the encoder's own, beside those that make it do the same on every run."""

    width: int
    height: int
    frames_per_s: int
    keyframe_frames: int
    bits_per_s: int
    options: Mapping[str, str]
    x264: Sequence[str]


def h264(video: Video, turns: Iterable[Planes]) -> list[bytes]:
    """The frames of the second turn, each as an Annex B byte stream; ``turns`` are the pictures of
    both."""
    context = av.codec.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = video.width, video.height, "yuv420p"
    context.time_base = Fraction(1, video.frames_per_s)
    context.framerate = Fraction(video.frames_per_s)
    context.bit_rate = video.bits_per_s
    context.thread_count = 1
    every = (
        f"keyint={video.keyframe_frames}",
        f"min-keyint={video.keyframe_frames}",
        "scenecut=0",
        "threads=1",
        "sliced-threads=0",  # a frame is one slice, as libwebrtc's
    )
    context.options = {
        "profile": "baseline",
        "forced-idr": "1",
        **video.options,
        "x264-params": ":".join((*every, *video.x264)),
    }
    frames = 0
    packets: list[bytes] = []
    for frame in _pictures(video, turns):
        frames += 1
        packets += map(bytes, context.encode(frame))
    packets += map(bytes, context.encode(None))
    assert len(packets) == frames, len(packets)
    return packets[frames // 2 :]


def opus(turn: array[int], bits_per_s: int) -> list[bytes]:
    """The packets of the second turn; ``turn`` is the samples of one, both channels interleaved."""
    context = av.codec.CodecContext.create("libopus", "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = SAMPLES_PER_S, "stereo", "s16"
    context.bit_rate = bits_per_s
    context.time_base = Fraction(1, SAMPLES_PER_S)
    packets = [bytes(p) for frame in _sounds(turn) for p in context.encode(frame)]
    wanted = len(turn) // (CHANNELS * SAMPLES_PER_PACKET)
    return packets[wanted : 2 * wanted]


# Private -----------------------------------------------------------------------------------------


def _pictures(video: Video, turns: Iterable[Planes]) -> Iterator[VideoFrame]:
    half = video.width // 2
    for index, planes in enumerate(turns):
        frame = VideoFrame(video.width, video.height, "yuv420p")
        for plane, data, width in zip(frame.planes, planes, (video.width, half, half), strict=True):
            plane.update(_padded(data, width, plane.line_size))
        frame.pts = index
        frame.time_base = Fraction(1, video.frames_per_s)
        if index % video.keyframe_frames == 0:
            frame.pict_type = PictureType.I
        yield frame


def _padded(data: bytes | bytearray, width: int, line_size: int) -> bytes:
    if width == line_size:
        return bytes(data)
    padding = bytes(line_size - width)
    return b"".join(data[row : row + width] + padding for row in range(0, len(data), width))


def _sounds(turn: array[int]) -> Iterator[AudioFrame]:
    values = CHANNELS * SAMPLES_PER_PACKET
    for index in range(2 * len(turn) // values):
        start = index * values % len(turn)
        frame = AudioFrame("s16", "stereo", SAMPLES_PER_PACKET)
        frame.planes[0].update(turn[start : start + values].tobytes())
        frame.sample_rate = SAMPLES_PER_S
        frame.pts = index * SAMPLES_PER_PACKET
        frame.time_base = Fraction(1, SAMPLES_PER_S)
        yield frame
