"""Rows that hold one way to run the server beside another."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import techniques
from pyforward_bench.rig.rows.spec import Figure
from pyforward_bench.rig.scale import FULL, QUICK, Scale
from pyforward_bench.rig.server import Serving, mean_train
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures, Tally

SPECS = {spec.row: spec for spec in techniques.ROWS}


class FakePublisher:
    """Can be made to pause."""

    def paused(self) -> FakePublisher:
        return self

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


class FakeStand:
    """Each server takes 1 s of CPU for a million packets, twice as long without trains, and is a
    tenth slower with each that was there before: a machine that gets ever busier."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.begun: list[SetUp] = []
        self.doubts: list[str] = []
        self.publisher = FakePublisher()
        self.audience = self
        self.probes = self
        self.tally = self

    def serving(self, *settings: tuple[str, str]) -> Serving:
        return Serving(settings=settings)

    def crowd(self, sinks: int = 1_000, probes: int = 20, trial: Any = None) -> Crowd:
        return Crowd(sinks, probes, trial)

    def figures(self) -> Figures:
        return replace(Tally().figures(), expected=1_000)

    async def half_loaded(self, feed: Feed) -> SetUp:
        return SetUp(self.crowd(), feed)

    async def set_up(self, wanted: SetUp) -> None:
        self.begun.append(wanted)

    async def warm_up(self) -> None: ...

    async def window(self) -> Window:
        now = self.begun[-1]
        seconds = 1.1 ** len(self.begun)
        if ("engine.gso", "false") in now.serving.settings:
            seconds *= 2
        figures = self.figures()
        figures.frame_latency_us.record(1_000 * len(self.begun))
        metrics = {"pyforward_train_packets_sum": 90.0, "pyforward_train_packets_count": 10.0}
        usage = Usage(10.0, seconds, seconds, seconds)
        reached = Count(1_000_000, 1_000_000_000)
        return Window(now.crowd, usage, reached, figures, metrics, ())

    def say(self, told: str) -> None: ...

    def doubt(self, row: str, why: list[str]) -> str | None:
        self.doubts += why
        return None


async def run(row: str, scale: Scale = FULL) -> tuple[FakeStand, dict[str, Figure]]:
    """The figures by what follows the row's own name."""
    stand, spec = FakeStand(scale), SPECS[row]
    figures = await spec.measure(cast("Stand", stand), spec)
    return stand, {figure.row.name.partition(": ")[2]: figure for figure in figures}


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None: ...

    monkeypatch.setattr(asyncio, "sleep", at_once)


@pytest.mark.parametrize(
    "variant",
    [*techniques.BURSTY, *techniques.PACED, techniques.REPEATS, *techniques.POLICIES],
    ids=lambda variant: variant.name,
)
def test_every_variant_can_be_run(variant: techniques.Variant) -> None:
    arguments = Serving(settings=variant.settings).arguments()
    assert len(arguments) == len(variant.settings)


def test_the_length_of_a_mean_train() -> None:
    assert mean_train({}) == 0
    sums = {"pyforward_train_packets_sum": 90.0, "pyforward_train_packets_count": 20.0}
    assert mean_train(sums) == 4.5


async def test_a_gain_is_that_over_the_neighbour_with_everything_on() -> None:
    _, found = await run("techniques")
    gain = found["bursty, gain of engine.gso"].row
    # The next server is a tenth slower, whichever it is; without trains it takes twice as long.
    assert (gain.unit, gain.rounds) == ("times", FULL.few)
    assert gain.low == pytest.approx(2.2)
    assert gain.high == pytest.approx(2.2)
    padding = found["bursty, gain of engine.padding"].row
    assert padding.value == pytest.approx(1.1**2)
    assert found["bursty, engine.gso off"].row.unit == "packets per CPU-second"
    assert f"mean train{FULL.few * ' 9.0'}," in str(found["bursty, engine.gso off"].note)


async def test_all_variants_have_their_turn_before_one_has_another() -> None:
    stand, _ = await run("techniques", QUICK)
    settings = [wanted.serving.settings for wanted in stand.begun]
    bursty = [variant.settings for variant in (techniques.ALL_ON, *techniques.BURSTY)]
    paced = [variant.settings for variant in (techniques.ALL_ON, *techniques.PACED)]
    assert settings == 2 * bursty + 2 * paced + 2 * [(), techniques.REPEATS.settings]


async def test_singles_are_measured_at_a_load_that_they_can_bear() -> None:
    stand, _ = await run("techniques")
    bursty = [wanted for wanted in stand.begun if wanted.feed == Feed()]
    assert {wanted.crowd.sinks for wanted in bursty if wanted.crowd.trial is None} == {500}
    faster = SetUp(Crowd(200, 8), Feed(rate=5.0))
    assert techniques._halved(faster) == replace(faster, feed=Feed(rate=2.5))


async def test_each_policy_tells_throughput_and_latency() -> None:
    stand, found = await run("policies")
    assert len(found) == 6 * len(techniques.POLICIES)
    assert all(wanted.feed == Feed(paced=True) for wanted in stand.begun)
    assert stand.begun[0].serving.settings == (
        ("engine.frame_window_ms", "0"),
        ("engine.idle_window_ms", "0"),
    )
    first = found["as they come, by frame, p99"].row
    last = 1 + (FULL.few - 1) * len(techniques.POLICIES)
    assert first.low == pytest.approx(1, rel=0.1)
    assert first.high == pytest.approx(last, rel=0.1)
    assert found["as they come, by packet, p50"].row.why is not None
    assert found["1 ms, or 15 ms where busy, mean train"].row.value == 9.0
