"""A bad way to every viewer: how much of it is repaired in time, and what that costs."""

from __future__ import annotations

import asyncio
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
    """With the delay alone and with loss too, in turns: the same server's CPU, and the repairs."""
    rounds = await _rounds(stand)
    lossy = [with_loss for _, with_loss in rounds]
    wrong = [why for both in rounds for each, _ in both for why in each.wrong]
    doubt = stand.doubt(spec.row, list(dict.fromkeys(wrong)))
    shares_in_time = [in_time(figures) for _, figures in lossy]
    finally_there = [1 - figures.lost / max(1, figures.expected) for _, figures in lossy]
    dearer = [cpu_us(with_loss) / cpu_us(clean) - 1 for (clean, _), (with_loss, _) in rounds]
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


async def _rounds(stand: Stand) -> list[tuple[tuple[Window, Figures], tuple[Window, Figures]]]:
    """A window without loss and one with it, neighbours, in the order A B, B A, A B …: a machine
    that becomes steadily slower does so for both. Viewers join anew for each, the server stays."""
    rounds = []
    for number in range(stand.scale.few):
        found: dict[float, tuple[Window, Figures]] = {}
        for loss in (0.0, LOSS) if number % 2 == 0 else (LOSS, 0.0):
            await stand.set_up(set_up(stand, loss))
            await stand.warm_up()
            found[loss] = await window(stand)
        rounds.append((found[0.0], found[LOSS]))
    return rounds
