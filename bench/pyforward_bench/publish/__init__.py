"""``pyforward-bench publish``: a packet trace to any WHIP server, with stamps in its payloads.

Sizes and times are a trace's; the payloads have true headers around filler, and end with a stamp
that a receiver of this harness judges. A frame leaves whole, or paced as libwebrtc does it. What is
sent is watched: a publisher that fell behind says so, and its run is invalid.

Rows, each with ``publish.`` before it:

- ``seconds``: from the first packet on; ``packets``, ``bytes`` (of UDP payload), ``bitrate`` (bit/s
  of it);
- ``asked_again`` and ``repaired``: packets that the server asked for again, and that were sent
  again; ``drops``: that the socket did not take; ``round_trip`` (ms), where the server reports;
- ``late.*``: how late bursts left, in ms, ``p50``, ``p99``, ``p99.9`` and ``max``; ``halts``: how
  often the process stood still;
- ``harness.*``: what this process used and dropped, of the same time.
"""

from __future__ import annotations

from pyforward_bench.publish.command import run
from pyforward_bench.publish.options import Options
from pyforward_bench.publish.source import TraceSource

__all__ = ["Options", "TraceSource", "run"]
