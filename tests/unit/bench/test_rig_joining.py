"""What a storm of joins is held against, and what of it is the harness's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.rows import chosen
from pyforward_bench.rig.scale import FULL
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures, Tally
from tests.unit.bench import rounds
from tests.unit.bench.test_rig_capacity import latency

(R08,) = chosen(("r08",))


def packets(p99_ms: float) -> Figures:
    return replace(Tally().figures(), packet_latency_us=latency(p99_ms))


class StubStand:
    """Storms of so many joins a second, in which media is 15 ms late, and 10 ms at rest."""

    scale = FULL

    def __init__(
        self, rate: float, *, wrong: tuple[str, ...] = (), wrong_at_rest: tuple[str, ...] = ()
    ) -> None:
        self._rate = rate
        self._wrong, self._wrong_at_rest = wrong, wrong_at_rest
        self.audience = self.probes = self.tally = self
        self.doubts: list[str] = []

    def crowd(self, sinks: int) -> Crowd:
        return Crowd(sinks, 8)

    async def set_up(self, wanted: SetUp) -> None: ...

    async def warm_up(self) -> None: ...

    def mark(self) -> None: ...

    async def storm(self, count: int) -> float:
        return count / self._rate

    async def settle(self) -> None: ...

    def verdict(self) -> list[str]:
        return list(self._wrong)

    def figures(self) -> Figures:
        return packets(15.0)

    async def window(self, seconds: float) -> Window:
        return replace(rounds.window(1_000, wrong=self._wrong_at_rest), probes=packets(10.0))

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        self.doubts += why
        return "in doubt" if why else None


async def notes(stand: StubStand) -> list[str | None]:
    figures = await R08.measure(cast("Stand", stand), R08)
    assert [figure.row.unit for figure in figures] == ["joins/s", "times"]
    return [figure.note for figure in figures]


async def test_storms_that_nothing_was_wrong_with() -> None:
    stand = StubStand(400.0)
    assert await notes(stand) == [None, None]
    assert stand.doubts == []


@pytest.mark.parametrize("rate", [200.0, 400.0])
async def test_a_rest_that_was_disturbed_is_nothing_to_hold_a_storm_against(rate: float) -> None:
    """Whether the rate of the joins reaches its target or not."""
    stand = StubStand(rate, wrong_at_rest=("The clocks disagree.",))
    assert await notes(stand) == [None, "in doubt"]
    assert set(stand.doubts) == {"The clocks disagree."}


async def test_a_busy_harness_joins_no_faster() -> None:
    stand = StubStand(400.0, wrong=("It was busy.",))
    assert await notes(stand) == ["It was busy. The server may be faster than this."] * 2
    assert stand.doubts == []
    slower = StubStand(200.0, wrong=("It was busy.",))
    assert await notes(slower) == ["in doubt"] * 2
    assert set(slower.doubts) == {"It was busy."}
