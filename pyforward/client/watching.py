"""Many viewers of one stream: who joined, who failed and why, and what each received.

What is counted here is what arrived, never what a server says that it sent.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from pyforward.client.sessions import Session, Sessions
from pyforward.commands import Codec, Kind, SessionReport, SrtpProfile, TrackReport
from pyforward.errors import ConfigError, Refused, RemoteError, SessionFailed

AT_A_TIME = 32
"""Joins on their way together: as many as a browserful of people, and under every server's
limit."""


@dataclass(slots=True)
class Viewer:
    """One of them, from its first try on."""

    session: Session | None = None
    profile: SrtpProfile | None = None
    failed: str = ""
    """Why it never connected; empty if it did, or still may."""
    sentence: str = ""
    """The same for people."""
    report: SessionReport | None = None
    """The last one."""

    @property
    def has_joined(self) -> bool:
        """Media may flow, or might."""
        return self.profile is not None

    @property
    def has_received(self) -> bool:
        """By the last report."""
        tracks = self.report.tracks if self.report is not None else ()
        return any(track.packets_received for track in tracks)

    @property
    def is_lost(self) -> bool:
        """The session is over, and neither side had said so to the other."""
        return (
            self.session is not None
            and self.session.is_over
            and self.session.closed.result() not in ("bye", "deleted")
        )

    def since_post_ms(self, engine_ms: float | None) -> float | None:
        """A time that the engine counts from its hearing of the session, counted from the POST."""
        if engine_ms is None or self.session is None:
            return None
        return engine_ms + (self.session.added_s - self.session.begun_s) * 1e3


@dataclass(frozen=True, slots=True)
class TrackFigures:
    """Sums over all viewers; ``jitter_ms`` is their mean (RFC 3550 §6.4.1)."""

    kind: Kind
    codec: Codec
    packets_expected: int
    packets_received: int
    packets_repaired: int
    packets_lost: int
    bytes: int
    jitter_ms: float | None
    frames: int
    keyframes: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What ``pyforward watch --json`` prints. Times are medians over the viewers, in milliseconds
    from the POST; ``ended`` counts those that had joined and were closed, by reason; several
    profiles are told with commas between them."""

    viewers: int
    joined: int
    failed: dict[str, int]
    ended: dict[str, int]
    srtp_profile: str | None
    first_packet_ms: float | None
    first_keyframe_ms: float | None
    tracks: tuple[TrackFigures, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


class Crowd:
    """``count`` viewers of one stream. ``join`` makes one session."""

    def __init__(
        self, sessions: Sessions, count: int, join: Callable[[], Awaitable[Session]]
    ) -> None:
        self._sessions = sessions
        self._join = join
        self.viewers = [Viewer() for _ in range(count)]

    async def gather(self, at_a_time: int = AT_A_TIME) -> None:
        """Everybody tries once; returns when everybody has joined or failed."""
        places = asyncio.Semaphore(at_a_time)

        async def one(viewer: Viewer) -> None:
            async with places:
                await self._one(viewer)

        joins = [asyncio.create_task(one(viewer)) for viewer in self.viewers]
        try:
            await asyncio.gather(*joins)
        finally:
            # What goes wrong for one of them in an unforeseen way ends the others' joins, too.
            for join in joins:
                join.cancel()
            await asyncio.wait(joins)

    async def look(self) -> None:
        """Takes the figures of all who are there."""
        there = [v for v in self.viewers if v.session is not None and not v.session.is_over]
        rows = await self._sessions.report(v.session for v in there if v.session is not None)
        for viewer in there:
            if viewer.session is not None:
                viewer.report = rows.get(viewer.session.id, viewer.report)

    async def leave(self) -> None:
        """Everybody goes."""
        there = [viewer.session for viewer in self.viewers if viewer.session is not None]
        await asyncio.gather(*(self._sessions.leave(session) for session in there))

    @property
    def is_empty(self) -> bool:
        """Nobody is left of those who joined, and nobody is on the way."""
        return all(
            viewer.failed or (viewer.session is not None and viewer.session.is_over)
            for viewer in self.viewers
        )

    @property
    def is_well(self) -> bool:
        """Everybody joined and received something, and who is gone was told so."""
        return all(
            viewer.has_joined and viewer.has_received and not viewer.is_lost
            for viewer in self.viewers
        )

    def figures(self) -> Figures:
        """By the last look."""
        return _figures(self.viewers)

    async def _one(self, viewer: Viewer) -> None:
        try:
            viewer.session = await self._join()
            viewer.profile = await viewer.session.connected
        except ConfigError:
            raise  # it is wrong for all of them
        except RemoteError as error:
            viewer.failed = reason_of(error)
            viewer.sentence = str(error)


def reason_of(error: RemoteError) -> str:
    """Why a viewer failed, as a name: ``unreachable``, ``bad_answer``, ``http_404``, or the
    engine's reason."""
    match error:
        case SessionFailed():
            return error.reason
        case Refused():
            return f"http_{error.status}"
        case _:
            name = type(error).__name__
            return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


# Private -----------------------------------------------------------------------------------------


def _figures(viewers: Sequence[Viewer]) -> Figures:
    reports = [viewer.report for viewer in viewers if viewer.report is not None]
    profiles = sorted({viewer.profile for viewer in viewers if viewer.profile is not None})
    ended = Counter(
        viewer.session.closed.result()
        for viewer in viewers
        if viewer.has_joined and viewer.session is not None and viewer.session.is_over
    )
    return Figures(
        viewers=len(viewers),
        joined=sum(viewer.has_joined for viewer in viewers),
        failed=dict(Counter(viewer.failed for viewer in viewers if viewer.failed)),
        ended={str(reason): count for reason, count in ended.items() if reason != "deleted"},
        srtp_profile=",".join(profiles) or None,
        first_packet_ms=_median(_first(v, lambda t: t.first_packet_ms, min) for v in viewers),
        first_keyframe_ms=_median(_first(v, lambda t: t.first_keyframe_ms, min) for v in viewers),
        tracks=_tracks(chain.from_iterable(report.tracks for report in reports)),
    )


def _first(
    viewer: Viewer,
    when: Callable[[TrackReport], float | None],
    choose: Callable[[Iterable[float]], float],
) -> float | None:
    tracks = viewer.report.tracks if viewer.report is not None else ()
    known = [ms for ms in map(when, tracks) if ms is not None]
    return viewer.since_post_ms(choose(known)) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 1) if known else None


def _tracks(reports: Iterable[TrackReport]) -> tuple[TrackFigures, ...]:
    by_codec: dict[tuple[Kind, Codec], list[TrackReport]] = {}
    for report in reports:
        by_codec.setdefault((report.kind, report.codec), []).append(report)
    return tuple(
        TrackFigures(
            kind=kind,
            codec=codec,
            packets_expected=sum(report.packets_expected for report in of),
            packets_received=sum(report.packets_received for report in of),
            packets_repaired=sum(report.packets_repaired for report in of),
            packets_lost=sum(report.packets_lost for report in of),
            bytes=sum(report.bytes for report in of),
            jitter_ms=_mean(report.jitter_ms for report in of),
            frames=sum(report.frames for report in of),
            keyframes=sum(report.keyframes for report in of),
        )
        for (kind, codec), of in sorted(by_codec.items())
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 2) if known else None
