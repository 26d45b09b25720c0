"""A burst of one reason is summed; other reasons are not held back; memory is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from pyforward.log import bursts
from pyforward.log.bursts import Bursts


class Bench:
    """A logger whose processor is a Bursts under a clock that the test moves."""

    def __init__(self, most: int) -> None:
        self.now = 0.0
        self.timers: list[Callable[[], None]] = []
        self.bursts = Bursts(most, lambda: self.now, lambda _s, call: self.timers.append(call))
        self.written = LogCapture()
        structlog.configure(processors=[self.bursts, self.written])
        self.log = structlog.get_logger()

    def times(self, count: int, **fields: Any) -> None:
        for _ in range(count):
            self.log.info("closed", **fields)

    def lines(self) -> list[dict[str, Any]]:
        lines, self.written.entries[:] = list(self.written.entries), []
        return [dict(line) for line in lines]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_burst_is_summed_at_the_end_of_its_second() -> None:
    bench = Bench(3)
    bench.times(10_000, reason="silent", role="watch", session="1")
    assert len(bench.lines()) == 3
    (timer,) = bench.timers
    bench.now = 1.0
    timer()
    (line,) = bench.lines()
    assert line == {
        "event": "closed",
        "log_level": "info",
        "reason": "silent",
        "role": "watch",
        "repeated": 9_997,
    }
    bench.times(1, reason="silent", role="watch")
    assert len(bench.lines()) == 1, "the next second has its own lines"


def test_another_reason_is_not_held_back() -> None:
    bench = Bench(2)
    bench.times(100, reason="silent")
    bench.times(1, reason="bye")
    bench.log.warning("lost", reason="silent")
    assert [(line["event"], line["reason"]) for line in bench.lines()] == [
        ("closed", "silent"),
        ("closed", "silent"),
        ("closed", "bye"),
        ("lost", "silent"),
    ]


def test_a_long_burst_is_written_at_its_rate() -> None:
    bench = Bench(5)
    for second in range(10):
        bench.now = float(second)
        bench.times(100)
        while bench.timers:
            bench.timers.pop()()
    lines = bench.lines()
    assert len(lines) == 10 * (5 + 1)
    assert sum(line.get("repeated", 1) for line in lines) == 1000


def test_zero_is_no_limit() -> None:
    bench = Bench(0)
    bench.times(500)
    assert len(bench.lines()) == 500


def test_reasons_that_a_stranger_makes_up_are_bounded() -> None:
    bench = Bench(1)
    for number in range(10 * bursts.MOST_KEYS):
        bench.times(1, reason=f"made up {number}")
    assert len(bench.lines()) <= bursts.MOST_KEYS + 1
    assert len(bench.bursts._windows) <= bursts.MOST_KEYS + 1
    bench.now = 2.0
    bench.bursts.flush()
    (line,) = bench.lines()
    assert line["repeated"] == 9 * bursts.MOST_KEYS - 1
    assert not bench.bursts._windows
