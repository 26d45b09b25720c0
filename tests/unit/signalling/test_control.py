"""Control: which side effects follow from joins, events and the clock, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from pyforward.commands import (
    AddSession,
    AddStream,
    Claimed,
    DtlsReceived,
    Flowing,
    InstallKeys,
    KeepFarewell,
    Publish,
    RemoveSession,
    RemoveStream,
    Secured,
    SendDtls,
    Subscribe,
)
from pyforward.config import Config
from pyforward.control import ClaimLimits, Claims
from pyforward.errors import (
    BadOffer,
    NoCommonCodec,
    Overloaded,
    StreamInUse,
    StreamNotFound,
    StreamNotLive,
    Unprocessable,
)
from pyforward.ids import SessionId, format_session
from tests.unit.signalling.offers import DIGEST, PWD, UFRAG, offer
from tests.unit.signalling.world import ADDRESS, KEYS, World, running

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")


def config(**sections: dict[str, object]) -> Config:
    return Config.model_validate(sections)


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


async def test_second_publisher_replaces_once_its_media_flows(world: World) -> None:
    one = await world.publish("show", PUBLISH)
    viewer = await world.watch("show", WATCH)
    await world.connect(one.session)
    await world.tell(Flowing(one.session))
    two = await world.publish("show", PUBLISH)
    world.engine.forget()
    await world.connect(two.session)
    assert [type(command) for command in world.engine.submitted] == [InstallKeys]
    shown = (await world.control.stream("show")).publisher
    assert shown is not None
    assert shown.session == format_session(one.session)
    world.engine.forget()
    await world.tell(Flowing(two.session))
    assert world.engine.submitted == [RemoveSession(one.session, "replaced")]
    await world.close(one.session, "replaced")
    figures = await world.control.stream("show")
    assert (figures.state, figures.viewers) == ("live", 1)
    assert figures.publisher is not None
    assert figures.publisher.session == format_session(two.session)
    world.control.require_session("watch", "show", viewer.secret)


async def test_second_publisher_that_never_connects_is_forgotten() -> None:
    async with running(config(limits={"sessions_half_open": 2})) as world:
        one = await world.publish("show", PUBLISH)
        await world.connect(one.session)
        await world.tell(Flowing(one.session))
        world.engine.forget()
        lost = [await world.publish("show", PUBLISH) for _ in range(2)]
        with pytest.raises(Overloaded, match="connecting"):
            await world.publish("show", PUBLISH)
        world.pass_time(15.0)
        assert world.engine.taken(RemoveSession) == [
            RemoveSession(two.session, "never_connected") for two in lost
        ]
        await world.close_removed()
        figures = await world.control.stream("show")
        assert figures.publisher is not None
        assert (figures.state, figures.publisher.session) == ("live", format_session(one.session))
        await world.publish("show", PUBLISH)


async def test_keys_of_a_newcomer_replace_who_has_none(world: World) -> None:
    one = await world.publish("show", PUBLISH)
    two = await world.publish("show", PUBLISH)
    world.engine.forget()
    await world.connect(two.session)
    keys, removed = world.engine.submitted
    assert isinstance(keys, InstallKeys)
    assert removed == RemoveSession(one.session, "replaced")


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
        viewers = [await world.watch("show", WATCH) for _ in range(3)]
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
    assert {key: n for key, n in world.control.view().joins.items() if n} == {
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
