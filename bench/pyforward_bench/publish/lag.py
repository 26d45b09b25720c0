"""How late bursts leave: what a publisher asks of itself, so that its own delay is not taken for a
server's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyforward.client.playing import MOST_LATE_S
from pyforward.media.source import Burst
from pyforward_bench.statistics import Histogram

LEAST_LIMIT_S = 0.010
"""No publisher is called late for less: event loops count in milliseconds, and cores are shared."""


class Lag:
    """The lateness of every burst that went through :meth:`observed`, in microseconds."""

    def __init__(self, clock: Callable[[], float], step_s: float) -> None:
        """``step_s`` is the usual time between two frames: once bursts are later than that, frames
        meet on their way, and what is sent is no longer the trace."""
        self.late_us = Histogram()
        self.halts = 0
        """How often so much was missed that it was given up (a process that was stopped)."""
        self.limit_s = max(step_s, LEAST_LIMIT_S)
        self._clock = clock

    def observed(self, bursts: Iterator[Burst]) -> Iterator[Burst]:
        """The same bursts. Whoever plays them asks for the next one in the moment in which one is
        due, and begins anew after a halt as :class:`pyforward.client.playing.Playing` does."""
        zero_s: float | None = None
        for burst in bursts:
            yield burst
            now = self._clock()
            late_s = now - burst.due_s - zero_s if zero_s is not None else 0.0
            if zero_s is None:
                zero_s = now - burst.due_s
            elif late_s > MOST_LATE_S:
                self.halts += 1
                zero_s = now - burst.due_s
                continue  # a halt is told as one, and is no lateness of a publisher that runs
            self.late_us.record(max(0, round(late_s * 1e6)))

    def verdict(self) -> list[str]:
        """Why what was sent was not the trace, a sentence each; none where it was."""
        found = []
        p99_us = self.late_us.quantile(0.99)
        if p99_us is not None and p99_us > self.limit_s * 1e6:
            found.append(
                f"The publisher fell behind: 1 % of its bursts left {p99_us / 1e3:.1f} ms late or "
                f"more, and {self.limit_s * 1e3:.1f} ms are allowed."
            )
        if self.halts:
            times = "once" if self.halts == 1 else f"{self.halts} times"
            found.append(f"The publisher stood still {times} for more than {MOST_LATE_S:g} s.")
        return found
