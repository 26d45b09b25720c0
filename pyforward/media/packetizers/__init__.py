"""Encoded frames to RTP payloads: one module for each codec, bytes in, list of bytes out.

``h264`` and ``vp8`` are in Cython's pure-Python mode and exist twice in an installed package: as
source and, beside it, as compiled twin. Python's own rule prefers the twin. ``PYFORWARD_PURE=1``
turns that round for this directory alone, and must be set before anything here is imported.

Neither twin needs Cython to run: its types stand in annotations only, which are never evaluated.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

if os.environ.get("PYFORWARD_PURE") == "1":
    # The import system asks this cache who finds modules in a directory. A finder that knows only
    # sources leaves the compiled twins unseen, for the imports below and for all that follow.
    for _directory in __path__:
        sys.path_importer_cache[_directory] = FileFinder(
            _directory, (SourceFileLoader, SOURCE_SUFFIXES)
        )

from pyforward.media.packetizers import h264, opus, vp8

compiled: bool = not (h264.__file__ or "").endswith(".py")
"""Whether the compiled twins are loaded."""

__all__ = ["compiled", "h264", "opus", "vp8"]
