"""One server with something and without it, in turns, on a machine that becomes ever slower."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import Figure, chosen, turns
from pyforward_bench.rig.scale import FULL, Scale
from pyforward_bench.rig.server import Serving
from pyforward_bench.rig.stand import SetUp, Stand
from tests.unit.bench import rounds

FREE, NEIGHBOUR, BURDENED = "free", "neighbour", "burdened"


@dataclass
class StubStand:
    """``rates`` are by who is beside the server; each window is of a machine that is 2 % slower
    than in the one before."""

    rates: dict[str, float]
    scale: Scale = FULL
    wrong: dict[str, tuple[str, ...]] = field(default_factory=dict)
    beside: str = FREE
    done: list[str] = field(default_factory=list)
    begun: list[Serving] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    pinned: tuple[int, int] | None = None
    cores: tuple[int, int] = (0, 1)
    server_core: int = 0
    harness_core: int = 1

    @property
    def server(self) -> StubStand:
        return self

    def keep_shards_alone(self, core: int, others: int) -> None:
        self.pinned = (core, others)

    def serving(self, *settings: tuple[str, str], **more: Any) -> Serving:
        return Serving(settings=settings, **more)

    async def half_loaded(self, feed: Feed, serving: Serving) -> SetUp:
        return SetUp(Crowd(100), feed, serving)

    async def set_up(self, wanted: SetUp) -> None:
        self.begun.append(wanted.serving)

    async def warm_up(self) -> None:
        assert not self.done

    @asynccontextmanager
    async def neighbour(self) -> AsyncIterator[None]:
        self.beside = NEIGHBOUR
        yield
        self.beside = FREE

    @asynccontextmanager
    async def burdened(self) -> AsyncIterator[None]:
        self.beside = BURDENED
        yield
        self.beside = FREE

    async def window(self, *, tries: int) -> Window:
        speed = 0.98 ** len(self.done)
        self.done.append(self.beside)
        wrong = self.wrong.get(self.beside, ())
        return rounds.window(speed * self.rates[self.beside], wrong=wrong)

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        self.doubts += why
        return "in doubt" if why else None


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_SETTLE_S", 0.0)


async def figure(row: str, stand: StubStand) -> Figure:
    (spec,) = chosen((row,))
    (found,) = await spec.measure(cast("Stand", stand), spec)
    return found


def r15(within: float = 1e6) -> StubStand:
    return StubStand({FREE: 1.5e6, NEIGHBOUR: 1e6, BURDENED: within})


async def test_ways_take_turns_in_the_order_that_drift_falls_on_both() -> None:
    stand = r15()
    await figure("r15", stand)
    one_way = [FREE, NEIGHBOUR, BURDENED]
    assert stand.done == [*one_way, *reversed(one_way)] * (FULL.turns // 2)


async def test_it_is_one_server_throughout() -> None:
    stand = r15()
    await figure("r15", stand)
    (serving,) = stand.begun
    assert serving.busy_thread
    assert stand.pinned == (0, 1)


@pytest.mark.parametrize(("within", "met"), [(1e6, True), (1.02e6, True), (0.9e6, False)])
async def test_a_thread_is_held_against_another_process(within: float, met: bool) -> None:
    row = (await figure("r15", r15(within))).row
    assert row.value == pytest.approx(100 * (1e6 / within - 1), abs=0.1)
    assert (row.rounds, row.met) == (FULL.turns, met)
    # Each pair alone has the drift, once one way and once the other.
    assert row.low is not None
    assert row.high is not None
    assert row.high - row.low == pytest.approx(4, rel=0.2)


async def test_who_shares_a_core_with_what_is_busy_may_be_late() -> None:
    stand = r15()
    stand.wrong = {NEIGHBOUR: ("late",), BURDENED: ("late",)}
    await figure("r15", stand)
    assert stand.doubts == []
    stand = r15()
    stand.wrong = {FREE: ("late",)}
    await figure("r15", stand)
    assert set(stand.doubts) == {"late"}


@pytest.mark.parametrize(("slowed", "met"), [(0.8e6, True), (0.9e6, False), (0.7e6, False)])
async def test_a_server_that_is_slowed_is_held_against_itself(slowed: float, met: bool) -> None:
    stand = StubStand({FREE: 1e6, BURDENED: slowed})
    row = (await figure("r01s", stand)).row
    assert row.value == pytest.approx(100 * (slowed / 1e6 - 1), abs=0.1)
    assert (row.rounds, row.met) == (FULL.turns, met)
    assert [serving.slowed for serving in stand.begun] == [0.2]
    assert stand.done == [FREE, BURDENED, BURDENED, FREE] * (FULL.turns // 2)


async def test_what_is_wrong_with_a_slowed_window_is_told() -> None:
    stand = StubStand({FREE: 1e6, BURDENED: 0.8e6}, wrong={BURDENED: ("The clocks disagree.",)})
    assert (await figure("r01s", stand)).note == "in doubt"
