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

OWN = ("ice.silence_s", "60")
"""What every server of a run has."""

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
        self.server_core = 0
        self.in_time, self.capacity = 1_200.0, 2_000.0
        self.cores = (0, 1)

    def serving(self, *settings: tuple[str, str], cores: tuple[int, ...] = (0,)) -> Serving:
        # As the real one's, it is never that of somebody who wants nothing.
        return Serving(settings=(OWN, *settings), cores=cores)

    def crowd(self, sinks: int = 1_000, probes: int = 20, trial: Any = None) -> Crowd:
        return Crowd(sinks, probes, trial)

    def figures(self) -> Figures:
        figures = replace(Tally().figures(), expected=1_000)
        if self.begun and self.begun[-1].feed == Feed("audio"):
            figures.packet_latency_us.record(1_000 * len(self.begun))
        return figures

    async def half_loaded(self, feed: Feed, serving: Serving | None = None) -> SetUp:
        return SetUp(self.crowd(), feed, Serving() if serving is None else serving)

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

    def mark(self) -> None: ...

    async def storm(self, count: int) -> float:
        """A millisecond each, and as late as there were servers before."""
        return count / 1_000

    def verdict(self) -> list[str]:
        return []

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
    [
        *(variant for scene in techniques.SCENES for variant in scene.variants),
        techniques.REPEATS,
        techniques.SHORT_TURNS,
        *techniques.POLICIES,
    ],
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


def switched(*variants: techniques.Variant) -> list[tuple[tuple[str, str], ...]]:
    """Their settings, two turns of each."""
    return 2 * [(OWN, *variant.settings) for variant in variants]


async def test_all_variants_have_their_turn_before_one_has_another() -> None:
    stand, _ = await run("techniques", QUICK)
    settings = [wanted.serving.settings for wanted in stand.begun]
    expected = []
    for scene in techniques.SCENES[:-1]:
        expected += switched(techniques.ALL_ON, *scene.variants)
    # What the load itself wants of the server stays, but for what is switched off.
    pinned = (OWN, ("engine.shards", "1"), ("engine.cores", "0"))
    expected += 2 * [pinned, (*pinned[:-1], ("engine.cores", ""))]
    expected += switched(techniques.ALL_ON, techniques.REPEATS)
    expected += switched(techniques.ALL_ON, techniques.SHORT_TURNS)
    assert settings == expected
    assert {wanted.serving.cores for wanted in stand.begun} == {(0,), (0, 1)}


async def test_singles_are_measured_at_a_load_that_they_can_bear() -> None:
    stand, found = await run("techniques")
    bursty = stand.begun[: len(techniques.SCENES[0].variants) + 1]
    assert {wanted.crowd.sinks for wanted in bursty} == {500}
    heard = [wanted for wanted in stand.begun if wanted.feed == Feed(opus=True)]
    assert {wanted.crowd.sinks for wanted in heard} == {500}
    assert "with Opus, gain of engine.riders" in found
    faster = SetUp(Crowd(200, 8), Feed(rate=5.0))
    assert techniques._halved(faster) == replace(faster, feed=Feed(rate=2.5))


async def test_shedding_is_switched_off_where_there_is_too_much_to_do() -> None:
    stand, found = await run("techniques", QUICK)
    viewers = stand.crowd().viewers
    feed = Feed(paced=True, rate=round(1.5 * stand.capacity / viewers, 4))
    assert sum(wanted.feed == feed for wanted in stand.begun) == 4
    assert "at 150 % of r05, gain of engine.shed_after_ms" in found


async def test_feedback_is_asked_for_where_receiving_is_what_counts() -> None:
    stand, found = await run("techniques", QUICK)
    asked = [wanted.crowd.trial for wanted in stand.begun if wanted.feed == Feed()]
    told = [trial for trial in asked if trial is not None and trial.report_interval_ms]
    assert [trial.report_interval_ms for trial in told] == 4 * [100]
    assert "10 reports/s from each viewer, gain of engine.recvmmsg" in found


async def test_a_storm_tells_how_late_media_was_with_short_turns_and_without() -> None:
    stand, found = await run("techniques", QUICK)
    turns = len(stand.begun)
    late = found["joins, everything on: p99 of the packet latency meanwhile"].row
    assert (late.low, late.high) == pytest.approx((turns - 3, turns - 1), rel=0.01)
    late = found["joins, engine.short_turns off: p99 of the packet latency meanwhile"].row
    assert (late.low, late.high) == pytest.approx((turns - 2, turns), rel=0.01)
    assert found["joins, engine.short_turns off"].row.value == pytest.approx(1_000)


async def test_each_policy_tells_throughput_and_latency() -> None:
    stand, found = await run("policies")
    assert len(found) == 8 * len(techniques.POLICIES)
    assert all(wanted.feed == Feed(paced=True) for wanted in stand.begun)
    assert {wanted.crowd.viewers for wanted in stand.begun} == {600}, "half of r05"
    assert stand.begun[0].serving.settings == (
        OWN,
        ("engine.frame_window_ms", "0"),
        ("engine.idle_window_ms", "0"),
    )
    first = found["as they come, by frame, p99"].row
    last = 1 + (FULL.few - 1) * len(techniques.POLICIES)
    assert first.low == pytest.approx(1, rel=0.1)
    assert first.high == pytest.approx(last, rel=0.1)
    assert found["as they come, by packet, p50"].row.why is not None
    assert found["1 ms, or 15 ms where busy, mean train"].row.value == 9.0
