"""The swarm: who came, who failed and why, what each received, and when each stage was reached."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from pyforward.client import Session
from pyforward.client.watching import Viewer
from pyforward.commands import Link, RemoveSession, ReportSessions, TrackReport, Trial
from pyforward.errors import ConfigError
from pyforward.ids import new_session_id
from pyforward_bench.swarm import (
    REPORTS_AT_A_TIME,
    SILENT_AFTER_S,
    TRACK_SILENT_AFTER_S,
    Pace,
    Stages,
    Swarm,
    spread,
    stages,
)
from tests.unit.bench.swarms import joined, records, swarm, trials
from tests.unit.client.site import Handler, problem, status
from tests.unit.client.test_watching import AUDIO, NOTHING, VIDEO
from tests.unit.client.world import World, answered
from tests.unit.signalling.world import KEYS, report_row


def received(w: World, session: Session | None, *tracks: TrackReport) -> None:
    """What the engine tells of a session from now on."""
    assert session is not None
    w.engine.rows[session.id] = report_row(session.id, tracks=tracks)


# Coming -------------------------------------------------------------------------------------------


async def test_it_may_be_used_several_times() -> None:
    async with swarm() as (made, w):
        first = await joined(made, w, 2)
        assert [member.number for member in first] == [1, 2]
        await joined(made, w, 3, probes=1)
        figures = made.figures()
        assert (figures.viewers, figures.joined, figures.there) == (5, 5, 5)
        assert figures.srtp_profiles == {KEYS.profile: 5}
        assert [member.is_probe for member in made.members] == [False, False, True, False, False]
        w.obey()
        await made.leave(2)
        assert made.figures().there == 3
        assert [member.is_there for member in made.members] == [True, True, True, False, False]
        await made.leave(9)
        assert made.figures().there == 0
        assert made.figures().ended == {}, "our own leaving is no end"
        assert len(w.site.requests("DELETE")) == 5
        await joined(made, w, 1)
        assert made.figures().there == 1


async def test_nobody_is_left_at_the_end() -> None:
    async with swarm() as (made, w):
        await joined(made, w, 3)
        w.obey()
    assert len(w.engine.taken(RemoveSession)) == 3
    assert len(w.site.requests("DELETE")) == 3


async def test_some_fail() -> None:
    full = problem(503, '"Every place is taken."')
    replies: list[Handler] = [answered()] * 3 + [full] * 2 + [status(500)]
    async with swarm(*replies) as (made, w):
        joining = asyncio.create_task(made.join(6))
        for session in await w.sessions_of(3):
            w.connect(session)
        await joining
        figures = made.figures()
        assert (figures.viewers, figures.joined, figures.on_their_way) == (6, 3, 0)
        assert figures.failed == {"http_503": 2, "http_500": 1}
        assert "Every place is taken" in figures.sentences["http_503"]
        assert sum(member.is_over for member in made.members) == 3


async def test_what_is_wrong_for_everybody_ends_it() -> None:
    async with swarm() as (made, w):

        def forbid(_: str) -> None:
            raise ConfigError("Not there.")

        w.sessions._permit = forbid
        with pytest.raises(ConfigError, match="Not there"):
            await made.join(5)
        assert made.figures().on_their_way == 0


async def test_given_up_on_the_way() -> None:
    async with swarm() as (made, w):
        joining = asyncio.create_task(made.join(3))
        await w.sessions_of(3)
        assert made.figures().on_their_way == 3
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert made.figures().on_their_way == 0
        w.obey()


async def test_what_is_asked_of_each_session() -> None:
    link = Link(loss=0.1, seed=7)
    async with swarm(trial=Trial(inbound=link, report_interval_ms=100)) as (made, w):
        await joined(made, w, 2, probes=1)
        probe, other = trials(w)
        assert probe is not None
        assert other is not None
        assert (probe.record_as, other.record_as) == (1, None)
        assert probe.inbound == replace(link, seed=9)
        assert other.inbound == replace(link, seed=11), "each has luck of its own"
        assert probe.outbound is None
        assert probe.report_interval_ms == 100


async def test_probes_stand_for_every_place_in_the_order() -> None:
    async with swarm() as (made, w):
        members = await joined(made, w, 9, probes=3)
        assert [member.number for member in members if member.is_probe] == [1, 4, 7]
    assert sum(spread(50, 1_999)) == 50
    assert [sum(spread(some, 7)) for some in range(8)] == list(range(8))


async def test_whoever_is_no_probe_is_on_no_trial() -> None:
    async with swarm() as (made, w):
        await joined(made, w, 3, probes=1)
        assert trials(w) == [Trial(record_as=1), None, None]


# A rate -------------------------------------------------------------------------------------------


@dataclass
class Time:
    """A clock that sleeping moves, a little further than was asked."""

    now: float = 100.0
    late: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.late


async def test_a_rate_does_not_drift() -> None:
    time = Time(late=0.003)
    pace = Pace(100, clock=time, sleep=time.sleep)
    begun = []
    for _ in range(1_000):
        await pace.wait()
        begun.append(time.now)
        assert pace.late_s() == pytest.approx(0.003)
    assert begun[0] == pytest.approx(100.003)
    assert begun[-1] == pytest.approx(109.993), "nobody's lateness was added up"


async def test_whoever_is_held_up_is_late_and_the_others_catch_up() -> None:
    time = Time()
    pace = Pace(10, clock=time, sleep=time.sleep)
    lateness = []
    for turn in range(6):
        await pace.wait()
        lateness.append(round(pace.late_s(), 3))
        if turn == 1:
            time.now += 0.25  # no place was free
    assert lateness == [0, 0, 0.15, 0.05, 0, 0]


async def test_a_rate_in_a_swarm() -> None:
    async with swarm() as (made, w):
        joining = asyncio.create_task(made.join(4, rate=1_000))
        for session in await w.sessions_of(4):
            w.connect(session)
        members = await joining
        assert all(member.has_joined for member in members)
        assert all(0 <= member.late_s < 60 for member in members)


# Looking ------------------------------------------------------------------------------------------


async def test_figures_are_sums_of_the_last_reports() -> None:
    async with swarm() as (made, w):
        one, two = await joined(made, w, 2)
        received(w, one.session, AUDIO, VIDEO)
        received(w, two.session, NOTHING)
        await made.look()
        received(w, two.session, VIDEO)
        await made.look()
        await made.look()
        figures = made.figures()
        assert [track.codec for track in figures.tracks] == ["opus", "h264"]
        assert (figures.packets, figures.expected, figures.lost) == (297, 300, 3)
        assert figures.repaired == 6
        assert figures.bytes == 184_000
        video = figures.tracks[1]
        assert (video.frames, video.keyframes, video.jitter_ms) == (60, 4, 1.0)


async def test_who_is_gone_keeps_its_last_report() -> None:
    async with swarm() as (made, w):
        one, two = await joined(made, w, 2)
        for member in (one, two):
            received(w, member.session, VIDEO)
        await made.look()
        w.engine.rows.clear()
        assert one.session is not None
        w.close(one.session, "silent")
        await asyncio.sleep(0)
        await made.look()
        figures = made.figures()
        assert figures.packets == 198
        assert (figures.there, figures.ended) == (1, {"silent": 1})
        assert one.is_over


async def test_whoever_receives_nothing_is_silent_after_a_while() -> None:
    async with swarm() as (made, w):
        fresh, served, silent, gone, left = await joined(made, w, 5)
        received(w, served.session, VIDEO)
        for member in (silent, served):
            assert member.session is not None
            assert member.session.connected_s is not None
            member.session.connected_s -= SILENT_AFTER_S
        assert gone.session is not None
        w.close(gone.session, "bye")
        w.obey()
        await made.dismiss(left)
        await made.look()
        assert not fresh.has_received
        assert made.figures().silent == 2


async def test_whoever_gets_audio_and_never_video_is_told_apart() -> None:
    """It has no gap in any number, and is neither silent nor stalled."""
    no_video = replace(VIDEO, packets_expected=0, packets_received=0)
    async with swarm() as (made, w):
        members = await joined(made, w, 4)
        for member, tracks, ago_s in (
            (members[0], (AUDIO, no_video), TRACK_SILENT_AFTER_S),
            (members[1], (AUDIO, no_video), TRACK_SILENT_AFTER_S - 1),  # a keyframe may yet come
            (members[2], (AUDIO, VIDEO), TRACK_SILENT_AFTER_S),
            (members[3], (VIDEO,), TRACK_SILENT_AFTER_S),  # no audio was agreed on
        ):
            received(w, member.session, *tracks)
            assert member.session is not None
            assert member.session.connected_s is not None
            member.session.connected_s -= ago_s
        await made.look()
        figures = made.figures()
        assert (figures.silent, figures.half_silent) == (0, {"video": 1})
        received(w, members[0].session, AUDIO, VIDEO)
        await made.look()
        assert made.figures().half_silent == {}


async def test_reports_are_asked_for_in_slices() -> None:
    count = 2 * REPORTS_AT_A_TIME + 10
    async with swarm() as (made, w):
        await joined_in_turns(made, w, count)
        await made.look()
        asked = [len(question.sessions) for question in w.engine.taken(ReportSessions)]
        assert asked == [REPORTS_AT_A_TIME, REPORTS_AT_A_TIME, 10]
        await made.look(made.members[:3])
        assert len(w.engine.taken(ReportSessions)[-1].sessions) == 3


async def joined_in_turns(made: Swarm, w: World, count: int) -> None:
    """More than may be on their way at a time."""
    joining = asyncio.create_task(made.join(count))
    connected: set[Session] = set()
    while len(connected) < count:
        for session in await w.sessions_of(len(connected) + 1):
            if session not in connected:
                connected.add(session)
                w.connect(session)
    await joining


async def test_records_of_the_probes() -> None:
    async with swarm() as (made, w):
        (probe,) = await joined(made, w, 1, probes=1)
        w.engine.tell(records(probe, 1, 2, 4, latency_us=2_000))
        await w.engine.settle()
        probes = made.figures().probes
        assert (probes.viewers, probes.packets, probes.lost) == (1, 3, 1)
        assert probes.packet_latency_us.quantile(0.5) == pytest.approx(2_000, rel=1e-3)
        made.tally.clear()
        assert made.figures().probes.packets == 0


# Stages -------------------------------------------------------------------------------------------


def viewer(*tracks: TrackReport) -> Viewer:
    """Whose POST was answered after 10 ms, whose first check after 5 more, with keys 20 later."""
    session = Session(new_session_id(), begun_s=100.0)
    session.added_s = 100.010
    session.claimed_s = 100.015
    session.connected_s = 100.035
    return Viewer(session, KEYS.profile, report=report_row(session.id, tracks=tracks))


def rounded(reached: Stages) -> Sequence[float | None]:
    values = (getattr(reached, name) for name in Stages.__dataclass_fields__)
    return [None if value is None else round(value, 3) for value in values]


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        # answer, ice, dtls, packet, keyframe, first packet, first keyframe, whole
        ((), (10, 5, 20, None, None, None, None, None)),
        ((VIDEO,), (10, 5, 20, 15, 20, 50, 70, 70)),
        ((AUDIO,), (10, 5, 20, 0, None, 30, None, 30)),
        ((AUDIO, VIDEO), (10, 5, 20, 0, 40, 30, 70, 70)),
        ((replace(VIDEO, first_keyframe_ms=None),), (10, 5, 20, 15, None, 50, None, None)),
    ],
)
def test_stages(tracks: tuple[TrackReport, ...], expected: Sequence[float | None]) -> None:
    async def look() -> Stages:
        return stages(viewer(*tracks))

    assert rounded(asyncio.run(look())) == list(expected)


async def test_stages_that_were_not_reached() -> None:
    assert stages(Viewer()) == Stages()
    session = Session(new_session_id(), begun_s=100.0)
    session.added_s = 100.010
    assert rounded(stages(Viewer(session))) == [10, *[None] * 7]
