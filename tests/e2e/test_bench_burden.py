"""What the rig turns on and off beside a server: threads that are busy only while they are told."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pyforward_bench.rig import server
from pyforward_bench.rig.network import LOOPBACK, Network
from pyforward_bench.rig.server import Server, Serving

pytestmark = pytest.mark.alone

# Less than this of a core is no busy thread, and more than this is no idle server.
IDLE, BUSY = 0.2, 0.4


@asynccontextmanager
async def begun(
    folder: Path, *, busy_thread: bool = False, slowed: float = 0
) -> AsyncIterator[Server]:
    cores = tuple(sorted(os.sched_getaffinity(0))[:1])
    serving = Serving(cores=cores, busy_thread=busy_thread, slowed=slowed)
    there = await server.begin(Network(LOOPBACK), folder, serving)
    try:
        yield there
    finally:
        await there.stop()


async def load_of(there: Server) -> float:
    """CPU of the server where nothing is asked of it, in cores."""
    await asyncio.sleep(0.2)
    before = there.clock.now()
    await asyncio.sleep(0.5)
    usage = there.clock.since(before)
    return usage.process_s / usage.wall_s


async def test_a_busy_thread_works_while_it_is_told(tmp_path: Path) -> None:
    async with begun(tmp_path, busy_thread=True) as there:
        assert await load_of(there) < IDLE
        for _ in range(2):
            there.burden(on=True)
            assert await load_of(there) > BUSY
            assert await there.metrics()
            there.burden(on=False)
            assert await load_of(there) < IDLE


async def test_of_two_words_in_one_moment_the_last_one_counts(tmp_path: Path) -> None:
    async with begun(tmp_path, busy_thread=True) as there:
        for last in (True, False):
            for on in (last, not last, last):
                there.burden(on=on)
            assert (await load_of(there) > BUSY) is last


async def cpu_of_requests(there: Server, count: int = 20) -> float:
    before = there.clock.now()
    for _ in range(count):
        await there.metrics()
    return there.clock.since(before).process_s


async def test_a_slowed_server_takes_so_much_more_cpu_while_it_is_told(tmp_path: Path) -> None:
    async with begun(tmp_path, slowed=0.5) as there:
        await cpu_of_requests(there)
        there.burden(on=True)
        assert await load_of(there) < IDLE  # nothing to waste a share of
        times = []
        for _ in range(7):
            slowed_s = await cpu_of_requests(there)
            there.burden(on=False)
            times.append(slowed_s / await cpu_of_requests(there))
            there.burden(on=True)
    # Half of it gets less done: twice as much for the same.
    assert 1.5 < statistics.median(times) < 2.8, times


async def test_a_usual_server_cannot_be_burdened(tmp_path: Path) -> None:
    async with begun(tmp_path) as there:
        with pytest.raises(AssertionError, match="no thread beside it"):
            there.burden(on=True)
