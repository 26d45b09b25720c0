"""Rows of latency, at a stand whose windows are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from pyforward_bench import compare
from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import Played
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import Figure, chosen
from pyforward_bench.rig.rows.latency import QUANTILES, TIMES_AS_MANY
from pyforward_bench.rig.scale import FULL, Scale
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Histogram
from tests.unit.bench import rounds
from tests.unit.bench.runs import run

(R06,) = chosen(("r06",))
FRAMES = 120
PROBES = 20

BARE_MS = 2.0
TIMES = 1.5
"""What a frame takes the ceiling sender, in milliseconds, and how many times as long ours."""


def latency(ms: float) -> Histogram:
    found = Histogram()
    found.record(round(1_000 * ms), FRAMES * PROBES)
    return found


@dataclass
class StubStand:
    """On a machine that is so ``slow`` and with each window so many times ``slower``, its server
    takes so many ``times`` as long as the ceiling sender, some of whose plays have no frame."""

    scale: Scale = FULL
    why_no_ceiling: str | None = None
    in_time: float | None = 1_000.0
    slow: float = 1.0
    slower: float = 1.1
    times: float = TIMES
    lost: int = 0
    frames: int = FRAMES
    without_frame: Sequence[int] = ()
    asked: list[tuple[int, int, float, bool]] = field(default_factory=list)
    """Viewers, windows, seconds of each, and whether the ceiling sender played."""
    _now: SetUp | None = None

    def crowd(self, sinks: int = 1_000, probes: int = 20, *, skew: bool = False) -> Crowd:
        return Crowd(sinks, probes, None, skew)

    async def set_up(self, wanted: SetUp) -> None:
        assert wanted.feed == Feed(paced=True)
        self._now = wanted

    async def rounds(self, *, count: int, seconds: float, plays: bool) -> Measured:
        assert self._now is not None
        self.asked.append((self._now.crowd.viewers, count, seconds, plays))
        takes_ms = [BARE_MS * self.slow * self.slower**number for number in range(count)]
        found = Measured([self._window(self.times * ms) for ms in takes_ms])
        if plays and self.why_no_ceiling is None:
            found.played = [
                self._played(None if number in self.without_frame else ms)
                for number, ms in enumerate(takes_ms)
            ]
        return found

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        return None

    def _window(self, ms: float) -> Window:
        window = rounds.window(1_000)
        probes = replace(
            window.probes,
            viewers=PROBES,
            frames=self.frames * PROBES,
            frame_latency_us=latency(ms),
            packet_latency_us=latency(1.2 * ms),
        )
        return replace(window, probes=probes)

    def _played(self, ms: float | None) -> Played:
        us = None if ms is None else 1e3 * ms
        return Played(1_000, self.lost, {label: us for label, _, _ in QUANTILES}, 50.0, 1e6)


async def figures(stand: StubStand) -> dict[str, Figure]:
    """By what follows the row's own name."""
    found = await R06.measure(cast("Stand", stand), R06)
    return {figure.row.name.removeprefix(f"{R06.name}: "): figure for figure in found}


@pytest.mark.parametrize("load", ["80%", "50%", "10%"])
@pytest.mark.parametrize("label", ["p50", "p99", "p99.9"])
async def test_at_each_load_a_frame_s_latency_has_the_ceiling_sender_s(
    load: str, label: str
) -> None:
    row = (await figures(StubStand()))[f"by frame at {load} of r05, {label}"].row
    assert row.value is not None
    assert row.unit == "ms"
    # However slow the machine has become meanwhile: a pair is seconds apart.
    assert (row.share_low, row.share_of_ceiling, row.share_high) == pytest.approx(
        (TIMES,) * 3, rel=0.01
    )
    assert row.ceiling == pytest.approx(row.value / TIMES, rel=0.01)


async def by_frame(first: StubStand, second: StubStand) -> list[compare.Pair]:
    one, other = [
        run(*[figure.row for figure in (await figures(stand)).values()])
        for stand in (first, second)
    ]
    return [pair for pair in compare.compared(one, other).pairs if "by frame" in pair.row.name]


async def test_a_slower_hour_agrees_and_a_later_server_does_not() -> None:
    alike = await by_frame(StubStand(), StubStand(slow=1.4))
    assert len(alike) == 9
    assert all(pair.by_share and pair.agrees for pair in alike)
    later = await by_frame(StubStand(), StubStand(times=1.2 * TIMES))
    assert not any(pair.agrees for pair in later)


async def test_of_packets_the_ceiling_sender_tells_nothing() -> None:
    found = await figures(StubStand())
    packets = [figure.row for name, figure in found.items() if name.startswith("by packet")]
    assert len(packets) == 9
    assert {(row.ceiling, row.share_of_ceiling) for row in packets} == {(None, None)}


async def test_the_target_is_of_milliseconds_at_half_of_the_load() -> None:
    found = await figures(StubStand(slower=1.0))
    judged = {
        name: (figure.row.target, figure.row.met)
        for name, figure in found.items()
        if figure.row.target is not None
    }
    assert judged == {
        "by frame at 50% of r05, p50": ("≤ 1 ms", False),
        "by frame at 50% of r05, p99": ("≤ 5 ms", True),
        "by frame at 50% of r05, p99.9": ("≤ 10 ms", True),
    }


async def test_a_small_load_is_looked_at_for_longer() -> None:
    stand = StubStand()
    await figures(stand)
    assert stand.asked == [
        (800, FULL.few, FULL.tail_s, True),
        (500, FULL.few, FULL.tail_s, True),
        (100, FULL.few * TIMES_AS_MANY[0.1], FULL.tail_s, True),
    ]
    frames_per_s = 1e6 / Feed().trace.step_us("video")
    for _, count, seconds, _ in stand.asked:
        assert count * seconds * frames_per_s >= 500, "a 99th percentile is of five late ones"


async def test_a_percentile_of_a_thousand_says_of_how_many_frames_it_is() -> None:
    found = await figures(StubStand())
    told = "500 viewers; of each window's 120 frames it is the worst one's"
    assert found["by frame at 50% of r05, p99.9"].note == told
    assert found["by frame at 50% of r05, p99"].note == "500 viewers"
    assert found["by packet at 50% of r05, p99.9"].note == "500 viewers"
    many = await figures(StubStand(frames=1_000))
    assert many["by frame at 50% of r05, p99.9"].note == "500 viewers"


async def test_without_a_ceiling_sender_it_is_milliseconds_alone() -> None:
    found = await figures(StubStand(why_no_ceiling="no ceiling: no cargo"))
    figure = found["by frame at 10% of r05, p50"]
    assert figure.row.ceiling is None
    assert figure.note == "100 viewers; no ceiling: no cargo"


async def test_what_is_no_pair_is_not_held_against_another() -> None:
    found = await figures(StubStand(without_frame=[1]))
    row = found["by frame at 50% of r05, p99"].row
    assert row.rounds == FULL.few
    assert row.ceiling is None


async def test_what_the_ceiling_sender_lost_is_said() -> None:
    found = await figures(StubStand(lost=2))
    lost = f"{2 * FULL.few} packets of the ceiling sender's were lost"
    assert found["by frame at 80% of r05, p50"].note == f"800 viewers; {lost}"
