"""The table of rows, and how they judge what was measured."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pyforward.errors import ConfigError
from pyforward_bench import results
from pyforward_bench.rig.inside import line
from pyforward_bench.rig.measured import unlike
from pyforward_bench.rig.report import Report
from pyforward_bench.rig.rows import TABLE, Figure, Spec, chosen
from pyforward_bench.rig.rows.overload import jain
from pyforward_bench.rig.rows.spec import is_least, is_most, joined, quantile
from pyforward_bench.rig.scale import FULL, QUICK
from pyforward_bench.rig.stand import Stand
from tests.unit.bench.test_host import WELL


async def _nothing(stand: Stand, spec: Spec) -> list[Figure]:
    return []


SPEC = Spec("r00", "a figure", "ms", "≤ 5 ms", _nothing)


# The table ---------------------------------------------------------------------------------------


def test_every_row_is_there_once() -> None:
    names = [spec.row for spec in TABLE]
    assert len(set(names)) == len(names)
    numbered = {f"r{number:02}" for number in range(1, 17)} | {"r01s", "r04u", "r05a"}
    assert numbered | {"techniques", "policies", "peers"} == set(names)


def test_rows_are_chosen_in_the_order_of_the_table() -> None:
    assert chosen(()) == list(TABLE)
    assert [spec.row for spec in chosen(("r04", "r01"))] == ["r01", "r04"]


def test_a_row_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no row r99; there are peers, policies, r01, "):
        chosen(("r01", "r99"))


def test_what_others_are_held_against_comes_first() -> None:
    order = [spec.row for spec in TABLE]
    for before, after in (("r01", "r02"), ("r01", "r11"), ("r05", "r06"), ("r05", "r13")):
        assert order.index(before) < order.index(after)


# Figures -----------------------------------------------------------------------------------------


def test_a_figure_is_the_median_of_its_rounds() -> None:
    row = SPEC.of([3.0, 9.0, 4.0], met=True).row
    assert (row.value, row.low, row.high, row.rounds) == (4.0, 3.0, 9.0, 3)
    assert (row.target, row.met) == ("≤ 5 ms", True)


def test_a_part_has_its_own_name_unit_and_target() -> None:
    row = SPEC.of([1.0], part="p99", unit="s", target="< 2 s").row
    assert (row.name, row.unit, row.target) == ("a figure: p99", "s", "< 2 s")
    assert SPEC.of([1.0], part="p50").row.target is None
    assert SPEC.could_not("no packet came", "p99").row.name == "a figure: p99"


def test_notes_are_joined() -> None:
    assert joined("a", None, "", "b") == "a; b"
    assert joined(None) is None


def test_medians_are_judged() -> None:
    assert is_most([1.0, 2.0, 90.0], 2.0)
    assert not is_most([1.0, 3.0, 90.0], 2.0)
    assert is_least([1.0, 2.0, 90.0], 2.0)
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0


@pytest.mark.parametrize(
    ("counts", "index"),
    [([5.0] * 8, 1.0), ([8.0, 0, 0, 0], 0.25), ([], 0.0), ([0.0, 0.0], 0.0), ([1.0, 3.0], 0.8)],
)
def test_jain(counts: list[float], index: float) -> None:
    assert jain(counts) == pytest.approx(index)


def test_reasons_that_differ_in_figures_are_told_once() -> None:
    reasons = ["1.5 s of CPU, 7% apart", "it was late", "2 s of CPU, 90% apart"]
    assert unlike(reasons) == ["1.5 s of CPU, 7% apart", "it was late"]


def test_a_line_for_the_terminal() -> None:
    assert re.fullmatch(r"r00 +a figure: 4\.00 ms, .*: met", line(SPEC.of([3, 4, 9], met=True)))
    beside = replace(SPEC, unit="1/s").of([87.0, 83.0, 91.0], ceilings=[100.0] * 3)
    assert "0.87 (0.83–0.91) of the ceiling" in line(beside)
    assert "5.003 ms, target ≤ 5 ms: missed" in line(SPEC.of([5.003], met=False))
    later = SPEC.of([3.0, 4.0, 6.0], ceilings=[2.0] * 3)
    assert "2.00 (1.50–3.00) times the ceiling sender's" in line(later)
    assert line(SPEC.could_not("no nft", lacking=True)).endswith("a figure: not run: no nft")
    assert line(SPEC.could_not("the server ended")).endswith("a figure: failed: the server ended")


# The run -----------------------------------------------------------------------------------------


def test_own_rounds_change_a_scale() -> None:
    assert FULL.with_options(None, None) == FULL
    changed = QUICK.with_options(1, 1.0)
    assert (changed.rounds, changed.seconds, changed.ceiling_s, changed.few) == (1, 1.0, 1.0, 1)
    longer = FULL.with_options(None, 8.0)
    assert (longer.rounds, longer.seconds, longer.ceiling_s, longer.tail_s) == (8, 8.0, 4.0, 8.0)
    assert [FULL.with_options(rounds, None).few for rounds in (1, 3, 5, 20)] == [1, 3, 5, 5]


def test_two_full_runs_hardly_ever_differ_by_chance() -> None:
    """The ranges of two sets of n values of the same thing are disjoint in two of all orders."""
    for rounds in (FULL.rounds, FULL.few):
        assert 2 / math.comb(2 * rounds, rounds) < 0.01


def test_results_are_in_the_schema_after_each_row(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    report = Report(path, ["rig", "--quick"])
    report.offloads({"rig0 tx-udp-segmentation": "off"})
    report.add([SPEC.of([4.0], note="few viewers")])
    first = results.read(path)
    assert first.valid
    assert first.machine.offloads == {"rig0 tx-udp-segmentation": "off"}
    assert "r00: few viewers" in first.notes
    assert report.exit_code == 0
    report.could_not_all([SPEC, *chosen(("r02",))], "the run was stopped before")
    report.doubt(["r00: late", "r00: late"])
    report.write()
    last = results.read(path)
    assert [row.row for row in last.rows] == ["r00", "r02"]
    assert last.invalid_because == ["r00: late"]
    assert report.exit_code == 4
    assert str(path) in report.told()


def test_the_commit_is_that_of_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter(["0123456789ab", "0123456789ab-dirty"])
    monkeypatch.setattr(results, "commit_now", lambda: next(commits))
    report = Report(tmp_path / "rig.json", ["rig"])
    for number in range(3):
        report.add([SPEC.of([4.0], part=str(number))])
        assert results.read(tmp_path / "rig.json").commit == "0123456789ab"


def test_a_note_says_what_it_is_about_and_stands_once(tmp_path: Path) -> None:
    report = Report(tmp_path / "rig.json", ["rig"])
    report.add(
        [
            SPEC.of([1.0], part="p50", note="all"),
            SPEC.of([1.0], part="p99", note="all"),
            SPEC.of([1.0], part="max", note="one"),
        ]
    )
    assert report.results().notes[1:] == ["r00: all", "r00, a figure: max: one"]


def test_the_harness_itself_is_told_at_its_most_and_in_which_row(tmp_path: Path) -> None:
    report = Report(tmp_path / "rig.json", ["rig"])
    assert not any("harness itself" in note for note in report.results().notes)
    report.strained("r01", [WELL, replace(WELL, cores=0.91, lag_p99_ms=1.0)])
    report.strained("r05", [replace(WELL, lag_p99_ms=12.25, receive_drops=3), WELL])
    *_, note = report.results().notes
    assert note == (
        "The harness itself, in whichever interval it was most: 0.91 cores (r01), a shard busy 50% "
        "of the time (r01), 1 % of the time the event loop 12.2 ms late (r05), 3 datagrams not "
        "read in time (r05), 0 records or events dropped."
    )
    assert f"note: {note}" in report.told()


VALUE = SPEC.of([1.0])
FAILED = SPEC.could_not("the server ended")
LACKING = SPEC.could_not("no nft", lacking=True)


@pytest.mark.parametrize(
    ("figures", "named", "doubts", "code"),
    [
        ([VALUE], False, [], 0),
        ([VALUE], True, [], 0),
        ([VALUE, LACKING], False, [], 0),
        ([VALUE, LACKING], True, [], 3),
        ([LACKING, LACKING], False, [], 3),
        ([VALUE, FAILED], False, [], 1),
        ([VALUE, FAILED], True, [], 1),
        ([FAILED, LACKING], False, [], 1),
        ([VALUE], False, ["it was late"], 4),
        ([VALUE, FAILED, LACKING], True, ["it was late"], 4),
    ],
)
def test_the_exit_code_says_what_came_of_every_row(
    tmp_path: Path, figures: list[Figure], named: bool, doubts: list[str], code: int
) -> None:
    report = Report(tmp_path / "rig.json", ["rig"], named=named)
    for number, figure in enumerate(figures):
        row = figure.row.model_copy(update={"row": f"r{number:02}"})
        report.add([replace(figure, row=row)])
    report.doubt(doubts)
    assert report.exit_code == code


def test_what_a_run_could_not_begin_is_lacking(tmp_path: Path) -> None:
    report = Report(tmp_path / "rig.json", ["rig"])
    report.could_not_all([SPEC], "no namespace", lacking=True)
    assert report.exit_code == 3
