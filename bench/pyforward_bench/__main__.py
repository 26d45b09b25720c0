"""``python -m pyforward_bench`` is ``pyforward-bench``."""

from __future__ import annotations

from pyforward_bench.cli import main

if __name__ == "__main__":
    main()
