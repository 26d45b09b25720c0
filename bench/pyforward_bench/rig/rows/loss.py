"""A bad way to every viewer: how much of it is repaired in time, and what that costs."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

from pyforward.commands import Link, Trial
from pyforward_bench.loss import within_two_round_trips
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_least, is_most, joined
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures

LOSS = 0.05
ROUND_TRIP_MS = 40.0

_LEAST_IN_TIME = 0.999
_LEAST_FINALLY = 0.9999
_MOST_DEARER = 0.35

_LAST_REPAIRS_S = 0.5


async def r12(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """First with the delay alone, then with loss too: the same viewers' CPU, and the repairs."""
    clean = await _rounds(stand, loss=0.0)
    lossy = await _rounds(stand, loss=LOSS)
    wrong = [why for window, _ in (*clean, *lossy) for why in window.wrong]
    doubt = stand.doubt(spec.row, list(dict.fromkeys(wrong)))
    base = statistics.median(_cpu_us(window) for window, _ in clean)
    in_time = [within_two_round_trips(figures, ROUND_TRIP_MS) for _, figures in lossy]
    finally_there = [1 - figures.lost / max(1, figures.expected) for _, figures in lossy]
    dearer = [_cpu_us(window) / base - 1 for window, _ in lossy]
    viewers = lossy[0][0].crowd.viewers
    note = joined(f"{viewers} viewers, each a probe", doubt)
    return [
        *(
            spec.of(
                [100 * share for share in shares],
                part=part,
                target=target,
                met=is_least(shares, limit),
                note=note,
            )
            for part, shares, target, limit in (
                ("there within two round trips", in_time, "≥ 99.9 %", _LEAST_IN_TIME),
                ("there finally", finally_there, "≥ 99.99 %", _LEAST_FINALLY),
            )
        ),
        spec.of(
            [100 * share for share in dearer],
            part="more CPU per packet than with the delay alone",
            target="≤ 35 %",
            met=is_most(dearer, _MOST_DEARER),
            note=note,
        ),
    ]


ROWS = (Spec("r12", "5 % loss both ways, 40 ms round trip", "%", None, r12),)


# Private -----------------------------------------------------------------------------------------


async def _rounds(stand: Stand, loss: float) -> list[tuple[Window, Figures]]:
    """Windows, each with what the probes know once the last repairs have come."""
    link = Link(loss=loss, delay_us=round(ROUND_TRIP_MS * 500), seed=1)
    trial = Trial(inbound=link, outbound=link)
    await stand.set_up(SetUp(stand.crowd(0, stand.scale.lossy, trial=trial), Feed()))
    await stand.warm_up()
    found = []
    for _ in range(stand.scale.few):
        window = await stand.window()
        async with stand.publisher.paused():
            await asyncio.sleep(_LAST_REPAIRS_S)
            figures = stand.audience.probes.tally.figures()
        await asyncio.sleep(_LAST_REPAIRS_S)
        found.append((window, figures))
    return found


def _cpu_us(window: Window) -> float:
    """Of each packet that a viewer has: repairs are the price of those."""
    return 1e6 * window.usage.process_s / max(1, window.probes.expected)
