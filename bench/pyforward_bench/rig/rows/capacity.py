"""How many viewers one core serves: more and more of them, until something is lost or late.

The last of N viewers of one stream waits for N trains, whoever sends them. So the ceiling sender is
held to the same latency as the server: it plays the same feed to as many viewers, in turns with the
server's steps (docs/decisions/0021).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import TRAINS, Load, Played, trains_of
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, joined
from pyforward_bench.rig.rows.staircase import Plan, Staircase, climb, look_closer
from pyforward_bench.rig.stand import PRESUMED_CEILING, SetUp, Stand

VIEWERS = "viewers per core"

MOST_LATENCY_MS = 10.0
BEHIND_MS = 100.0
"""Three frames late: packets come faster than they leave."""
LEAST_SHARE = 0.80

_LIMITS_MS = (MOST_LATENCY_MS, BEHIND_MS)

# Of what the ceiling sender could serve if nobody asked how late.
_PLAN = Plan(first=0.15, ratio=1.25, most=1.2, within=1.06, looks=5)
_QUICK_PLAN = Plan(first=0.2, ratio=1.5, most=1.2, within=1.12, looks=3)

_PROBES = 8
_LEAST_UNSURE = 0.02
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """What so many viewers got."""

    viewers: float

    @property
    @abstractmethod
    def p99_ms(self) -> float | None:
        """Of the frame latency, where any was known."""

    @property
    @abstractmethod
    def lost(self) -> str | None:
        """What did not arrive."""

    def late(self, limit_ms: float) -> str | None:
        """Why this was too late."""
        if self.p99_ms is None:
            return "no frame's latency was known"
        if self.p99_ms < limit_ms:
            return None
        return f"p99 of the frame latency was {self.p99_ms:.1f} ms"

    def wrong(self, limit_ms: float) -> str | None:
        """Why they were too many."""
        return self.lost or self.late(limit_ms)

    @property
    def told(self) -> str:
        """For the terminal."""
        well = "" if self.p99_ms is None else f"well, p99 {self.p99_ms:.1f} ms"
        return f"{self.viewers:.0f} viewers: {self.wrong(MOST_LATENCY_MS) or well}"


@dataclass(frozen=True, slots=True)
class ServerStep(Step):
    """What the server's viewers got. A window's ends fall into frames, for the counter's count as
    for the probes', of which the largest has ``frame`` packets."""

    window: Window
    frame: int = 0

    @property
    def p99_ms(self) -> float | None:
        p99_us = self.window.probes.frame_latency_us.quantile(0.99)
        return None if p99_us is None else p99_us / 1e3

    @property
    def lost(self) -> str | None:
        """Of the probes' packets, of those that the server sends, or of those that the counter
        should have seen."""
        window, probes = self.window, self.window.probes
        if probes.lost or probes.missing:
            return f"the probes missed {max(probes.lost, probes.missing)} packets"
        if window.send_drops:
            return f"the server did not send {window.send_drops:.0f} packets"
        if not window.crowd.probes or not window.crowd.sinks:
            return None
        due = probes.expected / window.crowd.probes
        came = window.sinks.packets / window.crowd.sinks
        if came < due - max(_LEAST_UNSURE * due, self.frame):
            return f"{came:.0f} packets a sink were counted, of {due:.0f}"
        return None


@dataclass(frozen=True, slots=True)
class CeilingStep(Step):
    """What the ceiling sender's destinations got."""

    played: Played

    @property
    def p99_ms(self) -> float | None:
        p99_us = self.played.latency_us["p99"]
        return None if p99_us is None else p99_us / 1e3

    @property
    def lost(self) -> str | None:
        if not self.played.lost:
            return None
        return f"{self.played.lost} of {self.played.sent} packets were not counted"


@dataclass(slots=True)
class Stairs:
    """The server's steps, and those of the ceiling sender where there is one; ``most`` is what that
    could serve if nobody asked how late, or what is presumed of it."""

    most: float
    server: Staircase[ServerStep]
    ceiling: Staircase[CeilingStep] | None


async def r05(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Two figures: as the target has it, and until the sender falls behind. A server that does not
    keep up loses nothing for as long as its socket has room, and is seconds late meanwhile."""
    stairs = await _climbed(stand, Feed(paced=True))
    in_time = _figure(stand, spec, stairs, MOST_LATENCY_MS)
    in_step = _figure(stand, spec, stairs, BEHIND_MS, part=f"p99 < {BEHIND_MS:g} ms instead")
    stand.in_time, stand.capacity = in_time.row.value or None, in_step.row.value or None
    return [in_time, in_step]


async def r05a(stand: Stand, spec: Spec) -> Sequence[Figure]:
    stairs = await _climbed(stand, Feed(paced=True, opus=True))
    return [_figure(stand, spec, stairs, MOST_LATENCY_MS)]


ROWS = (
    Spec(
        "r05",
        "viewers at 2.5 Mbit/s, nothing lost, p99 of the frame latency < 10 ms",
        VIEWERS,
        "≥ 0.80 of the ceiling sender's",
        r05,
        counted=True,
        ceiling=True,
    ),
    Spec("r05a", "the same with Opus", VIEWERS, None, r05a, counted=True, ceiling=True),
)


# Private -----------------------------------------------------------------------------------------


async def _climbed(stand: Stand, feed: Feed) -> Stairs:
    """Both until they fall behind, or there are more than the ceiling sender could serve."""
    await stand.set_up(SetUp(stand.crowd(), _rated(feed, stand.scale.rate)))
    await asyncio.sleep(_SETTLE_S)

    async def serve(viewers: float) -> ServerStep:
        crowd, rated = _scaled(stand, feed, viewers)
        await stand.set_up(SetUp(crowd, rated))
        await asyncio.sleep(_SETTLE_S)
        found = await stand.window(stand.scale.tail_s, tries=1)
        step = ServerStep(crowd.viewers * rated.rate, found, feed.largest_frame)
        stand.say(f"  the server, {step.told}")
        return step

    async def play(viewers: float) -> CeilingStep:
        crowd, rated = _scaled(stand, feed, viewers)
        played = await stand.play(rated, crowd.viewers, viewers / most)
        step = CeilingStep(crowd.viewers * rated.rate, played)
        stand.say(f"  the ceiling sender, {step.told}")
        return step

    server = Staircase(serve, _LIMITS_MS)
    senders: list[Staircase[Any]] = [server]
    packets_per_s, ceiling = PRESUMED_CEILING, None
    if stand.why_no_ceiling is None:
        sent = await stand.ceiling_round(Load(trains_of(feed.trace)))
        packets_per_s, ceiling = sent.rates[TRAINS], Staircase(play, _LIMITS_MS)
        senders.append(ceiling)
    most = packets_per_s / feed.packets_per_s
    plan = _QUICK_PLAN if stand.scale.quick else _PLAN
    await climb(senders, plan.numbers(most))
    await look_closer(senders, MOST_LATENCY_MS, plan)
    return Stairs(most, server, ceiling)


def _scaled(stand: Stand, feed: Feed, viewers: float) -> tuple[Crowd, Feed]:
    """So many viewers, or, in a quick run, a few at so much of the rate."""
    if stand.scale.quick:
        crowd = stand.crowd()
        return crowd, _rated(feed, viewers / crowd.viewers)
    return stand.crowd(max(round(viewers) - _PROBES, 1), _PROBES), feed


def _figure(
    stand: Stand, spec: Spec, stairs: Stairs, limit_ms: float, part: str | None = None
) -> Figure:
    """The last step that was well, beside the ceiling sender's under the same limit; a range ends
    where the next one was not."""
    value, first = stairs.server.last(limit_ms)
    notes = [stand.why_no_ceiling]
    if first is None:
        notes.append(f"{value:.0f} were not too many, so that the range has no upper end")
    else:
        notes.append(f"at {first.viewers:.0f} {first.wrong(limit_ms)}")
        notes.append(stand.doubt(spec.row, [why for why in first.window.wrong if "harness" in why]))
    reached, too_many = 0.0, None
    if stairs.ceiling is not None:
        reached, too_many = stairs.ceiling.last(limit_ms)
        if too_many is None:
            notes.append(f"of the ceiling sender {reached:.0f} were not too many")
        else:
            why = too_many.wrong(limit_ms)
            notes.append(f"the ceiling sender: at {too_many.viewers:.0f} {why}")
        notes.append(f"however late, its packets per CPU-second would serve {stairs.most:.0f}")
    if stand.scale.quick:
        notes.append(f"{stand.scale.sinks} viewers at a scaled rate stand for more at rate 1")
    met = None
    if reached and spec.target is not None and part is None:
        met = value >= LEAST_SHARE * reached
    ceilings = [reached] if reached else []
    figure = spec.of([value], part=part, ceilings=ceilings, met=met, note=joined(*notes))
    return replace(
        figure, row=figure.row.model_copy(update=_range(value, first, reached, too_many))
    )


def _range(
    value: float, first: Step | None, reached: float, too_many: Step | None
) -> dict[str, float]:
    """Each lies somewhere from its last step that was well to the first that was not, ``value`` to
    ``first`` and ``reached`` to ``too_many``: so their ratio lies from the least of the one by the
    most of the other to the most by the least."""
    high = value if first is None else max(value, first.viewers)
    if not reached:
        return {"high": high}
    most = reached if too_many is None else max(reached, too_many.viewers)
    return {"high": high, "share_low": value / most, "share_high": high / reached}


def _rated(feed: Feed, rate: float) -> Feed:
    return replace(feed, rate=round(rate, 4))
