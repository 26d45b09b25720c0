"""What a trace is: frames with their times and the sizes of their packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from pyforward.commands import Kind
from pyforward.errors import MediaError

MOST_PACKETS = 500_000
MOST_DUE_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A video frame or an audio packet: when it is due, from the start of the trace, and the bytes
    of RTP payload of each of its packets."""

    due_us: int
    kind: Kind
    sizes: tuple[int, ...]
    keyframe: bool = False


@dataclass(frozen=True)
class Trace:
    """At least one frame, in the order of their time; it can be looped. ``height`` is what its
    pictures are said to have, in lines."""

    name: str
    frames: tuple[Frame, ...]
    height: int = 1080

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The tracks, video first."""
        there = {frame.kind for frame in self.frames}
        kinds: tuple[Kind, ...] = ("video", "audio")
        return tuple(kind for kind in kinds if kind in there)

    @cached_property
    def duration_us(self) -> int:
        """Until it begins anew: the track that ends last, and its usual step."""
        ends = {frame.kind: frame.due_us for frame in self.frames}
        return max(end_us + self.step_us(kind) for kind, end_us in ends.items())

    def step_us(self, kind: Kind) -> int:
        """The usual time between two frames of that track."""
        dues = [frame.due_us for frame in self.frames if frame.kind == kind]
        steps = Counter(after - before for before, after in pairwise(dues) if after > before)
        # A track of one moment says nothing of its rate: a second, so that a loop is no flood.
        return steps.most_common(1)[0][0] if steps else 1_000_000

    def only(self, kinds: Collection[Kind]) -> Trace:
        """The same with these tracks alone. MediaError where nothing is left."""
        left = tuple(frame for frame in self.frames if frame.kind in kinds)
        if not left:
            raise MediaError(f"{self.name} has no {' or '.join(sorted(kinds))}.")
        return replace(self, frames=left)

    def packets(self, kind: Kind) -> int:
        """Of that track, in one turn."""
        return sum(len(frame.sizes) for frame in self.frames if frame.kind == kind)

    def bits_per_s(self, kind: Kind, overhead_bytes: int = 0) -> float:
        """The mean rate of that track, ``overhead_bytes`` added to each payload."""
        payload = sum(sum(frame.sizes) for frame in self.frames if frame.kind == kind)
        return 8e6 * (payload + overhead_bytes * self.packets(kind)) / self.duration_us
