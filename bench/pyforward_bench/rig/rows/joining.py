"""How fast viewers get in, and what those who are in notice of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pyforward_bench.results import Row
from pyforward_bench.rig.publisher import AUDIO, Feed
from pyforward_bench.rig.rows.spec import Spec, quantile
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.swarm import stages

_LEAST_JOINS_PER_S = 300.0
_MOST_TIMES_LATER = 2.0
_BASE_SINKS = 80

_WATCHING_S = 3.0
"""Longer than it takes from one keyframe of the trace to the next."""

_KEYFRAME_NOTE = (
    "the trace has a keyframe every 2 s and gives none when it is asked, so that most of it is "
    "waiting for the next one"
)


async def r08(stand: Stand, spec: Spec) -> Sequence[Row]:
    """Storms of joins, each after a quiet interval that its latency is held against."""
    await stand.set_up(SetUp(stand.crowd(_BASE_SINKS), Feed(AUDIO)))
    await stand.warm_up()
    rates, times_later, wrong = [], [], []
    for _ in range(max(1, stand.scale.rounds // 2)):
        quiet = await stand.window(stand.scale.seconds / 2, tries=1)
        stand.audience.mark()
        seconds = await stand.audience.storm(stand.scale.joins)
        during = stand.audience.probes.tally.figures()
        wrong += stand.audience.verdict()
        rates.append(stand.scale.joins / seconds)
        before_us = quiet.probes.packet_latency_us.quantile(0.99)
        during_us = during.packet_latency_us.quantile(0.99)
        if before_us and during_us:
            times_later.append(during_us / before_us)
        await stand.audience.settle()
    # A harness that is busy joins no faster; so more than the target is the server's all the same.
    slow = min(rates) < _LEAST_JOINS_PER_S
    doubt = stand.doubt(spec.row, wrong) if slow else None
    told = doubt or (f"{wrong[0]} The server may be faster than this." if wrong else None)
    rows = [spec.of(rates, why=told)]
    rows[0] = rows[0].model_copy(update={"met": (rows[0].value or 0.0) >= _LEAST_JOINS_PER_S})
    name = "p99 of the packet latency in a storm of joins, times that before"
    if times_later:
        row = spec.of(times_later, name=name, unit="times", target="< 2", why=told)
        rows.append(row.model_copy(update={"met": (row.value or 0.0) < _MOST_TIMES_LATER}))
    return rows


async def r09(stand: Stand, spec: Spec) -> Sequence[Row]:
    """Viewers come one by one and see everything."""
    await stand.set_up(SetUp(stand.crowd(0, 2), Feed()))
    await stand.warm_up()
    count = stand.scale.joins // 20
    p50, p99, wrong = [], [], []
    for _ in range(max(1, stand.scale.rounds // 2)):
        stand.audience.mark()
        members = await stand.audience.probes.join(count, rate=count / _WATCHING_S)
        await asyncio.sleep(_WATCHING_S)
        await stand.audience.probes.look(members)
        wrong += stand.audience.verdict()
        whole = sorted(ms for member in members if (ms := stages(member).whole) is not None)
        await stand.audience.probes.leave(count)
        if whole:
            p50.append(quantile(whole, 0.5))
            p99.append(quantile(whole, 0.99))
    if not p50:
        return [spec.could_not("no viewer saw a whole keyframe")]
    doubt = stand.doubt(spec.row, wrong)
    why = "; ".join([_KEYFRAME_NOTE, *([doubt] if doubt else [])])
    return [
        spec.of(p50, name=f"{spec.name}, p50", why=why),
        spec.of(p99, name=f"{spec.name}, p99", why=why),
    ]


ROWS = (
    Spec("r08", "joins per second (profile audio)", "joins/s", "≥ 300", r08),
    Spec("r09", "POST to first whole keyframe", "ms", None, r09),
)
