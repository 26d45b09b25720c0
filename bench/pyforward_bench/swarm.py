"""Viewers in the client role, thousands in one process on one engine.

They come all at once or at a rate, are looked at, and leave. All of them receive, open and count
natively; those that are probes tell each of their packets by a record, which a
:class:`~pyforward_bench.statistics.tally.Tally` reads. The swarm judges nothing and prints nothing.

A rate is kept by a clock that does not drift: the n-th viewer is due at n / rate, whatever those
before it did. What holds it up are too many on their way, and then it is late, and says by how
much.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Final

from pyforward.client import Rooms, Session, Target, open_rooms
from pyforward.client.watching import Sums, TrackFigures, Viewer
from pyforward.commands import CloseReason, Kind, Link, SessionReport, Trial
from pyforward.config import Config
from pyforward.engine import Engine
from pyforward_bench.records import parted
from pyforward_bench.statistics import Figures, Tally

AT_A_TIME: Final = 64
"""Joins on their way where no rate is asked for: enough to keep a server of two cores busy."""

AT_A_TIME_AT_A_RATE: Final = 256
"""The same where one is: as many as come in the second that a slow server takes."""

REPORTS_AT_A_TIME: Final = 100
"""So many reports are 2 ms of the loop's time; in between others get theirs."""

SILENT_AFTER_S: Final = 1.0
"""Whoever has received nothing for so long after its keys is not served."""

TRACK_SILENT_AFTER_S: Final = 5.0
"""Whoever has received one track and for so long nothing of another does not get that: video may
wait for a keyframe, and a publisher that cannot be asked sends one every few seconds."""

LEAVES_AT_A_TIME: Final = 128
LEAVE_LIMIT_S: Final = 10.0
"""How long all of them together may take; a server that hangs forgets them by itself."""

Open = Callable[[Config, Target, int], AbstractAsyncContextManager[Rooms]]


@dataclass(slots=True)
class Member(Viewer):
    """One viewer of the swarm. ``number`` names it in records and is never used twice; ``late_s``
    is how long after its time it began."""

    number: int = 0
    is_probe: bool = False
    late_s: float = 0.0
    is_over: bool = False
    """It has left, or was sent away, or never came."""

    @property
    def is_there(self) -> bool:
        """Media may flow to it."""
        return self.has_joined and self.session is not None and not self.session.is_over

    @property
    def unheard(self) -> Sequence[Kind]:
        """What was agreed on, and none of it has come by the last report."""
        tracks = self.report.tracks if self.report is not None else ()
        return [track.kind for track in tracks if not track.packets_received]


@dataclass(frozen=True, slots=True)
class Stages:
    """How long each stage of a join took, in milliseconds, as exactly as the loop's clock goes: by
    one. None where it was not reached.

    ``answer`` from the POST that was taken to the answer read, ``ice`` from there to the first
    check answered, ``dtls`` to the keys, ``packet`` to the first packet, ``keyframe`` from that to
    the last packet of the first whole keyframe. From the POST: ``first_packet``,
    ``first_keyframe``, and ``whole``, which is the latter, or the former where there is no video.
    """

    answer: float | None = None
    ice: float | None = None
    dtls: float | None = None
    packet: float | None = None
    keyframe: float | None = None
    first_packet: float | None = None
    first_keyframe: float | None = None
    whole: float | None = None


@dataclass(frozen=True, slots=True)
class SwarmFigures:
    """Everybody so far, by the last look. ``viewers`` began, ``joined`` of them ever had keys,
    ``there`` are left; ``failed`` and ``ended`` count by reason, the latter without our own
    leaving; ``silent`` had their keys for a second and received nothing, those of ``half_silent``
    for five, and received the other track but nothing of this kind; ``sentences`` has one for each
    reason of ``failed``. ``probes`` is what their records say."""

    viewers: int
    on_their_way: int
    joined: int
    there: int
    failed: Mapping[str, int]
    sentences: Mapping[str, str]
    ended: Mapping[str, int]
    silent: int
    half_silent: Mapping[Kind, int]
    srtp_profiles: Mapping[str, int]
    tracks: tuple[TrackFigures, ...]
    probes: Figures

    @property
    def bytes(self) -> int:
        """Of UDP payload, received by all of them."""
        return sum(track.bytes for track in self.tracks)

    @property
    def packets(self) -> int:
        """Media packets received by all of them."""
        return sum(track.packets_received for track in self.tracks)

    @property
    def expected(self) -> int:
        """What these should have been, by their sequence numbers."""
        return sum(track.packets_expected for track in self.tracks)

    @property
    def lost(self) -> int:
        """Of these so many are given up."""
        return sum(track.packets_lost for track in self.tracks)

    @property
    def repaired(self) -> int:
        """Of these so many came late, because they were asked for."""
        return sum(track.packets_repaired for track in self.tracks)


class Swarm:
    """Use it as ``async with``; it leaves everybody and everything at the end.

    ``trial`` is what is asked of every session beside its media, such as links that lose; numbers,
    records and seeds are each viewer's own. ``audio`` and ``video`` are what viewers ask for,
    ``skew`` as :class:`~pyforward_bench.statistics.Tally` has it. ``opening`` stands in for the
    rooms in tests.
    """

    def __init__(
        self,
        config: Config,
        target: Target,
        *,
        trial: Trial | None = None,
        audio: bool = True,
        video: bool = True,
        skew: bool = False,
        opening: Open = open_rooms,
    ) -> None:
        self.tally = Tally(skew)
        """What the probes' records say; :meth:`Tally.clear` begins anew."""
        self.passing = Tally()
        """The same of those that come in passing."""
        self.members: list[Member] = []
        """Everybody who ever began, in their order."""
        self._config = config
        self._target = target
        self._trial = trial
        self._kinds = {"audio": audio, "video": video}
        self._opening = opening
        self._house = contextlib.AsyncExitStack()
        self._rooms: Rooms | None = None
        self._numbers = count(1)
        self._in_passing: set[int] = set()
        self._there: dict[int, Member] = {}
        self._sums = Sums()
        self._joined = 0
        self._failed: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._sentences: dict[str, str] = {}
        self._profiles: Counter[str] = Counter()
        self._on_their_way = 0
        self._unheard: dict[int, Member] = {}

    async def __aenter__(self) -> Swarm:
        opening = self._opening(self._config, self._target, AT_A_TIME_AT_A_RATE)
        self._rooms = await self._house.enter_async_context(opening)
        self._rooms.sessions.on_records = self._take
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def engine(self) -> Engine:
        """Whose counters tell what the kernel dropped and how busy the shards are."""
        return self._present.engine

    # Coming --------------------------------------------------------------------------------------

    async def join(
        self, count: int, *, rate: float | None = None, probes: int = 0, passing: bool = False
    ) -> Sequence[Member]:
        """So many more, ``rate`` of them a second or as fast as they come, ``probes`` of them with
        records, spread evenly: a server sends to some before others, and they stand for all. Those
        who come in ``passing`` have a tally of their own: that a packet is late for somebody who
        joins says nothing of those who stand by. Returns when each has joined or failed; whoever is
        still on the way when this is cancelled leaves nothing behind. Raises ConfigError for what
        is wrong for all."""
        members = [
            Member(number=next(self._numbers), is_probe=is_probe)
            for is_probe in spread(min(probes, count), count)
        ]
        if passing:
            self._in_passing.update(member.number for member in members if member.is_probe)
        try:
            async with asyncio.TaskGroup() as joins:
                places = asyncio.Semaphore(AT_A_TIME if rate is None else AT_A_TIME_AT_A_RATE)
                pace = None if rate is None else Pace(rate)
                for member in members:
                    if pace is not None:
                        await pace.wait()
                    await places.acquire()
                    if pace is not None:
                        member.late_s = pace.late_s()
                    self.members.append(member)
                    join = joins.create_task(self._one(member))
                    join.add_done_callback(lambda _: places.release())
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return members

    async def _one(self, member: Member) -> None:
        rooms = self._present
        trial = self._trial_of(member)

        async def join() -> Session:
            return await rooms.sessions.watch(
                rooms.signalling, self._target.url, trial=trial, **self._kinds
            )

        self._on_their_way += 1
        try:
            await member.join(join)
        finally:
            self._on_their_way -= 1
        if member.failed:
            member.is_over = True
            self._failed[member.failed] += 1
            self._sentences.setdefault(member.failed, member.sentence)
        elif member.session is not None and member.profile is not None:
            self._joined += 1
            self._profiles[member.profile] += 1
            self._there[member.number] = self._unheard[member.number] = member
            member.session.closed.add_done_callback(lambda closed: self._gone(member, closed))

    def _gone(self, member: Member, closed: asyncio.Future[CloseReason]) -> None:
        member.is_over = True
        del self._there[member.number]
        reason = closed.result()
        if reason == "deleted":
            # It left by itself, perhaps before anybody had looked.
            self._unheard.pop(member.number, None)
        else:
            self._ended[reason] += 1

    def _trial_of(self, member: Member) -> Trial | None:
        if self._trial is None and not member.is_probe:
            return None
        trial = self._trial or Trial()
        return replace(
            trial,
            record_as=member.number if member.is_probe else None,
            inbound=_own(trial.inbound, 2 * member.number),
            outbound=_own(trial.outbound, 2 * member.number + 1),
        )

    # Looking -------------------------------------------------------------------------------------

    async def look(self, members: Iterable[Member] | None = None) -> None:
        """Takes the reports of these, or of all who are there, in slices that cost the loop
        little."""
        asked = self._there.values() if members is None else members
        there = [member for member in asked if member.is_there]
        for begin in range(0, len(there), REPORTS_AT_A_TIME):
            await self._look_at(there[begin : begin + REPORTS_AT_A_TIME])

    async def _look_at(self, members: Sequence[Member]) -> None:
        sessions = [member.session for member in members if member.session is not None]
        rows = await self._present.sessions.report(sessions)
        for member, session in zip(members, sessions, strict=True):
            report: SessionReport | None = rows.get(session.id)
            if report is not None:
                self._sums.exchange(member.report, report)
                member.report = report
                if member.has_received and not member.unheard:
                    self._unheard.pop(member.number, None)

    def _take(self, data: bytes) -> None:
        if self._in_passing:
            passing, data = parted(data, self._in_passing)
            self.passing.feed(passing)
        self.tally.feed(data)

    def figures(self) -> SwarmFigures:
        """Everybody, by the last look."""
        return SwarmFigures(
            viewers=len(self.members),
            on_their_way=self._on_their_way,
            joined=self._joined,
            there=len(self._there),
            failed=dict(self._failed),
            sentences=dict(self._sentences),
            ended=dict(self._ended),
            silent=sum(map(_is_silent, self._unheard.values())),
            half_silent=dict(Counter(kind for m in self._unheard.values() for kind in _lacks(m))),
            srtp_profiles=dict(self._profiles),
            tracks=self._sums.tracks(),
            probes=self.tally.figures(),
        )

    # Going ---------------------------------------------------------------------------------------

    async def leave(self, count: int | None = None) -> None:
        """The last ``count`` of those who are there, or all of them; within a bounded time."""
        there = list(self._there.values())
        leaving = there if count is None else there[max(0, len(there) - count) :]
        places = asyncio.Semaphore(LEAVES_AT_A_TIME)

        async def one(member: Member) -> None:
            async with places:
                await self.dismiss(member)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await asyncio.gather(*(one(member) for member in leaving))

    async def dismiss(self, member: Member) -> None:
        """This one leaves, on both sides."""
        if member.session is not None:
            await self._present.sessions.leave(member.session)

    async def close(self) -> None:
        """Everybody leaves, and then the engine ends."""
        if self._rooms is not None:
            await self.leave()
        await self._house.aclose()
        self._rooms = None

    @property
    def _present(self) -> Rooms:
        assert self._rooms is not None, "a swarm is used inside its async with"
        return self._rooms


class Pace:
    """Turns at a rate, the first at once. Each is due at a time reckoned from the one zero, so that
    what one of them is late by never moves the next."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._step_s = 1 / rate
        self._clock = clock
        self._sleep = sleep
        self._zero_s = clock()
        self._taken = 0

    async def wait(self) -> None:
        """Until the next turn is due."""
        due_s = self._zero_s + self._taken * self._step_s
        self._taken += 1
        await self._sleep(max(0.0, due_s - self._clock()))

    def late_s(self) -> float:
        """How long ago that was."""
        due_s = self._zero_s + (self._taken - 1) * self._step_s
        return max(0.0, self._clock() - due_s)


def spread(some: int, count: int) -> Sequence[bool]:
    """Which of so many places are those of a few at the same distance from each other."""
    return [i * some % count < some for i in range(count)]


def stages(viewer: Viewer) -> Stages:
    """By its session and its last report."""
    session = viewer.session
    if session is None:
        return Stages()
    answered = (session.added_s - session.begun_s) * 1e3
    ice = _since(session.claimed_s, session.added_s)
    dtls = _since(session.connected_s, session.claimed_s)
    keys_ms = _since(session.connected_s, session.added_s)
    tracks = viewer.report.tracks if viewer.report is not None else ()
    packet_ms = _least(track.first_packet_ms for track in tracks)
    video = [track for track in tracks if track.kind == "video"]
    keyframe_ms = _least(track.first_keyframe_ms for track in video)
    first_packet, first_keyframe = _plus(answered, packet_ms), _plus(answered, keyframe_ms)
    return Stages(
        answer=answered,
        ice=ice,
        dtls=dtls,
        # Media may overtake the word that keys are installed.
        packet=_after(packet_ms, keys_ms),
        keyframe=_after(keyframe_ms, packet_ms),
        first_packet=first_packet,
        first_keyframe=first_keyframe,
        whole=first_keyframe if video else first_packet,
    )


# Private -----------------------------------------------------------------------------------------


def _is_silent(member: Member) -> bool:
    """Whether nothing came although there was time."""
    return not member.has_received and (not member.is_there or _there_s(member) > SILENT_AFTER_S)


def _lacks(member: Member) -> Sequence[Kind]:
    """The tracks of which nothing came although there was time, while another came."""
    if member.has_received and member.is_there and _there_s(member) > TRACK_SILENT_AFTER_S:
        return member.unheard
    return ()


def _there_s(member: Member) -> float:
    """Since its keys."""
    session = member.session
    if session is None or session.connected_s is None:
        return 0.0
    return asyncio.get_running_loop().time() - session.connected_s


def _own(link: Link | None, seed: int) -> Link | None:
    """Links of one kind that lose each for itself."""
    return None if link is None else replace(link, seed=link.seed + seed)


def _since(later_s: float | None, earlier_s: float | None) -> float | None:
    return None if later_s is None or earlier_s is None else (later_s - earlier_s) * 1e3


def _after(later_ms: float | None, earlier_ms: float | None) -> float | None:
    return None if later_ms is None or earlier_ms is None else max(0.0, later_ms - earlier_ms)


def _plus(earlier_ms: float, since_ms: float | None) -> float | None:
    return None if since_ms is None else earlier_ms + since_ms


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
