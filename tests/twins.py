"""The two twins of a Cython module: the source as it is, and what the compiler makes of it."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import MISSING_TOOL

SOURCES = Path(__file__).resolve().parents[1] / "pyforward" / "media" / "packetizers"
NAMES = ("h264", "vp8")


def load(path: Path) -> ModuleType:
    """The module in this file, whatever others of its name are loaded.

    It gets the file's name and no package: what a library exports is named after that alone.
    """
    name = path.name.partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(directory: Path) -> dict[str, Path]:
    """Libraries built from the present sources as ``setup.py`` builds them, by module name.

    Skips the test where there is no Cython or no C compiler.
    """
    if importlib.util.find_spec("Cython") is None:
        pytest.skip(MISSING_TOOL + "Cython")
    compiler = str(sysconfig.get_config_var("CC")).split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(MISSING_TOOL + f"C compiler ({compiler})")
    return _built(directory)


@cache
def _built(directory: Path) -> dict[str, Path]:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extensions = [
        Extension(
            name,
            [str(SOURCES / f"{name}.py")],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
        for name in NAMES
    ]
    modules = cythonize(  # type: ignore[no-untyped-call]
        extensions, build_dir=str(directory / "c"), language_level=3, force=True, quiet=True
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = str(directory)
    command.build_temp = str(directory / "objects")
    command.ensure_finalized()
    command.run()
    return {name: directory / f"{name}.abi3.so" for name in NAMES}
