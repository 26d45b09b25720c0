"""How many viewers one core serves: more and more of them, until something is lost or late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyforward_bench.rig.ceiling import TRAINS, Load, trains_of
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, joined
from pyforward_bench.rig.stand import SetUp, Stand

VIEWERS = "viewers per core"

MOST_LATENCY_MS = 10.0
BEHIND_MS = 100.0
"""Three frames late: packets come faster than they leave."""
LEAST_SHARE = 0.80

# Of what the ceiling sender could serve.
_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2)
_QUICK_STEPS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.1)

# Where there is no ceiling sender: about what it reaches on a core of 2.4 GHz.
_PRESUMED_PACKETS_PER_S = 500_000.0
_PROBES = 8
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """What so many viewers got."""

    viewers: float
    window: Window

    @property
    def p99_ms(self) -> float | None:
        p99_us = self.window.probes.frame_latency_us.quantile(0.99)
        return None if p99_us is None else p99_us / 1e3

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
    def lost(self) -> str | None:
        """What was lost: of the probes' packets, of those that the server sends, or of those that
        the counter should have seen."""
        window, probes = self.window, self.window.probes
        if probes.lost or probes.missing:
            return f"the probes missed {max(probes.lost, probes.missing)} packets"
        if window.send_drops:
            return f"the server did not send {window.send_drops:.0f} packets"
        if not window.crowd.probes or not window.crowd.sinks:
            return None
        due = probes.expected / window.crowd.probes
        came = window.sinks.packets / window.crowd.sinks
        # A window's ends fall into frames, for the counter's count as for the probes'.
        if came < 0.98 * due:
            return f"{came:.0f} packets a sink were counted, of {due:.0f}"
        return None


@dataclass(slots=True)
class Staircase:
    """``most`` is what the ceiling sender could serve, ``presumed`` where nobody measured it."""

    most: float
    presumed: bool
    steps: list[Step]

    def last(self, limit_ms: float) -> tuple[float, Step | None]:
        """The viewers of the last step before the first one that was wrong, and that one."""
        viewers = 0.0
        for step in self.steps:
            if step.wrong(limit_ms) is not None:
                return viewers, step
            viewers = step.viewers
        return viewers, None


async def r05(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Two figures: as the target has it, and until the server falls behind. A server that does not
    keep up loses nothing for as long as its socket has room, and is seconds late meanwhile."""
    stairs = await _climb(stand, Feed(paced=True))
    in_time = _figure(stand, spec, stairs, MOST_LATENCY_MS)
    in_step = _figure(stand, spec, stairs, BEHIND_MS, part=f"p99 < {BEHIND_MS:g} ms instead")
    stand.in_time, stand.capacity = in_time.row.value or None, in_step.row.value or None
    return [in_time, in_step]


async def r05a(stand: Stand, spec: Spec) -> Sequence[Figure]:
    stairs = await _climb(stand, Feed(paced=True, opus=True))
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


async def _climb(stand: Stand, feed: Feed) -> Staircase:
    """Until the server falls behind, or there are more than the ceiling sender could serve."""
    quick = stand.scale.quick
    await stand.set_up(SetUp(stand.crowd(), _rated(feed, stand.scale.rate)))
    await asyncio.sleep(_SETTLE_S)
    presumed = isinstance(stand.program, str)
    packets_per_s = _PRESUMED_PACKETS_PER_S
    if not presumed:
        sent = await stand.ceiling_round(Load(trains_of(feed.trace)))
        packets_per_s = sent.rates[TRAINS]
    stairs = Staircase(packets_per_s / feed.packets_per_s, presumed, [])
    for share in _QUICK_STEPS if quick else _STEPS:
        viewers = round(share * stairs.most)
        step = await _step(stand, feed, viewers)
        if step.wrong(BEHIND_MS) is not None:
            step = await _step(stand, feed, viewers)  # once is chance
        stairs.steps.append(step)
        stand.say(f"  {step.viewers:.0f} viewers: {step.wrong(MOST_LATENCY_MS) or 'well'}")
        if step.wrong(BEHIND_MS) is not None:
            break
    return stairs


async def _step(stand: Stand, feed: Feed, viewers: int) -> Step:
    """So many viewers, or, in a quick run, a few at so much of the rate."""
    if stand.scale.quick:
        crowd = stand.crowd()
        feed = _rated(feed, viewers / crowd.viewers)
    else:
        crowd = stand.crowd(max(viewers - _PROBES, 1), _PROBES)
    await stand.set_up(SetUp(crowd, feed))
    await asyncio.sleep(_SETTLE_S)
    window = await stand.window(tries=1)
    return Step(crowd.viewers * feed.rate, window)


def _figure(
    stand: Stand, spec: Spec, stairs: Staircase, limit_ms: float, part: str | None = None
) -> Figure:
    """The last step that was well; its range ends where the next one was not."""
    value, first = stairs.last(limit_ms)
    notes: list[str | None] = []
    if first is not None:
        notes.append(f"at {first.viewers:.0f} {first.wrong(limit_ms)}")
        notes.append(stand.doubt(spec.row, [why for why in first.window.wrong if "harness" in why]))
    if stand.scale.quick:
        notes.append(f"{stand.scale.sinks} viewers at a scaled rate stand for more at rate 1")
    ceiling = None if stairs.presumed else stairs.most
    judged = ceiling is not None and spec.target is not None and part is None
    met = value >= LEAST_SHARE * stairs.most if judged else None
    figure = spec.of([value], part=part, ceiling=ceiling, met=met, note=joined(*notes))
    if first is None:
        return figure
    return replace(figure, row=figure.row.model_copy(update={"high": max(value, first.viewers)}))


def _rated(feed: Feed, rate: float) -> Feed:
    return replace(feed, rate=round(rate, 4))
