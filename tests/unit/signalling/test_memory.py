"""What a viewer costs in Python once it watches, by the line that made what is kept.

``pytest -s tests/unit/signalling/test_memory.py`` prints them; docs/measurements.md keeps them. The
interpreter counts what it allocates, so that nothing here depends on the machine. What HTTP keeps
for a connection is not a viewer's: it closes behind the answer, or some seconds later.
"""

from __future__ import annotations

import gc
import linecache
import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from pyforward.commands import Flowing, Secured
from tests.unit.signalling.offers import offer
from tests.unit.signalling.world import World, running

VIEWERS = 500
ALLOWED_BYTES = 30_000

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is printed is the table."""
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    yield
    structlog.reset_defaults()


async def watch(world: World, viewers: int) -> None:
    """So many come and get media; what the engine and the pool of these tests keep of it goes."""
    for _ in range(viewers):
        accepted = await world.watch("show", offer("recvonly"))
        await world.connect(accepted.session)
        await world.tell(Secured(accepted.session), Flowing(accepted.session))
    world.engine.forget()
    for kept in (world.pool.started, world.pool.told_secured):
        kept.clear()
    gc.collect()


async def test_a_viewer_is_small() -> None:
    async with running() as world:
        publisher = await world.publish("show", offer("sendonly"))
        await world.connect(publisher.session)
        await world.tell(Flowing(publisher.session))
        # Caches of what offers have in common are full by then.
        await watch(world, VIEWERS)
        tracemalloc.start()
        try:
            before = tracemalloc.take_snapshot()
            await watch(world, VIEWERS)
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        assert world.control.view().viewers == 2 * VIEWERS
    lines = [
        (diff.size_diff / VIEWERS, diff.traceback[0]) for diff in after.compare_to(before, "lineno")
    ]
    each = sum(size for size, _ in lines)
    for size, frame in sorted(lines, key=lambda line: -line[0]):
        if size >= 16:
            path = Path(frame.filename)
            where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
            source = linecache.getline(frame.filename, frame.lineno).strip()
            print(f"{size:6.0f}  {where}: {source}")  # noqa: T201 - the table
    print(f"{each:6.0f}  a viewer")  # noqa: T201
    assert 1_000 < each <= ALLOWED_BYTES
