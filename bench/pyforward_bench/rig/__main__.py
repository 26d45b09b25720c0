"""``python -m pyforward_bench.rig`` is the inner process of a run: ``pyforward-bench rig`` begins
it, with the job on its standard input."""

from __future__ import annotations

import sys

from pyforward_bench.rig import inside

if __name__ == "__main__":
    sys.exit(inside.main(sys.stdin.read()))
