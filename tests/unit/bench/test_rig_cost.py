"""Rows of what a packet costs, at a stand whose rounds are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import Load, trains_of
from pyforward_bench.rig.measured import Measured
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import Figure, chosen
from pyforward_bench.rig.scale import FULL, Scale
from pyforward_bench.rig.stand import SetUp, Stand
from tests.unit.bench.rounds import measured

CEILING = 1_000_000.0


@dataclass
class StubStand:
    """Its server takes 2 µs per packet for up to a thousand viewers and more from there on, its
    ceiling sender 1 µs; the machine becomes a tenth slower with each round."""

    scale: Scale = FULL
    why_no_ceiling: str | None = None
    found: dict[str, float] = field(default_factory=lambda: {"ceiling gcm": CEILING})
    dearer: float = 1.1
    dead: bool = False
    now: SetUp | None = None

    def crowd(self, sinks: int = 1_000, probes: int = 20) -> Crowd:
        return Crowd(sinks, probes)

    async def half_loaded(self, feed: Feed) -> SetUp:
        return SetUp(self.crowd(), feed)

    async def set_up(self, wanted: SetUp) -> None:
        self.now = wanted

    async def rounds(self, load: Load, *, count: int) -> Measured:
        assert load == Load(trains_of(Feed().trace))
        assert self.now is not None
        times = self.dearer if self.now.crowd.viewers > 1_020 else 1.0
        speeds = [0.9**number for number in range(count)]
        rates = [0.0 if self.dead else CEILING * speed / 2 / times for speed in speeds]
        ceilings = [CEILING * speed for speed in speeds]
        return measured(rates, [] if self.why_no_ceiling else ceilings)

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        return None


async def figures(row: str, stand: StubStand) -> dict[str, Figure]:
    """By what follows the row's own name."""
    (spec,) = chosen((row,))
    assert spec.ceiling
    found = await spec.measure(cast("Stand", stand), spec)
    return {figure.row.name.partition(": ")[2]: figure for figure in found}


@pytest.mark.parametrize(
    ("row", "part"), [("r11", "100 viewers"), ("r14", "10/s from each viewer")]
)
async def test_a_cost_is_told_beside_the_ceiling_s(row: str, part: str) -> None:
    found = (await figures(row, StubStand()))[part].row
    assert found.low == pytest.approx(2.0)
    assert found.rounds == FULL.few
    assert found.high is not None
    assert found.high > 2.9
    # What the machine's speed did is in both.
    assert (found.share_low, found.share_high) == pytest.approx((0.5, 0.5), rel=1e-5)


@pytest.mark.parametrize("row", ["r11", "r14"])
async def test_without_a_ceiling_it_says_so(row: str) -> None:
    found = await figures(row, StubStand(why_no_ceiling="no ceiling: no cargo"))
    costs: list[Any] = [each for each in found.values() if each.row.unit == "µs per packet"]
    assert costs
    for figure in costs:
        assert figure.row.share_of_ceiling is None
        assert "no ceiling: no cargo" in figure.note


@pytest.mark.parametrize(("dearer", "met"), [(1.1, True), (1.2, False)])
async def test_many_viewers_to_a_hundred(dearer: float, met: bool) -> None:
    row = (await figures("r11", StubStand(dearer=dearer)))["10000 viewers to 100"].row
    assert (row.low, row.value, row.high) == pytest.approx((dearer,) * 3, rel=1e-5)
    assert (row.rounds, row.met) == (FULL.few, met)


async def test_where_nothing_arrived_there_is_no_cost() -> None:
    found = await figures("r11", StubStand(dead=True))
    assert {figure.row.why for figure in found.values()} == {"in a round no packet arrived"}
