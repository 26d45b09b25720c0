"""A stream as control sees it: a name, at most one publisher and those who may follow, its
viewers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pyforward.commands import Codec
from pyforward.ids import SessionId, StreamId
from pyforward.sdp import LiveTrack
from pyforward.state.sessions import Session

StreamState = Literal["live", "waiting"]


@dataclass(slots=True, eq=False)
class Stream:
    """One entry of the book. Only :class:`pyforward.state.books.Books` writes it."""

    id: StreamId
    name: str
    declared: bool
    """Named in the configuration: it exists even while nobody publishes it."""
    created_at: float
    publisher: Session | None = None
    newcomers: dict[SessionId, Session] = field(default_factory=dict)
    """Publishers that came while there was one, in this order. The present one stays until media of
    one of them flows."""
    waiting_since: float | None = None
    """When the last publisher went; None while there is one."""
    silent_since: float | None = None
    """When the publisher went whose media had come; None once media comes again."""
    flowed: bool = False
    """Media has come under this name before."""
    viewers: dict[SessionId, Session] = field(default_factory=dict)
    """In the order in which they joined."""
    unclosed: set[SessionId] = field(default_factory=set)
    """Sessions that the engine has not told ``Closed`` of, those that are closing too."""
    demand: Counter[Codec] = field(default_factory=Counter)
    """How many present viewers can take each codec."""
    ended: bool = False
    """It has lost its name and goes when its last session is closed."""

    @property
    def live(self) -> tuple[LiveTrack, ...]:
        """What the present publisher sends; empty without one."""
        return () if self.publisher is None else self.publisher.live

    @property
    def state(self) -> StreamState:
        """``waiting`` while nobody publishes it: viewers stay, new ones are sent away."""
        return "waiting" if self.publisher is None else "live"

    def codecs_by_demand(self) -> tuple[Codec, ...]:
        """The codecs that present viewers hold, the most common first."""
        return tuple(codec for codec, count in self.demand.most_common() if count > 0)
