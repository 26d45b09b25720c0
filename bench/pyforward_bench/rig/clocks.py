"""CPU time of the server: by its processes and by its core, which have to agree.

The processes' time is utime + stime of the whole tree, read from their CPU clocks, which have the
same sum in nanoseconds where ``/proc/PID/stat`` has it in hundredths of a second. The peer's half
of a veth pair works in softirqs, which count for whom they interrupt, or for the core's
``ksoftirqd`` when there are too many: so that thread's time is counted in, here as in the ceiling
sender. The core's time is what ``/proc/stat`` does not call idle or stolen.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

DISAGREEMENT = 0.05
"""Beyond this share the core did something else, or the processes did it elsewhere."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Over one interval: seconds of the wall, of the processes' CPU, of the threads that forward
    alone, and of the core's that was not idle; the latter is None for more than one core.
    ``stolen_s``: for so long the hypervisor kept the core for itself."""

    wall_s: float
    process_s: float
    shards_s: float
    core_s: float | None
    stolen_s: float = 0.0

    @property
    def apart(self) -> float | None:
        """How far the two are apart, as a share of the greater; None if only one is known.

        The core's figure is in ticks, so that it may be two of them off.
        """
        if self.core_s is None:
            return None
        between = max(0.0, abs(self.process_s - self.core_s) - 2 * _TICK_S)
        return between / max(self.process_s, self.core_s, _TICK_S)

    @property
    def disagreement(self) -> str | None:
        """What to tell of a round in which they do not agree."""
        apart = self.apart
        if apart is None or apart <= DISAGREEMENT:
            return None
        told = (
            f"the server's processes used {self.process_s:.2f} s of CPU and its core was busy for "
            f"{self.core_s:.2f} s of {self.wall_s:.2f} s, {apart:.0%} apart"
        )
        if self.stolen_s:
            # Some hosts count that as the process's own time.
            told += f"; the hypervisor took {self.stolen_s:.2f} s of the core"
        return told


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks showed."""

    wall_s: float
    process_s: float
    shards_s: float
    core: Core | None


@dataclass(frozen=True, slots=True)
class Core:
    """Seconds since the machine began that a core was idle or waited for I/O, and that the
    hypervisor took from it."""

    idle_s: float
    stolen_s: float


class ServerClock:
    """Of a process with its descendants, pinned to these cores."""

    def __init__(self, pid: int, cores: tuple[int, ...]) -> None:
        self._pid = pid
        self._core = cores[0] if len(cores) == 1 else None
        self._shards = shard_threads(pid)
        self._softirq = [thread for core in cores if (thread := softirq_thread(core)) is not None]

    def now(self) -> Moment:
        """Raises ProcessLookupError when the process is gone."""
        wall_s = time.monotonic()
        process_s = tree_time_s(self._pid)
        process_s += sum(thread_time_s(thread, thread) for thread in self._softirq)
        shards_s = sum(thread_time_s(self._pid, thread) for thread in self._shards)
        core = None if self._core is None else core_of(self._core)
        return Moment(wall_s, process_s, shards_s, core)

    def since(self, before: Moment) -> Usage:
        """From then to now."""
        return usage_between(before, self.now())


def usage_between(before: Moment, after: Moment) -> Usage:
    """Of one clock."""
    wall_s = after.wall_s - before.wall_s
    process_s, shards_s = after.process_s - before.process_s, after.shards_s - before.shards_s
    if before.core is None or after.core is None:
        return Usage(wall_s, process_s, shards_s, None)
    stolen_s = after.core.stolen_s - before.core.stolen_s
    idle_s = after.core.idle_s - before.core.idle_s
    return Usage(wall_s, process_s, shards_s, max(0.0, wall_s - idle_s - stolen_s), stolen_s)


def tree(pid: int) -> list[int]:
    """A process and those that descend from it and are there now."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # the thread has just ended
    return found


def tree_time_s(pid: int) -> float:
    """utime + stime of a process and those that descend from it. Raises ProcessLookupError."""
    return sum(map(process_time_s, tree(pid)))


def process_time_s(pid: int) -> float:
    """utime + stime of all threads, also of those that ended. Raises ProcessLookupError."""
    # The clock of a process by its id (clock_getcpuclockid(3)): all its threads, user and system.
    try:
        return time.clock_gettime_ns(((~pid) << 3) | 2) / 1e9
    except OSError:
        raise ProcessLookupError(f"process {pid} has ended") from None


def thread_time_s(pid: int, thread: int) -> float:
    """Of one thread; the first field is nanoseconds on a CPU (sched-stats.rst). Raises
    ProcessLookupError."""
    try:
        text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
    except OSError:
        raise ProcessLookupError(f"thread {thread} has ended") from None
    return int(text.split()[0]) / 1e9


def threads(pid: int) -> dict[int, str]:
    """The threads of a process, with their names."""
    found = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        try:
            found[int(path.name)] = (path / "comm").read_text().strip()
        except OSError:
            continue
    return found


def shard_threads(pid: int) -> list[int]:
    """The threads of a server that forward, in their order."""
    named = {name: thread for thread, name in threads(pid).items()}
    return [named[name] for name in sorted(named) if name.startswith("shard-")]


def softirq_thread(core: int) -> int | None:
    """``ksoftirqd`` of a core, where it can be seen."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if (path / "comm").read_text().strip() == f"ksoftirqd/{core}":
                    return int(path.name)
            except OSError:
                continue
    return None


def core_of(core: int) -> Core:
    """What it did not do (proc(5)). Raises ProcessLookupError where there is no such core."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            idle, waiting, stolen = int(fields[3]), int(fields[4]), int(fields[7])
            return Core((idle + waiting) * _TICK_S, stolen * _TICK_S)
    raise ProcessLookupError(f"there is no core {core}")


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident memory of a process tree: ``total``, and its parts ``anonymous``, ``file`` and
    ``shared``."""
    names = {"VmRSS": "total", "RssAnon": "anonymous", "RssFile": "file", "RssShmem": "shared"}
    found = dict.fromkeys(names.values(), 0)
    for process in tree(pid):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in names:
                found[names[name]] += int(value.split()[0]) * 1024
    return found
