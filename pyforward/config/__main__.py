"""``python -m pyforward.config [PATH]`` writes ``docs/settings.md``; without a path it prints."""

from __future__ import annotations

import sys
from pathlib import Path

from pyforward.config.render import settings_markdown

if len(sys.argv) > 1:
    Path(sys.argv[1]).write_text(settings_markdown(), encoding="utf-8")
else:
    sys.stdout.write(settings_markdown())
