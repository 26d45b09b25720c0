"""CPU per packet under other conditions: more viewers, more feedback, a busy application."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pyforward.commands import Trial
from pyforward_bench.results import Row
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Spec
from pyforward_bench.rig.stand import Measured, SetUp, Stand, Window

COST = "µs per packet"

_MOST_TIMES = 1.15
_RATES = (1, 10, 20)
_MOST_APART = 0.03

# Half of what a ceiling sender reaches on a core of 2.4 GHz, where none was measured.
_PRESUMED_HALF = 250_000.0
_LEAST_RATE, _MOST_RATE = 0.01, 100.0


async def r11(stand: Stand, spec: Spec) -> Sequence[Row]:
    """The same packets a second for ever more viewers."""
    half = stand.found.get("ceiling", 2 * _PRESUMED_HALF) / 2
    rows, medians = [], {}
    for size in stand.scale.sizes:
        probes = min(stand.scale.probes, size // 2)
        rate = half / (size * Feed().packets_per_s)
        feed = Feed(rate=round(min(max(rate, _LEAST_RATE), _MOST_RATE), 4))
        await stand.set_up(SetUp(stand.crowd(size - probes, probes), feed))
        measured = await stand.rounds(count=_few(stand))
        row = _cost(stand, spec, measured, f"{spec.name}, {size} viewers")
        load = statistics.median(window.load for window in measured.windows)
        told = [f"at {feed.rate:g} times the rate, {load:.2f} of a core", row.why or ""]
        rows.append(row.model_copy(update={"why": "; ".join(filter(None, told))}))
        medians[size] = row.value or 0.0
    reference = 100
    most = max(medians)
    if most > reference and medians.get(reference):
        times = medians[most] / medians[reference]
        row = spec.of(
            [times],
            name=f"{spec.name}, {most} viewers to {reference}",
            unit="times",
            target="≤ 1.15 from 100 to 10,000",
        )
        rows.append(row.model_copy(update={"met": times <= _MOST_TIMES}))
    return rows


async def r14(stand: Stand, spec: Spec) -> Sequence[Row]:
    """Receiver reports at three rates, of viewers alike in everything else."""
    rows = []
    for rate in _RATES:
        trial = Trial(report_interval_ms=1_000 // rate)
        feed = Feed(rate=stand.scale.rate)
        await stand.set_up(SetUp(stand.crowd(trial=trial), feed))
        measured = await stand.rounds(count=_few(stand))
        rows.append(_cost(stand, spec, measured, f"{spec.name}, {rate}/s from each viewer"))
    return rows


async def r15(stand: Stand, spec: Spec) -> Sequence[Row]:
    """The shard's own CPU per packet, without and with Python that never rests beside it."""
    figures: list[list[float]] = []
    wrong: list[str] = []
    for busy in (False, True):
        serving = stand.serving(("engine.shards", "1"), cores=stand.cores, busy_thread=busy)
        await stand.set_up(SetUp(stand.crowd(), Feed(rate=stand.scale.rate), serving))
        stand.server.keep_shards_alone(stand.server_core, stand.harness_core)
        measured = await stand.rounds(count=_few(stand))
        figures.append([_shard_us(window) for window in measured.windows])
        # The harness shares its core with the busy thread here: late is what it has to be.
        wrong += [why for why in measured.wrong if not busy]
    alone, beside = figures
    base = statistics.median(alone)
    changes = [100 * (each / base - 1) for each in beside]
    doubt = stand.doubt(spec.row, wrong)
    change = statistics.median(changes)
    why = f"{base:.3f} µs alone, {statistics.median(beside):.3f} µs beside it"
    row = spec.of(changes, why="; ".join([why, *([doubt] if doubt else [])]))
    return [row.model_copy(update={"met": abs(change) <= 100 * _MOST_APART})]


ROWS = (
    Spec("r11", "CPU per packet", COST, None, r11, counted=True),
    Spec("r14", "CPU per packet with feedback", COST, None, r14, counted=True),
    Spec(
        "r15",
        "shard's CPU per packet beside a busy Python thread, change",
        "%",
        "within 3 %",
        r15,
        counted=True,
    ),
)


# Private -----------------------------------------------------------------------------------------


def _few(stand: Stand) -> int:
    """Rounds of rows that have several loads."""
    return max(2, stand.scale.rounds // 2)


def _cost(stand: Stand, spec: Spec, measured: Measured, name: str) -> Row:
    values = [1e6 / window.packets_per_cpu_s for window in measured.windows if window.packets]
    if not values:
        return spec.could_not("no packet arrived").model_copy(update={"name": name})
    return spec.of(values, name=name, why=stand.doubt(spec.row, measured.wrong))


def _shard_us(window: Window) -> float:
    return 1e6 * window.usage.shards_s / max(1, window.packets)
