"""What people see: a live table on a terminal, and the sums at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pyforward.client.watching import Figures, TrackFigures, Viewer
from pyforward.commands import SessionReport


class Board:
    """Something that is drawn anew, on stderr and on terminals alone."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        console = console if console is not None else Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self.is_on = not quiet and console.is_terminal

    def __enter__(self) -> Self:
        if self.is_on:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.is_on:
            self._live.stop()

    def draw(self, picture: RenderableType) -> None:
        """In the place of what was there."""
        if self.is_on:
            self._live.update(picture, refresh=True)


class Screen(Board):
    """A table of the newest figures, drawn with each :meth:`show`."""

    def __init__(self, place: str, *, quiet: bool, console: Console | None = None) -> None:
        super().__init__(quiet=quiet, console=console)
        self._place = place
        self._before: tuple[float, dict[str, int]] | None = None

    def show(self, figures: Figures) -> None:
        """The newest figures."""
        if not self.is_on:
            return
        now = time.monotonic()
        sums: dict[str, int] = {track.codec: track.bytes for track in figures.tracks}
        since, before = self._before or (now, sums)
        self._before = (now, sums)
        self.draw(_table(self._place, figures, before, now - since))


def told(figures: Figures, viewers: Sequence[Viewer]) -> str:
    """The sums, for people."""
    lines = [f"{figures.joined} of {figures.viewers} viewers joined"]
    if figures.srtp_profile:
        lines[0] += f" ({figures.srtp_profile})"
    for reason, count in figures.failed.items():
        sentence = next(viewer.sentence for viewer in viewers if viewer.failed == reason)
        lines.append(f"{count} failed ({reason}): {sentence}")
    lines += [f"{count} ended before ({reason})" for reason, count in figures.ended.items()]
    if figures.first_packet_ms is not None:
        keyframe = _ms(figures.first_keyframe_ms)
        lines.append(
            f"first packet after {_ms(figures.first_packet_ms)}, first keyframe after {keyframe} "
            "(medians)"
        )
    lines += [_line(track) for track in figures.tracks]
    return "\n".join(lines)


def sent(report: SessionReport) -> str:
    """What a publisher sent, for people."""
    rtt = f", round trip {report.rtt_ms:.0f} ms" if report.rtt_ms is not None else ""
    return (
        f"{report.packets} packets sent ({report.bytes / 1e6:.1f} MB, {report.srtp_profile}), "
        f"{report.nacks} asked for again, {report.repaired} sent again{rtt}"
    )


# Private -----------------------------------------------------------------------------------------


def _table(place: str, figures: Figures, before: dict[str, int], passed_s: float) -> Table:
    failed = sum(figures.failed.values())
    ended = sum(figures.ended.values())
    title = f"{figures.joined} of {figures.viewers} joined, {failed} failed, {ended} ended"
    # As a Text, because in a string the brackets of an IPv6 address would be markup.
    table = Table(title=Text(f"{place}: {title}"), title_justify="left")
    for column in ("track", "bitrate", "packets", "repaired", "lost", "jitter", "keyframes"):
        table.add_column(column, justify="left" if column == "track" else "right")
    for track in figures.tracks:
        gained = track.bytes - before.get(track.codec, 0)
        rate = f"{gained * 8 / passed_s / 1e6:.2f} Mbit/s" if passed_s > 0 else ""
        table.add_row(
            f"{track.kind} {track.codec}",
            rate,
            str(track.packets_received),
            str(track.packets_repaired),
            str(track.packets_lost),
            _ms(track.jitter_ms),
            str(track.keyframes),
        )
    return table


def _line(track: TrackFigures) -> str:
    return (
        f"{track.kind} {track.codec}: "
        f"{track.packets_received} of {track.packets_expected} packets, {track.packets_repaired} "
        f"repaired, {track.packets_lost} lost, {track.frames} frames, "
        f"{track.keyframes} keyframes, jitter {_ms(track.jitter_ms)}"
    )


def _ms(value: float | None) -> str:
    return f"{value:.1f} ms" if value is not None else "-"
