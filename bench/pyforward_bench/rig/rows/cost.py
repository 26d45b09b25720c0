"""CPU per packet under other conditions: more viewers, more feedback, a busy application."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import replace

from pyforward.commands import Trial
from pyforward_bench.rig.ceiling import Load, trains_of
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_most, joined
from pyforward_bench.rig.rows.turns import in_turns
from pyforward_bench.rig.server import total
from pyforward_bench.rig.stand import PRESUMED_CEILING, TRIES, SetUp, Stand

COST = "µs per packet"

_MOST_TIMES = 1.15
_REFERENCE = 100
_RATES = (1, 10, 20)
_MOST_APART = 0.03
_LEAST_RATE, _MOST_RATE = 0.01, 20.0
"""A viewer of 20 times 2.5 Mbit/s is still under the pace at which the server spreads keyframes."""


async def r11(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The same packets a second for ever more viewers."""
    half = stand.found.get("ceiling gcm", PRESUMED_CEILING) / 2
    figures: list[Figure] = []
    costs: dict[int, list[float]] = {}
    for size in stand.scale.sizes:
        probes = min(stand.scale.probes, size // 2)
        rate = half / (size * Feed().packets_per_s)
        feed = Feed(rate=round(min(max(rate, _LEAST_RATE), _MOST_RATE), 4))
        await stand.set_up(SetUp(stand.crowd(size - probes, probes), feed))
        measured = await _rounds(stand)
        load = statistics.median(window.load for window in measured.windows)
        note = f"at {feed.rate:g} times the rate, {load:.2f} of a core"
        figures.append(_cost(stand, spec, measured, f"{size} viewers", note))
        costs[size] = _us(measured.rates)
    most = max(costs)
    if most > _REFERENCE and costs[most] and costs.get(_REFERENCE):
        pairs = zip(costs[most], costs[_REFERENCE], strict=True)
        times = [of_many / of_few for of_many, of_few in pairs]
        figures.append(
            spec.of(
                times,
                part=f"{most} viewers to {_REFERENCE}",
                unit="times",
                target="≤ 1.15 from 100 to 10,000",
                met=is_most(times, _MOST_TIMES),
            )
        )
    return figures


async def r14(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Receiver reports at three rates, of viewers alike in everything else."""
    figures = []
    for rate in _RATES:
        trial = Trial(report_interval_ms=1_000 // rate)
        half = await stand.half_loaded(Feed())
        await stand.set_up(replace(half, crowd=replace(half.crowd, trial=trial)))
        measured = await _rounds(stand)
        came = statistics.median(
            total(window.metrics, "pyforward_received_datagrams_total") / window.usage.wall_s
            for window in measured.windows
        )
        note = f"the server received {came:,.0f} datagrams a second, media and checks among them"
        figures.append(_cost(stand, spec, measured, f"{rate}/s from each viewer", note))
    return figures


async def r15(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The shard's own CPU per packet beside Python that never rests: in a process of its own, and
    in the server's. It is one server throughout, in turns with one and with the other.

    Both keep the other core busy. Cores of a machine may share more than memory, as hardware
    threads of one core do; what that costs is no doing of the server, and is told in the note.
    """
    serving = stand.serving(("engine.shards", "1"), cores=stand.cores, busy_thread=True)
    await stand.set_up(await stand.half_loaded(Feed(), serving))
    stand.server.keep_shards_alone(stand.server_core, stand.harness_core)
    ways = (contextlib.nullcontext, stand.neighbour, stand.burdened)
    # The harness shares its core with what is busy otherwise: late is what it has to be then.
    rounds = await in_turns(stand, ways, tries=(TRIES, 1, 1))
    stand.doubt(spec.row, [why for free, _, _ in rounds for why in free.wrong])
    changes = [100 * (_shard_us(own) / _shard_us(other) - 1) for _, other, own in rounds]
    met = abs(statistics.median(changes)) <= 100 * _MOST_APART
    free, apart, within = (
        statistics.median(map(_shard_us, windows)) for windows in zip(*rounds, strict=True)
    )
    note = (
        f"{within:.3f} µs beside a thread of its own process, {apart:.3f} µs beside another "
        f"process, {free:.3f} µs beside the harness alone"
    )
    return [spec.of(changes, met=met, note=note)]


ROWS = (
    Spec("r11", "CPU per packet", COST, None, r11, counted=True, ceiling=True),
    Spec("r14", "CPU per packet with feedback", COST, None, r14, counted=True, ceiling=True),
    Spec(
        "r15",
        "shard's CPU per packet beside a busy Python thread, to beside another busy process",
        "%",
        "within 3 %",
        r15,
        counted=True,
    ),
)


# Private -----------------------------------------------------------------------------------------


async def _rounds(stand: Stand) -> Measured:
    """A few, with the ceiling beside each: what a packet costs also depends on the hour."""
    return await stand.rounds(Load(trains_of(Feed().trace)), count=stand.scale.few)


def _cost(stand: Stand, spec: Spec, measured: Measured, part: str, note: str) -> Figure:
    """What a packet costs the server, beside what it costs the ceiling sender."""
    costs = _us(measured.rates)
    if not costs:
        return spec.could_not("in a round no packet arrived", part)
    return spec.of(
        costs,
        part=part,
        ceilings=_us(measured.ceilings),
        less_is_better=True,
        note=joined(note, stand.doubt(spec.row, measured.wrong), stand.why_no_ceiling),
    )


def _us(packets_per_cpu_s: Sequence[float]) -> list[float]:
    """Microseconds per packet of each round; of none where in one there was no packet."""
    return [1e6 / rate for rate in packets_per_cpu_s] if all(packets_per_cpu_s) else []


def _shard_us(window: Window) -> float:
    """What a packet costs the shard, which has its core alone."""
    return 1e6 * window.usage.shards_s / max(1, window.packets)
