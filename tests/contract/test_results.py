"""The harness's results on file are of the schema, and the schema on file is the code's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pyforward_bench import results
from tests.contract.house import ROOT, tracked

PLACE = ROOT / "bench" / "results"


def test_the_schema_is_the_code_s() -> None:
    again = "python -m pyforward_bench.results bench/results/schema.json"
    assert (PLACE / "schema.json").read_text() == results.schema(), f"run: {again}"


def test_results_on_file_are_of_the_schema() -> None:
    for path in tracked():
        if path.parent == PLACE and path.suffix == ".json" and path.name != "schema.json":
            results.read(path)


def test_the_readme_s_table_is_of_results_on_file() -> None:
    readme = (ROOT / "README.md").read_text()
    again = "python -m pyforward_bench.results README.md bench/results/RUN.json"
    (commit,) = re.findall(r"^\d{4}-\d{2}-\d{2}, commit (\S+),", readme, re.MULTILINE)
    of_commit = [
        found
        for path in tracked()
        if path.parent == PLACE and path.name != "schema.json"
        if (found := results.read(path)).commit == commit and found.command == "rig"
    ]
    # Which are of a full run, and of one that is valid, or this raises.
    assert readme in [results.in_readme(readme, found) for found in of_commit], f"run: {again}"


def module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyforward_bench.results", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'bench'}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_module_writes_the_schema_and_the_readme(tmp_path: Path) -> None:
    made = tmp_path / "schema.json"
    assert module(str(made)).returncode == 0
    assert made.read_text() == results.schema()

    readme = tmp_path / "README.md"
    readme.write_text("nothing to replace\n")
    answer = module(str(readme), str(made))
    assert answer.returncode == 1
    assert answer.stderr.startswith("pyforward-bench: ")
    assert answer.stderr.count("\n") == 1
    assert readme.read_text() == "nothing to replace\n"
