"""What ``top`` shows: the server in a line, its streams or one of them in a table, the last events.

All of it comes from a server that nobody vouches for: it is shown as text, without markup and
without control characters, and what is missing is shown as a dash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

MOST_EVENTS = 10

_STYLES = {"good": "green", "fair": "yellow", "poor": "bold red", "waiting": "dim"}
_LOUD = {"publisher_lost": "bold red", "capacity_reached": "bold red", "stream_ended": "yellow"}

Figures = Mapping[str, Any]


class Screen:
    """Keeps the newest figures and the last events, and draws them."""

    def __init__(self, place: str, stream: str | None) -> None:
        self._place = place
        self._stream = stream
        self._figures: Figures | None = None
        self._events: deque[Figures] = deque(maxlen=MOST_EVENTS)
        self.status = "connecting"

    def take(self, event: Figures) -> None:
        """One event, or newer figures."""
        if event.get("kind") == "figures":
            self._figures = event
        else:
            self._events.append(event)

    def draw(self) -> RenderableType:
        """Everything, for a terminal of any width."""
        parts: list[RenderableType] = [self._head()]
        if self._figures is not None:
            streams = _list(self._figures.get("streams"))
            parts.append(_streams(streams))
            if self._stream is not None:
                parts += [_spreads(one) for one in streams]
                parts.append(_viewers(_list(self._figures.get("worst"))))
        if self._events:
            parts.append(_events(self._events))
        return Group(*parts)

    def _head(self) -> Text:
        head = Text(f"{plain(self._place)}  ", style="bold")
        head.append(self.status, style="green" if self.status == "live" else "yellow")
        if self._figures is None:
            return head
        server = _dict(self._figures.get("server"))
        head.append(
            f"  pyforward {plain(server.get('version'))}, up {duration(server.get('uptime_s'))}\n"
            f"{count(server.get('streams_live'))} of {count(server.get('streams'))} streams live, "
            f"{count(server.get('viewers'))} viewers, "
            f"{bitrate(server.get('bitrate_in_bps'))} in, "
            f"{bitrate(server.get('bitrate_out_bps'))} out",
            style="not bold",
        )
        return head


# Words --------------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """Text of a stranger: one line, nothing that a terminal would obey."""
    text = "–" if value is None else str(value)
    return "".join(char if char.isprintable() else "�" for char in text)[:200]


def number(value: object, form: Callable[[float], str]) -> str:
    """A figure in words, where it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return form(float(value))


def count(value: object) -> str:
    return number(value, lambda one: f"{one:,.0f}".replace(",", "\u202f"))


def bitrate(value: object) -> str:
    return number(
        value, lambda one: f"{one / 1e6:.2f} Mbit/s" if one >= 1e6 else f"{one / 1e3:.0f} kbit/s"
    )


def percent(value: object) -> str:
    return number(value, lambda one: f"{100 * one:.1f} %")


def milliseconds(value: object) -> str:
    return number(value, lambda one: f"{one:.1f} ms" if one < 10 else f"{one:.0f} ms")


def duration(value: object) -> str:
    def words(seconds: float) -> str:
        whole = int(seconds)
        if whole < 60:
            return f"{whole} s"
        if whole < 3600:
            return f"{whole // 60} min {whole % 60} s"
        return f"{whole // 3600} h {whole % 3600 // 60} min"

    return number(value, words)


# Private -----------------------------------------------------------------------------------------


_TEXTS = {"stream", "health", "remark", "over its viewers", "session", "address", "state"}
_MAY_FOLD = {"stream", "remark"}
_MAY_BE_CUT = {"address"}


class _Fitting:
    """A table that fits the terminal: columns are left out, ``spare`` ones and in that order, until
    it does. Whatever has to be copied whole, such as a session, stays in one line."""

    def __init__(self, *titles: str, title: str = "", spare: Sequence[str] = ()) -> None:
        self._titles = titles
        self._title = title
        self._spare = spare
        self._rows: list[tuple[str | Text, ...]] = []

    def add_row(self, *cells: str | Text) -> None:
        """A cell for each title."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for left_out in range(len(self._spare) + 1):
            table = self._without(self._spare[:left_out])
            wide = options.update(width=_ANY_WIDTH, max_width=_ANY_WIDTH)
            if console.measure(table, options=wide).maximum <= options.max_width:
                break
        yield table

    def _without(self, left_out: Sequence[str]) -> Table:
        title = Text(self._title, style="bold") if self._title else None
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        for name in self._titles:
            if name not in left_out:
                table.add_column(
                    name,
                    justify="left" if name in _TEXTS else "right",
                    overflow="ellipsis" if name in _MAY_BE_CUT else "fold",
                    no_wrap=name not in _MAY_FOLD | _MAY_BE_CUT,
                )
        for row in self._rows:
            cells = zip(self._titles, row, strict=True)
            table.add_row(*(cell for name, cell in cells if name not in left_out))
        return table


_ANY_WIDTH = 10_000


def _streams(streams: Sequence[Figures]) -> RenderableType:
    if not streams:
        return Text("There is no stream.", style="dim")
    titles = ("stream", "health", "viewers", "in", "lost p90", "age", "remark")
    table = _Fitting(*titles, spare=("age",))
    for one in streams:
        publisher = _dict(one.get("publisher"))
        health = plain(one.get("health"))
        codecs = " + ".join(plain(codec) for codec in publisher.get("codecs") or ())
        table.add_row(
            Text(plain(one.get("name"))),
            Text(health, style=_STYLES.get(health, "")),
            count(one.get("viewers")),
            bitrate(publisher.get("bitrate_bps")),
            percent(_dict(_dict(one.get("quality")).get("loss")).get("p90")),
            duration(one.get("age_s")),
            Text(plain(one.get("health_reason") or codecs)),
        )
    return table


def _spreads(stream: Figures) -> RenderableType:
    quality = _dict(stream.get("quality"))
    table = _Fitting("over its viewers", "p50", "p90", "p99", "max")
    words = (("loss", "lost", percent), ("rtt_ms", "round trip", milliseconds))
    for name, title, form in (*words, ("bitrate_bps", "bitrate", bitrate)):
        spread = _dict(quality.get(name))
        table.add_row(title, *(form(spread.get(rank)) for rank in ("p50", "p90", "p99", "max")))
    return table


def _viewers(viewers: Sequence[Figures]) -> RenderableType:
    if not viewers:
        return Text("It has no viewers.", style="dim")
    titles = (
        "session",
        "address",
        "state",
        "lost",
        "repaired",
        "dropped",
        "round trip",
        "here for",
    )
    table = _Fitting(*titles, title="Who fares worst", spare=("repaired", "dropped", "state"))
    for one in viewers:
        table.add_row(
            Text(plain(one.get("session"))),
            Text(plain(one.get("address"))),
            Text(plain(one.get("state"))),
            percent(one.get("loss")),
            count(one.get("repaired")),
            count(one.get("drops")),
            milliseconds(one.get("rtt_ms")),
            duration(one.get("connected_s")),
        )
    return table


def _events(events: Sequence[Figures] | deque[Figures]) -> RenderableType:
    lines = Text()
    for event in events:
        kind = plain(event.get("kind"))
        about = " ".join(
            f"{plain(name)}={plain(value)}"
            for name, value in event.items()
            if name not in ("id", "time", "kind", "stream") and value not in (None, {}, [])
        )
        lines.append(f"{plain(event.get('time'))[11:19]}  ", style="dim")
        lines.append(f"{kind:<18} ", style=_LOUD.get(kind, ""))
        lines.append(f"{plain(event.get('stream') or '')}  {about}\n")
    return lines


def _dict(value: object) -> Figures:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Figures]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()
