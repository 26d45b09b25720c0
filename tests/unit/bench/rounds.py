"""Rounds whose figures are known, for rows at a stand that measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import EIGHT, SEAL, SINGLES, TRAINS, Sent
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.statistics import Tally

PACKET_BYTES = 1_000


def window(packets_per_cpu_s: float, *, wrong: tuple[str, ...] = ()) -> Window:
    """So many packets of a kilobyte, for a second of CPU, all of it the shard's."""
    usage = Usage(10.0, 1.0, 1.0, None)
    packets = round(packets_per_cpu_s)
    reached = Count(packets, packets * PACKET_BYTES)
    return Window(Crowd(100), usage, reached, Tally().figures(), {}, wrong)


def sent(packets_per_cpu_s: float, gain: float = 3.0) -> Sent:
    """A round of a ceiling sender that nothing is wrong with."""
    rates = {TRAINS: packets_per_cpu_s, SINGLES: 200e3, EIGHT: gain * 200e3, SEAL: 1e12}
    return Sent(rates, 3.0, 3.0)


def measured(rates: Sequence[float], ceilings: Sequence[float] = ()) -> Measured:
    """Windows of these rates, the ceiling sender's rounds beside them or none."""
    return Measured([window(rate) for rate in rates], [sent(rate) for rate in ceilings])
