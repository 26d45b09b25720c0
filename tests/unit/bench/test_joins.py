"""``joins`` over a world of fakes: who stands by, who comes, and when each leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from pyforward.client import Session
from pyforward_bench import joins, measuring
from pyforward_bench.joins import Joins, Options
from pyforward_bench.measuring import Bench
from pyforward_bench.records import STAMPED
from pyforward_bench.results import Row
from pyforward_bench.screen import Screen
from tests.unit.bench.stubs import StubWatch
from tests.unit.bench.swarms import records, swarm, until
from tests.unit.client.site import Handler, status
from tests.unit.client.test_watching import AUDIO, VIDEO
from tests.unit.client.world import World
from tests.unit.signalling.world import report_row


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_S", "BEFORE_S", "POLL_S"):
        monkeypatch.setattr(joins, name, 0.001)
    monkeypatch.setattr(measuring, "LOOK_EVERY_S", 0.01)


@asynccontextmanager
async def bench(*replies: Handler) -> AsyncIterator[tuple[Bench, World]]:
    async with swarm(*replies) as (made, w):
        w.obey()
        yield Bench(made, StubWatch().as_watch(), Screen("here", quiet=True)), w


def values(rows: Iterator[Row]) -> dict[str, float | None]:
    return {row.name.removeprefix("joins."): row.value for row in rows}


def serve(w: World, session: Session, *, whole: bool = True) -> None:
    """It is connected, and has its keyframe or waits for one."""
    video = VIDEO if whole else replace(VIDEO, first_keyframe_ms=None)
    w.engine.rows[session.id] = report_row(session.id, tracks=(AUDIO, video))
    session.added_s = session.begun_s + 0.010
    w.connect(session)
    assert session.claimed_s is not None
    session.claimed_s = session.added_s + 0.005
    session.connected_s = session.added_s + 0.010


async def keep_serving(w: World, *, whole: bool = True) -> None:
    """Whoever comes."""
    while True:
        for entry in list(w.sessions._entries.values()):
            if not entry.session.connected.done():
                serve(w, entry.session, whole=whole)
        await asyncio.sleep(0)


async def test_the_calm_and_the_storm() -> None:
    async with bench() as (it, w):
        serving = asyncio.create_task(keep_serving(w))
        measurement = Joins(Options(rate=1_000, count=5, probes=2))
        running = asyncio.create_task(measurement.run(it))
        await until(lambda: it.swarm.figures().there == 2)
        probe = it.swarm.members[0]
        numbers = count(1)
        while measurement._before is None:
            w.engine.tell(records(probe, next(numbers), latency_us=1_000))
            await asyncio.sleep(0.001)
        w.engine.tell(records(probe, next(numbers), latency_us=3_000))
        await running
        serving.cancel()
        figures = it.swarm.figures()
        assert (figures.joined, figures.there) == (7, 2), "the probes stand"
        told = values(measurement.rows(it))
        assert (told["viewers"], told["joined"], told["unserved"]) == (5, 5, 0)
        assert told["answer.p50"] == pytest.approx(10)
        assert told["ice.p99"] == pytest.approx(5)
        assert told["dtls.max"] == pytest.approx(5)
        assert told["packet.p90"] == pytest.approx(10)
        assert told["keyframe.p50"] == pytest.approx(40)
        assert told["whole.max"] == pytest.approx(70)
        assert told["before.packet.p50"] == pytest.approx(1.0, rel=1e-3)
        assert told["during.packet.p50"] == pytest.approx(3.0, rel=1e-3)
        assert told["during.times"] == pytest.approx(3.0, rel=1e-2)
        assert list(measurement.problems(it)) == []


async def test_packets_are_judged_of_who_stands_by_and_of_who_joins() -> None:
    async with bench() as (it, w):
        serving = asyncio.create_task(keep_serving(w))
        measurement = Joins(Options(rate=1_000, count=2, hold_s=0.05, probes=1))
        running = asyncio.create_task(measurement.run(it))
        await until(lambda: it.swarm.figures().there == 3)
        standing, one, other = it.swarm.members
        w.engine.tell(records(standing, 1, latency_us=3_000))
        for damaged in (one, other):
            w.engine.tell(records(damaged, 1, 2, latency_us=90_000, flags=STAMPED))
        await running
        serving.cancel()
        told = values(measurement.rows(it))
        assert (told["probes"], told["packets"], told["corrupted"]) == (3, 5, 4)
        # Who joins is late for reasons of its own.
        assert told["during.packet.max"] == pytest.approx(3.0, rel=1e-2)
        assert list(measurement.problems(it)) == ["4 packets of the probes were corrupted."]


async def test_nobody_can_join() -> None:
    async with bench(status(401)) as (it, w):
        measurement = Joins(Options(rate=1_000, count=500, probes=0))
        await measurement.run(it)
        assert len(w.site.requests("POST")) == 1
        told = values(measurement.rows(it))
        assert (told["joined"], told["failed.http_401"]) == (0, 1)
        assert told["rate"] is None
        assert told["late"] == 0


async def test_without_a_keyframe_nobody_is_held_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joins, "SERVED_WITHIN_S", 0.0)
    async with bench() as (it, w):
        serving = asyncio.create_task(keep_serving(w, whole=False))
        measurement = Joins(Options(rate=1_000, count=3, probes=0))
        await measurement.run(it)
        serving.cancel()
        assert it.swarm.figures().there == 0
        told = values(measurement.rows(it))
        assert (told["joined"], told["unserved"]) == (3, 3)
        assert told["whole.p50"] is None
        assert told["packet.p50"] is not None
        (line,) = measurement.problems(it)
        assert "3 viewers had no whole keyframe" in line


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (Options(rate=100, count=50, probes=4), 54),
        (Options(rate=100, count=100_000, probes=4), 4 + 1_500 + 256),
        (Options(rate=100, count=100_000, hold_s=5, probes=0), 2_000 + 256),
    ],
)
def test_there_is_room_for_those_who_are_there_at_a_time(options: Options, room: int) -> None:
    assert options.most_at_a_time == room
