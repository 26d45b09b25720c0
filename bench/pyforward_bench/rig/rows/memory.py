"""What a viewer costs in memory of the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from pyforward_bench.rig.publisher import AUDIO, Feed
from pyforward_bench.rig.rows.spec import Figure, Spec
from pyforward_bench.rig.stand import SetUp, Stand

_FIRST = 100
_MOST_KB = 50.0
_SETTLE_S = 3.0

# Singles of all of them at the usual rate would be more than a core sends.
_RATE = 0.2


async def r10(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The slope from a hundred viewers to all of them. Native and Python memory are one process's
    and cannot be told apart from outside, so it is their sum that is held against both targets.
    The range is that of the two halves of the way."""
    # What a server has freed it uses again: another row's viewers would make these look cheaper.
    await stand.close()
    sizes = (_FIRST, stand.scale.many // 2, stand.scale.many)
    resident = []
    for size in sizes:
        await stand.set_up(SetUp(stand.crowd(size, 0), Feed(AUDIO, rate=_RATE)))
        await asyncio.sleep(_SETTLE_S)
        resident.append(stand.server.memory_bytes()["total"])
    slopes = [
        (after - before) / (more - fewer) / 1e3
        for (before, after), (fewer, more) in zip(pairwise(resident), pairwise(sizes), strict=True)
    ]
    whole = (resident[-1] - resident[0]) / (sizes[-1] - sizes[0]) / 1e3
    told = ", ".join(
        f"{size} viewers {memory / 1e6:.1f} MB"
        for size, memory in zip(sizes, resident, strict=True)
    )
    by_half = " and ".join(f"{slope:.1f} kB" for slope in slopes)
    note = f"resident, native and Python together: {told}; by halves {by_half} a viewer"
    figure = spec.of([whole], met=whole <= _MOST_KB, note=note)
    range_ = {"low": min(whole, *slopes), "high": max(whole, *slopes)}
    return [replace(figure, row=figure.row.model_copy(update=range_))]


ROWS = (
    Spec(
        "r10",
        f"memory per viewer, slope from {_FIRST} (profile audio)",
        "kB",
        "≤ 20 kB native and ≤ 30 kB Python, so ≤ 50 kB",
        r10,
    ),
)
