"""``python -m pyforward_bench.rig`` is the inner process of a run: ``pyforward-bench rig`` begins
it, with the job on its standard input."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # As in pyforward_bench.__main__: until there is something to end well, it ends at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pyforward_bench.rig import inside

    sys.exit(inside.main(sys.stdin.read()))
