"""How many viewers are too many: for the server, and for the ceiling sender under the same rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import TRAINS, Load, Played, Sent
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import Figure, capacity, chosen
from pyforward_bench.rig.rows.capacity import CeilingStep, ServerStep
from pyforward_bench.rig.rows.staircase import Plan, Staircase, climb, look_closer
from pyforward_bench.rig.scale import FULL, QUICK, Scale
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Histogram, Tally

# What a step is ----------------------------------------------------------------------------------


def window(
    sinks: int = 100_000,
    metrics: Mapping[str, float] | None = None,
    frame_latency_us: Histogram | None = None,
    *,
    lost: int = 0,
    missing: int = 0,
) -> Window:
    """With two probes that received a thousand packets each."""
    figures = replace(Tally().figures(), packets=2_000, expected=2_000, lost=lost, missing=missing)
    if frame_latency_us is not None:
        figures = replace(figures, frame_latency_us=frame_latency_us)
    usage = Usage(10.0, 1.0, 0.9, 1.0)
    return Window(Crowd(100, 2), usage, Count(sinks, 1_000 * sinks), figures, metrics or {}, ())


def latency(*times_ms: float) -> Histogram:
    found = Histogram()
    for time_ms in times_ms:
        found.record(round(1_000 * time_ms))
    return found


def played(p99_ms: float | None, *, lost: int = 0) -> Played:
    return Played(1_000, lost, {"p99": None if p99_ms is None else 1e3 * p99_ms}, 50.0, 1e6)


def test_a_window_counts_everybody() -> None:
    found = window()
    assert found.packets == 102_000
    assert found.packets_per_cpu_s == 102_000
    assert found.load == pytest.approx(0.1)


def test_nothing_lost() -> None:
    assert ServerStep(102, window()).lost is None
    assert ServerStep(102, window(sinks=99_000)).lost is None  # the ends fall into frames
    assert ServerStep(102, window(sinks=93_000), frame=77).lost is None
    assert ServerStep(102, window(sinks=92_000), frame=77).lost is not None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (window(lost=3), "the probes missed 3"),
        (window(missing=4), "the probes missed 4"),
        (window(sinks=90_000), "900 packets a sink were counted, of 1000"),
        (window(metrics={'pyforward_send_drops_total{reason="full"}': 7.0}), "did not send 7"),
    ],
)
def test_what_was_lost_is_told(found: Window, words: str) -> None:
    told = ServerStep(102, found).lost
    assert told is not None
    assert words in told


def test_frames_that_came_late() -> None:
    frames = latency(*[4.0] * 99, 90.0)
    step = ServerStep(1, window(frame_latency_us=frames))
    assert step.wrong(10.0) is None
    frames.record(90_000)
    assert step.wrong(10.0) == "p99 of the frame latency was 90.0 ms"
    assert step.wrong(100.0) is None
    assert ServerStep(1, window()).wrong(10.0) == "no frame's latency was known"


def test_the_ceiling_sender_is_asked_the_same() -> None:
    assert CeilingStep(9, played(9.9)).wrong(10.0) is None
    late = CeilingStep(9, played(10.0))
    assert late.wrong(10.0) == "p99 of the frame latency was 10.0 ms"
    assert late.wrong(100.0) is None
    lossy = CeilingStep(9, played(0.1, lost=7))
    assert lossy.wrong(100.0) == "7 of 1000 packets were not counted"
    assert CeilingStep(9, played(None)).wrong(100.0) is not None


# The staircase -----------------------------------------------------------------------------------

LIMITS_MS = (10.0, 100.0)


class Sender:
    """Its frames take a millisecond for so many viewers, and ten times as long from so many on.
    What it was asked for is in ``asked``."""

    def __init__(self, viewers_a_ms: float, most: float) -> None:
        self.asked: list[float] = []
        self.stairs = Staircase(self._measure, LIMITS_MS)
        self.bad_moments: list[int] = []
        """Which of its measurements are disturbed, from 0."""
        self._viewers_a_ms = viewers_a_ms
        self._most = most

    def latency_ms(self, viewers: float) -> float:
        disturbed = len(self.asked) in self.bad_moments
        self.asked.append(viewers)
        factor = 10 if viewers > self._most else 1
        return 500.0 if disturbed else factor * viewers / self._viewers_a_ms

    async def _measure(self, viewers: float) -> CeilingStep:
        return CeilingStep(viewers, played(self.latency_ms(viewers)))


PLAN = Plan(first=0.1, ratio=1.5, most=1.0, within=1.05, looks=6)


async def test_it_ends_at_the_first_step_that_is_wrong() -> None:
    sender = Sender(viewers_a_ms=25, most=900)
    await climb([sender.stairs], [100, 200, 300, 400])
    viewers, first = sender.stairs.last(10.0)
    assert (viewers, first) == (200, sender.stairs.steps[2])
    assert sender.stairs.last(100.0) == (400, None)
    assert sender.stairs.last(1.0) == (0.0, sender.stairs.steps[0])


async def test_nobody_climbs_on_who_is_wrong_by_the_widest_limit() -> None:
    one, other = Sender(25, most=250), Sender(50, most=450)
    await climb([one.stairs, other.stairs], [100, 200, 300, 400, 500, 600])
    assert one.asked == [100, 200, 300, 300]
    assert other.asked == [100, 200, 300, 400, 500, 500]


async def test_they_climb_in_turns() -> None:
    order: list[str] = []

    def sender(name: str) -> Staircase[CeilingStep]:
        async def measure(viewers: float) -> CeilingStep:
            order.append(f"{name}{viewers:g}")
            return CeilingStep(viewers, played(0.001))

        return Staircase(measure, LIMITS_MS)

    await climb([sender("a"), sender("b")], [1, 2])
    assert order == ["a1", "b1", "a2", "b2"]


async def test_a_disturbed_moment_is_measured_again() -> None:
    sender = Sender(viewers_a_ms=25, most=900)
    sender.bad_moments = [1]
    await climb([sender.stairs], [100, 200, 300])
    # 300 is where it ends, which is measured twice as well.
    assert sender.asked == [100, 200, 200, 300, 300]
    assert sender.stairs.last(10.0)[0] == 200


async def test_twice_wrong_is_wrong() -> None:
    sender = Sender(viewers_a_ms=25, most=900)
    sender.bad_moments = [0, 1]
    await climb([sender.stairs], [100, 200])
    assert sender.asked == [100, 100]
    assert sender.stairs.ended


@pytest.mark.parametrize("viewers_a_ms", [0.5, 11, 25, 41.7, 70])
async def test_a_closer_look_finds_where_it_ends(viewers_a_ms: float) -> None:
    sender = Sender(viewers_a_ms, most=1_000)
    await climb([sender.stairs], PLAN.numbers(1_000))
    await look_closer([sender.stairs], 10.0, PLAN)
    viewers, first = sender.stairs.last(10.0)
    assert first is not None
    assert viewers < 10 * viewers_a_ms <= first.viewers
    assert first.viewers <= 1.06 * viewers or viewers_a_ms == 0.5  # so many looks are not enough
    assert len(sender.asked) < 25


async def test_whoever_is_never_wrong_needs_no_closer_look() -> None:
    sender = Sender(viewers_a_ms=1_000, most=10_000)
    await climb([sender.stairs], [100, 200])
    await look_closer([sender.stairs], 10.0, PLAN)
    assert sender.asked == [100, 200]


def test_a_plan_grows_by_its_ratio() -> None:
    assert list(PLAN.numbers(1_000)) == pytest.approx([100, 150, 225, 337.5, 506.25, 759.375])


# The row -----------------------------------------------------------------------------------------

(R05, R05A) = chosen(("r05", "r05a"))
MOST = 3_000
"""What the ceiling sender could serve if nobody asked how late."""


class FakeStand:
    """A server and a ceiling sender that take their time, and no time passes."""

    def __init__(self, server: Sender, ceiling: Sender | None, scale: Scale = FULL) -> None:
        self.scale = scale
        self.why_no_ceiling = "no ceiling: no cargo" if ceiling is None else None
        self.in_time: float | None = None
        self.capacity: float | None = None
        self.done: list[tuple[str, int, float]] = []
        """Who sent to how many, at which rate."""
        self.loads: list[float] = []
        """Of each play."""
        self._server, self._ceiling = server, ceiling
        self._now: SetUp | None = None

    def as_stand(self) -> Stand:
        return cast("Stand", self)

    def say(self, text: str) -> None:
        pass

    def doubt(self, row: str, why: list[str]) -> None:
        assert not why

    def crowd(self, sinks: int | None = None, probes: int | None = None) -> Crowd:
        return Crowd(
            self.scale.sinks if sinks is None else sinks,
            self.scale.probes if probes is None else probes,
        )

    async def set_up(self, wanted: SetUp) -> None:
        self._now = wanted

    async def window(self, seconds: float, *, tries: int) -> Window:
        assert seconds == self.scale.tail_s
        assert self._now is not None
        assert self._now.feed is not None
        viewers, rate = self._now.crowd.viewers, self._now.feed.rate
        self.done.append(("server", viewers, rate))
        return window(frame_latency_us=latency(self._server.latency_ms(viewers * rate)))

    async def play(self, feed: Feed, viewers: int, load: float) -> Played:
        assert self._ceiling is not None
        self.done.append(("ceiling", viewers, feed.rate))
        self.loads.append(load)
        return played(self._ceiling.latency_ms(viewers * feed.rate))

    async def ceiling_round(self, load: Load) -> Sent:
        return Sent({TRAINS: MOST * Feed().packets_per_s}, 1.0, 1.0)


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "_SETTLE_S", 0.0)


async def figures(stand: FakeStand) -> list[Figure]:
    return list(await capacity.r05(stand.as_stand(), R05))


async def test_the_server_is_held_against_the_ceiling_sender_under_the_same_rule() -> None:
    stand = FakeStand(Sender(70, most=1_700), Sender(110, most=2_600))
    in_time, in_step = await figures(stand)
    assert in_time.row.value == pytest.approx(700, rel=0.06)
    assert in_time.row.ceiling == pytest.approx(1_100, rel=0.06)
    assert in_time.row.met is False
    assert in_step.row.value == pytest.approx(1_700, rel=0.25)
    assert in_step.row.ceiling == pytest.approx(2_600, rel=0.25)
    assert in_step.row.met is None
    assert (stand.in_time, stand.capacity) == (in_time.row.value, in_step.row.value)


async def test_the_ceiling_sender_gathers_as_the_server_does_at_that_load() -> None:
    stand = FakeStand(Sender(70, most=1_700), Sender(300, most=2_600))
    await figures(stand)
    for (_, viewers, _), load in zip(
        [done for done in stand.done if done[0] == "ceiling"], stand.loads, strict=True
    ):
        assert load == pytest.approx(viewers / MOST, rel=0.01)
    assert min(stand.loads) < 0.5 < max(stand.loads)


async def test_the_target_is_met_by_four_fifths_of_it() -> None:
    met, _ = await figures(FakeStand(Sender(95, most=1_700), Sender(110, most=2_600)))
    assert met.row.met is True
    assert met.row.share_of_ceiling == pytest.approx(95 / 110, rel=0.06)


async def test_nothing_is_hidden_of_either() -> None:
    (in_time, _) = await figures(FakeStand(Sender(70, most=1_700), Sender(110, most=2_600)))
    assert in_time.note is not None
    said = in_time.note.split("; ")
    assert said[0].startswith("at 7")
    assert said[1].startswith("the ceiling sender: at 11")
    assert said[2] == "however late, its packets per CPU-second would serve 3000"
    assert in_time.row.high is not None
    assert 700 < in_time.row.high < 760
    # Each ends somewhere between two steps, and so does their ratio.
    row = in_time.row
    assert row.share_low is not None
    assert row.share_high is not None
    assert row.ceiling is not None
    assert 0.94 * 700 / 1_160 < row.share_low < 700 / 1_100 < row.share_high
    assert row.share_high == pytest.approx(in_time.row.high / row.ceiling)


async def test_a_share_may_be_all_that_two_searches_leave_open() -> None:
    """Each ended between two of its own steps, and nobody knows where."""
    stand = FakeStand(Sender(70, most=1_700), Sender(110, most=2_600))
    (in_time, _) = await figures(stand)
    row = in_time.row
    well, too_many = {}, {}
    for who, most in (("server", 700), ("ceiling", 1_100)):
        sent = [viewers for name, viewers, _ in stand.done if name == who]
        well[who] = max(viewers for viewers in sent if viewers < most)
        too_many[who] = min(viewers for viewers in sent if viewers >= most)
    assert (row.low, row.high) == (well["server"], too_many["server"])
    assert row.share_low == pytest.approx(well["server"] / too_many["ceiling"])
    assert row.share_high == pytest.approx(too_many["server"] / well["ceiling"])


async def test_a_search_that_found_no_end_says_so() -> None:
    in_time, _ = await figures(FakeStand(Sender(1e6, most=1e6), Sender(1e6, most=1e6)))
    assert in_time.note is not None
    assert "were not too many, so that the range has no upper end; " in in_time.note
    assert "of the ceiling sender 3" in in_time.note


async def test_both_send_to_as_many_in_turns_until_one_has_ended() -> None:
    stand = FakeStand(Sender(100, most=1_300), Sender(200, most=9_000))
    await figures(stand)
    together = stand.done[:8]
    assert [who for who, _, _ in together] == ["server", "ceiling"] * 4
    assert [viewers for _, viewers, _ in together[::2]] == [
        viewers for _, viewers, _ in together[1::2]
    ]
    assert {rate for _, _, rate in stand.done} == {1.0}
    most = {
        who: max(n for name, n, _ in stand.done if name == who) for who in ("server", "ceiling")
    }
    assert most["server"] < 1_700
    assert most["ceiling"] > 3_000


async def test_a_quick_run_scales_the_rate_for_both() -> None:
    stand = FakeStand(Sender(70, most=1_700), Sender(110, most=2_600), QUICK)
    in_time, _ = await figures(stand)
    assert {viewers for _, viewers, _ in stand.done} == {QUICK.sinks + QUICK.probes}
    assert stand.done[0][2] == stand.done[1][2] == pytest.approx(0.2 * MOST / 208, rel=1e-3)
    assert in_time.row.value == pytest.approx(700, rel=0.12)
    assert in_time.note is not None
    assert "200 viewers at a scaled rate" in in_time.note


async def test_without_a_ceiling_sender_the_server_climbs_alone() -> None:
    stand = FakeStand(Sender(70, most=1_700), None)
    in_time, in_step = await figures(stand)
    assert in_time.row.value == pytest.approx(700, rel=0.06)
    for figure in (in_time, in_step):
        assert (figure.row.ceiling, figure.row.met) == (None, None)
        assert figure.note is not None
        assert "no ceiling: no cargo" in figure.note
    assert {who for who, _, _ in stand.done} == {"server"}


async def test_a_ceiling_sender_that_is_never_in_time_is_no_ceiling() -> None:
    in_time, _ = await figures(FakeStand(Sender(70, most=1_700), Sender(0.01, most=1)))
    assert (in_time.row.ceiling, in_time.row.met) == (None, None)


async def test_with_opus_it_is_only_reported() -> None:
    stand = FakeStand(Sender(70, most=1_700), Sender(110, most=2_600))
    (figure,) = await capacity.r05a(stand.as_stand(), R05A)
    assert figure.row.met is None
    assert figure.row.share_of_ceiling == pytest.approx(70 / 110, rel=0.06)


@pytest.mark.parametrize(("server", "ceiling"), [(70, 110), (30, 40), (150, 290)])
async def test_a_full_run_takes_four_minutes_at_most(server: float, ceiling: float) -> None:
    """As reckoned: a step of the server takes two seconds of joins and one to
    settle, one of the ceiling sender as long as it waits until nothing comes, twice half a second
    for the program and for the feed."""
    stand = FakeStand(Sender(server, most=1_900), Sender(ceiling, most=2_900))
    await figures(stand)
    seconds = sum(FULL.tail_s + (3 if who == "server" else 1.6) for who, _, _ in stand.done)
    assert seconds < 240
