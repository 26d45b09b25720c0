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
from pyforward_bench.rig.server import Serving
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
    wrong = [why for each, _ in (*clean, *lossy) for why in each.wrong]
    doubt = stand.doubt(spec.row, list(dict.fromkeys(wrong)))
    base = statistics.median(cpu_us(each) for each, _ in clean)
    shares_in_time = [in_time(figures) for _, figures in lossy]
    finally_there = [1 - figures.lost / max(1, figures.expected) for _, figures in lossy]
    dearer = [cpu_us(each) / base - 1 for each, _ in lossy]
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
                ("there within two round trips", shares_in_time, "≥ 99.9 %", _LEAST_IN_TIME),
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


def set_up(stand: Stand, loss: float, serving: Serving | None = None) -> SetUp:
    """Probes that watch over such a way."""
    link = Link(loss=loss, delay_us=round(ROUND_TRIP_MS * 500), seed=1)
    crowd = stand.crowd(0, stand.scale.lossy, trial=Trial(inbound=link, outbound=link))
    return SetUp(crowd, Feed(), Serving() if serving is None else serving)


async def window(stand: Stand) -> tuple[Window, Figures]:
    """One, with what the probes know once the last repairs have come."""
    found = await stand.window()
    async with stand.publisher.paused():
        await asyncio.sleep(_LAST_REPAIRS_S)
        figures = stand.audience.probes.tally.figures()
    await asyncio.sleep(_LAST_REPAIRS_S)
    return found, figures


def in_time(figures: Figures) -> float:
    """The share of all packets that were there within two round trips."""
    return within_two_round_trips(figures, ROUND_TRIP_MS)


def cpu_us(found: Window) -> float:
    """Of each packet that a viewer has: repairs are the price of those."""
    return 1e6 * found.usage.process_s / max(1, found.probes.expected)


ROWS = (Spec("r12", "5 % loss both ways, 40 ms round trip", "%", None, r12),)


# Private -----------------------------------------------------------------------------------------


async def _rounds(stand: Stand, loss: float) -> list[tuple[Window, Figures]]:
    await stand.set_up(set_up(stand, loss))
    await stand.warm_up()
    return [await window(stand) for _ in range(stand.scale.few)]
