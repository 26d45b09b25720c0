"""How busy the harness itself was in a run: at its most, and in which row that was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pyforward_bench.host import Usage


class Strain:
    """The worst of all intervals in which something was measured."""

    def __init__(self) -> None:
        self._most: dict[str, tuple[float, str]] = {}

    def add(self, row: str, usages: Iterable[Usage]) -> None:
        """What this process did in intervals of this row."""
        for usage in usages:
            for words, of in _KINDS.items():
                value = of(usage)
                if words not in self._most or value > self._most[words][0]:
                    self._most[words] = (value, row)

    def told(self) -> list[str]:
        """A note; none where nothing was measured."""
        if not self._most:
            return []
        # Of what never happened there is no row in which it did.
        each = [
            words.format(value) + (f" ({row})" if value else "")
            for words, (value, row) in self._most.items()
        ]
        return [f"The harness itself, in whichever interval it was most: {', '.join(each)}."]


# Private -----------------------------------------------------------------------------------------

_KINDS: Final[Mapping[str, Callable[[Usage], float]]] = {
    "{:.2f} cores": lambda usage: usage.cores,
    "a shard busy {:.0%} of the time": lambda usage: usage.busy,
    "1 % of the time the event loop {:.1f} ms late": lambda usage: usage.lag_p99_ms,
    "{:.0f} datagrams not read in time": lambda usage: usage.receive_drops,
    "{:.0f} records or events dropped": lambda usage: usage.events_dropped,
}
