"""``python -m pyforward.log [PATH]`` writes ``docs/operate/logs.md``; without a path it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from pyforward.log.catalog import markdown

if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
else:
    sys.stdout.write(markdown())
