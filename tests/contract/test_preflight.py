"""A machine that misses something is told in exactly one line beginning ``pyforward:``.

Each test runs the real Makefile or setup.py with a PATH that holds only what it is given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """A PATH of our own making; ``copy`` is a source tree without a .venv."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.copy = folder / "clone"
        self.bin.mkdir()
        self.copy.mkdir()
        for name in ("Makefile", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
            (self.copy / name).symlink_to(ROOT / name)
        for name in ("scripts", "native", "pyforward", "bench"):
            (self.copy / name).symlink_to(ROOT / name)
        for name in ("sh", "make"):
            self.link(name)

    def link(self, name: str) -> None:
        found = shutil.which(name)
        assert found is not None, f"{name} is needed by this test"
        (self.bin / name).symlink_to(Path(found).resolve())

    def script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def python(self) -> None:
        self.script("python3.11", f'exec "{sys.executable}" "$@"')

    def rust(self, version: str) -> None:
        for name in ("cargo", "rustc"):
            self.script(name, f'echo "{name} {version} (0123456 2026-01-01)"')

    def run(self, *command: str) -> tuple[int, list[str]]:
        """The exit code, and the lines that begin ``pyforward:``."""
        answer = subprocess.run(
            command,
            cwd=self.copy,
            env={"PATH": str(self.bin), "HOME": str(self.copy)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        lines = answer.stdout.splitlines()
        return answer.returncode, [line for line in lines if line.startswith("pyforward:")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_make_run_without_a_compiler(machine: Machine) -> None:
    machine.python()
    machine.rust("1.99.0")
    code, lines = machine.run("make", "run")
    assert code != 0
    assert len(lines) == 1
    assert "build-essential" in lines[0]


def test_make_run_without_cargo(machine: Machine) -> None:
    machine.python()
    machine.script("cc", "exit 0")
    code, lines = machine.run("make", "run")
    assert code != 0
    assert len(lines) == 1
    assert "rustup.rs" in lines[0]


def test_make_run_with_a_toolchain_manager_that_has_no_toolchain(machine: Machine) -> None:
    machine.python()
    machine.script("cc", "exit 0")
    machine.script("cargo", "echo 'no default toolchain' >&2; exit 1")
    _, lines = machine.run("make", "run")
    assert len(lines) == 1
    assert "cargo" in lines[0]


@pytest.mark.parametrize("version", ["1.63.0", "1.88.0-nightly"])
def test_make_run_with_too_old_a_rustc(machine: Machine, version: str) -> None:
    machine.python()
    machine.script("cc", "exit 0")
    machine.rust(version)
    code, lines = machine.run("make", "run")
    assert code != 0
    assert len(lines) == 1
    assert version in lines[0]
    assert "rustup update" in lines[0]


def test_make_run_without_python(machine: Machine) -> None:
    machine.script("cc", "exit 0")
    machine.rust("1.99.0")
    machine.script("python3", "exit 1")  # there, and too old
    _, lines = machine.run("make", "run")
    assert len(lines) == 1
    assert "Python 3.11" in lines[0]


def test_make_run_with_a_python_that_does_not_exist(machine: Machine) -> None:
    machine.script("cc", "exit 0")
    machine.rust("1.99.0")
    _, lines = machine.run("make", "run", "PYTHON=python3.99")
    assert len(lines) == 1
    assert "python3.99" in lines[0]


def test_make_run_without_venv(machine: Machine) -> None:
    machine.script("cc", "exit 0")
    machine.rust("1.99.0")
    # As Debian has it without python3-venv: the interpreter runs, ensurepip cannot be imported.
    machine.script("python3.11", 'case "$2" in *ensurepip*) exit 1 ;; *) exit 0 ;; esac')
    code, lines = machine.run("make", "run")
    assert code != 0
    assert len(lines) == 1
    assert "python3-venv" in lines[0]


def test_setup_py_without_cargo(machine: Machine) -> None:
    machine.script("cc", "exit 0")
    build = machine.copy / "out"
    code, lines = machine.run(
        sys.executable, "setup.py", "-q", "build_ext", f"--build-lib={build}", "-t", str(build)
    )
    assert code == 3
    assert len(lines) == 1
    assert "cargo" in lines[0]


def test_a_complete_machine_is_told_nothing() -> None:
    answer = subprocess.run(
        ["sh", str(ROOT / "scripts" / "preflight"), "build"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
