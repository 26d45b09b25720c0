"""The row over a bad way, at a stand whose machine becomes steadily slower."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.rows import chosen
from pyforward_bench.rig.rows.loss import LOSS
from pyforward_bench.rig.scale import FULL
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures, Tally
from tests.unit.bench.test_rig_techniques import FakePublisher

DEARER = 1.2
SLOWER = 1.05


class StubStand:
    """Loss costs a fifth more CPU; each window costs a twentieth more than the one before."""

    scale = FULL

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.publisher = FakePublisher()
        self.audience = self.probes = self.tally = self

    def crowd(self, sinks: int, probes: int, trial: Any) -> Crowd:
        return Crowd(sinks, probes, trial)

    def figures(self) -> Figures:
        return replace(Tally().figures(), expected=1_000)

    async def set_up(self, wanted: SetUp) -> None:
        trial = wanted.crowd.trial
        assert trial is not None
        assert trial.inbound is not None
        assert trial.inbound == trial.outbound
        self.losses.append(trial.inbound.loss)

    async def warm_up(self) -> None: ...

    async def window(self) -> Window:
        seconds = SLOWER ** len(self.losses) * (DEARER if self.losses[-1] else 1.0)
        usage = Usage(10.0, seconds, seconds, seconds)
        return Window(Crowd(0, FULL.lossy), usage, Count(0, 0), self.figures(), {}, ())

    def doubt(self, row: str, why: list[str]) -> str | None:
        return None


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None: ...

    monkeypatch.setattr(asyncio, "sleep", at_once)


async def test_what_loss_costs_is_told_by_neighbours_whichever_came_first() -> None:
    stand = StubStand()
    (spec,) = chosen(("r12",))
    found = await spec.measure(cast("Stand", stand), spec)
    assert stand.losses == [0.0, LOSS, LOSS, 0.0] * 2 + [0.0, LOSS]
    dearer = found[-1].row
    assert dearer.name.endswith("more CPU per packet than with the delay alone")
    assert dearer.rounds == FULL.few
    # A machine that becomes slower makes it dearer in one order and cheaper in the other.
    assert dearer.high == pytest.approx(100 * (DEARER * SLOWER - 1))
    assert dearer.low == pytest.approx(100 * (DEARER / SLOWER - 1))
    assert dearer.met
