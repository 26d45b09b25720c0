"""More than a core can forward: is it shared fairly, does anything grow, and how soon is it over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from pyforward_bench.results import Row
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Spec
from pyforward_bench.rig.stand import SetUp, Stand

OVERLOAD = 1.5
NORMAL = 0.5

_LEAST_FAIR = 0.95
_MOST_GROWTH = 0.05
_MOST_RECOVERY_S = 2.0

# Where r05 was not run: what the usual ceiling serves.
_PRESUMED_VIEWERS = 1_500.0
_SLICE_S = 0.1
_SLICES = 3
"""So many in a row are normal before it is over."""
_RECOVERY_LIMIT_S = 20.0
_NORMAL_MS = 10.0


async def r13(stand: Stand, spec: Spec) -> Sequence[Row]:
    """The overload comes from the publisher's rate. What each viewer got is counted by a dynamic
    set outside, which costs the server a part of its core: it is overloaded anyway."""
    capacity = stand.capacity or _PRESUMED_VIEWERS
    crowd = stand.crowd()
    normal = _share(NORMAL, capacity, crowd.viewers)
    await stand.set_up(SetUp(crowd, normal))
    await stand.warm_up()
    before = await stand.window(tries=1)
    usual_us = before.probes.frame_latency_us.quantile(0.99) or 0.0
    too_much = _share(OVERLOAD, capacity, crowd.viewers)
    await stand.set_up(SetUp(crowd, too_much))
    counts, growth = await _overload(stand)
    await stand.replace_feed(normal)
    recovery_s = await _recovery(stand, max(2 * usual_us / 1e3, _NORMAL_MS))
    why = f"{crowd.viewers} viewers at {too_much.rate:g} times the rate"
    if stand.capacity is None:
        why += f"; r05 was not run, so that {capacity:g} viewers per core were presumed"
    fair = jain(counts)
    grown = spec.of(
        [100 * growth], name=f"{spec.name}: growth of memory", unit="%", target="nothing", why=why
    )
    rows = [
        spec.of([fair], name=f"{spec.name}: Jain index", unit="", target="≥ 0.95", why=why),
        grown,
    ]
    rows[0] = rows[0].model_copy(update={"met": fair >= _LEAST_FAIR})
    rows[1] = grown.model_copy(update={"met": growth <= _MOST_GROWTH})
    name = f"{spec.name}: until it is normal again"
    if recovery_s is None:
        late = f"not normal within {_RECOVERY_LIMIT_S:g} s of its end; {why}"
        row = spec.could_not(late).model_copy(update={"name": name, "unit": "s", "met": False})
    else:
        row = spec.of([recovery_s], name=name, unit="s", target="< 2 s", why=why)
        row = row.model_copy(update={"met": recovery_s < _MOST_RECOVERY_S})
    return [*rows, row]


def jain(counts: Iterable[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has everything."""
    shares = list(counts)
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


ROWS = (Spec("r13", "150 % of r05", "", "fair, nothing grows, over in < 2 s", r13, counted=True),)


# Private -----------------------------------------------------------------------------------------


def _share(share: float, capacity: float, viewers: int) -> Feed:
    return Feed(paced=True, rate=round(share * capacity / viewers, 4))


async def _overload(stand: Stand) -> tuple[list[float], float]:
    """What each sink got while it lasted, and by what share the server's memory grew after the
    first quarter of the time."""
    assert stand.counter is not None, "the row is counted"
    ports = stand.audience.ports
    await asyncio.sleep(stand.scale.overload_s / 4)
    memory = stand.server.memory_bytes()["total"]
    await stand.counter.open(ports, by_viewer=True)
    await asyncio.sleep(stand.scale.overload_s * 3 / 4)
    by_viewer = await stand.counter.read_by_viewer()
    grown = stand.server.memory_bytes()["total"] / memory - 1
    await stand.counter.open(ports)
    # Whoever got nothing is not in the set.
    sinks = stand.audience.there.sinks
    counts = [float(count.packets) for count in by_viewer.values()]
    return counts + [0.0] * max(0, sinks - len(counts)), grown


async def _recovery(stand: Stand, normal_ms: float) -> float | None:
    """Seconds until a few slices in a row are normal: every frame in time and nothing lost."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    since_s, normal = begun_s, 0
    tally = stand.audience.probes.tally
    while loop.time() < begun_s + _RECOVERY_LIMIT_S:
        slice_s = loop.time()
        tally.clear()
        await asyncio.sleep(_SLICE_S)
        figures = tally.figures()
        p99_us = figures.frame_latency_us.quantile(0.99)
        if p99_us is None or p99_us / 1e3 > normal_ms or figures.lost:
            normal = 0
            continue
        since_s = slice_s if normal == 0 else since_s
        normal += 1
        if normal == _SLICES:
            return since_s - begun_s
    return None
