"""PYFORWARD_PURE=1 loads the uncompiled twins though compiled ones lie beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import twins
from tests.contract.house import PACKAGE, ROOT

ASK = """
import sys
sys.modules["cython"] = sys.modules["Cython"] = None  # an import of either would fail
import json
from pyforward.media import packetizers
from pyforward.media.packetizers import h264, vp8
print(json.dumps({
    "compiled": packetizers.compiled,
    "files": [h264.__file__, vp8.__file__, packetizers.opus.__file__],
    "payloads": [p.hex() for p in h264.packetize(b"\\0\\0\\1eab", 9)
                 + vp8.packetize(b"abc", 1, 9)],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package as a wheel installs it: sources with their twins beside them."""
    built = twins.compiled(tmp_path_factory.getbasetemp() / "twins")
    place = tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, place / "pyforward", ignore=shutil.ignore_patterns("*.so", "*.pyc"))
    for library in built.values():
        shutil.copy(library, place / "pyforward" / "media" / "packetizers")
    return place


def loaded(installed: Path, pure: str | None) -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("PYFORWARD_PURE", None)
    if pure is not None:
        environment["PYFORWARD_PURE"] = pure
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, object] = json.loads(answer.stdout)
    return result


@pytest.mark.parametrize("pure", [None, "", "0"])
def test_the_compiled_twins_are_taken_unasked(installed: Path, pure: str | None) -> None:
    answer = loaded(installed, pure)
    directory = installed / "pyforward" / "media" / "packetizers"
    assert answer["compiled"] is True
    assert answer["files"] == [
        str(directory / name) for name in ("h264.abi3.so", "vp8.abi3.so", "opus.py")
    ]


def test_pure_takes_the_sources_and_they_do_the_same(installed: Path) -> None:
    answer = loaded(installed, "1")
    directory = installed / "pyforward" / "media" / "packetizers"
    assert answer["compiled"] is False
    assert answer["files"] == [str(directory / name) for name in ("h264.py", "vp8.py", "opus.py")]
    assert answer["payloads"] == loaded(installed, None)["payloads"] == ["656162", "90808001616263"]


def test_the_tests_compile_what_setup_compiles() -> None:
    setup = (ROOT / "setup.py").read_text()
    for name in twins.NAMES:
        assert f'"pyforward.media.packetizers.{name}"' in setup
    assert setup.count('    "pyforward.media.') == len(twins.NAMES)


def test_cython_is_needed_to_build_and_not_to_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert any(need.startswith("cython") for need in project["build-system"]["requires"])
    assert not any(need.startswith("cython") for need in project["project"]["dependencies"])
