"""Control: which side effects follow from joins, events and the clock, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from pyforward.commands import (
    AddSession,
    AddStream,
    Claimed,
    Closed,
    DtlsReceived,
    Flowing,
    InjectRtp,
    InstallKeys,
    KeepFarewell,
    Publish,
    RemoveSession,
    RemoveStream,
    ReportSessions,
    Secured,
    SendDtls,
    Stop,
    Subscribe,
)
from pyforward.config import Config
from pyforward.control import ClaimLimits, Claims
from pyforward.errors import (
    BadOffer,
    NoCommonCodec,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    RequestError,
    SessionNotFound,
    StreamInUse,
    StreamNotFound,
    StreamNotLive,
    Unprocessable,
)
from pyforward.ids import SessionId, format_session
from pyforward.sdp import LiveTrack
from tests.unit.signalling.offers import DIGEST, PWD, UFRAG, fragment, offer
from tests.unit.signalling.world import ADDRESS, KEYS, World, report_row, running

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")


def config(**sections: dict[str, object]) -> Config:
    return Config.model_validate(sections)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world


# Joining -----------------------------------------------------------------------------------------


async def test_publisher_becomes_commands_and_an_answer(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    stream, session = world.engine.submitted
    assert isinstance(stream, AddStream)
    assert isinstance(session, AddSession)
    assert isinstance(session.media, Publish)
    assert session.session == accepted.session
    assert session.media.stream == stream.stream
    assert session.ice is not None
    assert (session.ice.remote_ufrag, session.ice.remote_pwd) == (UFRAG, PWD)
    assert session.ice.local_ufrag.startswith("00")
    assert f"a=ice-ufrag:{session.ice.local_ufrag}" in accepted.answer
    assert f"a=ice-pwd:{session.ice.local_pwd}" in accepted.answer
    assert "a=setup:passive" in accepted.answer
    assert " 127.0.0.1 8189 typ host" in accepted.answer
    assert [track.kind for track in session.media.tracks] == ["audio", "video"]


async def test_viewer_becomes_commands_and_an_answer(world: World) -> None:
    await world.publish("show", PUBLISH)
    world.engine.forget()
    accepted = await world.watch("show", WATCH)
    (session,) = world.engine.submitted
    assert isinstance(session, AddSession)
    assert isinstance(session.media, Subscribe)
    assert session.session == accepted.session
    video = next(track for track in session.media.tracks if track.kind == "video")
    assert {accepted.codec for accepted in video.formats} == {"vp8", "h264"}


async def test_sessions_differ_in_everything_that_must_not_be_guessed(world: World) -> None:
    one = await world.publish("show", PUBLISH)
    others = [await world.watch("show", WATCH) for _ in range(20)]
    for field in ("session", "secret", "etag"):
        assert len({getattr(accepted, field) for accepted in [one, *others]}) == 21
    credentials = [session.ice for session in world.added()]
    assert len({ice.local_ufrag for ice in credentials if ice is not None}) == 21


async def test_unknown_stream(world: World) -> None:
    with pytest.raises(StreamNotFound) as caught:
        await world.watch("show", WATCH)
    assert caught.value.retry_after_s is not None
    assert world.engine.submitted == []


async def test_declared_stream_without_publisher() -> None:
    async with running(config(streams={"declared": ("show",)})) as world:
        waits = set()
        for _ in range(20):
            with pytest.raises(StreamNotLive) as caught:
                await world.watch("show", WATCH)
            assert caught.value.retry_after_s is not None
            waits.add(caught.value.retry_after_s)
        assert len(waits) > 10, "waits are spread"
        assert 2.0 <= min(waits) <= max(waits) <= 8.0


async def test_viewer_without_the_codec_is_told_the_codecs(world: World) -> None:
    await world.publish("show", offer("sendonly", video=("h264",)))
    world.engine.forget()
    with pytest.raises(NoCommonCodec) as caught:
        await world.watch("show", offer("recvonly", video=("vp8",), audio=False))
    assert "h264" in caught.value.codecs
    assert world.engine.submitted == []


@pytest.mark.parametrize(
    "text",
    ["", "v=0", "\x00\x01\x02", "v=0\r\n" * 2000, offer("sendonly", rtcp_mux=False)],
    ids=["empty", "truncated", "binary", "repeated", "no rtcp-mux"],
)
async def test_failed_offer_leaves_nothing_behind(world: World, text: str) -> None:
    with pytest.raises((BadOffer, Unprocessable)):
        await world.publish("show", text)
    view = world.control.view()
    assert (view.streams, view.sessions) == (0, 0)
    assert world.engine.submitted == []
    assert world.control._context.books.next_deadline() is None


async def test_publisher_is_answered_with_what_present_viewers_hold(world: World) -> None:
    await world.publish("show", offer("sendonly", video=("vp8", "h264")))
    for _ in range(2):
        await world.watch("show", offer("recvonly", video=("vp8",)))
    await world.publish("show", offer("sendonly", video=("h264", "vp8")))
    media = world.added()[-1].media
    assert isinstance(media, Publish)
    assert [track.codec for track in media.tracks if track.kind == "video"] == ["vp8"]


async def test_second_publisher_replaces(world: World) -> None:
    one = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    world.engine.forget()
    two = await world.publish("show", PUBLISH)
    removed, added = world.engine.submitted
    assert removed == RemoveSession(one.session, "replaced")
    assert isinstance(added, AddSession)
    assert added.session == two.session
    await world.close(one.session, "replaced")
    figures = await world.control.stream("show")
    assert (figures.state, figures.viewers) == ("live", 1)
    assert world.control.inject(viewer.session, ()) is True


async def test_second_publisher_is_rejected_where_asked_for() -> None:
    async with running(config(streams={"conflict": "reject"})) as world:
        await world.publish("show", PUBLISH)
        world.engine.forget()
        with pytest.raises(StreamInUse):
            await world.publish("show", PUBLISH)
        assert world.engine.submitted == []


async def test_limits() -> None:
    async with running(config(limits={"streams": 1, "viewers": 2})) as world:
        await world.publish("one", PUBLISH)
        with pytest.raises(Overloaded, match="streams"):
            await world.publish("two", PUBLISH)
        await world.watch("one", WATCH)
        viewer = await world.watch("one", WATCH)
        with pytest.raises(Overloaded, match="viewers"):
            await world.watch("one", WATCH)
        await world.close(viewer.session, "silent")
        await world.watch("one", WATCH)


async def test_half_open_limit_lets_connected_ones_through() -> None:
    async with running(config(limits={"sessions_half_open": 3})) as world:
        publisher = await world.publish("show", PUBLISH)
        await world.connect(publisher.session)
        viewers = [await world.watch("show", WATCH) for _ in range(4)]
        with pytest.raises(Overloaded, match="connecting") as caught:
            await world.watch("show", WATCH)
        assert caught.value.retry_after_s is not None
        await world.connect(viewers[0].session)
        await world.watch("show", WATCH)


async def test_claims_limit_viewers_and_end_sessions(world: World) -> None:
    await world.publish("show", PUBLISH)
    claims = Claims("watch", expires_in_s=5.0, limits=ClaimLimits(viewers=1))
    viewer = await world.control.watch("show", WATCH, claims)
    with pytest.raises(Overloaded):
        await world.control.watch("show", WATCH, claims)
    world.engine.forget()
    world.pass_time(5.0)
    assert world.engine.submitted == [RemoveSession(viewer.session, "deleted")]


async def test_joins_are_counted_by_how_they_ended(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    with pytest.raises(StreamNotFound):
        await world.watch("none", WATCH)
    with pytest.raises(BadOffer):
        await world.publish("show", "x")
    await world.connect(publisher.session)
    await world.close(publisher.session, "silent")
    world.pass_time(15.0)
    await world.close(viewer.session, "never_connected")
    assert world.control.view().joins == {
        ("publish", "accepted", ""): 1,
        ("publish", "connected", ""): 1,
        ("publish", "refused", "bad_offer"): 1,
        ("watch", "accepted", ""): 1,
        ("watch", "refused", "stream_not_found"): 1,
        ("watch", "failed", "never_connected"): 1,
    }


async def test_concurrent_joins_are_limited() -> None:
    async with running(config(limits={"concurrent_joins": 2})) as world:
        join = world.control.joining
        with join("watch"), join("publish"), pytest.raises(Overloaded), join("watch"):
            pytest.fail("a third one got in")
        with join("watch"):
            pass
        assert world.control.view().joins["watch", "refused", "overloaded"] == 1


# The way to keys ---------------------------------------------------------------------------------


async def test_handshake_from_claim_to_farewell(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    session = accepted.session
    world.engine.forget()
    await world.tell(Claimed(session, 1, ADDRESS), DtlsReceived(session, b"hello"))
    assert world.pool.started == [(session, "server", (("sha-256", DIGEST),))]
    assert world.pool.received == [(session, b"hello")]
    world.pool.on_flight(session, [b"one", b"two"])
    world.pool.on_keys(session, KEYS)
    world.pool.lingering[session] = b"bye"
    await world.tell(Secured(session))
    assert world.engine.submitted == [
        SendDtls(session, (b"one", b"two")),
        InstallKeys(
            session,
            KEYS.profile,
            KEYS.local_key,
            KEYS.local_salt,
            KEYS.remote_key,
            KEYS.remote_salt,
        ),
        KeepFarewell(session, b"bye"),
    ]


async def test_passive_offer_makes_us_the_client(world: World) -> None:
    accepted = await world.publish("show", offer("sendonly", setup="passive"))
    assert "a=setup:active" in accepted.answer
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    assert [role for _, role, _ in world.pool.started] == ["client"]


async def test_datagrams_of_unknown_and_closing_sessions_are_dropped(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.control.delete("publish", "show", accepted.secret)
    await world.tell(
        Claimed(accepted.session, 0, ADDRESS),
        DtlsReceived(accepted.session, b"late"),
        DtlsReceived(SessionId(7), b"unknown"),
        Claimed(SessionId(7), 0, ADDRESS),
    )
    assert (world.pool.started, world.pool.received) == ([], [])
    world.engine.forget()
    world.pool.on_keys(accepted.session, KEYS)
    world.pool.on_flight(accepted.session, [b"late"])
    assert world.engine.submitted == []


async def test_failed_handshake_ends_the_session(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    world.engine.forget()
    world.pool.on_failed(accepted.session, "fingerprint")
    assert world.engine.submitted == [RemoveSession(accepted.session, "handshake")]
    await world.close(accepted.session, "handshake")
    assert world.control.view().joins["publish", "failed", "handshake"] == 1


async def test_session_that_is_never_claimed_ends(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    stream = world.engine.taken(AddStream)[0].stream
    world.pass_time(14.9)
    assert world.engine.taken(RemoveSession) == []
    world.pass_time(0.1)
    assert world.engine.taken(RemoveSession) == [RemoveSession(accepted.session, "never_connected")]
    await world.close(accepted.session, "never_connected")
    assert world.engine.submitted[-1] == RemoveStream(stream)
    assert world.control.view().sessions == 0


async def test_handshake_that_never_ends_is_ended(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    world.pass_time(10.0)
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    world.pass_time(9.9)
    assert world.engine.taken(RemoveSession) == []
    world.pass_time(0.1)
    assert world.engine.taken(RemoveSession) == [RemoveSession(accepted.session, "handshake")]


async def test_peer_that_closes_its_connection_says_goodbye(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.connect(accepted.session)
    world.pool.on_failed(accepted.session, "closed")
    assert world.engine.taken(RemoveSession) == [RemoveSession(accepted.session, "bye")]
    assert (await world.control.stream("show")).state == "waiting"


async def test_farewell_goes_before_the_end(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.connect(accepted.session)
    world.pool.lingering[accepted.session] = b"bye"
    world.engine.forget()
    await world.control.delete("publish", "show", accepted.secret)
    assert world.engine.submitted == [
        KeepFarewell(accepted.session, b"bye"),
        RemoveSession(accepted.session, "deleted"),
    ]


async def test_one_timer_serves_every_deadline(world: World) -> None:
    def timer() -> asyncio.TimerHandle | None:
        return world.control._timer

    assert timer() is None
    accepted = await world.publish("show", PUBLISH)
    first = timer()
    assert first is not None
    assert first.when() == pytest.approx(asyncio.get_running_loop().time() + 15.0, abs=1.0)
    await world.watch("show", WATCH)
    assert timer() is first
    await world.connect(accepted.session)
    world.pass_time(15.0)
    assert first.cancelled()
    assert timer() is None


# Sessions by their URL ---------------------------------------------------------------------------


async def test_delete_ends_once(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    world.engine.forget()
    await world.control.delete("watch", "show", viewer.secret)
    assert world.engine.submitted == [RemoveSession(viewer.session, "deleted")]
    assert viewer.session in world.pool.dropped
    with pytest.raises(SessionNotFound):
        await world.control.delete("watch", "show", viewer.secret)
    await world.close(viewer.session)
    with pytest.raises(SessionNotFound):
        await world.control.delete("watch", "show", viewer.secret)
    assert world.control.inject(publisher.session, ()) is True


async def test_url_serves_one_role_and_one_stream(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    await world.publish("other", PUBLISH)
    for role, name, secret in (
        ("watch", "show", publisher.secret),
        ("publish", "other", publisher.secret),
        ("publish", "show", "made-up"),
        ("publish", "show", format_session(publisher.session)),
    ):
        with pytest.raises(SessionNotFound):
            await world.control.delete(role, name, secret)  # type: ignore[arg-type]
        with pytest.raises(SessionNotFound):
            await world.control.trickle(role, name, secret, fragment(), "*")  # type: ignore[arg-type]
    assert world.engine.taken(RemoveSession) == []


async def test_trickle_takes_candidates_and_refuses_a_restart(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)

    async def trickle(text: str, if_match: str | None) -> None:
        await world.control.trickle("publish", "show", accepted.secret, text, if_match)

    await trickle(fragment(), accepted.etag)
    await trickle(fragment(), "*")
    await trickle(fragment(), f'"other", {accepted.etag}')
    for text in (fragment(ufrag="changed"), fragment(pwd="another-password-of-28-chars")):
        for if_match in (accepted.etag, "*"):
            with pytest.raises(Unprocessable, match="restart"):
                await trickle(text, if_match)
    with pytest.raises(PreconditionRequired):
        await trickle(fragment(), None)
    for if_match in ('"other"', f"W/{accepted.etag}", accepted.etag.strip('"'), "", '"'):
        with pytest.raises(PreconditionFailed):
            await trickle(fragment(), if_match)
    with pytest.raises(BadOffer):
        await trickle("\x00", accepted.etag)
    assert world.engine.taken(RemoveSession) == []
    await trickle(fragment(), accepted.etag)


# Streams over time -------------------------------------------------------------------------------


async def test_viewers_wait_for_a_publisher_and_are_then_let_go(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    await world.connect(publisher.session)
    await world.connect(viewer.session)
    await world.tell(
        Flowing(publisher.session), Secured(publisher.session), Secured(viewer.session)
    )
    await world.close(publisher.session, "silent")
    figures = await world.control.stream("show")
    assert (figures.state, figures.publisher, figures.viewers) == ("waiting", None, 1)
    with pytest.raises(StreamNotLive):
        await world.watch("show", WATCH)
    world.engine.forget()
    world.pass_time(29.9)
    assert world.engine.submitted == []
    world.pass_time(0.1)
    assert world.engine.submitted == [RemoveSession(viewer.session, "stream_ended")]
    with pytest.raises(StreamNotFound):
        await world.control.stream("show")
    await world.close(viewer.session, "stream_ended")
    assert isinstance(world.engine.submitted[-1], RemoveStream)


async def test_publisher_that_returns_finds_its_viewers(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    await world.connect(viewer.session)
    await world.control.delete("publish", "show", publisher.secret)
    world.pass_time(20.0)
    await world.publish("show", PUBLISH)
    world.pass_time(14.0)
    figures = await world.control.stream("show")
    assert (figures.state, figures.viewers) == ("live", 1)
    assert RemoveSession(viewer.session, "stream_ended") not in world.engine.submitted


async def test_operator_ends_a_stream_and_a_session(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    viewers = [await world.watch("show", WATCH) for _ in range(2)]
    world.engine.forget()
    await world.control.remove_session(viewers[0].session)
    with pytest.raises(SessionNotFound):
        await world.control.remove_session(viewers[0].session)
    await world.control.remove_stream("show")
    with pytest.raises(StreamNotFound):
        await world.control.remove_stream("show")
    assert world.engine.submitted == [
        RemoveSession(viewers[0].session, "deleted"),
        RemoveSession(publisher.session, "deleted"),
        RemoveSession(viewers[1].session, "stream_ended"),
    ]
    await world.close_removed()
    assert world.control.view().sessions == 0
    assert isinstance(world.engine.submitted[-1], RemoveStream)


async def test_local_publisher_needs_no_handshake(world: World) -> None:
    session = await world.control.publish_local("demo", (), (LiveTrack("audio", "opus"),))
    assert world.added()[-1].ice is None
    world.pass_time(1000.0)
    assert world.engine.taken(RemoveSession) == []
    assert world.control.inject(session, [b"packet"]) is True
    assert world.engine.submitted[-1] == InjectRtp(session, (b"packet",))
    await world.publish("demo", PUBLISH)
    assert world.control.inject(session, [b"packet"]) is False
    await world.close(session, "replaced")
    assert world.control.inject(session, [b"packet"]) is False
    assert ("publish", "failed", "replaced") not in world.control.view().joins


# Figures -----------------------------------------------------------------------------------------


async def test_stream_figures(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    await world.watch("show", WATCH)
    await world.connect(publisher.session, shard=1)
    world.engine.rows[publisher.session] = report_row(publisher.session, shard=1)
    world.clock.now += 2.5
    page = await world.control.streams()
    (figures,) = page.items
    assert (figures.name, figures.state, figures.age_s, figures.viewers) == ("show", "live", 2.5, 1)
    assert figures.publisher is not None
    assert figures.publisher.session == format_session(publisher.session)
    assert set(figures.publisher.codecs) == {"opus", "vp8"}
    assert figures.publisher.bitrate_bps == 900_000
    assert figures.publisher.srtp_profile == "SRTP_AEAD_AES_128_GCM"
    assert figures.publisher.keyframe_interval_ms == 2000.0


async def test_streams_are_paged_by_name(world: World) -> None:
    for name in ("c", "a", "e", "b", "d"):
        await world.publish(name, PUBLISH)
    names, after = [], None
    for size in (2, 2, 1):
        page = await world.control.streams(after, 2)
        assert len(page.items) == size
        names += [figures.name for figures in page.items]
        after = page.next
    assert after is None
    assert names == ["a", "b", "c", "d", "e"]


async def test_viewers_are_paged_in_the_order_of_joining(world: World) -> None:
    await world.publish("show", PUBLISH)
    joined = [(await world.watch("show", WATCH)).session for _ in range(5)]
    await world.connect(joined[1], shard=1)
    world.engine.rows[joined[1]] = report_row(joined[1], shard=1)
    first = await world.control.viewers("show", None, 2)
    # Whoever leaves between two pages shifts nobody.
    await world.control.remove_session(joined[0])
    second = await world.control.viewers("show", first.next, 2)
    third = await world.control.viewers("show", second.next, 2)
    seen = [*first.items, *second.items, *third.items]
    assert [figures.session for figures in seen] == [format_session(s) for s in joined]
    assert third.next is None
    assert seen[0].state == "connecting"
    assert (seen[0].shard, seen[0].address, seen[0].srtp_profile) == (None, None, None)
    live = seen[1]
    assert (live.state, live.shard, live.address) == ("live", 1, "192.0.2.7:51234")
    assert (live.packets, live.bytes, live.nacks, live.repaired) == (100, 120_000, 5, 4)
    assert (live.drops, live.loss, live.rtt_ms) == (1, 0.25, 12.5)


async def test_bad_cursor(world: World) -> None:
    await world.publish("show", PUBLISH)
    for cursor in ("x", "-1", "9" * 40, "²"):
        with pytest.raises(RequestError, match="cursor"):
            await world.control.viewers("show", cursor, 2)


async def test_shard_that_does_not_answer_is_done_without(world: World) -> None:
    publisher = await world.publish("show", PUBLISH)
    world.engine.rows[publisher.session] = report_row(publisher.session, shard=0)
    world.engine.silent_shards = {1}
    world.control._context.reports._time_limit_s = 0.01
    figures = await world.control.stream("show")
    assert figures.publisher is not None
    assert figures.publisher.bitrate_bps == 900_000, "the shard that answered is heard"
    world.engine.silent_shards = {0, 1}
    figures = await world.control.stream("show")
    assert figures.publisher is not None
    assert figures.publisher.bitrate_bps == 0
    assert len(world.engine.taken(ReportSessions)) == 2
    assert world.control._context.reports._questions == {}


# The end -----------------------------------------------------------------------------------------


async def test_close_says_farewell_and_waits_for_every_shard(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    await world.connect(accepted.session)
    world.pool.lingering[accepted.session] = b"bye"
    world.engine.forget()
    await world.control.close()
    assert world.pool.closed
    assert world.engine.submitted == [KeepFarewell(accepted.session, b"bye"), Stop()]
    assert world.control.stopping
    with pytest.raises(Overloaded, match="stopping"):
        await world.watch("show", WATCH)
    await world.control.close()
    assert world.engine.taken(Stop) == [Stop()]


async def test_close_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyforward.control.control.STOP_TIME_LIMIT_S", 0.01)
    world.engine.silent_shards = {1}
    await world.control.close()
    assert world.control._context.stopped_shards == {0}


async def test_one_bad_event_does_not_end_the_handling(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = await world.publish("show", PUBLISH)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(world.pool, "start", broken)
    await world.tell(Claimed(accepted.session, 0, ADDRESS))
    await world.tell(Closed(accepted.session, "silent"))
    assert world.control.view().sessions == 0


def test_secrets_of_the_configuration_are_not_shown() -> None:
    made = config(auth={"admin_token": SecretStr("hidden")})
    assert "hidden" not in repr(made)
