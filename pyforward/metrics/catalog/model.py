"""What a declaration of a metric says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Feed:
    """A counter of the engine that becomes one sample, under these label values, scaled."""

    counter: str
    labels: tuple[str, ...] = ()
    scale: float = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``feeds`` name counters of the engine; the collector reads the others. A family
    that has a ``unit`` ends with it, as OpenMetrics demands."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    feeds: tuple[Feed, ...] = field(default=())
    by_shard: bool = False

    @property
    def family(self) -> str:
        """The name without the suffix that the text format puts on itself."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return self.name.removesuffix(suffix)
