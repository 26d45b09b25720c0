"""Which twin of a Cython module is imported: the compiled one, or its source.

Modules in Cython's pure-Python mode exist twice in an installed package: as source and, beside it,
as compiled twin. Python's own rule prefers the twin. ``PYFORWARD_PURE=1`` turns that round, for the
packages that ask here before they import any such module, and for no others.

Neither twin needs Cython to run: its types stand in annotations only, which are never evaluated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from types import ModuleType


def choose(directories: Iterable[str]) -> None:
    """Obey ``PYFORWARD_PURE`` for the modules in these directories, a package's ``__path__``."""
    if os.environ.get("PYFORWARD_PURE") != "1":
        return
    # The import system asks this cache who finds modules in a directory. A finder that knows only
    # sources leaves the compiled twins unseen, for the next imports and for all that follow.
    for directory in directories:
        sys.path_importer_cache[directory] = FileFinder(
            directory, (SourceFileLoader, SOURCE_SUFFIXES)
        )


def is_compiled(module: ModuleType) -> bool:
    """Whether this module was loaded from its compiled twin."""
    return not (module.__file__ or "").endswith(".py")
