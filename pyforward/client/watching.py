"""Many viewers of one stream: who joined, who failed and why, and what each received.

What is counted here is what arrived, never what a server says that it sent.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

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

    async def join(self, join: Callable[[], Awaitable[Session]]) -> None:
        """One try, to its end: media may flow, or ``failed`` says why not. Raises ConfigError:
        what is wrong for everybody."""
        try:
            self.session = await join()
            self.profile = await self.session.connected
        except ConfigError:
            raise
        except RemoteError as error:
            self.failed = reason_of(error)
            self.sentence = str(error)

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


class Sums:
    """What many viewers received together, kept up while their reports replace each other: a look
    at one of them costs as much as its report, however many there are."""

    def __init__(self) -> None:
        self._by_codec: dict[tuple[Kind, Codec], _Sum] = {}

    def exchange(self, old: SessionReport | None, new: SessionReport | None) -> None:
        """A viewer's newest report takes the place of the one before."""
        for report, sign in ((old, -1), (new, 1)):
            for track in report.tracks if report is not None else ():
                key = (track.kind, track.codec)
                self._by_codec.setdefault(key, _Sum()).add(track, sign)

    def tracks(self) -> tuple[TrackFigures, ...]:
        """By kind and codec."""
        found = sorted(self._by_codec.items())
        return tuple(of.figures(*key) for key, of in found if of.tracks)


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
                await viewer.join(self._join)

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
    sums = Sums()
    for viewer in viewers:
        sums.exchange(None, viewer.report)
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
        tracks=sums.tracks(),
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


@dataclass(slots=True)
class _Sum:
    """Of one codec; ``tracks`` is how many are in it, ``with_jitter`` how many of them know it."""

    tracks: int = 0
    expected: int = 0
    received: int = 0
    repaired: int = 0
    lost: int = 0
    bytes: int = 0
    frames: int = 0
    keyframes: int = 0
    jitter_ms: float = 0.0
    with_jitter: int = 0

    def add(self, track: TrackReport, sign: int) -> None:
        self.tracks += sign
        self.expected += sign * track.packets_expected
        self.received += sign * track.packets_received
        self.repaired += sign * track.packets_repaired
        self.lost += sign * track.packets_lost
        self.bytes += sign * track.bytes
        self.frames += sign * track.frames
        self.keyframes += sign * track.keyframes
        if track.jitter_ms is not None:
            self.jitter_ms += sign * track.jitter_ms
            self.with_jitter += sign

    def figures(self, kind: Kind, codec: Codec) -> TrackFigures:
        return TrackFigures(
            kind=kind,
            codec=codec,
            packets_expected=self.expected,
            packets_received=self.received,
            packets_repaired=self.repaired,
            packets_lost=self.lost,
            bytes=self.bytes,
            jitter_ms=round(self.jitter_ms / self.with_jitter, 2) if self.with_jitter else None,
            frames=self.frames,
            keyframes=self.keyframes,
        )
