"""``python -m pyforward.metrics [PATH]`` writes ``docs/metrics.md``; without a path it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from pyforward.metrics.catalog.render import markdown

if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
else:
    sys.stdout.write(markdown())
