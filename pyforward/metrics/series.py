"""Which stream has a series of its own, and what each series adds up.

A stream keeps the label that it got when it was first seen: its name while there is room, otherwise
``other``, for as long as it lives. Nothing moves from one to the other, because a counter that
falls looks like a restart to Prometheus. For the same reason sums are added up here, by what was
added since the last look: a publisher that comes back begins anew, and ``other`` outlives its
streams.

Whether the viewers of a stream have media is told while anybody can say: of one without publisher
and without viewers it is not, so that what was said of it last stands. A series that ends says so
by its end. Among the others there is none that ends, hence those that ended so are kept by name.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pyforward.control import StreamView
from pyforward.engine import NEVER_US, StreamStats
from pyforward.ids import StreamId

OTHER = "other"

FROZEN_AFTER_US = 1_000_000
"""A publisher that was silent for so long: the picture stands still at every viewer."""

GONE_AFTER_US = 5_000_000
"""A publisher that was silent for so long is no better than none."""

LOST_S = 600.0
"""How long a stream of the others counts as lost that nobody publishes and nobody watches any more:
as long as the alert looks back for those that have a series of their own."""

_VIEWERS = (
    *("packets_out", "bytes_out", "nacks_in", "packets_resent", "send_drops"),
    *("reports", "reported_loss", "round_trips", "round_trips_us"),
)
_PUBLISHER = (
    *("packets_in", "bytes_in", "packets_lost", "nacks_out", "packets_repaired", "keyframes"),
)


@dataclass(slots=True)
class Series:
    """What is told under one label. ``sums`` are named as in :class:`StreamStats`; what is a state
    is of this look alone, the worst of several streams."""

    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_VIEWERS + _PUBLISHER, 0))
    viewers: int = 0
    publishers: int = 0
    frozen: int = 0
    without_media: int | None = None
    keyframe_interval_us: int = 0
    keyframe_age_us: int | None = None
    packet_age_us: int | None = None
    round_trip_us: int = 0
    jitter_us: int = 0

    def begin(self) -> None:
        """Forgets states: they are to be told anew."""
        self.viewers = self.publishers = self.frozen = 0
        self.keyframe_interval_us = self.round_trip_us = self.jitter_us = 0
        self.keyframe_age_us = self.packet_age_us = self.without_media = None


@dataclass(slots=True)
class _Known:
    """A stream that was seen, and its sums at that time."""

    label: str
    viewers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_VIEWERS, 0))
    publisher: int = 0
    published: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PUBLISHER, 0))


class StreamSeries:
    """See the top of the file. ``clock`` gives seconds of a monotonic clock."""

    def __init__(self, max_streams: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_streams = max_streams
        self._clock = clock
        self._known: dict[StreamId, _Known] = {}
        self._series: dict[str, Series] = {}
        self._lost: dict[str, float] = {}
        """Of the others, those whose viewers had no media when that could be said last, and when
        it was."""

    def look(self, views: Sequence[StreamView], stats: Iterable[StreamStats]) -> dict[str, Series]:
        """The series of all streams by label, ``other`` last; ``stats`` of any order."""
        self._forget({view.id for view in views})
        for series in self._series.values():
            series.begin()
        by_stream: defaultdict[StreamId, list[StreamStats]] = defaultdict(list)
        for row in stats:
            by_stream[row.stream].append(row)
        for view in views:
            known = self._know(view)
            series = self._series[known.label]
            _tell_state(series, view, by_stream[view.id])
            _add_sums(series, known, by_stream[view.id])
            if view.live or view.viewers:
                self._judge(known.label, view, by_stream[view.id])
        if OTHER in self._series:
            self._series[OTHER].without_media = self._count_lost()
        return dict(sorted(self._series.items(), key=lambda item: (item[0] == OTHER, item[0])))

    def _know(self, view: StreamView) -> _Known:
        known = self._known.get(view.id)
        if known is None:
            named = len(self._series) - (OTHER in self._series)
            # A stream that is itself called other, or whose namesake is just ending, has no series
            # of its own.
            free = named < self._max_streams and view.name not in self._series
            label = view.name if free and view.name != OTHER else OTHER
            known = self._known[view.id] = _Known(label)
            self._series.setdefault(label, Series())
        return known

    def _forget(self, present: set[StreamId]) -> None:
        for stream in self._known.keys() - present:
            label = self._known.pop(stream).label
            if label != OTHER:
                del self._series[label]

    def _judge(self, label: str, view: StreamView, rows: list[StreamStats]) -> None:
        gone = view.viewers > 0 and (not view.live or _is_silent(_home(rows), GONE_AFTER_US))
        # It may be back, and it may have a series of its own by now.
        self._lost.pop(view.name, None)
        if label != OTHER:
            self._series[label].without_media = int(gone)
        elif gone:
            self._lost[view.name] = self._clock()

    def _count_lost(self) -> int:
        since = self._clock() - LOST_S
        self._lost = {name: at for name, at in self._lost.items() if at > since}
        return len(self._lost)


def _home(rows: list[StreamStats]) -> StreamStats | None:
    """What the shard tells that has the publisher."""
    return next((row for row in rows if row.publisher), None)


def _is_silent(home: StreamStats | None, after_us: int) -> bool:
    return home is None or home.packet_age_us > after_us


def _tell_state(series: Series, view: StreamView, rows: list[StreamStats]) -> None:
    keyed = sum(row.viewers for row in rows)
    waiting = sum(row.waiting for row in rows)
    home = _home(rows)
    series.viewers += view.viewers
    series.publishers += view.live
    series.frozen += keyed if _is_silent(home, FROZEN_AFTER_US) else waiting
    if home is None:
        return
    series.keyframe_interval_us = max(series.keyframe_interval_us, home.keyframe_interval_us)
    series.round_trip_us = max(series.round_trip_us, home.publisher_round_trip_us)
    series.jitter_us = max(series.jitter_us, home.publisher_jitter_us)
    if home.keyframe_age_us != NEVER_US:
        series.keyframe_age_us = max(series.keyframe_age_us or 0, home.keyframe_age_us)
    if home.packet_age_us != NEVER_US:
        series.packet_age_us = max(series.packet_age_us or 0, home.packet_age_us)


def _add_sums(series: Series, known: _Known, rows: list[StreamStats]) -> None:
    for name in _VIEWERS:
        value = sum(getattr(row, name) for row in rows)
        series.sums[name] += max(0, value - known.viewers[name])
        known.viewers[name] = value
    home = _home(rows)
    if home is None:
        return
    if home.publisher != known.publisher:
        known.publisher = home.publisher
        known.published = dict.fromkeys(_PUBLISHER, 0)
    for name in _PUBLISHER:
        value = getattr(home, name)
        series.sums[name] += max(0, value - known.published[name])
        known.published[name] = value
