"""``python -m pyforward`` is the command ``pyforward``."""

from __future__ import annotations

from pyforward.cli import main

main()
