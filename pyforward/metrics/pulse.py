"""How much of the machine is used: the control loop's lateness, and the share of each resource.

:class:`Pulse` beats ten times a second on the control loop, which costs it some microseconds; what
it reckons with, :class:`Usage`, reads no clock. Independent of scrapes: however many there are, the
figures are over the same five seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyforward.control import Buckets
from pyforward.engine import Histogram

BEAT_S = 0.1
BEATS_A_SAMPLE = 10
WINDOW_SAMPLES = 5

LAG_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was used up to a moment of a monotonic clock, in seconds: by each shard the time that it
    was busy, by the control loop its CPU."""

    at: float
    shards: tuple[float, ...]
    control: float


class Usage:
    """Shares over the last :data:`WINDOW_SAMPLES` seconds."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=WINDOW_SAMPLES + 1)

    def add(self, sample: Sample) -> None:
        """One more; they come in order of time."""
        self._samples.append(sample)

    def shares(self) -> dict[str, float]:
        """0 to 1 of ``shard`` (the busiest one) and ``control``; 0 before two samples."""
        if len(self._samples) < 2:
            return {"shard": 0.0, "control": 0.0}
        first, last = self._samples[0], self._samples[-1]
        took = last.at - first.at
        pairs = zip(first.shards, last.shards, strict=True)
        busiest = max((after - before for before, after in pairs), default=0.0)
        return {
            "shard": _share(busiest, took),
            "control": _share(last.control - first.control, took),
        }


class Pulse:
    """See the top of the file. ``busy_s`` gives the seconds that each shard was busy so far."""

    def __init__(self, busy_s: Callable[[], Sequence[float]]) -> None:
        self._busy_s = busy_s
        self._loop = asyncio.get_running_loop()
        self._beats = 0
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._memory_bytes = memory_limit_bytes()
        self._usage = Usage()
        self._lag = Buckets(LAG_BOUNDS_S)

    def start(self) -> None:
        """Begins to beat."""
        self._sample()
        self._arm()

    def stop(self) -> None:
        """Beats no more."""
        if self._timer is not None:
            self._timer.cancel()

    def lateness(self) -> Histogram:
        """Of the beats: so late was the control loop."""
        return self._lag.snapshot()

    def shares(self) -> dict[str, float]:
        """Of each resource that is the process's own, 0 to 1."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self._usage.shares() | {
            "descriptors": _share(len(os.listdir("/proc/self/fd")), most),
            "memory": _share(resident_bytes(), self._memory_bytes),
        }

    def _arm(self) -> None:
        self._due_at = self._loop.time() + BEAT_S
        self._timer = self._loop.call_at(self._due_at, self._beat)

    def _beat(self) -> None:
        self._lag.observe(max(0.0, self._loop.time() - self._due_at))
        self._beats += 1
        if self._beats % BEATS_A_SAMPLE == 0:
            self._sample()
        self._arm()

    def _sample(self) -> None:
        self._usage.add(Sample(time.monotonic(), tuple(self._busy_s()), time.thread_time()))


def limited_shares(used_and_limits: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Shares of what the settings bound; a limit of 0 is none."""
    return {name: _share(used, most) for name, (used, most) in used_and_limits.items() if most}


def resident_bytes() -> int:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """What this process may have at most: the least of its control groups', or the machine's."""
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for group in control_groups(root):
        with contextlib.suppress(OSError):
            told = (group / "memory.max").read_text().strip()
            least = min(least, int(told)) if told.isdigit() else least
    return least


def control_groups(root: Path = Path("/")) -> list[Path]:
    """Control groups of version 2, from this process's own upwards: each may have limits. None
    where there are none."""
    try:
        told = (root / "proc/self/cgroup").read_text()
    except OSError:
        return []
    own = next((line for line in told.splitlines() if line.startswith("0::")), None)
    if own is None:
        return []
    top = root / "sys/fs/cgroup"
    group = top / own.removeprefix("0::").lstrip("/")
    return [each for each in (group, *group.parents) if each.is_relative_to(top)]


def _share(used: float, most: float) -> float:
    return min(1.0, max(0.0, used / most)) if most > 0 else 0.0
