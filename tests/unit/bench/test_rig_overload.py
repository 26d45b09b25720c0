"""When an overload is over: when a usual feed is as it was."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.rows import chosen, overload
from pyforward_bench.rig.rows.spec import Figure
from pyforward_bench.rig.scale import FULL
from pyforward_bench.rig.stand import TRIES, SetUp, Stand
from pyforward_bench.statistics import Figures, Tally
from tests.unit.bench import rounds
from tests.unit.bench.test_rig_capacity import latency

(R13,) = chosen(("r13",))


def window(p99_ms: float, lost: int = 0, *, wrong: tuple[str, ...] = ()) -> Window:
    found = rounds.window(1_000, wrong=wrong)
    return replace(found, probes=replace(found.probes, frame_latency_us=latency(p99_ms), lost=lost))


@dataclass
class StubStand:
    """Its windows are these, one after the other."""

    windows: Iterator[Window]
    scale = FULL
    asked: list[tuple[float, int]] = field(default_factory=list)

    async def window(self, seconds: float, *, tries: int) -> Window:
        self.asked.append((seconds, tries))
        return next(self.windows)


async def recovery(*after: Window) -> tuple[StubStand, Figure]:
    stand, before = StubStand(iter(after)), window(8.0)
    found, late = await overload._usual_again(cast("Stand", stand), before)
    over_s = 0.1 + len(late) * FULL.tail_s
    return stand, overload._recovery(R13, over_s, before, found, "a note")


async def test_it_is_over_when_the_usual_feed_is_as_it_was() -> None:
    stand, figure = await recovery(window(15.0))
    assert (figure.row.value, figure.row.met) == (0.1, True)
    assert stand.asked == [(FULL.tail_s, 1)]


async def test_a_usual_window_that_something_was_wrong_with_is_measured_again() -> None:
    stand, figure = await recovery(window(8.0, wrong=("The clocks disagree.",)), window(15.0))
    assert figure.row.value == 0.1, "it was over all the same"
    assert len(stand.asked) == 2


async def test_a_window_that_is_late_is_time_in_which_it_is_not_over() -> None:
    stand, figure = await recovery(window(17.0), window(15.0))
    assert (figure.row.value, figure.row.met) == (FULL.tail_s + 0.1, False)
    assert stand.asked == [(FULL.tail_s, 1)] * 2


@pytest.mark.parametrize(
    ("late", "why"),
    [
        (window(17.0), "8.0 ms before and 17.0 ms after it, the last of 3 times; a note"),
        (window(8.0, lost=7), "the feed after it lost 7 packets"),
    ],
)
async def test_a_server_that_stays_so_has_not_recovered(late: Window, why: str) -> None:
    stand, figure = await recovery(*[late] * TRIES)
    assert figure.row.value is None
    assert why in str(figure.row.why)
    assert len(stand.asked) == TRIES


# The whole row -----------------------------------------------------------------------------------


class WholeStand:
    """A server that sheds, and a harness with which something is wrong at the times that are
    given."""

    capacity = 1_000.0
    scale = replace(FULL, overload_s=0.0)

    def __init__(self, before: str = "", during: str = "", after: str = "") -> None:
        windows = (window(8.0, wrong=(why,) if why else ()) for why in (before, *[after] * TRIES))
        self._windows = iter(windows)
        self._during = during
        self.doubts: list[str] = []
        self.server = self.audience = self.publisher = self.counter = self
        self.probes = self.tally = self.there = self
        self.ports = None
        self.sinks = 2

    def crowd(self) -> Crowd:
        return Crowd(self.sinks)

    async def set_up(self, wanted: SetUp) -> None: ...

    async def warm_up(self) -> None: ...

    async def window(self, seconds: float, *, tries: int = TRIES) -> Window:
        return next(self._windows)

    async def metrics(self) -> dict[str, float]:
        return {}

    def memory_bytes(self) -> dict[str, int]:
        return {"total": 1}

    async def open(self, *_: object, by_viewer: bool = False) -> None: ...

    async def read_by_viewer(self) -> dict[int, Count]:
        return {1: Count(9, 9), 2: Count(9, 9)}

    def mark(self) -> None: ...

    def verdict(self) -> list[str]:
        return [self._during] if self._during else []

    def figures(self) -> Figures:
        return Tally().figures()

    def clear(self) -> None: ...

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        yield

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        self.doubts += why
        return "in doubt" if why else None


@pytest.fixture
def no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "_SILENCE_S", 0.0)


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_a_harness_that_was_the_bottleneck_is_told(no_silence: None, when: str) -> None:
    stand = WholeStand(**{when: "It dropped some."})
    figures = await overload.r13(cast("Stand", stand), R13)
    assert set(stand.doubts) == {"It dropped some."}
    assert all("in doubt" in str(figure.note) for figure in figures)


async def test_an_overload_that_nothing_was_wrong_with(no_silence: None) -> None:
    stand = WholeStand()
    figures = await overload.r13(cast("Stand", stand), R13)
    assert stand.doubts == []
    assert [figure.row.met for figure in figures] == [True] * 4
