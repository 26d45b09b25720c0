"""Many viewers: sums, medians, reasons, and who counts as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pyforward.client import Session
from pyforward.client.watching import Crowd, Viewer, reason_of
from pyforward.commands import CloseReason, SrtpProfile, TrackReport
from pyforward.errors import (
    BadAnswer,
    ConfigError,
    HostError,
    NotYet,
    Refused,
    RemoteError,
    SessionFailed,
    Unreachable,
)
from pyforward.ids import new_session_id
from tests.unit.client.site import Handler, problem, status
from tests.unit.client.world import World, answered, world
from tests.unit.signalling.world import KEYS, report_row

GCM: SrtpProfile = "SRTP_AEAD_AES_128_GCM"

VIDEO = TrackReport(
    kind="video",
    codec="h264",
    packets_expected=100,
    packets_received=99,
    packets_repaired=2,
    packets_lost=1,
    bytes=90_000,
    jitter_ms=1.0,
    frames=30,
    keyframes=2,
    first_packet_ms=40.0,
    first_keyframe_ms=60.0,
)
AUDIO = replace(
    VIDEO,
    kind="audio",
    codec="opus",
    bytes=4000,
    jitter_ms=None,
    keyframes=0,
    first_packet_ms=20.0,
    first_keyframe_ms=None,
)
NOTHING = replace(VIDEO, packets_expected=0, packets_received=0, first_packet_ms=None)


def viewer(
    *tracks: TrackReport,
    profile: SrtpProfile | None = GCM,
    join_ms: float = 5.0,
    ended: CloseReason | None = None,
) -> Viewer:
    """One who joined, ``join_ms`` after the POST, and received this."""
    session = Session(new_session_id(), begun_s=100.0)
    session.added_s = 100.0 + join_ms / 1e3
    if ended is not None:
        session.closed.set_result(ended)
    row = report_row(session.id, tracks=tracks) if tracks else None
    return Viewer(session, profile, report=row)


def crowd(w: World, *viewers: Viewer) -> Crowd:
    made = Crowd(w.sessions, len(viewers), w.watch)
    made.viewers = list(viewers)
    return made


# Figures ------------------------------------------------------------------------------------------


async def test_sums_and_medians() -> None:
    async with world() as w:
        slow = replace(VIDEO, first_packet_ms=400.0, first_keyframe_ms=900.0, jitter_ms=4.0)
        figures = crowd(
            w,
            viewer(AUDIO, VIDEO),
            viewer(AUDIO, VIDEO, join_ms=15.0),
            viewer(slow, join_ms=0.0),
        ).figures()
        assert (figures.viewers, figures.joined) == (3, 3)
        assert (figures.failed, figures.ended) == ({}, {})
        assert figures.srtp_profile == GCM
        # 20 + 5, 20 + 15, 400: the first of a viewer's tracks counts, and the middle viewer.
        assert figures.first_packet_ms == 35.0
        assert figures.first_keyframe_ms == 75.0
        audio, video = figures.tracks
        assert (audio.kind, audio.codec, audio.packets_received) == ("audio", "opus", 198)
        assert (audio.jitter_ms, audio.keyframes) == (None, 0)
        assert (video.kind, video.codec) == ("video", "h264")
        assert (
            video.packets_expected,
            video.packets_received,
            video.packets_repaired,
            video.packets_lost,
            video.bytes,
            video.frames,
            video.keyframes,
        ) == (300, 297, 6, 3, 270_000, 90, 6)
        assert video.jitter_ms == 2.0


async def test_before_anything_came() -> None:
    async with world() as w:
        figures = crowd(w, Viewer(), viewer()).figures()
        assert (figures.viewers, figures.joined) == (2, 1)
        assert (figures.first_packet_ms, figures.first_keyframe_ms) == (None, None)
        assert figures.tracks == ()
        assert crowd(w, Viewer()).figures().srtp_profile is None


async def test_a_codec_that_changes_and_several_profiles() -> None:
    async with world() as w:
        other = replace(VIDEO, codec="vp8")
        figures = crowd(w, viewer(VIDEO), viewer(other, profile="SRTP_AES128_CM_SHA1_80")).figures()
        assert [track.codec for track in figures.tracks] == ["h264", "vp8"]
        assert figures.srtp_profile == "SRTP_AEAD_AES_128_GCM,SRTP_AES128_CM_SHA1_80"


async def test_who_ended_and_why() -> None:
    async with world() as w:
        figures = crowd(
            w,
            viewer(VIDEO, ended="deleted"),
            viewer(VIDEO, ended="silent"),
            viewer(VIDEO, ended="silent"),
            viewer(VIDEO, ended="bye"),
            viewer(profile=None, ended="never_connected"),
        ).figures()
        assert figures.ended == {"silent": 2, "bye": 1}, "our own leaving is no end"
        assert figures.joined == 4


async def test_plain_values() -> None:
    async with world() as w:
        told = crowd(w, viewer(VIDEO)).figures().to_json()
        assert told["viewers"] == 1
        assert isinstance(told["tracks"], tuple)
        assert told["tracks"][0]["kind"] == "video"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unreachable("x"), "unreachable"),
        (BadAnswer("x"), "bad_answer"),
        (Refused("x", 403), "http_403"),
        (NotYet("x", 404), "http_404"),
        (SessionFailed("never_connected"), "never_connected"),
        (SessionFailed("handshake", "fingerprint"), "handshake"),
    ],
)
def test_names_of_reasons(error: RemoteError, reason: str) -> None:
    assert reason_of(error) == reason


# Who is well --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "well"),
    [
        (lambda: [viewer(VIDEO), viewer(AUDIO, NOTHING)], True),
        (lambda: [viewer(VIDEO), viewer(VIDEO, ended="deleted")], True),
        (lambda: [viewer(VIDEO), viewer(VIDEO, ended="bye")], True),
        (lambda: [viewer(VIDEO), viewer(VIDEO, ended="silent")], False),
        (lambda: [viewer(VIDEO), viewer(VIDEO, ended="consent_expired")], False),
        (lambda: [viewer(VIDEO), viewer(NOTHING)], False),
        (lambda: [viewer(VIDEO), viewer()], False),
        (lambda: [viewer(VIDEO), viewer(profile=None)], False),
        (lambda: [viewer(VIDEO), Viewer(failed="http_404")], False),
    ],
)
async def test_one_who_is_not_well_is_enough(
    make: Callable[[], Sequence[Viewer]], well: bool
) -> None:
    async with world() as w:
        assert crowd(w, *make()).is_well is well


# Joining ------------------------------------------------------------------------------------------


async def test_some_of_fifty_fail() -> None:
    full = problem(503, '"Every place is taken."')
    replies: list[Handler] = [answered()] * 40 + [full] * 9 + [status(500)]
    async with world(*replies) as w:
        many = Crowd(w.sessions, 50, w.watch)
        gathering = asyncio.create_task(many.gather(at_a_time=50))
        for session in await w.sessions_of(40):
            w.connect(session)
        await gathering
        figures = many.figures()
        assert (figures.viewers, figures.joined) == (50, 40)
        assert figures.failed == {"http_503": 9, "http_500": 1}
        assert not many.is_well
        sentences = {viewer.sentence for viewer in many.viewers if viewer.failed == "http_503"}
        assert [s for s in sentences if "Every place is taken" in s] == list(sentences)
        w.obey()
        await many.leave()
        await w.settled()
        assert many.is_empty
        assert len(w.site.requests("DELETE")) == 40


async def test_so_many_at_a_time() -> None:
    async with world() as w:
        many = Crowd(w.sessions, 5, w.watch)
        gathering = asyncio.create_task(many.gather(at_a_time=2))
        for count in (2, 4, 5):
            sessions = await w.sessions_of(count)
            assert len(w.site.requests("POST")) == count, "who is not connected holds a place"
            for session in sessions:
                if not session.connected.done():
                    w.connect(session)
        await gathering
        assert many.figures().joined == 5


@pytest.mark.parametrize("error", [ConfigError("A wrong address."), HostError("No engine.")])
async def test_what_is_wrong_for_all_of_them_ends_it(error: Exception) -> None:
    async with world() as w:
        started: list[asyncio.Task[object] | None] = []

        async def join() -> Session:
            started.append(asyncio.current_task())
            if len(started) == 3:
                raise error
            await asyncio.Event().wait()
            raise AssertionError

        with pytest.raises(type(error)):
            await Crowd(w.sessions, 3, join).gather()
        assert all(task is not None and task.done() for task in started), "nobody is left joining"


async def test_a_look_keeps_the_last_figures_of_who_is_gone() -> None:
    async with world() as w:
        events = asyncio.create_task(w.sessions.run_events())
        many = Crowd(w.sessions, 1, w.watch)
        gathering = asyncio.create_task(many.gather())
        (session,) = await w.sessions_of(1)
        w.connect(session)
        await gathering
        (one,) = many.viewers
        assert one.session is not None
        w.engine.rows[one.session.id] = report_row(one.session.id, tracks=(VIDEO,))
        await many.look()
        assert many.figures().tracks[0].packets_received == 99
        assert one.profile == KEYS.profile
        w.engine.rows.clear()
        await many.look()
        w.close(one.session, "silent")
        await many.look()
        assert many.figures().tracks[0].packets_received == 99
        assert many.figures().ended == {"silent": 1}
        assert many.is_empty
        w.engine.end()
        await events
