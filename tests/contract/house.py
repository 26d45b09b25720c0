"""Where the house is, for the tests of its own rules."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pyforward"
NATIVE = ROOT / "native"


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the repository; where there is no git, as in an sdist, those of the house."""
    answer = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        names = [name for name in answer.stdout.split("\0") if name]
        return tuple(path for name in names if (path := ROOT / name).is_file())
    return tuple(path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts)


def sources(*suffixes: str) -> list[Path]:
    """Those of them whose names end so."""
    return [path for path in tracked() if path.suffix in suffixes]


def name_of(path: Path) -> str:
    """As a person would write it."""
    return path.relative_to(ROOT).as_posix()
