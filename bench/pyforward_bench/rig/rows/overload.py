"""More than a core can forward: is it shared fairly, does anything grow, and when is it over?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec
from pyforward_bench.rig.server import change, total
from pyforward_bench.rig.stand import TRIES, SetUp, Stand

OVERLOAD = 1.5
NORMAL = 0.5

_LEAST_FAIR = 0.95
_MOST_GROWTH = 0.05
_MOST_RECOVERY_S = 2.0

# Where r05 was not run: what the usual ceiling serves.
_PRESUMED_VIEWERS = 1_500.0
_SLICE_S = 0.05
_SILENCE_S = 1.0
_RECOVERY_LIMIT_S = 20.0
_NORMAL_US = 10_000.0


async def r13(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The overload comes from the publisher's rate. What each viewer got is counted by a dynamic
    set outside, which costs the server a part of its core: it is overloaded anyway."""
    capacity = stand.capacity or _PRESUMED_VIEWERS
    crowd = stand.crowd()
    normal = _share(NORMAL, capacity, crowd.viewers)
    await stand.set_up(SetUp(crowd, normal))
    await stand.warm_up()
    before = await stand.window(stand.scale.tail_s)
    too_much = _share(OVERLOAD, capacity, crowd.viewers)
    await stand.set_up(SetUp(crowd, too_much))
    before_it = await stand.server.metrics()
    counts, growth, parts = await _overload(stand)
    # All that is asked there is about this process: how late a server is makes it no later.
    wrong = [*before.wrong, *stand.verdict()]
    shed = _shed(change(before_it, await stand.server.metrics()))
    drained_s = await _drained(stand)
    await stand.set_up(SetUp(crowd, normal))
    await stand.warm_up()
    after, late = await _usual_again(stand, before)
    wrong += [why for each in (*late, after) for why in each.wrong]
    note = f"{crowd.viewers} viewers at {too_much.rate:g} times the rate"
    if stand.capacity is None:
        note += f"; r05 has no figure, so that {capacity:g} viewers per core were presumed"
    fair = jain(counts)
    note += f"; {shed:.0%} of the packets were left out"
    if doubt := stand.doubt(spec.row, wrong):
        note += f"; {doubt}"
    return [
        spec.of([fair], part="Jain index", target="≥ 0.95", met=fair >= _LEAST_FAIR, note=note),
        spec.of(
            [float(parts)],
            part="frames of which only a part reached a probe",
            unit="frames",
            target="none",
            met=parts == 0,
            note=note,
        ),
        spec.of(
            [100 * growth],
            part="growth of memory",
            unit="%",
            target="nothing grows",
            met=growth <= _MOST_GROWTH,
            note=note,
        ),
        _recovery(spec, drained_s + len(late) * stand.scale.tail_s, before, after, note),
    ]


def overloaded(stand: Stand) -> SetUp:
    """The usual crowd, with a publisher that is too fast for a core by a half."""
    crowd = stand.crowd()
    return SetUp(crowd, _share(OVERLOAD, stand.capacity or _PRESUMED_VIEWERS, crowd.viewers))


def jain(counts: Iterable[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has everything."""
    shares = list(counts)
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


ROWS = (
    Spec(
        "r13",
        "150 % of r05",
        "",
        "fair, whole frames, nothing grows, over in < 2 s",
        r13,
        counted=True,
    ),
)


# Private -----------------------------------------------------------------------------------------


def _share(share: float, capacity: float, viewers: int) -> Feed:
    return Feed(paced=True, rate=round(share * capacity / viewers, 4))


async def _overload(stand: Stand) -> tuple[list[float], float, int]:
    """What each sink got while it lasted, by what share the server's memory grew after the first
    quarter of the time, and of how many frames the probes got only a part meanwhile."""
    assert stand.counter is not None, "the row is counted"
    ports = stand.audience.ports
    await asyncio.sleep(stand.scale.overload_s / 4)
    memory = stand.server.memory_bytes()["total"]
    await stand.counter.open(ports, by_viewer=True)
    stand.audience.mark()
    await asyncio.sleep(stand.scale.overload_s * 3 / 4)
    probes = stand.audience.probes.tally.figures()
    by_viewer = await stand.counter.read_by_viewer()
    grown = stand.server.memory_bytes()["total"] / memory - 1
    await stand.counter.open(ports)
    # Whoever got nothing is not in the set.
    sinks = stand.audience.there.sinks
    counts = [float(count.packets) for count in by_viewer.values()]
    return counts + [0.0] * max(0, sinks - len(counts)), grown, probes.broken


def _shed(metrics: Mapping[str, float]) -> float:
    """The share of what was due to viewers that a shard with too much to do left out."""
    left_out = total(metrics, "pyforward_send_drops_total", 'reason="shed"')
    sent = total(metrics, "pyforward_packets_total", 'direction="out"', 'transmission="first"')
    return left_out / max(1.0, left_out + sent)


async def _drained(stand: Stand) -> float:
    """Seconds from the end of the overload to the last packet that still came of it. A server that
    is overloaded takes joins badly, so that nobody comes in the publisher's place before."""
    loop = asyncio.get_running_loop()
    tally = stand.audience.probes.tally
    async with stand.publisher.paused():
        begun_s = last_s = loop.time()
        while loop.time() - last_s < _SILENCE_S and loop.time() - begun_s < _RECOVERY_LIMIT_S:
            tally.clear()
            await asyncio.sleep(_SLICE_S)
            if tally.figures().packets:
                last_s = loop.time()
    return last_s - begun_s


async def _usual_again(stand: Stand, before: Window) -> tuple[Window, list[Window]]:
    """A window of the usual feed that is as it was and that nothing was wrong with, or the last of
    several; and those that were unusual: the server was still late in them, or the machine, and it
    was not over."""
    late = []
    for _ in range(TRIES):
        after = await stand.window(stand.scale.tail_s, tries=1)
        if _why_unusual(before, after) is not None:
            late.append(after)
        elif not after.wrong:
            break
    return after, late


def _why_unusual(before: Window, after: Window) -> str | None:
    """In what a feed is not as it was."""
    usual_us, now_us = (w.probes.frame_latency_us.quantile(0.99) for w in (before, after))
    if usual_us is None or now_us is None or after.probes.lost:
        return f"the feed after it lost {after.probes.lost} packets"
    if now_us > max(2 * usual_us, _NORMAL_US):
        told = f"p99 of the frame latency was {usual_us / 1e3:.1f} ms before and {now_us / 1e3:.1f}"
        return f"{told} ms after it, the last of {TRIES} times"
    return None


def _recovery(spec: Spec, over_s: float, before: Window, after: Window, note: str) -> Figure:
    """It is over when nothing of the overload comes any more and a usual feed is as it was."""
    part = "until it is over"
    if (why := _why_unusual(before, after)) is not None:
        return spec.could_not(f"{why}; {note}", part)
    met = over_s < _MOST_RECOVERY_S
    return spec.of([over_s], part=part, unit="s", target="< 2 s", met=met, note=note)
