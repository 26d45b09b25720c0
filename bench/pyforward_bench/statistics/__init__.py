"""What records say: counts, runs of loss, jitter and latencies, of a run and of each viewer.

Records in, figures out; it knows no clock, no socket and no server. All but ``figures`` is in
Cython's pure-Python mode; ``pyforward.twins`` says what that means.
"""

from __future__ import annotations

from pyforward import twins

twins.choose(__path__)

from pyforward_bench.statistics import tally
from pyforward_bench.statistics.figures import Figures, ViewerFigures
from pyforward_bench.statistics.histogram import Histogram
from pyforward_bench.statistics.tally import Tally

compiled: bool = twins.is_compiled(tally)
"""Whether the compiled twins are loaded."""

__all__ = ["Figures", "Histogram", "Tally", "ViewerFigures", "compiled"]
