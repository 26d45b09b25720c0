"""What the ceiling sender is given, and what is made of its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyforward.errors import HostError, RunError
from pyforward_bench.rig import ceiling
from pyforward_bench.rig.ceiling import EIGHT, SINGLES, TRAINS, Ceiling, trains_of, trains_reached
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.traces import Frame, Trace


def test_frames_become_trains_of_at_most_sixteen_equal_packets() -> None:
    frames = (
        Frame(0, "video", (900,) * 20 + (901,) * 15, keyframe=True),
        Frame(33_000, "video", (700, 701)),
        Frame(66_000, "video", (80,)),
    )
    trains = trains_of(Trace("clip", frames))
    assert [len(train) for train in trains] == [16, 16, 3, 2, 1]
    # The sender refuses anything but equal sizes with a last one that is no larger.
    for train in trains:
        assert set(train[:-1]) <= {train[0]}
        assert train[-1] <= train[0]
    assert trains[1] == (901,) * 16
    assert trains[3] == (701, 701)


def test_the_usual_trace_can_be_sent() -> None:
    for feed in (Feed(), Feed(paced=True), Feed(opus=True), Feed("audio")):
        trains = trains_of(feed.trace)
        assert trains
        assert all(1 <= len(train) <= ceiling.LONGEST_TRAIN for train in trains)
    assert Feed().packets_per_s == pytest.approx(264, rel=0.1)
    assert Feed(rate=2).packets_per_s == 2 * Feed().packets_per_s


@pytest.mark.parametrize(
    ("lengths", "mean"),
    [
        ({1: 10}, 1.0),
        ({1: 50, 2: 30, 4: 20}, 1.9),
        ({6: 100, 12: 100}, 8.0),
        ({8: 10, 16: 990}, 13.2),
    ],
)
def test_trains_that_were_reached_have_their_mean(lengths: dict[int, int], mean: float) -> None:
    trains = trains_reached(lengths, mean, 900)
    assert sum(map(len, trains)) / len(trains) == pytest.approx(mean, rel=0.06)
    assert 20 <= len(trains) <= 200
    assert {size for train in trains for size in train} == {900}


def test_trains_that_were_reached_come_mixed() -> None:
    trains = trains_reached({1: 50, 16: 50}, 8.5, 900)
    assert {len(train) for train in trains[:10]} != {1}
    assert {len(train) for train in trains[-10:]} != {16}


def test_nothing_reached_is_nothing_sent() -> None:
    assert trains_reached({}, 0.0, 900) == ()


def test_a_ceiling_is_the_median_of_its_rounds() -> None:
    found = Ceiling()
    for trains in (500e3, 700e3, 600e3):
        found.add({TRAINS: trains, SINGLES: 170e3, EIGHT: 560e3})
    assert found.value == 600e3
    assert found.wrong is None


def test_a_ceiling_whose_trains_gain_nothing_is_none() -> None:
    found = Ceiling()
    found.add({TRAINS: 300e3, SINGLES: 170e3, EIGHT: 306e3})
    assert found.wrong is not None
    assert "1.80 times" in found.wrong
    assert Ceiling().wrong is None
    assert Ceiling().value is None


class Ended:
    """A sender that has ended."""

    def __init__(self, printed: str, last_words: str = "") -> None:
        self.printed = printed
        self.last_words = last_words


def test_figures_are_read_by_their_names() -> None:
    rows = [{"name": TRAINS, "packets_per_cpu_second": 559_000, "least": 1}]
    child = Ended(json.dumps({"suite": "gcm", "rows": rows}))
    assert ceiling.figures(child, 0) == {TRAINS: 559_000.0}  # type: ignore[arg-type]


@pytest.mark.parametrize("printed", ["", "{}", '{"rows": [{}]}', "[]"])
def test_what_is_no_figures_is_told(printed: str) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        ceiling.figures(Ended(printed), 0)  # type: ignore[arg-type]


def test_the_last_words_of_a_sender_that_failed_are_told() -> None:
    with pytest.raises(RunError, match="no route"):
        ceiling.figures(Ended("", "no route"), 3)  # type: ignore[arg-type]


def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no program"):
        ceiling.find(tmp_path / "none", lambda _: None)


def test_without_cargo_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="pyforward-ceiling"):
        ceiling.find(None, lambda _: None)


def test_a_program_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / ceiling.PROGRAM
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ceiling.find(None, lambda _: None) == program
    assert ceiling.find(program, lambda _: None) == program
