"""How fast viewers get in, and what those who are in notice of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pyforward_bench.rig.publisher import AUDIO, Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_least, is_most, joined, quantile
from pyforward_bench.rig.server import Serving
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


@dataclass(frozen=True, slots=True)
class Storm:
    """Many that joined at once: how fast, and how late media was for those who were in. None where
    no probe received an intact stamp."""

    joins_per_s: float
    p99_us: float | None
    wrong: tuple[str, ...]


def set_up(stand: Stand, serving: Serving | None = None) -> SetUp:
    """Who is there before a storm."""
    return SetUp(stand.crowd(_BASE_SINKS), Feed(AUDIO), Serving() if serving is None else serving)


async def storm(stand: Stand) -> Storm:
    """Everybody stays for now."""
    stand.audience.mark()
    seconds = await stand.audience.storm(stand.scale.joins)
    p99_us = stand.audience.probes.tally.figures().packet_latency_us.quantile(0.99)
    wrong = tuple(stand.verdict())
    return Storm(stand.scale.joins / seconds, p99_us, wrong)


async def r08(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Storms of joins, each before a quiet interval that its latency is held against, with all of
    them there: the last of many waits longer than of a few, whoever joins meanwhile."""
    await stand.set_up(set_up(stand))
    await stand.warm_up()
    rates: list[float] = []
    times_later: list[float] = []
    wrong: list[str] = []
    wrong_at_rest: list[str] = []
    for _ in range(stand.scale.few):
        during = await storm(stand)
        wrong += during.wrong
        rates.append(during.joins_per_s)
        quiet = await stand.window(stand.scale.tail_s)
        wrong_at_rest += quiet.wrong
        quiet_us = quiet.probes.packet_latency_us.quantile(0.99)
        if quiet_us and during.p99_us:
            times_later.append(during.p99_us / quiet_us)
        await stand.audience.settle()
    # A harness that is busy joins no faster: more than the target is the server's all the same.
    is_met = is_least(rates, _LEAST_JOINS_PER_S)
    note = None if is_met else stand.doubt(spec.row, wrong)
    if is_met and wrong:
        note = f"{wrong[0]} The server may be faster than this."
    figures = [spec.of(rates, met=is_met, note=note)]
    if times_later:
        is_met = is_most(times_later, _MOST_TIMES_LATER)
        part = "p99 of the packet latency meanwhile, to that of the same crowd at rest"
        # A rest that was disturbed is later than it would be, and the storm looks better beside it.
        note = stand.doubt(spec.row, wrong_at_rest) or note
        figures.append(
            spec.of(times_later, part=part, unit="times", target="< 2", met=is_met, note=note)
        )
    return figures


async def r09(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Viewers come one by one and see everything."""
    await stand.set_up(SetUp(stand.crowd(0, 2), Feed()))
    await stand.warm_up()
    count = stand.scale.joins // 20
    p50: list[float] = []
    p99: list[float] = []
    wrong: list[str] = []
    for _ in range(stand.scale.few):
        stand.audience.mark()
        members = await stand.audience.probes.join(count, rate=count / _WATCHING_S)
        await asyncio.sleep(_WATCHING_S)
        await stand.audience.probes.look(members)
        wrong += stand.verdict()
        whole = sorted(ms for member in members if (ms := stages(member).whole) is not None)
        await stand.audience.probes.leave(count)
        if whole:
            p50.append(quantile(whole, 0.5))
            p99.append(quantile(whole, 0.99))
    if not p50:
        return [spec.could_not("no viewer saw a whole keyframe")]
    note = joined(_KEYFRAME_NOTE, stand.doubt(spec.row, wrong))
    return [spec.of(p50, part="p50", note=note), spec.of(p99, part="p99", note=note)]


ROWS = (
    Spec("r08", "joins per second (profile audio)", "joins/s", "≥ 300", r08),
    Spec("r09", "POST to first whole keyframe", "ms", None, r09),
)
