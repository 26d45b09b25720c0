"""``pyforward-bench joins``: viewers that come at a rate, and what each stage of coming costs them.

A few standing probes are there first: what the storm does to those who watch is their latency
during it against before. Then the storm: a viewer is due each 1/rate seconds whatever became of
those before it, and leaves once it has what it came for, its first whole keyframe, or its first
packet where there is no video; with ``hold`` so much later.

Rows, each with ``joins.`` before it:

- ``viewers`` (of the storm), ``joined``, ``failed.<reason>``, ``ended.<reason>``, ``silent``, and
  ``unserved``: joined, and had no keyframe within 15 s;
- ``asked_rate``; ``rate``: joins a second that had their keys, from the first to the last;
  ``late``: the share that began more than 10 ms after its time, because too many were on their way;
- ``answer.*``, ``ice.*``, ``dtls.*``, ``packet.*``, ``keyframe.*``: each stage by itself, in
  milliseconds; ``whole.*`` from the POST to the last packet of the first whole keyframe, all as
  ``p50``, ``p90``, ``p99``, ``max``;
- ``before.packet.*``, ``before.frame.*``, ``during.packet.*``, ``during.frame.*``: latency at the
  standing probes, and ``during.times``: p99 by packet during the storm over that before it;
- of the standing probes from the calm on, and of those among the storm's viewers until they leave:
  ``probes``, ``packets``, ``lost``, and ``corrupted``, ``repeated``, ``missing``,
  ``reordered_content``, ``unstamped`` as ``load`` has them;
- ``harness.*``: what this process used and dropped during the storm.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pyforward.client import Target
from pyforward.config import Config
from pyforward_bench.exposed import Bind
from pyforward_bench.measuring import (
    Bench,
    Output,
    conduct,
    latency_rows,
    packet_problems,
    packet_rows,
    sample_rows,
    viewer_rows,
)
from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.statistics import Figures
from pyforward_bench.swarm import AT_A_TIME_AT_A_RATE, Member, Stages, stages

COMMAND: Final = "joins"

DEFAULT_PROBES: Final = 4

STORM_PROBES: Final = 50
"""Of the storm's viewers: what comes with a join, such as from a server's memory, comes to nobody
else."""

SETTLE_S: Final = 1.0
BEFORE_S: Final = 5.0
"""How long the probes' latency is taken before the storm."""

SERVED_WITHIN_S: Final = 15.0
"""After the keys; a publisher that never sends a keyframe holds nobody for ever."""

POLL_S: Final = 0.1
LATE_S: Final = 0.01

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
STAGES: Final = ("answer", "ice", "dtls", "packet", "keyframe", "whole")


@dataclass(frozen=True, slots=True)
class Options:
    """``rate`` in joins a second, ``hold_s`` from a viewer's keyframe to its leaving. At
    ``metrics`` it tells Prometheus."""

    rate: float
    count: int
    hold_s: float = 0.0
    probes: int = DEFAULT_PROBES
    allowed: bool = False
    metrics: Bind | None = None

    @property
    def most_at_a_time(self) -> int:
        """Viewers that there has to be room for: those that stay as long as they may, those on
        their way, and the probes."""
        staying = math.ceil(self.rate * (self.hold_s + SERVED_WITHIN_S))
        return self.probes + min(self.count, staying + AT_A_TIME_AT_A_RATE)


def run(config: Config, target: Target, options: Options, output: Output) -> int:
    """The command; gives its exit code."""
    return conduct(
        Joins(options),
        config,
        target,
        output,
        viewers=options.most_at_a_time,
        allowed=options.allowed,
        metrics=options.metrics,
    )


class Joins:
    """The measurement."""

    command = COMMAND

    def __init__(self, options: Options) -> None:
        self._options = options
        self._before: Figures | None = None
        self._served: dict[int, Stages] = {}
        self._unserved = 0
        self._waiting: list[Member] = []
        self._met = 0
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self, bench: Bench) -> None:
        """The calm, and the storm."""
        swarm, options = bench.swarm, self._options
        standing = await swarm.join(max(1, options.probes), probes=options.probes)
        self._met = len(standing)
        if all(member.failed for member in standing):
            return  # and so would everybody
        if options.probes:
            await asyncio.sleep(SETTLE_S)
            bench.mark()
            calm = asyncio.ensure_future(asyncio.sleep(BEFORE_S))
            await bench.look_until(calm, "before the storm")
            self._before = swarm.tally.figures()
        else:
            await swarm.leave()
        bench.mark()
        serving = asyncio.ensure_future(self._storm(bench))
        await bench.look_until(serving, "the storm")

    def rows(self, bench: Bench) -> Iterator[Row]:
        """See the top of this file."""
        storm = self._storm_members(bench)
        figures = replace(bench.swarm.figures(), joined=sum(m.has_joined for m in storm))
        yield from viewer_rows(COMMAND, figures, self._options.count)
        yield row_of(COMMAND, "joins.unserved", "viewers", [float(self._unserved)])
        yield row_of(COMMAND, "joins.asked_rate", "joins/s", [self._options.rate])
        yield _rate(storm)
        late = sum(member.late_s > LATE_S for member in storm)
        yield row_of(COMMAND, "joins.late", "share", [late / len(storm) if storm else 0.0])
        reached = [self._served.get(m.number) or stages(m) for m in storm if m.has_joined]
        for name in STAGES:
            samples = [getattr(stage, name) for stage in reached]
            yield from sample_rows(COMMAND, name, samples, QUANTILES)
        during = bench.swarm.tally.figures()
        if self._before is not None:
            yield from latency_rows(COMMAND, "before", self._before)
            yield from latency_rows(COMMAND, "during", during)
        yield self._times(during)
        checked = self._checked(bench)
        probes = sum(m.is_probe and m.has_joined for m in bench.swarm.members)
        yield row_of(COMMAND, "joins.probes", "viewers", [float(probes)])
        for name in ("packets", "lost"):
            count = sum(getattr(each, name) for each in checked)
            yield row_of(COMMAND, f"joins.{name}", "packets", [float(count)])
        yield from packet_rows(COMMAND, *checked)

    def problems(self, bench: Bench) -> Iterator[str]:
        """Viewers that were never served, and packets that the server changed or repeated."""
        if self._unserved:
            yield (
                f"{self._unserved} viewers had no whole keyframe within {SERVED_WITHIN_S:g} s "
                "of their keys."
            )
        yield from packet_problems(*self._checked(bench))

    def _checked(self, bench: Bench) -> Sequence[Figures]:
        """Of everybody whose packets are looked at one by one, in the calm and in the storm."""
        calm = [self._before] if self._before is not None else []
        return [*calm, bench.swarm.tally.figures(), bench.swarm.passing.figures()]

    async def _storm(self, bench: Bench) -> None:
        """Comes to its end when everybody has come and gone."""
        options = self._options
        coming = bench.swarm.join(
            options.count, rate=options.rate, probes=STORM_PROBES, passing=True
        )
        joining = asyncio.ensure_future(coming)
        try:
            while not joining.done() or self._waiting or self._leaving:
                await asyncio.wait([joining], timeout=POLL_S)
                if joining.done():
                    joining.result()
                    await asyncio.sleep(POLL_S)
                await self._serve(bench)
        finally:
            joining.cancel()
            await asyncio.wait([joining])

    async def _serve(self, bench: Bench) -> None:
        """Whoever has what it came for leaves."""
        swarm = bench.swarm
        fresh = swarm.members[self._met :]
        self._met += len(fresh)
        self._waiting += fresh
        await swarm.look(self._waiting)
        now = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        for member in waiting:
            if member.is_over:
                continue
            reached = stages(member)
            if reached.whole is not None:
                self._served[member.number] = reached
                self._let_go(bench, member, self._options.hold_s)
            elif _waits_too_long(member, now):
                self._unserved += 1
                self._let_go(bench, member, 0.0)
            else:
                self._waiting.append(member)

    def _let_go(self, bench: Bench, member: Member, after_s: float) -> None:
        async def go() -> None:
            await asyncio.sleep(after_s)
            await bench.swarm.dismiss(member)

        leaving = asyncio.create_task(go())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _storm_members(self, bench: Bench) -> Sequence[Member]:
        return bench.swarm.members[max(1, self._options.probes) :]

    def _times(self, during: Figures) -> Row:
        name = "joins.during.times"
        before = self._before.packet_latency_us.quantile(0.99) if self._before else None
        now = during.packet_latency_us.quantile(0.99)
        if not before or now is None:
            why = "no standing probe received intact stamps, before and during the storm"
            return could_not(COMMAND, name, "times", why)
        return row_of(COMMAND, name, "times", [now / before])


# Private -----------------------------------------------------------------------------------------


def _waits_too_long(member: Member, now: float) -> bool:
    session = member.session
    if session is None or session.connected_s is None:
        return False
    return now - session.connected_s > SERVED_WITHIN_S


def _rate(storm: Sequence[Member]) -> Row:
    sessions = [member.session for member in storm if member.session is not None]
    known = [s.connected_s for s in sessions if s.connected_s is not None]
    if len(known) < 2 or max(known) == min(known):
        return could_not(COMMAND, "joins.rate", "joins/s", "fewer than two joined")
    return row_of(COMMAND, "joins.rate", "joins/s", [(len(known) - 1) / (max(known) - min(known))])
