"""The two twins of a Cython module: the source as it is, and what the compiler makes of it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import MISSING_TOOL

ROOT = Path(__file__).resolve().parents[1]


def _declared() -> tuple[str, ...]:
    """``CYTHON_MODULES`` as ``setup.py`` has them, which cannot be imported to be asked."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        match node:
            case ast.AnnAssign(target=ast.Name("CYTHON_MODULES"), value=ast.expr() as value):
                names: tuple[str, ...] = ast.literal_eval(value)
                return names
    raise AssertionError("setup.py declares no CYTHON_MODULES")


NAMES = _declared()
KINDS = ("uncompiled", "compiled")


def names_in(package: str) -> tuple[str, ...]:
    """Those of this package."""
    return tuple(name for name in NAMES if name.rpartition(".")[0] == package)


def source(name: str) -> Path:
    """Where a module's source lies: the harness has a directory of its own."""
    top = ROOT / "bench" if name.startswith("pyforward_bench.") else ROOT
    return top.joinpath(*name.split(".")).with_suffix(".py")


def compiled(names: Sequence[str]) -> dict[str, Path]:
    """Libraries built from the present sources as ``setup.py`` builds them, by module name.

    Skips the test where there is no Cython or no C compiler.
    """
    if importlib.util.find_spec("Cython") is None:
        pytest.skip(MISSING_TOOL + "Cython")
    compiler = str(sysconfig.get_config_var("CC")).split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(MISSING_TOOL + f"C compiler ({compiler})")
    return {name: _library(name) for name in names}


def loaded(kind: str, package: str) -> dict[str, ModuleType]:
    """One of the :data:`KINDS` of each Cython module of a package, by its last name.

    What one imports of the others is of the same kind. The other tests keep their own modules.
    """
    names = names_in(package)
    paths = {name: source(name) for name in names}
    if kind == "compiled":
        paths = compiled(names)
    before = {name: sys.modules.get(name) for name in names}
    try:
        for name, path in paths.items():
            sys.modules[name] = _load(path, name)
        return {name.rpartition(".")[2]: sys.modules[name] for name in names}
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@cache
def _library(name: str) -> Path:
    """Built once for each state of the source: that takes ten seconds, and many tests ask."""
    files = [path.read_bytes() for path in (source(name), Path(__file__))]
    rests_on = (files, metadata.version("cython"), sys.version, os.environ.get("CFLAGS"))
    key = hashlib.sha256(repr(rests_on).encode()).hexdigest()[:16]
    library = ROOT / "build" / "twins" / key / f"{name.rpartition('.')[2]}.abi3.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as work:
            # Others may be building the same: whoever is last replaces equal with equal.
            _build(name, Path(work)).replace(library)
    return library


def _build(name: str, work: Path) -> Path:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extension = Extension(
        name,
        [str(source(name))],
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        py_limited_api=True,
        extra_compile_args=["-g0"],
    )
    modules = cythonize(  # type: ignore[no-untyped-call]
        [extension], build_dir=str(work / "c"), language_level=3, force=True, quiet=True
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(work)
    command.build_temp = str(work / "objects")
    command.ensure_finalized()
    command.run()
    return work.joinpath(*name.split(".")).with_suffix(".abi3.so")


def _load(path: Path, name: str) -> ModuleType:
    """The module in this file, whatever others of its name are loaded."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
