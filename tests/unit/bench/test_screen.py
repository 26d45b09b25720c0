"""The live table of a run."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pyforward.client.watching import TrackFigures
from pyforward_bench.screen import Screen
from pyforward_bench.statistics import Tally
from pyforward_bench.swarm import SwarmFigures
from tests.unit.bench.test_measuring import WELL_SERVED

VIDEO = TrackFigures("video", "h264", 1_000, 990, 7, 3, 1_000_000, 1.0, 30, 1)


class Clock:
    """One second more each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def shown(*figures: SwarmFigures, quiet: bool = False, terminal: bool = True) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100)
    with Screen("http://[::1]:8080", quiet=quiet, console=console, clock=Clock()) as screen:
        for one in figures:
            screen.show(one, "watching")
    return file.getvalue()


def test_what_people_see() -> None:
    before = replace(WELL_SERVED, tracks=(VIDEO,))
    now = replace(
        before,
        tracks=(replace(VIDEO, bytes=2_000_000),),
        failed={"http_503": 2},
        ended={"silent": 1},
        on_their_way=5,
    )
    text = shown(before, now)
    for words in (
        "http://[::1]:8080: watching",
        "3 of 3, 3 there",
        "2 http_503",
        "1 silent",
        "8.00 Mbit/s",
        "3 (0.3000%), 7 repaired",
    ):
        assert words in text


def test_latencies_once_there_are_some() -> None:
    assert "p99" not in shown(WELL_SERVED)
    tally = Tally()
    figures = tally.figures()
    for value in (1_000, 1_000, 9_000):
        figures.packet_latency_us.record(value)
    text = shown(replace(WELL_SERVED, probes=figures))
    assert "p50 1.0 ms, p99 9.0 ms" in text


@pytest.mark.parametrize(("quiet", "terminal"), [(True, True), (False, False)])
def test_nothing_where_nobody_looks(quiet: bool, terminal: bool) -> None:
    assert shown(WELL_SERVED, WELL_SERVED, quiet=quiet, terminal=terminal) == ""
