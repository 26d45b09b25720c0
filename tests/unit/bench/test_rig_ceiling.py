"""What the ceiling sender is given, and what is made of its figures."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from pyforward.errors import HostError, RunError
from pyforward_bench.rig import ceiling
from pyforward_bench.rig.ceiling import (
    EIGHT,
    SEAL,
    SINGLES,
    TRAINS,
    Played,
    Sent,
    even_trains,
    trains_of,
    trains_reached,
)
from pyforward_bench.rig.child import Child
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


def test_what_padding_cannot_even_out_is_another_train() -> None:
    # As a keyframe begins: with its parameter sets alone.
    assert even_trains((78, 1146, 1146, 1147)) == [(78,), (1147, 1147, 1147)]
    assert even_trains((1200, 1189, 300)) == [(1200, 1200, 300)]
    assert even_trains((1200, 1188, 300)) == [(1200, 1188), (300,)]
    assert even_trains((50, 51)) == [(50,), (51,)]
    assert even_trains(()) == []


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


def sent(
    trains: float = 600e3,
    singles: float = 170e3,
    eight: float = 560e3,
    seal: float = 1e9,
    busy_s: float = 3.0,
) -> Sent:
    return Sent({TRAINS: trains, SINGLES: singles, EIGHT: eight, SEAL: seal}, 3.0, busy_s)


def test_a_ceiling_that_nothing_is_wrong_with() -> None:
    for rounds in ([sent(500e3), sent(700e3), sent(600e3)], []):
        assert ceiling.missing_gain(rounds) == []
        assert ceiling.disturbance(rounds) == []


def test_a_run_whose_trains_gain_nothing_does_not_count() -> None:
    (told,) = ceiling.missing_gain([sent(eight=306e3)] * 3 + [sent()] * 2)
    assert "1.80 times" in told
    assert "5 rounds" in told


def test_a_round_in_which_trains_gain_less_costs_nothing() -> None:
    assert ceiling.missing_gain([sent(eight=306e3)] * 2 + [sent()] * 3) == []


def test_what_trains_gain_is_told_with_what_was_reached() -> None:
    (told,) = ceiling.told_gain([sent(singles=428e3, eight=628e3, seal=842e3)] * 3)
    for figure in ("428,000", "628,000", "1.47 times", "2.84 times", "3 rounds"):
        assert figure in told
    assert ceiling.told_gain([]) == []
    assert ceiling.told_gain([Sent({TRAINS: 600e3}, 3.0, 3.0)]) == []


def test_sealing_is_left_out_of_the_gain() -> None:
    round_ = sent(singles=428e3, eight=628e3)
    assert round_.gain == pytest.approx(1.47, abs=0.01)
    assert sent(singles=428e3, eight=628e3, seal=842e3).gain == pytest.approx(2.84, abs=0.01)
    assert sent(seal=500e3).gain == 0.0  # sealing alone cannot take longer


def test_a_ceiling_on_a_core_that_others_used_is_none() -> None:
    (told,) = ceiling.disturbance([sent(), sent(busy_s=4.0)])
    assert "4.00 s" in told


def test_the_server_s_part_of_the_core_is_known() -> None:
    assert ceiling.disturbance([replace(sent(busy_s=4.0), server_s=0.9)]) == []
    (told,) = ceiling.disturbance([replace(sent(busy_s=4.0), server_s=0.5)])
    assert "the server beside it 0.50 s" in told


@dataclass(frozen=True)
class Ended:
    printed: str
    last_words: str


def ended(printed: str, last_words: str = "") -> Child:
    """A sender that has ended."""
    return cast("Child", Ended(printed, last_words))


def test_figures_are_read_by_their_names() -> None:
    rows = [{"name": TRAINS, "packets_per_cpu_second": 559_000, "least": 1}]
    child = ended(json.dumps({"suite": "gcm", "rows": rows, "cpu_s": 1.5, "busy_s": 1.6}))
    assert ceiling.read(child, 0) == Sent({TRAINS: 559_000.0}, 1.5, 1.6)


def test_of_a_schedule_lateness_and_losses_are_read() -> None:
    told = {"sent": 1_004, "packets": 1_000, "lost": 2, "behind_us": 80, "cpu_s": 0.002}
    latency = {"count": 500, "p50": 900, "p99": 9_800, "p999": 12_000, "most": 13_000}
    child = ended(json.dumps(told | {"latency_us": latency}))
    latency_us = {"p50": 900.0, "p99": 9_800.0, "p99.9": 12_000.0}
    assert ceiling.read_played(child, 0) == Played(1_004, 2, latency_us, 80.0, 500e3)
    nothing = ended(json.dumps(told | {"latency_us": latency | {"p99": None}}))
    assert ceiling.read_played(nothing, 0).latency_us["p99"] is None
    with pytest.raises(RunError, match="cannot be read"):
        ceiling.read_played(ended(json.dumps(told)), 0)


@pytest.mark.parametrize("printed", ["", "{}", '{"rows": [{}]}', "[]"])
def test_what_is_no_figures_is_told(printed: str) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        ceiling.read(ended(printed), 0)


def test_the_last_words_of_a_sender_that_failed_are_told() -> None:
    with pytest.raises(RunError, match="no route"):
        ceiling.read(ended("", "no route"), 3)


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
