"""The programs import nothing before Ctrl-C is theirs to take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyforward_bench.rig.child import python_environment

MODULES = ["pyforward.__main__", "pyforward_bench.__main__", "pyforward_bench.rig.__main__"]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_before_ctrl_c_ends_the_process(module: str) -> None:
    """What takes a second would print where it was interrupted."""
    program = f"import sys, {module}; print(*(n for n in sys.modules if n.startswith('pyforward')))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=python_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {name.removesuffix(".__main__") for name in MODULES}
    assert set(done.stdout.split()) <= {*packages, *MODULES}
