"""``pyforward-bench rig``: the rows of a run on one machine, each beside the machine's ceiling."""

from pyforward_bench.rig.command import Options, run

__all__ = ["Options", "run"]
