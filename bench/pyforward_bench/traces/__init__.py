"""Packet traces: when the frames of a stream are due, and how its packets divide them.

A trace holds times and sizes, no content. It comes from a CSV file (:mod:`.table`; those beside
this module were made by ``scripts/make_traces.py``), from a recording in the rtpdump format
(:mod:`.recorded`), or from two numbers. Files are not trusted: sizes, counts and times are bounded,
and what is wrong is told with its place.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from pyforward.errors import HostError, MediaError
from pyforward.media.rtp import MOST_PAYLOAD_BYTES
from pyforward_bench.traces import recorded, table
from pyforward_bench.traces.model import Frame, Trace

__all__ = ["PROFILES", "Frame", "Trace", "even_sizes", "generated", "profile", "read"]

PROFILES: Final = ("1080p30", "720p30", "audio")

MOST_FILE_BYTES = 64 << 20

# Of the packet of parameter sets before a keyframe's picture.
_PARAMETERS_BYTES = 80


def profile(name: str) -> Trace:
    """One of :data:`PROFILES`. HostError when its file is missing or broken."""
    file = resources.files(__name__) / f"{name}.csv"
    try:
        text = file.read_text(encoding="ascii")
        return Trace(name, tuple(table.parsed(name, text)), 720 if name == "720p30" else 1080)
    except (OSError, UnicodeDecodeError, MediaError) as error:
        raise HostError(
            f"The trace {name} that belongs to this package cannot be read: {error}"
        ) from error


def read(path: Path) -> Trace:
    """A CSV file, or one in the rtpdump format whose payload types are 96 for H.264 and 111 for
    Opus. MediaError says what is wrong with it, and where."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MOST_FILE_BYTES:
        raise MediaError(f"{path} has more than {MOST_FILE_BYTES >> 20} MiB; no trace needs that.")
    if data.startswith(recorded.MAGIC):
        return Trace(str(path), recorded.frames(str(path), data))
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MediaError(f"{path}, line {line}: a trace is plain ASCII text.") from None
    return Trace(str(path), tuple(table.parsed(str(path), text)))


def generated(
    bits_per_s: float, frames_per_s: float, *, keyframe_s: float = 2.0, keyframe_weight: float = 6.0
) -> Trace:
    """Video at an exact rate: equal frames, and every ``keyframe_s`` a keyframe of
    ``keyframe_weight`` times their size. ValueError for what is out of bounds."""
    if not 8_000 <= bits_per_s <= 1e9 or not 1 <= frames_per_s <= 1_000:
        raise ValueError("a trace is made for 8 kbit/s to 1 Gbit/s and 1 to 1,000 frames/s")
    count = max(2, round(keyframe_s * frames_per_s))
    whole = bits_per_s / 8 * count / frames_per_s - _PARAMETERS_BYTES
    frame_bytes = max(1, round(whole / (count - 1 + keyframe_weight)))
    key_bytes = max(1, round(whole) - (count - 1) * frame_bytes)
    keyframe = Frame(0, "video", (_PARAMETERS_BYTES, *even_sizes(key_bytes)), keyframe=True)
    sizes = tuple(even_sizes(frame_bytes))
    others = [
        Frame(round(number * 1e6 / frames_per_s), "video", sizes) for number in range(1, count)
    ]
    return Trace(f"{bits_per_s / 1e6:g} Mbit/s, {frames_per_s:g} frames/s", (keyframe, *others))


def even_sizes(total_bytes: int) -> list[int]:
    """As libwebrtc divides a frame: as few packets as can be, even to within a byte, the shorter
    ones first."""
    count = -(-total_bytes // MOST_PAYLOAD_BYTES)
    size, longer = divmod(total_bytes, count)
    return [size] * (count - longer) + [size + 1] * longer
