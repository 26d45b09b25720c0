"""Builds the native engine beside the Python package, so that one wheel holds both.

``build_ext`` calls the ``maturin`` on PATH on ``native/py`` and puts ``_native.abi3.so`` where
setuptools wants it: into the wheel's tree, or into the source tree for an editable install. All
metadata is in ``pyproject.toml``. Environment:

- ``PYFORWARD_BUILD_PROFILE``: the cargo profile, ``release`` (default) or ``dev`` (no LTO).
- ``CARGO_TARGET_DIR``: where cargo builds, as always with cargo.

It never downloads anything itself, and an sdist is made without a Rust toolchain.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
NATIVE = "pyforward._native"
EXIT_ENVIRONMENT = 3

# Modules in Cython's pure-Python mode, each after those that it imports. Each also runs uncompiled,
# as PYFORWARD_PURE=1 asks; pyforward/twins.py says how that is obeyed.
CYTHON_MODULES: tuple[str, ...] = (
    "pyforward.media.packetizers.h264",
    "pyforward.media.packetizers.vp8",
    "pyforward_bench.statistics.histogram",
    "pyforward_bench.statistics.numbering",
    "pyforward_bench.statistics.timing",
    "pyforward_bench.statistics.tally",
)


def source(module: str) -> str:
    """Where a module's file lies: the harness has a directory of its own."""
    root = "bench/" if module.startswith("pyforward_bench.") else ""
    return f"{root}{module.replace('.', '/')}.py"


def extensions() -> list[Extension]:
    """The native engine, and the compiled twins of the Cython modules."""
    native = Extension(NATIVE, sources=[], py_limited_api=True)
    if not CYTHON_MODULES:
        return [native]
    from Cython.Build import cythonize

    twins = [
        Extension(
            name,
            [source(name)],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
        for name in CYTHON_MODULES
    ]
    # The generated C goes under build/, so that it never reaches a wheel or the source tree.
    return [native, *cythonize(twins, build_dir="build/cython", language_level=3)]


class BuildExt(build_ext):
    """``build_ext`` that hands the native engine to maturin."""

    def build_extension(self, ext: Extension) -> None:
        if ext.name == NATIVE:
            _check_tools()
            _build_native(Path(self.get_ext_fullpath(ext.name)))
        else:
            super().build_extension(ext)


def _check_tools() -> None:
    """Stop with one line beginning ``pyforward:`` when something is missing."""
    shell = shutil.which("sh") or "/bin/sh"
    answer = subprocess.run([shell, str(ROOT / "scripts" / "preflight"), "build"], check=False)
    if answer.returncode != 0:
        sys.exit(EXIT_ENVIRONMENT)
    if shutil.which("maturin") is None:
        print(
            "pyforward: needs maturin on PATH; build with isolation or install 'maturin>=1.9'",
            file=sys.stderr,
        )
        sys.exit(EXIT_ENVIRONMENT)


def _build_native(target: Path) -> None:
    """Let maturin build its own wheel, and take the one library out of it."""
    profile = os.environ.get("PYFORWARD_BUILD_PROFILE", "release")
    with tempfile.TemporaryDirectory(prefix="pyforward-build-") as out:
        answer = subprocess.run(
            [
                "maturin",
                "build",
                "--locked",
                f"--profile={profile}",
                f"--manifest-path={ROOT / 'native' / 'py' / 'Cargo.toml'}",
                f"--interpreter={sys.executable}",
                "--compatibility=linux",
                f"--out={out}",
            ],
            check=False,
        )
        if answer.returncode != 0:
            # cargo has said why, in its own words.
            sys.exit(answer.returncode)
        (wheel,) = Path(out).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (library,) = (name for name in archive.namelist() if name.endswith(".abi3.so"))
            target.parent.mkdir(parents=True, exist_ok=True)
            # A new file, not new bytes in the old one: a running server keeps the old mapping.
            fresh = target.with_suffix(".new")
            fresh.write_bytes(archive.read(library))
            fresh.chmod(0o755)
            fresh.replace(target)


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
