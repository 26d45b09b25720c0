"""The two twins of a Cython module: the source as it is, and what the compiler makes of it."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
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


def names_in(package: str) -> tuple[str, ...]:
    """Those of this package."""
    return tuple(name for name in NAMES if name.rpartition(".")[0] == package)


def source(name: str) -> Path:
    """Where a module's source lies: the harness has a directory of its own."""
    top = ROOT / "bench" if name.startswith("pyforward_bench.") else ROOT
    return top.joinpath(*name.split(".")).with_suffix(".py")


def compiled(directory: Path, names: Sequence[str]) -> dict[str, Path]:
    """Libraries built from the present sources as ``setup.py`` builds them, by module name.

    Skips the test where there is no Cython or no C compiler.
    """
    if importlib.util.find_spec("Cython") is None:
        pytest.skip(MISSING_TOOL + "Cython")
    compiler = str(sysconfig.get_config_var("CC")).split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(MISSING_TOOL + f"C compiler ({compiler})")
    return _built(directory, tuple(names))


def load(path: Path, name: str) -> ModuleType:
    """The module in this file, under this full name, whatever others of its name are loaded."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_all(paths: dict[str, Path]) -> dict[str, ModuleType]:
    """These modules, in an order in which each finds those before it.

    What one imports of the others is what was loaded here. Afterwards the rest of the tests has its
    own modules again.
    """
    before = {name: sys.modules.get(name) for name in paths}
    try:
        for name, path in paths.items():
            sys.modules[name] = load(path, name)
        return {name: sys.modules[name] for name in paths}
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@cache
def _built(directory: Path, names: tuple[str, ...]) -> dict[str, Path]:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extensions = [
        Extension(
            name,
            [str(source(name))],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
        for name in names
    ]
    modules = cythonize(  # type: ignore[no-untyped-call]
        extensions, build_dir=str(directory / "c"), language_level=3, force=True, quiet=True
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(directory)
    command.build_temp = str(directory / "objects")
    command.ensure_finalized()
    command.run()
    return {name: directory.joinpath(*name.split(".")).with_suffix(".abi3.so") for name in names}
