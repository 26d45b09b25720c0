"""Several ways to treat one server and its viewers, a window of each in turns.

A server that is begun anew has other viewers, another place in memory and another minute of the
machine; what a thing costs that can be turned on and off is told by one server with it and
without it, seconds apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.stand import TRIES, Stand

Way: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""Makes the server be treated so while inside."""

_SETTLE_S = 0.2


async def in_turns(
    stand: Stand, ways: Sequence[Way], *, tries: Sequence[int] = ()
) -> list[tuple[Window, ...]]:
    """After a warm-up the rounds that the scale has for this, each with a window of every way, in
    the order of the ways. They are measured A B, B A, A B …, so that a machine that becomes
    steadily faster or slower does so for all ways alike. ``tries`` of a window are as many as
    always, unless told for each way."""
    await stand.warm_up()
    rounds = []
    for number in range(stand.scale.turns):
        places = list(range(len(ways)))
        windows: dict[int, Window] = {}
        for place in places if number % 2 == 0 else reversed(places):
            async with ways[place]():
                await asyncio.sleep(_SETTLE_S)
                windows[place] = await stand.window(tries=tries[place] if tries else TRIES)
        rounds.append(tuple(windows[place] for place in places))
    return rounds
