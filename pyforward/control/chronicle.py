"""What has happened, for people: one line in the log for each change of state, and the events of
the feed.

It follows what the books and the engine say and decides nothing. A stream is *on air* here from the
first media of a publisher until it ends, with or without a publisher meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

import structlog

from pyforward.commands import CloseReason
from pyforward.control.joins import reason_of
from pyforward.errors import Overloaded, RequestError
from pyforward.feed import (
    CapacityReached,
    Crowd,
    Feed,
    PublisherBack,
    PublisherLost,
    PublisherReplaced,
    StreamEnded,
    StreamStarted,
    ViewerJoined,
    ViewerLeft,
)
from pyforward.ids import SessionId, StreamId, format_session
from pyforward.state import Role, Session, Stream

CAPACITY_EVERY_S = 10.0
"""A limit that is reached is told at once, and then at most so often."""

EndReason = Literal["no_publisher", "deleted", "stopping"]

_log = structlog.get_logger("pyforward.control")


class Named(TypedDict):
    """What names a session in the log."""

    role: Role
    stream: str
    session: str


def named(session: Session) -> Named:
    """The fields of a log entry that say whose it is."""
    return {
        "role": session.role,
        "stream": session.stream.name,
        "session": format_session(session.id),
    }


@dataclass(slots=True)
class _OnAir:
    name: str
    started_at: float
    publisher: SessionId
    since: float
    """When media of this publisher began."""
    lost_at: float | None = None


@dataclass(slots=True)
class _Refusals:
    told_at: float
    count: int = 0


class Chronicle:
    """See the top of the file. ``clock`` is the books'."""

    def __init__(self, feed: Feed, crowd: Crowd, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._crowd = crowd
        self._clock = clock
        self._on_air: dict[StreamId, _OnAir] = {}
        self._refusals: dict[str, _Refusals] = {}

    # Sessions ------------------------------------------------------------------------------------

    def connected(self, session: Session) -> None:
        """Its keys are installed."""
        took_s = self._since(session.opened_at)
        _log.info(
            "session_connected", **named(session), profile=session.srtp_profile, took_s=took_s
        )

    def flows(self, session: Session) -> None:
        """Its first media came, or went out; the books know."""
        took_s = self._since(session.opened_at)
        _log.info("session_flows", **named(session), took_s=took_s)
        if session.role == "publish":
            self._publisher_flows(session)
        else:
            stream = session.stream
            self._crowd.add(
                ViewerJoined(
                    stream=stream.name,
                    session=format_session(session.id),
                    took_s=took_s,
                    viewers=len(stream.viewers),
                )
            )

    def closed(self, session: Session, reason: CloseReason) -> None:
        """It is gone; the books know."""
        lasted_s = self._since(session.opened_at)
        _log.info("session_closed", **named(session), reason=reason, lasted_s=lasted_s)
        if session.flowed_at is None:
            return
        if session.role == "publish":
            self._publisher_closed(session, reason)
        else:
            stream = session.stream
            self._crowd.add(
                ViewerLeft(
                    stream=stream.name,
                    session=format_session(session.id),
                    reason=reason,
                    watched_s=self._since(session.flowed_at),
                    viewers=len(stream.viewers),
                )
            )

    # Streams -------------------------------------------------------------------------------------

    def stream_ended(self, stream: Stream, reason: EndReason) -> None:
        """It is over. What never was on air ends without a word."""
        on_air = self._on_air.pop(stream.id, None)
        if on_air is not None:
            self._ended(on_air, reason)

    def _publisher_flows(self, session: Session) -> None:
        stream, publisher = session.stream, format_session(session.id)
        now = self._clock()
        on_air = self._on_air.get(stream.id)
        if on_air is None:
            self._on_air[stream.id] = _OnAir(stream.name, now, session.id, now)
            _log.info("stream_started", stream=stream.name, session=publisher)
            self._feed.tell(
                StreamStarted(stream=stream.name, session=publisher, codecs=session.codecs)
            )
            return
        before, lost_at = on_air.publisher, on_air.lost_at
        on_air.publisher, on_air.since, on_air.lost_at = session.id, now, None
        if lost_at is None:
            replaced = format_session(before)
            _log.info(
                "publisher_replaced", stream=stream.name, session=publisher, replaced=replaced
            )
            self._feed.tell(
                PublisherReplaced(
                    stream=stream.name,
                    session=publisher,
                    replaced=replaced,
                    codecs=session.codecs,
                )
            )
            return
        away_s, viewers = self._since(lost_at), len(stream.viewers)
        _log.info(
            "publisher_back", stream=stream.name, session=publisher, away_s=away_s, viewers=viewers
        )
        self._feed.tell(
            PublisherBack(
                stream=stream.name,
                session=publisher,
                codecs=session.codecs,
                away_s=away_s,
                viewers=viewers,
            )
        )

    def _publisher_closed(self, session: Session, reason: CloseReason) -> None:
        stream = session.stream
        on_air = self._on_air.get(stream.id)
        if on_air is None or on_air.publisher != session.id or on_air.lost_at is not None:
            return  # the stream is over, or somebody else has it
        on_air.lost_at = self._clock()
        published_s, viewers = self._since(on_air.since), len(stream.viewers)
        publisher = format_session(session.id)
        _log.warning(
            "publisher_lost",
            stream=stream.name,
            session=publisher,
            reason=reason,
            published_s=published_s,
            viewers=viewers,
        )
        self._feed.tell(
            PublisherLost(
                stream=stream.name,
                session=publisher,
                reason=reason,
                published_s=published_s,
                viewers=viewers,
            )
        )

    def _ended(self, on_air: _OnAir, reason: EndReason) -> None:
        lasted_s = self._since(on_air.started_at)
        _log.info("stream_ended", stream=on_air.name, reason=reason, lasted_s=lasted_s)
        self._feed.tell(StreamEnded(stream=on_air.name, reason=reason, lasted_s=lasted_s))

    # Joins ---------------------------------------------------------------------------------------

    def refused(self, role: Role, error: RequestError) -> None:
        """A join was refused. Where a limit is the cause, operators hear of it."""
        _log.debug("join_refused", role=role, reason=reason_of(error))
        if not isinstance(error, Overloaded) or not error.limit:
            return
        now = self._clock()
        refusals = self._refusals.setdefault(error.limit, _Refusals(now - CAPACITY_EVERY_S))
        refusals.count += 1
        if now - refusals.told_at < CAPACITY_EVERY_S:
            return
        count, refusals.count, refusals.told_at = refusals.count, 0, now
        _log.warning(
            "capacity_reached",
            limit=error.limit,
            value=error.value,
            stream=error.stream,
            refused=count,
        )
        self._feed.tell(
            CapacityReached(
                limit=error.limit, value=error.value, stream=error.stream, refused=count
            )
        )

    # The end -------------------------------------------------------------------------------------

    def stopping(self) -> None:
        """The server stops: every stream is over."""
        for on_air in self._on_air.values():
            self._ended(on_air, "stopping")
        self._on_air.clear()

    def stopped(self) -> None:
        """Nobody is left; what was being summed is told."""
        self._crowd.flush()

    # Private -------------------------------------------------------------------------------------

    def _since(self, at: float) -> float:
        return round(max(0.0, self._clock() - at), 3)
