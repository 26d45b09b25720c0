"""Traces as CSV: comments (``#``), the line ``due_us,track,bytes,flags``, then a line a packet.

In the order of their time: microseconds from the start; ``video`` or ``audio``; bytes of RTP
payload; any of the letters ``k`` (keyframe) and ``m`` (marker: ends a video frame). An audio packet
is a frame. A frame is due when its first packet is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyforward.commands import Kind
from pyforward.errors import MediaError
from pyforward.media.rtp import MOST_PAYLOAD_BYTES
from pyforward_bench.traces.model import MOST_DUE_US, MOST_PACKETS, Frame

HEADER = "due_us,track,bytes,flags"
_NUMBER_DIGITS = 12


def parsed(name: str, text_untrusted: str) -> Iterator[Frame]:
    """In the order of their time. MediaError names the line that is wrong."""
    rows: list[_Row] = []
    headed = False
    for number, ended in enumerate(text_untrusted.split("\n"), 1):
        line = ended.rstrip("\r")
        if not line or line.startswith("#"):
            continue
        try:
            if headed:
                _append(rows, _row(line))
            elif line != HEADER:
                raise MediaError(f"a trace begins with {HEADER!r}.")
            headed = True
        except MediaError as error:
            raise MediaError(f"{name}, line {number}: {error}") from None
    return _frames(name, rows)


def written(frames: Iterable[Frame], about: Iterable[str]) -> str:
    """The CSV that :func:`read` gives ``frames`` back from; ``about`` are its first lines."""
    lines = [f"# {line}" for line in about]
    lines.append(HEADER)
    for frame in frames:
        last = len(frame.sizes) - 1
        for number, size in enumerate(frame.sizes):
            flags = "k" * frame.keyframe + "m" * (frame.kind == "video" and number == last)
            lines.append(f"{frame.due_us},{frame.kind},{size},{flags}")
    return "\n".join(lines) + "\n"


# Private -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    due_us: int
    kind: Kind
    size: int
    keyframe: bool
    marker: bool


def _row(line_untrusted: str) -> _Row:
    fields = line_untrusted.split(",")
    if len(fields) != 4:
        raise MediaError(f"{len(fields)} columns instead of 4.")
    due, track, size, flags = fields
    kinds: dict[str, Kind] = {"video": "video", "audio": "audio"}
    if track not in kinds:
        raise MediaError(f"the track is {track[:20]!r}, neither video nor audio.")
    if set(flags) - {"k", "m"}:
        raise MediaError(f"the flags are {flags[:20]!r}, and there are k and m alone.")
    return _Row(
        _number(due, "due_us", 0, MOST_DUE_US),
        kinds[track],
        _number(size, "bytes", 1, MOST_PAYLOAD_BYTES),
        "k" in flags,
        "m" in flags,
    )


def _number(text_untrusted: str, column: str, least: int, most: int) -> int:
    if text_untrusted.isdigit() and len(text_untrusted) <= _NUMBER_DIGITS:
        value = int(text_untrusted)
        if least <= value <= most:
            return value
    raise MediaError(f"{column} is {text_untrusted[:20]!r}, not a number from {least} to {most}.")


def _append(rows: list[_Row], row: _Row) -> None:
    if len(rows) == MOST_PACKETS:
        raise MediaError(f"a trace has at most {MOST_PACKETS} packets.")
    if rows and row.due_us < rows[-1].due_us:
        raise MediaError(f"due_us goes back from {rows[-1].due_us} to {row.due_us}.")
    rows.append(row)


def _frames(name: str, rows: Iterable[_Row]) -> Iterator[Frame]:
    """What the packets make up. A frame comes where it began, so that times never go back."""
    whole: list[Frame] = []
    video: list[_Row] = []
    for row in rows:
        if row.kind == "audio":
            whole.append(Frame(row.due_us, "audio", (row.size,)))
            continue
        video.append(row)
        if row.marker:
            sizes = tuple(part.size for part in video)
            keyframe = any(part.keyframe for part in video)
            whole.append(Frame(video[0].due_us, "video", sizes, keyframe))
            video = []
    if video:
        raise MediaError(f"{name}: its last video frame has no end (marker, the flag m).")
    if not whole:
        raise MediaError(f"{name} has no packets.")
    yield from sorted(whole, key=lambda frame: frame.due_us)
