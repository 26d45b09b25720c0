"""``pyforward-bench load``: many viewers of one stream of any WHEP server.

All of them open and count every packet natively; the probes among them are checked packet by
packet. The first viewer comes alone, so that what is wrong for everybody is told once. Figures of
media are of the time from when everybody was there to the end, or of what there was where a run is
stopped before.

Rows, each with ``load.`` before it:

- ``viewers`` (asked for), ``joined``, ``failed.<reason>``, ``ended.<reason>``, ``silent`` (joined,
  and nothing came), ``silent.<kind>`` (nothing of this track, where there were any), ``stalled``
  (are there, and nothing came any more);
- ``join_rate``: joins a second, from the first that came with the crowd to the last;
- ``first_packet.*``, ``first_keyframe.*``: milliseconds from the POST; of these and all below
  ``p50``, ``p99``, some ``p99.9``, and ``max``; these and ``join_rate`` have no value where the
  harness was the bottleneck while viewers joined;
- ``seconds``: how long media came, to the second: from when everybody was there to the last packet
  of anybody;
- ``bitrate`` (bit/s of UDP payload, all viewers), ``packets``, ``lost``, ``loss`` (their share),
  ``repaired``, ``jitter`` (ms, RFC 3550 §6.4.1, mean over viewers);
- ``discards.<reason>``: packets that were thrown away unread, where there were any;
- of the probes, every n-th viewer: ``probes``, ``latency.packet.*`` and ``latency.frame.*`` (ms
  since the publisher's stamp), ``frames`` (whole ones), ``broken`` (the others), ``corrupted``,
  ``repeated``, ``missing``, ``reordered_content``, ``unstamped`` (packets), ``loss_runs`` (how
  often packets were lost in a row, or one was), ``loss_runs.mean``, ``loss_runs.max`` (how many);
- ``harness.*``: what this process used and dropped, of the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pyforward.client import Target
from pyforward.commands import Kind, TrackReport
from pyforward.config import Config
from pyforward_bench import host
from pyforward_bench.exposed import Bind
from pyforward_bench.measuring import (
    LOOK_EVERY_S,
    QUANTILES,
    Bench,
    Output,
    conduct,
    packet_problems,
    probe_rows,
    sample_rows,
    viewer_rows,
)
from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.swarm import Member, SwarmFigures, stages

COMMAND: Final = "load"

DEFAULT_PROBES: Final = 50

SETTLE_S: Final = 1.0
"""After the last join: its keyframe and the handshakes' last repetitions are through."""

STALLED_S: Final = 2.0
"""Longer than any track pauses that is published."""

_STAGES: Final = ("first_packet", "first_keyframe")
_STAGE_QUANTILES: Final = {label: q for label, q in QUANTILES.items() if label != "p99.9"}


@dataclass(frozen=True, slots=True)
class Options:
    """``ramp`` is in joins a second, None for as fast as they come; without ``duration_s`` it ends
    by a signal, or when nobody is left. At ``metrics`` it tells Prometheus."""

    viewers: int
    ramp: float | None = None
    duration_s: float | None = None
    probes: int | None = None
    allowed: bool = False
    metrics: Bind | None = None

    @property
    def probes_asked(self) -> int:
        """Those of the viewers that are checked packet by packet."""
        asked = DEFAULT_PROBES if self.probes is None else self.probes
        return min(self.viewers, asked)


def run(config: Config, target: Target, options: Options, output: Output) -> int:
    """The command; gives its exit code."""
    return conduct(
        Load(options),
        config,
        target,
        output,
        viewers=options.viewers,
        allowed=options.allowed,
        metrics=options.metrics,
    )


class Load:
    """The measurement."""

    command = COMMAND

    def __init__(self, options: Options) -> None:
        self._options = options
        self._before: SwarmFigures | None = None
        self._wrong_joining: list[str] = []
        """Why how fast and how soon viewers joined is the harness's own."""
        self._stalls = Stalls()

    async def run(self, bench: Bench) -> None:
        """Everybody joins; then as long as was asked for, or somebody is left."""
        gathering = asyncio.ensure_future(self._gather(bench))
        await bench.look_until(gathering, "joining")
        if bench.swarm.figures().there == 0:
            return
        await asyncio.sleep(SETTLE_S)
        await self._begin(bench)
        loop = asyncio.get_running_loop()
        duration_s = self._options.duration_s
        until = None if duration_s is None else loop.time() + duration_s
        while until is None or loop.time() < until:
            left_s = LOOK_EVERY_S if until is None else until - loop.time()
            await asyncio.sleep(min(LOOK_EVERY_S, left_s))
            there = (await bench.look("watching")).there
            self._stalls.look(bench.swarm.members, loop.time())
            if there == 0:
                return

    def rows(self, bench: Bench) -> Iterator[Row]:
        """See the top of this file."""
        figures = bench.swarm.figures()
        members = bench.swarm.members
        yield from viewer_rows(COMMAND, figures, self._options.viewers)
        yield row_of(COMMAND, "load.stalled", "viewers", [float(self._stalls.count)])
        yield from self._joining_rows(bench)
        yield from self._media_rows(figures, bench.usage().passed_s)
        probes = sum(1 for member in members if member.is_probe and member.has_joined)
        yield row_of(COMMAND, "load.probes", "viewers", [float(probes)])
        yield from probe_rows(COMMAND, figures.probes)

    def problems(self, bench: Bench) -> Iterator[str]:
        """Streams that stopped, and packets that the server changed or repeated."""
        if self._stalls.count:
            yield (
                f"{self._stalls.count} viewers received nothing more of a track, for the last "
                f"{STALLED_S:g} s or longer."
            )
        yield from packet_problems(bench.swarm.figures().probes)

    async def _gather(self, bench: Bench) -> None:
        swarm, options = bench.swarm, self._options
        (first,) = await swarm.join(1, probes=min(1, options.probes_asked))
        if first.failed or options.viewers == 1:
            return
        rest = options.viewers - 1
        await swarm.join(rest, rate=options.ramp, probes=max(0, options.probes_asked - 1))

    async def _begin(self, bench: Bench) -> None:
        """Media counts from here; of the harness itself, too."""
        wrong = host.verdict(bench.watch.usage())
        self._wrong_joining = [f"While viewers joined: {sentence}" for sentence in wrong]
        bench.notes += self._wrong_joining
        await bench.swarm.look()
        self._before = bench.swarm.figures()
        bench.mark()

    def _joining_rows(self, bench: Bench) -> Iterator[Row]:
        if self._wrong_joining:
            why = self._wrong_joining[0]
            yield could_not(COMMAND, "load.join_rate", "joins/s", why)
            for name in _STAGES:
                for label in _STAGE_QUANTILES:
                    yield could_not(COMMAND, f"load.{name}.{label}", "ms", why)
            return
        yield self._join_rate(bench)
        reached = [stages(member) for member in bench.swarm.members if member.has_joined]
        for name in _STAGES:
            samples = [getattr(stage, name) for stage in reached]
            yield from sample_rows(COMMAND, name, samples, _STAGE_QUANTILES)

    def _join_rate(self, bench: Bench) -> Row:
        crowd = [m for m in bench.swarm.members[1:] if m.has_joined]
        times = [m.session.connected_s for m in crowd if m.session is not None]
        known = [time for time in times if time is not None]
        if len(known) < 2 or max(known) == min(known):
            return could_not(COMMAND, "load.join_rate", "joins/s", "fewer than three joined")
        rate = (len(known) - 1) / (max(known) - min(known))
        return row_of(COMMAND, "load.join_rate", "joins/s", [rate])

    def _media_rows(self, figures: SwarmFigures, passed_s: float) -> Iterator[Row]:
        before = self._before
        if before is None:
            why = "it ended before everybody was there"
            for name, unit in _MEDIA_UNITS.items():
                yield could_not(COMMAND, f"load.{name}", unit, why)
            return
        expected = figures.expected - before.expected
        lost = figures.lost - before.lost
        values = {
            "seconds": passed_s,
            "bitrate": (figures.bytes - before.bytes) * 8 / passed_s,
            "packets": figures.packets - before.packets,
            "lost": lost,
            "loss": lost / expected if expected else 0.0,
            "repaired": figures.repaired - before.repaired,
        }
        for name, value in values.items():
            yield row_of(COMMAND, f"load.{name}", _MEDIA_UNITS[name], [float(value)])
        known = [track.jitter_ms for track in figures.tracks if track.jitter_ms is not None]
        if known:
            yield row_of(COMMAND, "load.jitter", "ms", [max(known)])
        else:
            yield could_not(COMMAND, "load.jitter", "ms", "no packet came")


class Stalls:
    """Who was served a track and is no more, while the session goes on: a server that answers
    checks and sends nothing loses nobody, and no packet by its number."""

    def __init__(self) -> None:
        self.count = 0
        """At the last look."""
        self._heard: dict[tuple[int, Kind], tuple[int, float]] = {}

    def look(self, members: Iterable[Member], now: float) -> None:
        """By the members' last reports; ``now`` in seconds."""
        self.count = 0
        for member in members:
            if member.is_there and member.report is not None:
                # Each of them is asked: the answer is remembered.
                stalls = [self._stalls(member.number, it, now) for it in member.report.tracks]
                self.count += any(stalls)

    def _stalls(self, number: int, track: TrackReport, now: float) -> bool:
        packets = track.packets_received
        before, since = self._heard.get((number, track.kind), (0, now))
        if packets != before:
            self._heard[number, track.kind] = (packets, now)
            return False
        return packets > 0 and now - since >= STALLED_S


# Private -----------------------------------------------------------------------------------------

_MEDIA_UNITS: Final = {
    "seconds": "s",
    "bitrate": "bit/s",
    "packets": "packets",
    "lost": "packets",
    "loss": "share",
    "repaired": "packets",
}
