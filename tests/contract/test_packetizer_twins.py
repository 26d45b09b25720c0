"""PYFORWARD_PURE=1 loads the uncompiled twins though compiled ones lie beside them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import twins
from tests.contract.house import ROOT, name_of, sources

ASK = """
import sys
sys.modules["cython"] = sys.modules["Cython"] = None  # an import of either would fail
import importlib, json
from pyforward.media import packetizers
from pyforward.media.packetizers import h264, vp8
from pyforward_bench import statistics
from pyforward_bench.records import RECORD
tally = statistics.Tally(skew=True)
tally.feed(b"".join(RECORD.pack(n * 9, n % 2, n // 3, n, n, n, n, 97) for n in range(1, 99)))
print(json.dumps({
    "compiled": [packetizers.compiled, statistics.compiled],
    "files": [importlib.import_module(name).__file__ for name in sys.argv[1:]],
    "not twins": packetizers.opus.__file__,
    "results": [
        [p.hex() for p in h264.packetize(b"\\0\\0\\1eab", 9) + vp8.packetize(b"abc", 1, 9)],
        repr(tally.figures()),
    ],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages as a wheel installs them: sources with their twins beside them."""
    built = twins.compiled(twins.NAMES)
    place = tmp_path_factory.mktemp("installed")
    for package in (ROOT / "pyforward", ROOT / "bench" / "pyforward_bench"):
        left_out = shutil.ignore_patterns("*.so", "*.pyc")
        shutil.copytree(package, place / package.name, ignore=left_out)
    for name, library in built.items():
        shutil.copy(library, place.joinpath(*name.split(".")[:-1]))
    return place


def loaded(installed: Path, pure: str | None) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("PYFORWARD_PURE", None)
    if pure is not None:
        environment["PYFORWARD_PURE"] = pure
    answer = subprocess.run(
        [sys.executable, "-c", ASK, *twins.NAMES],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(answer.stdout)
    return result


def files(installed: Path, suffix: str) -> list[str]:
    return [str(installed.joinpath(*name.split("."))) + suffix for name in twins.NAMES]


@pytest.mark.parametrize("pure", [None, "", "0"])
def test_the_compiled_twins_are_taken_unasked(installed: Path, pure: str | None) -> None:
    answer = loaded(installed, pure)
    assert answer["compiled"] == [True, True]
    assert answer["files"] == files(installed, ".abi3.so")
    assert str(answer["not twins"]).endswith("/opus.py")


def test_pure_takes_the_sources_and_they_do_the_same(installed: Path) -> None:
    answer = loaded(installed, "1")
    assert answer["compiled"] == [False, False]
    assert answer["files"] == files(installed, ".py")
    assert answer["results"] == loaded(installed, None)["results"]
    assert isinstance(answer["results"], list)
    payloads, figures = answer["results"]
    assert payloads == ["656162", "90808001616263"]
    assert "packets=98" in figures


def test_every_cython_module_is_compiled_and_looked_for_in_the_wheel() -> None:
    """It shows by its annotations; the wheel's check wants it as source and as library."""
    check = (ROOT / "scripts" / "wheel-check").read_text()
    marked = {
        name_of(path).removeprefix("bench/").removesuffix(".py")
        for path in sources(".py")
        if re.search(r"^    import cython$", path.read_text(), re.MULTILINE)
    }
    assert marked == {name.replace(".", "/") for name in twins.NAMES}
    assert marked == set(re.findall(r'"(.+)\.abi3\.so"', check)) - {"pyforward/_native"}
    assert marked <= set(re.findall(r'"(.+)\.py"', check))


def test_cython_is_needed_to_build_and_not_to_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(need.startswith("cython") for need in project["build-system"]["requires"])
    assert not any(need.startswith("cython") for need in project["project"]["dependencies"])
