"""How large a run is: numbers of viewers, rounds and seconds, in full and quick."""

from __future__ import annotations

from dataclasses import dataclass, replace

_FEW = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """``sinks`` and ``probes`` watch in most rows; a round is ``seconds`` of the server and
    ``ceiling_s`` of the ceiling sender, many and short because what disturbs a machine comes and
    goes within minutes (docs/decisions/0030). ``quick`` runs scale the publisher's rate where a
    full one has more viewers join."""

    quick: bool
    sinks: int
    probes: int
    rate: float
    """What the trace is played at, where the load is to be about half of a core's."""
    rounds: int
    seconds: float
    ceiling_s: float
    tail_s: float
    """Of a window whose 99th percentile is what counts: in less there are too few frames."""
    warm_up_s: float
    sizes: tuple[int, ...]
    """Of r11: how many watch."""
    many: int
    """Of r10: up to so many."""
    joins: int
    """Of r08 and r09: how many join."""
    lossy: int
    """Of r12: how many watch over a bad way."""
    overload_s: float
    """Of r13."""

    @property
    def few(self) -> int:
        """Rounds of rows that have several loads: of fewer than five the ranges of two runs are
        disjoint by chance too often."""
        return min(self.rounds, _FEW)

    @property
    def turns(self) -> int:
        """Rounds of rows that ask for a difference smaller than what windows differ by."""
        return 2 * self.rounds

    def read_by_viewers(self) -> Scale:
        """The same where sinks read their media themselves: fewer, since the harness opens every
        packet on its one core."""
        return replace(self, sinks=min(self.sinks, 50), rate=min(self.rate, 2.0))

    def with_options(self, rounds: int | None, seconds: float | None) -> Scale:
        """The same with the caller's own rounds."""
        changed = self
        if rounds is not None:
            changed = replace(changed, rounds=rounds)
        if seconds is not None:
            ceiling_s = max(1.0, seconds / 2)
            changed = replace(changed, seconds=seconds, ceiling_s=ceiling_s, tail_s=seconds)
        return changed


FULL = Scale(
    quick=False,
    sinks=1_000,
    probes=20,
    rate=1.0,
    rounds=8,
    seconds=2.0,
    ceiling_s=2.0,
    tail_s=4.0,
    warm_up_s=2.0,
    sizes=(10, 100, 1_000, 10_000),
    many=5_000,
    joins=2_000,
    lossy=100,
    overload_s=60.0,
)
"""All rows in about an hour."""

QUICK = Scale(
    quick=True,
    sinks=200,
    probes=8,
    rate=5.0,
    rounds=2,
    seconds=3.0,
    ceiling_s=1.5,
    tail_s=3.0,
    warm_up_s=1.0,
    sizes=(10, 100, 500),
    many=600,
    joins=300,
    lossy=20,
    overload_s=8.0,
)
"""All rows in a few minutes: whether everything works, and roughly how much it is."""
