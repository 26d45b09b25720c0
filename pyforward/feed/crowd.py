"""Viewers that come and go: told one by one up to a rate, summed by stream once a second beyond it.

Ten thousand viewers that join with a whistle are then a few dozen events and not ten thousand, and
what is told stays exact: each of them is in one event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pyforward.commands import CloseReason
from pyforward.feed.vocabulary import Event, ViewerJoined, ViewerLeft, ViewersChanged

WINDOW_S = 1.0

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, as a loop's ``call_later`` does."""


@dataclass(slots=True)
class _Sum:
    joined: int = 0
    reasons: Counter[CloseReason] = field(default_factory=Counter)
    viewers: int = 0


class Crowd:
    """See the top of the file."""

    def __init__(self, tell: Callable[[Event], None], per_s: int, later: Later) -> None:
        self._tell = tell
        self._per_s = per_s
        self._later = later
        self._told = 0
        self._sums: dict[str, _Sum] = {}
        self._is_open = False

    def add(self, event: ViewerJoined | ViewerLeft) -> None:
        """One viewer more or less."""
        if not self._is_open:
            self._is_open = True
            self._later(WINDOW_S, self.flush)
        if self._told < self._per_s:
            self._told += 1
            self._tell(event)
            return
        one = self._sums.setdefault(event.stream, _Sum())
        one.viewers = event.viewers
        if isinstance(event, ViewerJoined):
            one.joined += 1
        else:
            one.reasons[event.reason] += 1

    def flush(self) -> None:
        """The second is over, or the end has come: what was summed is told."""
        sums, self._sums = self._sums, {}
        self._told = 0
        self._is_open = False
        for stream, one in sums.items():
            self._tell(
                ViewersChanged(
                    stream=stream,
                    joined=one.joined,
                    left=one.reasons.total(),
                    reasons=dict(one.reasons),
                    viewers=one.viewers,
                )
            )
