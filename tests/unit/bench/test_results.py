"""The one schema: what it takes and refuses, its files, and the README's table."""

from __future__ import annotations

import json
import os
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pyforward.errors import ConfigError, HostError
from pyforward_bench import results
from pyforward_bench.results import Results, Row, could_not, row_of
from tests.unit.bench import runs
from tests.unit.bench.runs import STARTED

run = partial(runs.run, argv=["rig", "--quick"])

FAST = row_of(
    "r01", "packets per CPU-second", "1/s", [5e5, 4.5e5, 5.5e5], ceilings=[1e6] * 3, target="≥ 0.85"
)
NOT_RUN = could_not("r16", "two cores", "1/s", "There is only one core.")


def full(**changed: Any) -> Results:
    """Of a run of all rows."""
    others = [could_not(row, "x", "1", "No.") for row in sorted(results.ALL_ROWS - {"r01"})]
    return run(FAST, *others, **{"argv": ["rig"]} | changed)


# Rows --------------------------------------------------------------------------------------------


def test_a_row_is_the_median_of_its_rounds_with_their_range() -> None:
    row = row_of("r06", "p99", "ms", [3, 1, 2.5, 9], target="≤ 5", met=True)
    assert (row.value, row.median, row.low, row.high, row.rounds) == (2.75, 2.75, 1, 9, 4)
    assert (row.target, row.met, row.why) == ("≤ 5", True, None)


def test_a_share_is_the_median_of_the_pairs_and_not_of_the_medians() -> None:
    # A machine that becomes twice as fast, a server at 0.8 of it but for one round at 0.5.
    row = row_of("r01", "packets", "1/s", [80, 100, 160], ceilings=[100, 200, 200])
    assert row.ceiling == 200
    assert row.share_of_ceiling == pytest.approx(0.8)
    assert (row.share_low, row.share_high) == pytest.approx((0.5, 0.8))


def test_of_a_cost_the_share_is_the_ceiling_s() -> None:
    row = row_of("r11", "cost", "µs", [2.0, 4.0], ceilings=[1.0, 3.0], less_is_better=True)
    assert (row.share_low, row.share_high) == pytest.approx((0.5, 0.75))


def test_values_and_ceilings_are_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        row_of("r01", "packets", "1/s", [1, 2], ceilings=[1])


def test_a_row_without_a_ceiling_has_no_share_of_it() -> None:
    row = row_of("r10", "memory", "kB", [1])
    assert (row.ceiling, row.share_of_ceiling, row.share_low, row.share_high) == (None,) * 4


def test_a_share_in_an_older_file_has_no_range() -> None:
    older = {key: value for key, value in WHOLE.items() if not key.startswith("share_")}
    row = Row.model_validate(older | {"share_of_ceiling": 0.76})
    assert (row.share_low, row.share_high) == (None, None)
    assert results.share(row) == "0.76"


def test_no_values_are_no_row() -> None:
    with pytest.raises(ValueError, match="could not be run"):
        row_of("r01", "packets", "1/s", [])


def test_what_could_not_be_run_says_why_and_has_no_value() -> None:
    assert (NOT_RUN.value, NOT_RUN.rounds, NOT_RUN.why) == (None, 0, "There is only one core.")


WHOLE = FAST.model_dump()


@pytest.mark.parametrize(
    "changed",
    [
        {"value": float("nan")},
        {"high": float("inf")},
        {"value": "5"},
        {"value": None},
        {"value": None, "why": "It failed."},
        {"why": "It failed."},
        {"rounds": 0},
        {"rounds": True},
        {"rounds": 1.0},
        {"median": None},
        {"low": None},
        {"low": 500_001.0},
        {"high": 499_999.0},
        {"row": ""},
        {"met": 1},
        {"fastest": 1.0},
        {"share_low": None},
        {"share_low": 0.51},
        {"share_high": 0.49},
        {"share_of_ceiling": None},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    assert Row.model_validate(WHOLE) == FAST
    with pytest.raises(ValidationError):
        Row.model_validate(WHOLE | changed)


@pytest.mark.parametrize("field", ["met", "median", "low", "high", "rounds", "share_of_ceiling"])
def test_a_row_that_was_not_run_has_no_figures(field: str) -> None:
    value = {"met": True, "rounds": 1}.get(field, 1.0)
    with pytest.raises(ValidationError, match="no figures"):
        Row.model_validate(NOT_RUN.model_dump() | {field: value})


def test_a_row_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        FAST.value = 1.0


# Runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"valid": False},
        {"invalid_because": ["It dropped."]},
        {"started": STARTED.replace(tzinfo=None)},
        {"started": "yesterday"},
        {"duration_s": -1.0},
        {"schema": "pyforward-bench/2"},
        {"rows": [FAST, FAST]},
        {"notes": [""]},
        {"argv": "rig"},
        {"host": "mine"},
    ],
    ids=str,
)
def test_a_run_that_contradicts_itself_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run(**changed)


def test_a_run_begins_with_what_is_known_of_the_machine() -> None:
    made = results.begin(
        command="load",
        argv=["load", "http://[::1]/"],
        started=STARTED,
        duration_s=1,
        commit=results.commit_now(),
        rows=[FAST, NOT_RUN],
        notes=("On loopback.",),
        invalid_because=("It was too slow.",),
        offloads={"veth0 tx-udp-segmentation": "off"},
    )
    assert not made.valid
    assert made.rows == [FAST, NOT_RUN]
    assert made.machine.cores >= 1
    assert made.machine.memory_mib > 100
    assert made.machine.kernel
    assert made.machine.cpu
    assert {"python", "pyforward", "uvloop"} <= set(made.machine.versions)
    assert made.machine.offloads == {"veth0 tx-udp-segmentation": "off"}
    assert made.commit


# Files -------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    made = run(FAST, NOT_RUN, notes=["µ"], started=STARTED.astimezone(timezone(timedelta(hours=2))))
    results.write(made, path)
    assert results.read(path) == made
    results.write(run(), path)
    assert results.read(path) == run()
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]


def test_the_file_has_every_field_under_its_own_name(tmp_path: Path) -> None:
    results.write(run(FAST), tmp_path / "run.json")
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["schema"] == "pyforward-bench/1"
    assert written["started"] == "2026-01-02T03:04:05Z"
    assert set(written["rows"][0]) == set(Row.model_fields)


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    results.write(run(FAST), path)
    with pytest.raises(HostError, match=r"cannot be written to .*run\.json/more\.json"):
        results.write(run(), path / "more.json")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="No space left on device"):
        results.write(run(NOT_RUN), path)
    assert results.read(path) == run(FAST)
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no results: the whole"),
        ("[]", "holds no results"),
        ("{}", "holds no results: schema"),
        ("NaN", "holds no results"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_results_is_refused_in_one_line(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        results.read(path)
    assert "\n" not in str(refused.value)


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    results.write(run(FAST, NOT_RUN), path)
    path.write_text(path.read_text().replace('"There is only one core."', "null"))
    with pytest.raises(ConfigError, match=r"rows\.1.*says why"):
        results.read(path)


# The table ---------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_row() -> None:
    once = row_of("r04", "a|b", "Gbit/s", [5.4321], target="reported")
    missed = row_of("r06", "p99", "ms", [11, 12, 13.25], target="≤ 10", met=False)
    later = row_of("r06", "p50", "ms", [3, 4, 6], ceilings=[2] * 3)
    steps = row_of("r05", "viewers", "", [900]).model_copy(update={"high": 945.0})
    lines = results.table(run(FAST, once, missed, later, steps, NOT_RUN)).splitlines()
    assert lines[2:8] == [
        (
            "| r01 | packets per CPU-second | 500,000 1/s | 450,000 – 550,000 | 3 "
            "| 0.50 (0.45–0.55) | ≥ 0.85 |"
        ),
        "| r04 | a\\|b | 5.43 Gbit/s |  | 1 |  | reported |",
        "| r06 | p99 | 12.0 ms | 11.0 – 13.2 | 3 |  | ≤ 10 ✗ |",
        "| r06 | p50 | 4.00 ms | 3.00 – 6.00 | 3 | 2.00 (1.50–3.00) times |  |",
        "| r05 | viewers | 900 | 900 – 945 | 1 |  |  |",
        "| r16 | two cores | not run: There is only one core. |  |  |  |  |",
    ]
    origin = "2026-01-02, commit 0123456789ab, 2 cores of A | B, 8 GiB, Linux 6.18.1"
    assert lines[8:] == ["", f"{origin}, `pyforward-bench rig --quick`."]


def test_where_results_may_go_is_known_before(tmp_path: Path) -> None:
    results.check(tmp_path / "a" / "x.json")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "x.json", Path("/proc/x.json")):
        with pytest.raises(HostError, match=r"could not be written to .*Say with --output where"):
            results.check(path)


def test_an_invalid_run_says_so_under_its_table() -> None:
    text = results.table(run(FAST, valid=False, invalid_because=["It dropped.", "It lagged."]))
    assert text.endswith("\n\n**Invalid**: It dropped. It lagged.\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (0.9996, "1.00"),
        (9.876, "9.88"),
        (99.96, "100"),
        (-12.34, "-12.3"),
        (123.4, "123"),
        (1234567.8, "1,234,568"),
    ],
)
def test_numbers_have_three_digits_that_say_something(value: float, text: str) -> None:
    assert results.number(value) == text


@pytest.mark.parametrize(
    ("value", "target", "text"),
    [
        (99.876, "≥ 99.9 %", "99.88"),
        (99.9, "≥ 99.9 %", "99.9"),
        (99.8999999, "≥ 99.9 %", "99.8999999"),
        (99.9 * (1 + 1e-12), "≥ 99.9 %", "99.9"),
        (99.849, "≥ 99.9 %", "99.8"),
        (4.998, "≥ 5 times", "4.998"),
        (5.002, "≥ 5 times", "5.002"),
        (5.0, "≥ 5 times", "5.00"),
        (1.0004, "≤ 1 ms", "1.0004"),
        (300.2, "≥ 300", "300.2"),
        (9_999.7, "≤ 10,000", "9,999.7"),
        (-3.002, "within 3 %", "-3.002"),
        (-24.96, "-25 to -15 %", "-24.96"),
        (0.0001, "≥ 0.85 of the ceiling", "0.000100"),
        (512_345.6, "≥ 0.85 of the ceiling, ≥ 0.7 of r01", "512,346"),
        (99.96, "none", "100"),
        (0.0, "≤ 1 ms", "0"),
    ],
)
def test_a_number_shows_on_which_side_of_its_target_it_is(
    value: float, target: str, text: str
) -> None:
    assert results.number(value, target) == text


def test_so_does_a_share() -> None:
    missed = row_of("r01", "packets", "1/s", [846, 847, 852], ceilings=[1_000] * 3, target="≥ 0.85")
    assert results.share(missed) == "0.847 (0.85–0.85)"
    assert results.ratio(0.847) == "0.85"


def test_the_table_shows_why_a_target_was_missed() -> None:
    row = row_of("peers", "to baseline", "times", [4.998], target="≥ 5 times each", met=False)
    assert "| 4.998 times |" in results.table(run(row))


def test_the_readme_s_table_is_replaced_and_nothing_else() -> None:
    readme = f"# It\n\nBefore.\n\n{results.BEGIN}\nold\n{results.END}\n\nAfter.\n"
    first, second = full(), full(commit="later")
    once = results.in_readme(readme, first)
    assert once == readme.replace("old\n", results.table(first))
    assert results.in_readme(once, second) == readme.replace("old\n", results.table(second))


@pytest.mark.parametrize(
    "other",
    [
        run(FAST, argv=["rig", "r01"]),
        full(argv=["rig", "--quick"]),
        run(
            FAST,
            *(could_not(row, "x", "1", results.STOPPED) for row in results.ALL_ROWS - {"r01"}),
            argv=["rig"],
        ),
    ],
    ids=["some", "quick", "stopped"],
)
def test_the_readme_s_table_is_of_a_full_run(other: Results) -> None:
    with pytest.raises(ConfigError, match="not the results of a full run"):
        results.in_readme(f"{results.BEGIN}\n{results.END}\n", other)


def test_the_readme_s_table_is_of_a_run_that_counts() -> None:
    doubted = full(valid=False, invalid_because=["The machine was busy."])
    with pytest.raises(ConfigError, match=r"is invalid: The machine was busy\."):
        results.in_readme(f"{results.BEGIN}\n{results.END}\n", doubted)


@pytest.mark.parametrize(
    "readme",
    [
        "",
        results.BEGIN,
        results.END,
        f"{results.END}\n{results.BEGIN}\n",
        f"{results.END}\n{results.BEGIN}\n{results.END}\n",
        f"{results.BEGIN}\n{results.END}\n{results.END}\n",
        f"{results.BEGIN}\n{results.BEGIN}\n{results.END}\n",
    ],
)
def test_a_readme_without_its_two_markers_is_refused(readme: str) -> None:
    with pytest.raises(ConfigError, match="needs one line <!-- bench:begin -->"):
        results.in_readme(readme, full())
