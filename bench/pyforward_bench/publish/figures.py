"""What was sent, as figures: for the live line, for people at the end, and as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from pyforward.client.screen import Board
from pyforward.commands import SessionReport
from pyforward_bench.measuring import quantile_rows
from pyforward_bench.publish.lag import Lag
from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.statistics import Histogram

COMMAND: Final = "publish"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of ``seconds`` from the first packet on; ``bytes`` are of UDP payload."""

    seconds: float
    packets: int
    bytes: int
    asked_again: int
    repaired: int
    drops: int
    round_trip_ms: float | None
    late_us: Histogram
    halts: int

    @property
    def bits_per_s(self) -> float:
        """The mean since the first packet."""
        return 8 * self.bytes / self.seconds if self.seconds > 0 else 0.0


def figures(report: SessionReport, lag: Lag, seconds: float) -> Figures:
    """What the engine and the player say, together."""
    return Figures(
        seconds=seconds,
        packets=report.packets,
        bytes=report.bytes,
        asked_again=report.nacks,
        repaired=report.repaired,
        drops=report.drops,
        round_trip_ms=report.rtt_ms,
        late_us=lag.late_us,
        halts=lag.halts,
    )


def rows(found: Figures) -> Iterator[Row]:
    """The package's documentation has their meanings."""
    for name, unit, value in (
        ("seconds", "s", found.seconds),
        ("packets", "packets", found.packets),
        ("bytes", "bytes", found.bytes),
        ("bitrate", "bit/s", found.bits_per_s),
        ("asked_again", "packets", found.asked_again),
        ("repaired", "packets", found.repaired),
        ("drops", "packets", found.drops),
        ("halts", "times", found.halts),
    ):
        yield row_of(COMMAND, f"{COMMAND}.{name}", unit, [float(value)])
    name = f"{COMMAND}.round_trip"
    if found.round_trip_ms is None:
        yield could_not(COMMAND, name, "ms", "the server sent no receiver report that tells it")
    else:
        yield row_of(COMMAND, name, "ms", [found.round_trip_ms])
    yield from quantile_rows(COMMAND, "late", found.late_us, "no second burst left")


class Line(Board):
    """The newest figures in one line, on stderr and on terminals alone."""

    def __init__(self, place: str, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._place = place
        self._before: Figures | None = None

    def show(self, found: Figures) -> None:
        """Drawn anew."""
        if self.is_on:
            # As a Text, because in a string the brackets of an IPv6 address would be markup.
            self.draw(Text(f"{self._place}: {line(found, self._before)}"))
        self._before = found


def line(found: Figures, before: Figures | None) -> str:
    """Counts from the start, and the bitrate since ``before``."""
    seconds, sent = (before.seconds, before.bytes) if before is not None else (0.0, 0)
    passed_s = found.seconds - seconds
    rate = 8 * (found.bytes - sent) / passed_s if passed_s > 0 else 0.0
    parts = [
        f"{found.packets} packets",
        f"{rate / 1e6:.2f} Mbit/s",
        f"{found.asked_again} asked for again",
        f"{found.repaired} sent again",
    ]
    if found.round_trip_ms is not None:
        parts.append(f"round trip {found.round_trip_ms:.1f} ms")
    p99_us = found.late_us.quantile(0.99)
    if p99_us is not None:
        parts.append(f"p99 {p99_us / 1e3:.1f} ms late")
    return ", ".join(parts)
