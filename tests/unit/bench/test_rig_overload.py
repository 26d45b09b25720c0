"""When an overload is over: when a usual feed is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.rows import chosen, overload
from pyforward_bench.rig.rows.spec import Figure
from pyforward_bench.rig.scale import FULL
from pyforward_bench.rig.stand import TRIES, Stand
from tests.unit.bench import rounds
from tests.unit.bench.test_rig_capacity import latency

(R13,) = chosen(("r13",))


def window(p99_ms: float, lost: int = 0) -> Window:
    found = rounds.window(1_000)
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
    found, late_s = await overload._usual_again(cast("Stand", stand), before)
    return stand, overload._recovery(R13, 0.1 + late_s, before, found, "a note")


async def test_it_is_over_when_the_usual_feed_is_as_it_was() -> None:
    stand, figure = await recovery(window(15.0))
    assert (figure.row.value, figure.row.met) == (0.1, True)
    assert stand.asked == [(FULL.tail_s, 1)]


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
