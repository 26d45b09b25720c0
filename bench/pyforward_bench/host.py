"""What this process is given, what it uses, and whether it was what was measured.

Before a run: descriptors and memory for so many viewers. During it :class:`Watch` looks at this
process alone: its CPU, how late its event loop is, how busy the shards are, and what never reached
it. Afterwards :func:`verdict` says why the figures are this process's and not the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

from pyforward.engine import EngineStats, ShardStats
from pyforward.errors import HostError
from pyforward.metrics.pulse import control_groups
from pyforward_bench.statistics import Histogram

SPARE_DESCRIPTORS: Final = 512
"""Beside the viewers' sockets: HTTP connections, threads' wake-ups, files."""

VIEWER_BYTES: Final = 128 * 1024
"""What one viewer costs here and in the kernel, with room for what waits in its socket."""

SPARE_BYTES: Final = 256 * 1024 * 1024

TICK_S: Final = 0.01

MOST_LAG_MS: Final = 50.0
MOST_BUSY: Final = 0.9
MOST_TURN_MS: Final = 20.0
MOST_CPU: Final = 0.95
"""Of all the cores that this process may use."""


# Before a run ------------------------------------------------------------------------------------


def need_descriptors(viewers: int) -> None:
    """Raises the limit of open files as far as so many viewers need, where that is allowed; raises
    HostError where it is not."""
    needed = viewers + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    # The hard limit may be raised by root alone.
    for limits in ((hard, hard), (needed, max(needed, hard))):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= needed:
            return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise HostError(
        f"{viewers} viewers need {needed} open files, and {soft} are allowed: "
        "raise the limit (ulimit -Hn), or ask for fewer viewers."
    )


def need_memory(viewers: int, root: Path = Path("/")) -> None:
    """Raises HostError where so many viewers do not fit into the memory that is available."""
    needed = viewers * VIEWER_BYTES + SPARE_BYTES
    available = available_bytes(root)
    if available is not None and available < needed:
        raise HostError(
            f"{viewers} viewers need about {needed >> 20} MiB of memory, and "
            f"{available >> 20} MiB are available: ask for fewer viewers."
        )


def available_bytes(root: Path = Path("/")) -> int | None:
    """What the kernel says is available, or the control group leaves; None where neither says."""
    found = [_memory_of_machine(root), _memory_of_group(root)]
    known = [value for value in found if value is not None]
    return min(known) if known else None


# During it ---------------------------------------------------------------------------------------


class HasStats(Protocol):
    """The part of the engine that is looked at."""

    def stats(self) -> EngineStats:
        """What every shard has counted so far."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process did since :meth:`Watch.mark`.

    ``cores`` is CPU seconds a second, of ``cores_given``; ``lag_*`` is how late the event loop
    called back; ``receive_drops`` are datagrams that its own sockets dropped, ``kernel_drops`` all
    that the sockets of its network namespace did; ``events_dropped`` what its shards could not
    tell, records among it; ``busy`` the share of the time in which the busiest shard did not wait,
    ``turn_p99_ms`` how long its turns were. ``memory_bytes`` is what the process holds now.
    ``discards`` are received packets that went no further, by the reasons of
    ``native/core/src/discard.rs``, those that occurred: they are the server's.
    """

    passed_s: float
    cpu_s: float
    cores: float
    cores_given: int
    lag_p50_ms: float
    lag_p99_ms: float
    lag_most_ms: float
    receive_drops: int
    kernel_drops: int
    events_dropped: int
    busy: float
    turn_p99_ms: float | None
    memory_bytes: int
    discards: Mapping[str, int] = field(default_factory=dict)


class Watch:
    """Use it as ``async with``, around what is measured."""

    def __init__(self, engine: HasStats, root: Path = Path("/")) -> None:
        self._engine = engine
        self._root = root
        self._loop = asyncio.get_running_loop()
        self._lag_us = Histogram()
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.mark()

    async def __aenter__(self) -> Watch:
        self.mark()
        self._due_s = time.monotonic()
        self._tick()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def mark(self) -> None:
        """Everything counts from here."""
        self._since_s = time.monotonic()
        self._cpu_s = _cpu_s()
        self._kernel_drops = kernel_drops(self._root)
        self._socket_drops = socket_drops(self._root)
        self._before = self._engine.stats()
        self._lag_us.clear()

    def usage(self, until_s: float | None = None) -> Usage:
        """Since the mark. ``until_s`` is when there was nothing more to do, by time.monotonic(), if
        not now: shares are of the time until then."""
        until_s = time.monotonic() if until_s is None else until_s
        passed_s = max(until_s - self._since_s, 1e-6)
        cpu_s = _cpu_s() - self._cpu_s
        kernel = kernel_drops(self._root) - self._kernel_drops
        shards = list(zip(self._before.shards, self._engine.stats().shards, strict=True))
        dropped = _gained(shards, "datagrams_dropped")
        if kernel > dropped:
            # The engine hears of a socket's drops with the next datagram, which may not have come.
            own = socket_drops(self._root) - self._socket_drops
            dropped = max(dropped, min(own, kernel))
        return Usage(
            passed_s=passed_s,
            cpu_s=cpu_s,
            cores=cpu_s / passed_s,
            cores_given=len(os.sched_getaffinity(0)),
            lag_p50_ms=(self._lag_us.quantile(0.5) or 0) / 1e3,
            lag_p99_ms=(self._lag_us.quantile(0.99) or 0) / 1e3,
            lag_most_ms=self._lag_us.most / 1e3 if self._lag_us.count else 0.0,
            receive_drops=dropped,
            kernel_drops=kernel,
            events_dropped=_gained(shards, "events_dropped"),
            busy=max(_gained([pair], "busy_micros") for pair in shards) / 1e6 / passed_s,
            turn_p99_ms=max((_turn_p99_ms(*pair) for pair in shards), default=None),
            memory_bytes=_resident_bytes(self._root),
            discards=_discards(shards),
        )

    def _tick(self) -> None:
        # Not the loop's own clock, which goes by milliseconds and stands still while it is held up.
        now_s = time.monotonic()
        self._lag_us.record(round(max(0.0, now_s - self._due_s) * 1e6))
        # What was missed is not made up for: one late call is one lag.
        self._due_s = now_s + TICK_S
        self._timer = self._loop.call_later(TICK_S, self._tick)


def verdict(usage: Usage) -> list[str]:
    """Why figures with this usage are the harness's own, a sentence each; none where the server was
    what was measured."""
    found = []
    if usage.receive_drops:
        found.append(f"{usage.receive_drops} datagrams came and were not read in time")
    if usage.events_dropped:
        found.append(f"{usage.events_dropped} records or events were dropped")
    if usage.busy > MOST_BUSY:
        found.append(f"a shard was busy {usage.busy:.0%} of the time")
    if usage.turn_p99_ms is not None and usage.turn_p99_ms > MOST_TURN_MS:
        found.append(f"1 % of the turns of a shard took more than {usage.turn_p99_ms:.0f} ms")
    if usage.lag_p99_ms > MOST_LAG_MS:
        found.append(f"1 % of the time the event loop was {usage.lag_p99_ms:.0f} ms late")
    if usage.cores > MOST_CPU * usage.cores_given:
        found.append(f"it used {usage.cores:.2f} of its {usage.cores_given} cores")
    return [f"The harness was the bottleneck: {what}." for what in found]


def kernel_drops(root: Path = Path("/")) -> int:
    """UDP datagrams that sockets of this network namespace had no room for, since its start."""
    total = 0
    with contextlib.suppress(OSError):
        lines = [line.split() for line in _lines(root / "proc/net/snmp") if line.startswith("Udp:")]
        names, values = lines
        total += int(values[names.index("RcvbufErrors")])
    with contextlib.suppress(OSError):
        for line in _lines(root / "proc/net/snmp6"):
            name, _, value = line.partition(" ")
            total += int(value) if name == "Udp6RcvbufErrors" else 0
    return total


def socket_drops(root: Path = Path("/")) -> int:
    """The same of the UDP sockets that this process has open, since they were."""
    links = []
    with contextlib.suppress(OSError):
        for entry in (root / "proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed meanwhile
                links.append(os.readlink(entry))
    own = {link[8:-1] for link in links if link.startswith("socket:[")}
    total = 0
    for name in ("udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in _lines(root / "proc/net" / name)[1:]:
                fields = line.split()
                total += int(fields[-1]) if fields[9] in own else 0
    return total


# Private -----------------------------------------------------------------------------------------


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident_bytes(root: Path) -> int:
    with contextlib.suppress(OSError):
        return int((root / "proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _gained(shards: Iterable[tuple[ShardStats, ShardStats]], name: str) -> int:
    return sum(now.counters.get(name, 0) - old.counters.get(name, 0) for old, now in shards)


def _discards(shards: Iterable[tuple[ShardStats, ShardStats]]) -> dict[str, int]:
    gained: Counter[str] = Counter()
    for old, now in shards:
        for reason, count in now.discards.items():
            gained[reason] += count - old.discards.get(reason, 0)
    return dict(+gained)


def _turn_p99_ms(old: ShardStats, now: ShardStats) -> float:
    """The bound of the bucket in which it lies; the last one where it lies beyond."""
    pairs = zip(old.turns.buckets, now.turns.buckets, strict=True)
    gained = [after - before for before, after in pairs]
    total = sum(gained) + now.turns.above - old.turns.above
    seen = 0
    for bound, count in zip(now.turns.bounds, gained, strict=True):
        seen += count
        if seen >= 0.99 * total:
            return bound * 1e3
    return now.turns.bounds[-1] * 1e3


def _memory_of_machine(root: Path) -> int | None:
    with contextlib.suppress(OSError):
        for line in _lines(root / "proc/meminfo"):
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _memory_of_group(root: Path) -> int | None:
    left = [_left(group) for group in control_groups(root)]
    return min((value for value in left if value is not None), default=None)


def _left(group: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        most = int((group / "memory.max").read_text())
        current = int((group / "memory.current").read_text())
        return max(0, most - max(0, current - _idle_cache_bytes(group)))
    return None


def _idle_cache_bytes(group: Path) -> int:
    """What the kernel takes back first: pages of files that nobody has read lately."""
    with contextlib.suppress(OSError):
        for line in _lines(group / "memory.stat"):
            name, _, value = line.partition(" ")
            if name == "inactive_file":
                return int(value)
    return 0


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
