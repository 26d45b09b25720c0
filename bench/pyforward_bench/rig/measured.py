"""What was measured in one interval, and in several."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyforward_bench.results import shares_of
from pyforward_bench.rig import server
from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import TRAINS, Played, Sent
from pyforward_bench.rig.clocks import Moment, Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.statistics import Figures


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured in one interval.

    ``sinks`` is what reached the sinks by the counter outside (where nothing counts there, by their
    own reports), ``probes`` what the probes' records say, ``metrics`` what the server says that it
    did from just before to just after. ``wrong`` are reasons, a sentence each, why the figures are
    doubtful.
    """

    crowd: Crowd
    usage: Usage
    sinks: Count
    probes: Figures
    metrics: Mapping[str, float]
    wrong: tuple[str, ...]

    @property
    def packets(self) -> int:
        """Media packets that reached viewers."""
        return self.sinks.packets + self.probes.packets

    @property
    def bytes(self) -> int:
        """Their UDP payload."""
        return self.sinks.bytes + self.probes.bytes

    @property
    def packets_per_cpu_s(self) -> float:
        return self.packets / self.usage.process_s

    @property
    def load(self) -> float:
        """CPU of the server, in cores."""
        return self.usage.process_s / self.usage.wall_s

    @property
    def send_drops(self) -> float:
        """Packets that the server says it did not send."""
        return server.total(self.metrics, "pyforward_send_drops_total")


@dataclass(frozen=True, slots=True)
class Reading:
    """The counter, and the clocks just before and after it."""

    before: Moment
    sinks: Count
    after: Moment

    @property
    def took_s(self) -> float:
        return self.after.wall_s - self.before.wall_s


@dataclass(slots=True)
class Measured:
    """Several windows, and in ``beside`` or ``played`` the ceiling sender's round or play right
    after each, so that the two are a pair: none where it was not asked for or is not there."""

    windows: list[Window] = field(default_factory=list)
    beside: list[Sent] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Packets per CPU-second of each window."""
        return [window.packets_per_cpu_s for window in self.windows]

    @property
    def ceilings(self) -> list[float]:
        """The same of the ceiling sender's round beside each; empty where there is no ceiling."""
        return [sent.rates[TRAINS] for sent in self.beside]

    @property
    def shares(self) -> list[float]:
        """Of each pair; empty where there is no ceiling."""
        return shares_of(self.rates, self.ceilings) if self.ceilings else []

    @property
    def merits(self) -> list[float]:
        """What two servers are compared by: shares of the ceiling, so that the machine's speed
        falls out, or rates where there is no ceiling."""
        return self.shares or self.rates

    def add(self, more: Measured) -> None:
        """Later rounds of the same thing."""
        self.windows += more.windows
        self.beside += more.beside
        self.played += more.played
        self.wrong += more.wrong


def unlike(reasons: Sequence[str]) -> list[str]:
    """The first of each kind, whatever its figures."""
    kinds: dict[str, str] = {}
    for why in reasons:
        kinds.setdefault(re.sub(r"\d[\d.]*", "", why), why)
    return list(kinds.values())
