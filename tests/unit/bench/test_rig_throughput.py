"""Rows of packets per CPU-second, at a stand whose rounds are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import Load, Played
from pyforward_bench.rig.measured import Measured
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import Figure, chosen
from pyforward_bench.rig.scale import QUICK, Scale
from pyforward_bench.rig.server import Serving
from pyforward_bench.rig.stand import SetUp, Stand
from tests.unit.bench.rounds import measured


@dataclass
class StubStand:
    """Has measured this, whatever it is asked."""

    rounds_: Measured
    scale: Scale = QUICK
    why_no_ceiling: str | None = None
    counter: None = None
    found: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Measured] = field(default_factory=dict)
    loads: list[Load | None] = field(default_factory=list)

    def serving(self, *settings: tuple[str, str]) -> Serving:
        return Serving(settings=settings)

    async def half_loaded(
        self, feed: Feed, serving: Serving | None = None, *, suite: str = "gcm"
    ) -> SetUp:
        return SetUp(Crowd(100), feed, serving or Serving())

    async def set_up(self, wanted: SetUp) -> None: ...

    async def rounds(self, load: Load | None = None, *, plays: bool = False) -> Measured:
        self.loads.append(load)
        return self.rounds_ if plays else replace(self.rounds_, played=[])

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        return None


async def row(name: str, stand: StubStand) -> Figure:
    return (await rows(name, stand))[0]


async def rows(name: str, stand: StubStand) -> Sequence[Figure]:
    (spec,) = chosen((name,))
    return await spec.measure(cast("Stand", stand), spec)


@pytest.mark.parametrize("name", ["r01", "r03"])
@pytest.mark.parametrize(
    ("rates", "ceilings", "share", "met"),
    [
        ([90.0, 172.0, 100.0], [100.0, 200.0, 200.0], 0.86, True),
        ([84.0, 140.0, 140.0], [100.0, 200.0, 150.0], 0.84, False),
    ],
)
async def test_the_target_goes_by_the_median_of_the_pairs(
    name: str, rates: list[float], ceilings: list[float], share: float, met: bool
) -> None:
    """The medians over the rounds would say 0.5 of the ceiling in the first run, and 0.93 in the
    second: the machine's speed changed between rounds."""
    figure = await row(name, StubStand(measured(rates, ceilings)))
    assert figure.row.share_of_ceiling == pytest.approx(share)
    assert figure.row.met is met


async def test_it_is_also_held_against_a_ceiling_sender_that_rests_as_often() -> None:
    found = measured([90.0, 172.0, 100.0], [100.0, 200.0, 200.0])
    found.played = [Played(1_000, 0, {}, 0.0, rate) for rate in (100.0, 172.0, 125.0)]
    _, paced = await rows("r01", StubStand(found))
    assert paced.row.name.endswith(": beside the ceiling sender at the same pace")
    assert paced.row.value == 100.0
    assert paced.row.share_of_ceiling == pytest.approx(0.9)
    assert paced.row.target is None
    assert len(await rows("r03", StubStand(found))) == 1


async def test_gigabits_have_the_share_of_the_packets_that_they_are() -> None:
    stand = StubStand(measured([90e3, 88e3, 160e3], [100e3, 100e3, 200e3]))
    packets = await row("r01", stand)
    gigabits = await row("r04", stand)
    assert len(stand.loads) == 1
    assert gigabits.row.value == pytest.approx(90e3 * 8_000 * 1e-9)
    assert gigabits.row.ceiling == pytest.approx(100e3 * 8_000 * 1e-9)
    assert gigabits.row.share_of_ceiling == pytest.approx(packets.row.share_of_ceiling)
    assert gigabits.row.share_low == pytest.approx(packets.row.share_low)


async def test_gigabits_alone_have_no_ceiling() -> None:
    """Nothing is built for them."""
    stand = StubStand(measured([90e3]))
    assert (await row("r04", stand)).row.share_of_ceiling is None
    assert stand.loads == [None]
