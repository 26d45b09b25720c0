"""Whether two results agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pyforward_bench import cli, compare, results
from pyforward_bench.results import Results, Row, could_not, row_of
from tests.unit.bench.runs import MACHINE, run

CEILING = [1_000.0, 1_100.0, 900.0]


def packets(shares: Sequence[float], speed: float = 1.0) -> Row:
    """Rates that are these shares of the ceiling, on a machine that is so fast."""
    ceilings = [speed * each for each in CEILING]
    rates = [share * each for share, each in zip(shares, ceilings, strict=True)]
    return row_of("r01", "packets", "1/s", rates, ceilings=ceilings)


def latency(*values: float, ceilings: Sequence[float] = ()) -> Row:
    return row_of("r06", "p99", "ms", values, ceilings=ceilings)


AS_IT_IS = packets([0.87, 0.83, 0.91])


def told(one: Results, other: Results) -> tuple[list[str], compare.Comparison]:
    found = compare.compared(one, other)
    return list(found.told), found


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ((1, 2, 3), (3, 4, 5), True),
        ((1, 2, 3), (3.1, 4, 5), False),
        ((3.1, 4, 5), (1, 2, 3), False),
        ((1, 2, 9), (4, 5, 6), True),
        ((4, 4, 4), (1, 2, 9), True),
        ((4, 4, 4), (1, 2, 3), False),
        ((-3, -2, -1), (-9, -8, -3), True),
        ((0.1 + 0.2, 0.4, 0.5), (0.1, 0.2, 0.3), True),
        ((-0.3, -0.2, -0.1), (-0.5, -0.4, -(0.1 + 0.2)), True),
        ((0, 0, 1), (-1, -0.5, -1e-3), False),
    ],
)
def test_figures_agree_whose_ranges_overlap(
    first: tuple[float, ...], second: tuple[float, ...], agree: bool
) -> None:
    lines, found = told(run(latency(*first)), run(latency(*second)))
    assert found.all_agree is agree
    assert lines[2].endswith("| yes |" if agree else "| **no** |")
    assert lines[-1] == f"{int(agree)} of 1 figures agree."


def test_a_line_has_both_medians_and_ranges() -> None:
    lines, _ = told(run(latency(1, 2, 3)), run(latency(-3.5, 4, 5)))
    assert lines[2] == "| r06 | p99 | 2.00 ms (1.00 to 3.00) | 4.00 ms (-3.50 to 5.00) | yes |"


def test_a_faster_machine_is_no_difference() -> None:
    lines, found = told(run(AS_IT_IS), run(packets([0.9, 0.88, 0.84], speed=1.6)))
    assert found.all_agree
    assert lines[2] == (
        "| r01 | packets | 0.87 of the ceiling (0.83 to 0.91) "
        "| 0.88 of the ceiling (0.84 to 0.90) | yes |"
    )


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.25, 1.6])
def test_a_server_that_is_slowed_by_a_fifth_shows_on_any_machine(speed: float) -> None:
    slowed = packets([0.8 * share for share in (0.87, 0.83, 0.91)], speed)
    _, found = told(run(AS_IT_IS), run(slowed))
    assert not found.all_agree


def test_latencies_are_compared_in_times_of_the_ceiling_sender_s() -> None:
    quick = latency(2.0, 3.0, 4.0, ceilings=[2.0, 2.0, 2.0])
    lines, found = told(run(quick), run(latency(8.0, 9.0, 9.6, ceilings=[6.0] * 3)))
    assert found.all_agree
    assert lines[2] == (
        "| r06 | p99 | 1.50 times the ceiling sender's (1.00 to 2.00) "
        "| 1.50 times the ceiling sender's (1.33 to 1.60) | yes |"
    )


def test_what_missed_its_target_by_a_hair_is_shown_as_missed() -> None:
    rate = row_of("peers", "to baseline", "times", [4.9, 4.998, 5.2], target="≥ 5 times each")
    lines, _ = told(run(rate), run(AS_IT_IS, rate))
    assert "4.998 times (4.90 to 5.20)" in lines[2]
    share = packets([0.87, 0.8496, 0.8]).model_copy(update={"target": "≥ 0.85"})
    lines, _ = told(run(share), run(AS_IT_IS))
    assert "0.8496 of the ceiling (0.80 to 0.87)" in lines[2]


def steps(viewers: int, too_many: int, reached: int, beyond: int) -> Row:
    """Viewers per core, found between two steps as the ceiling sender's are."""
    row = row_of("r05a", "viewers", "viewers", [viewers], ceilings=[reached])
    ends = {"share_low": viewers / beyond, "share_high": too_many / reached}
    return row.model_copy(update={"high": float(too_many)} | ends)


def test_a_step_is_a_step_however_many_whole_viewers_it_is() -> None:
    first, second = steps(945, 999, 845, 893), steps(1_142, 1_208, 1_142, 1_208)
    lines, found = told(run(first), run(second))
    assert found.all_agree
    assert "(1.06 to 1.18)" in lines[2]
    assert "(0.95 to 1.06)" in lines[2]
    _, apart = told(run(steps(999, 1_056, 845, 893)), run(second))
    assert not apart.all_agree, "a step between them"


def test_where_one_has_no_ceiling_values_are_compared() -> None:
    alone = row_of("r01", "packets", "1/s", [870.0, 880.0])
    lines, found = told(run(AS_IT_IS), run(alone))
    assert found.all_agree
    assert "1/s" in lines[2]
    assert "ceiling" not in lines[2]


def test_an_older_share_has_the_range_of_its_figure() -> None:
    older = AS_IT_IS.model_copy(
        update={"share_of_ceiling": 0.9, "share_low": None, "share_high": None}
    )
    (pair,) = compare.compared(run(older), run(AS_IT_IS)).pairs
    assert pair.by_share
    low, high = (0.9 * each / older.value for each in (older.low, older.high))  # type: ignore[operator]
    assert (pair.first.low, pair.first.high) == pytest.approx((low, high))


def test_what_cannot_be_compared_is_listed() -> None:
    first = run(
        latency(1, 2),
        row_of("r10", "memory", "kB", [4.5]),
        row_of("r02", "mine", "1/s", [1, 2]),
        could_not("r03", "lost", "1/s", "It died."),
        row_of("r04", "found", "1/s", [1, 2]),
        could_not("r05", "never", "1/s", "No core."),
    )
    second = run(
        latency(1, 2),
        row_of("r10", "memory", "kB", [4.9]),
        row_of("r02", "mine", "packets", [1, 2]),
        row_of("r03", "lost", "1/s", [1, 2]),
        could_not("r04", "found", "1/s", "It fell."),
        could_not("r05", "never", "1/s", "No core."),
    )
    lines, found = told(first, second)
    assert found.all_agree
    assert lines[4:] == [
        "without a range in either: r10, memory: 4.50 and 4.90",
        "only in the first: r02, mine",
        "without a value in the first: r03, lost: It died.",
        "without a value in the second: r04, found: It fell.",
        "without a value in either: r05, never: No core.",
        "only in the second: r02, mine",
        "1 of 1 figures agree.",
    ]


def test_where_nothing_is_in_common_nothing_agrees() -> None:
    lines, found = told(run(latency(1, 2)), run(AS_IT_IS))
    assert not found.all_agree
    assert lines[-1] == "0 of 0 figures agree."


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({}, None),
        ({"commit": "ba9876543210"}, "not of the same commit: 0123456789ab, and ba9876543210."),
        (
            {"machine": MACHINE.model_copy(update={"kernel": "6.19"})},
            "not of the same machine: 2 cores of A | B, 8192 MiB, Linux 6.18.1, and 2 cores of",
        ),
        ({"argv": ["rig", "--quick"]}, "not of the same length: a full run, and a quick run."),
        ({"valid": False, "invalid_because": ["It was late."]}, "second run is invalid: It was"),
    ],
)
def test_what_makes_them_differ_anyway_is_said(
    changed: dict[str, Any], warning: str | None
) -> None:
    warnings = list(compare.warnings(run(AS_IT_IS), run(AS_IT_IS, **changed)))
    assert len(warnings) == (warning is not None)
    assert all(warning is not None and warning in each for each in warnings)


# The command -------------------------------------------------------------------------------------


def command(*paths: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(("compare", *map(str, paths)))
    return ended.value.code if isinstance(ended.value.code, int) else 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, alike, other = (tmp_path / f"{name}.json" for name in ("one", "alike", "other"))
    results.write(run(latency(1, 2, 3)), one)
    results.write(run(latency(2, 3, 4)), alike)
    results.write(run(latency(7, 8, 9), commit="ba9876543210"), other)
    assert command(one, alike) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"first: {one}, 2026-01-02 03:04, commit 0123456789ab\n")
    assert said.out.endswith("\n1 of 1 figures agree.\n")
    assert said.err == ""
    assert command(one, other) == 1
    said = capsys.readouterr()
    assert said.out.endswith("\n0 of 1 figures agree.\n")
    assert "not of the same commit" in said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: No such file"),
        ("pyforward", "holds no results: the whole: Invalid JSON"),
        ('{"schema": "pyforward-bench/2"}', "holds no results: schema: Input should be"),
    ],
)
def test_what_is_no_results_is_said_in_a_line(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    results.write(run(AS_IT_IS), good)
    if text is not None:
        bad.write_text(text)
    for paths in ((good, bad), (bad, good)):
        assert command(*paths) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith(f"pyforward-bench: {bad} {why}")
