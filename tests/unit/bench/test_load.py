"""``load`` over a world of fakes: who comes when, what is measured from when on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from pyforward.commands import SessionReport
from pyforward.ids import new_session_id
from pyforward_bench import load, measuring
from pyforward_bench.load import Load, Options, Stalls
from pyforward_bench.measuring import Bench
from pyforward_bench.results import Row
from pyforward_bench.screen import Screen
from pyforward_bench.swarm import Member, Swarm
from tests.unit.bench.stubs import StubWatch
from tests.unit.bench.swarms import records, swarm, until
from tests.unit.bench.test_host import WELL
from tests.unit.client.site import Handler, status
from tests.unit.client.test_watching import AUDIO, VIDEO
from tests.unit.client.world import World, answered
from tests.unit.signalling.world import report_row


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SETTLE_S", 0.0)
    monkeypatch.setattr(load, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(measuring, "LOOK_EVERY_S", 0.01)


@asynccontextmanager
async def bench(
    *replies: Handler, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[Bench, World]]:
    async with swarm(*replies) as (made, w):
        watch = StubWatch()
        yield Bench(made, watch.as_watch(), Screen("here", quiet=True), clock=clock), w


def values(rows: Iterator[Row]) -> dict[str, float | None]:
    return {row.name.removeprefix("load."): row.value for row in rows}


def receive(w: World, made: Swarm, times: int) -> None:
    """Everybody has so many times as much as at first."""
    track = replace(
        VIDEO,
        packets_expected=100 * times,
        packets_received=98 * times,
        packets_lost=2 * times,
        packets_repaired=3 * times,
        bytes=1_000 * times,
    )
    for member in made.members:
        if member.session is not None:
            w.engine.rows[member.session.id] = report_row(member.session.id, tracks=(track,))


async def connect(w: World, count: int) -> None:
    """So many, as they come."""
    for session in await w.sessions_of(count):
        if not session.connected.done():
            w.connect(session)


class Seen:
    """As much of a member as is looked at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_there = True
        self.report: SessionReport | None = None

    def receives(self, packets: int) -> None:
        track = replace(VIDEO, packets_received=packets)
        self.report = report_row(new_session_id(), tracks=(track,))


def test_who_is_served_no_more_is_stalled() -> None:
    one, other, never = Seen(1), Seen(2), Seen(3)
    members = cast("list[Member]", [one, other, never])
    never.receives(0)
    stalls = Stalls()
    for second, expected in enumerate((0, 0, 1, 2, 1, 1)):
        one.receives(10)
        other.receives(10 + min(second, 1) + (second >= 4))
        stalls.look(members, float(second))
        assert stalls.count == expected, second
    one.is_there = False
    stalls.look(members, 6.0)
    assert stalls.count == 1


def test_video_that_stops_while_audio_goes_on_is_stalled() -> None:
    one = Seen(1)
    stalls = Stalls()
    for second in range(4):
        audio = replace(AUDIO, packets_received=50 * second)
        video = replace(VIDEO, packets_received=9)
        one.report = report_row(new_session_id(), tracks=(audio, video))
        stalls.look(cast("list[Member]", [one]), float(second))
    assert stalls.count == 1


async def test_the_first_comes_alone_and_media_counts_when_all_are_there() -> None:
    async with bench() as (it, w):
        measurement = Load(Options(3, duration_s=0.05, probes=2))
        running = asyncio.create_task(measurement.run(it))
        await w.sessions_of(1)
        await asyncio.sleep(0)
        assert len(w.site.requests("POST")) == 1
        await connect(w, 1)
        await until(lambda: len(it.swarm.members) == 3)
        receive(w, it.swarm, 1)
        await w.sessions_of(3)
        w.engine.tell(records(it.swarm.members[0], 1, 2, latency_us=90_000))
        receive(w, it.swarm, 1)
        await connect(w, 3)
        await until(lambda: measurement._before)
        w.engine.tell(records(it.swarm.members[0], 3, 4, 6, latency_us=2_000))
        receive(w, it.swarm, 11)
        await running
        await it.look()
        told = values(measurement.rows(it))
        assert (told["viewers"], told["joined"], told["probes"]) == (3, 3, 2)
        assert (told["packets"], told["lost"], told["repaired"]) == (3 * 980, 60, 90)
        assert told["loss"] == pytest.approx(0.02)
        assert told["jitter"] == 1.0
        assert told["seconds"] is not None
        assert told["bitrate"] == pytest.approx(30_000 * 8 / told["seconds"], rel=0.5)
        assert told["latency.packet.max"] == pytest.approx(2.0, rel=1e-3), "only from then on"
        assert list(measurement.problems(it)) == []
        assert cast("StubWatch", it.watch).marks == 1


async def test_what_is_wrong_for_everybody_is_told_once() -> None:
    async with bench(status(404)) as (it, w):
        measurement = Load(Options(1_000))
        await measurement.run(it)
        assert len(w.site.requests("POST")) == 1
        told = values(measurement.rows(it))
        assert (told["viewers"], told["joined"], told["failed.http_404"]) == (1_000, 0, 1)
        assert told["bitrate"] is None


async def test_it_ends_when_nobody_is_left() -> None:
    async with bench(answered()) as (it, w):
        measurement = Load(Options(2))
        running = asyncio.create_task(measurement.run(it))
        await connect(w, 1)
        await connect(w, 2)
        receive(w, it.swarm, 1)
        await until(lambda: measurement._before)
        for member in it.swarm.members:
            assert member.session is not None
            w.close(member.session, "silent")
        await running
        assert values(measurement.rows(it))["ended.silent"] == 2


@pytest.mark.parametrize("dies", [True, False], ids=["the server dies", "a signal comes"])
async def test_the_mean_is_of_the_time_in_which_media_came(dies: bool) -> None:
    now_s = 0.0
    async with bench(clock=lambda: now_s) as (it, w):
        measurement = Load(Options(1))
        running = asyncio.create_task(measurement.run(it))
        await connect(w, 1)
        receive(w, it.swarm, 1)
        await until(lambda: measurement._before)
        now_s = 4.0
        receive(w, it.swarm, 5)
        await it.look()
        now_s = 40.0  # nothing more comes, and nobody knows why
        await it.look()
        if dies:
            for member in it.swarm.members:
                assert member.session is not None
                w.close(member.session, "silent")
            await running
        else:
            running.cancel()
        await it.look()
        told = values(measurement.rows(it))
        assert told["seconds"] == 4.0
        assert told["bitrate"] == 4_000 * 8 / 4.0


async def test_media_that_goes_on_after_a_pause_makes_the_pause_part_of_the_time() -> None:
    now_s = 0.0
    async with bench(clock=lambda: now_s) as (it, w):
        running = asyncio.create_task(Load(Options(1)).run(it))
        await connect(w, 1)
        await until(lambda: cast("StubWatch", it.watch).marks)
        for second, times in ((2.0, 1), (7.0, 1), (9.0, 2)):
            now_s = second
            receive(w, it.swarm, times)
            await it.look()
        running.cancel()
        assert it.usage().passed_s == 9.0


async def test_times_from_the_post() -> None:
    async with bench() as (it, w):
        measurement = Load(Options(1, duration_s=0.0))
        running = asyncio.create_task(measurement.run(it))
        (session,) = await w.sessions_of(1)
        session.added_s = session.begun_s + 0.010
        w.engine.rows[session.id] = report_row(session.id, tracks=(AUDIO, VIDEO))
        w.connect(session)
        await running
        await it.look()
        told = values(measurement.rows(it))
        assert told["first_packet.p50"] == pytest.approx(30.0)
        assert told["first_keyframe.max"] == pytest.approx(70.0)
        assert told["join_rate"] is None


async def test_joining_of_which_the_harness_was_the_bottleneck_has_no_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench() as (it, w):
        measurement = Load(Options(1, duration_s=0.0))
        busy = replace(WELL, lag_p99_ms=70.0)
        monkeypatch.setattr(StubWatch, "usage", lambda self, _=None: WELL if self.marks else busy)
        running = asyncio.create_task(measurement.run(it))
        (session,) = await w.sessions_of(1)
        session.added_s = session.begun_s + 0.010
        w.engine.rows[session.id] = report_row(session.id, tracks=(AUDIO, VIDEO))
        w.connect(session)
        await running
        await it.look()
        (note,) = it.notes
        assert note.startswith("While viewers joined: ")
        stages = ("first_packet", "first_keyframe")
        names = {f"load.{stage}.{label}" for stage in stages for label in ("p50", "p99", "max")}
        without = {row.name for row in measurement.rows(it) if row.why == note}
        assert without == names | {"load.join_rate"}
        assert values(measurement.rows(it))["packets"] is not None
