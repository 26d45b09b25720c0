"""What people see while a run is on: a table on a terminal, drawn anew with each look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pyforward.client.screen import Board
from pyforward_bench.statistics import Histogram
from pyforward_bench.swarm import SwarmFigures


class Screen(Board):
    """On stderr; on anything that is no terminal it shows nothing."""

    def __init__(
        self,
        place: str,
        *,
        quiet: bool,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(quiet=quiet, console=console)
        self._place = place
        self._clock = clock
        self._before: tuple[float, int] | None = None

    def show(self, figures: SwarmFigures, doing: str = "") -> None:
        """The newest figures, and what is being done."""
        if not self.is_on:
            return
        now = self._clock()
        since, before = self._before or (now, figures.bytes)
        self._before = (now, figures.bytes)
        bitrate = (figures.bytes - before) * 8 / (now - since) if now > since else None
        # As a Text, because in a string the brackets of an IPv6 address would be markup.
        title = Text(f"{self._place}: {doing}" if doing else self._place)
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in _lines(figures, bitrate):
            table.add_row(name, Text(value))
        self.draw(table)


# Private -----------------------------------------------------------------------------------------


def _lines(figures: SwarmFigures, bitrate: float | None) -> Iterator[tuple[str, str]]:
    yield "joined", f"{figures.joined} of {figures.viewers}, {figures.there} there"
    yield "on their way", str(figures.on_their_way)
    yield "failed", _counts(figures.failed)
    if figures.ended:
        yield "ended", _counts(figures.ended)
    yield "bitrate", "-" if bitrate is None else f"{bitrate / 1e6:.2f} Mbit/s"
    share = figures.lost / figures.expected if figures.expected else 0.0
    yield "lost", f"{figures.lost} ({share:.4%}), {figures.repaired} repaired"
    yield "latency by packet", _latency(figures.probes.packet_latency_us)
    yield "latency by frame", _latency(figures.probes.frame_latency_us)
    if figures.probes.corrupted or figures.probes.repeated:
        yield "corrupted, repeated", f"{figures.probes.corrupted}, {figures.probes.repeated}"


def _counts(by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in by_reason.items()) or "0"


def _latency(histogram: Histogram) -> str:
    half, most = histogram.quantile(0.5), histogram.quantile(0.99)
    if half is None or most is None:
        return "-"
    return f"p50 {half / 1e3:.1f} ms, p99 {most / 1e3:.1f} ms"
