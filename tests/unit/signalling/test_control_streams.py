"""Control after the join: sessions by their URL, streams over time, figures, the end."""

from __future__ import annotations

import pytest

from pyforward.commands import (
    Claimed,
    Closed,
    Flowing,
    KeepFarewell,
    RemoveSession,
    RemoveStream,
    ReportSessions,
    RestartIce,
    Secured,
    Stop,
)
from pyforward.control import Patched
from pyforward.errors import (
    BadOffer,
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    RequestError,
    SessionNotFound,
    StreamNotFound,
    StreamNotLive,
    Unprocessable,
)
from pyforward.ice import parse_fragment
from pyforward.ids import format_session
from tests.unit.signalling.offers import fragment, offer
from tests.unit.signalling.world import ADDRESS, World, report_row

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")


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
    world.control.require_session("publish", "show", publisher.secret)


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


async def test_trickle_takes_candidates(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)

    async def trickle(text: str, if_match: str | None) -> None:
        patched = await world.control.trickle("publish", "show", accepted.secret, text, if_match)
        assert (patched.etag, patched.answer) == (accepted.etag, None)

    await trickle(fragment(), accepted.etag)
    await trickle(fragment(), "*")
    await trickle(fragment(), f'"other", {accepted.etag}')
    with pytest.raises(PreconditionRequired):
        await trickle(fragment(), None)
    for if_match in ('"other"', f"W/{accepted.etag}", accepted.etag.strip('"'), "", '"'):
        with pytest.raises(PreconditionFailed):
            await trickle(fragment(), if_match)
    with pytest.raises(BadOffer):
        await trickle("\x00", accepted.etag)
    assert world.engine.taken(RemoveSession) == []
    assert world.engine.taken(RestartIce) == []
    await trickle(fragment(), accepted.etag)


@pytest.mark.parametrize("if_match", ["*", '"*"', "its etag"])
async def test_changed_credentials_are_a_restart(world: World, if_match: str) -> None:
    await world.publish("show", PUBLISH)
    accepted = await world.watch("show", WATCH)
    (_, added) = world.added()
    assert added.ice is not None
    if_match = accepted.etag if if_match == "its etag" else if_match

    async def trickle(text: str, if_match: str) -> Patched:
        return await world.control.trickle("watch", "show", accepted.secret, text, if_match)

    patched = await trickle(fragment("other", "another-password-of-28-chars"), if_match)
    (restart,) = world.engine.taken(RestartIce)
    ours = (restart.ice.local_ufrag, restart.ice.local_pwd)
    assert restart.session == accepted.session
    assert (restart.ice.remote_ufrag, restart.ice.remote_pwd) == (
        "other",
        "another-password-of-28-chars",
    )
    assert set(ours).isdisjoint((added.ice.local_ufrag, added.ice.local_pwd))
    assert patched.answer is not None
    answer = parse_fragment(patched.answer)
    assert ((answer.ufrag, answer.pwd), answer.kind, answer.mid) == (ours, "audio", "0")
    assert [(item.host, item.port) for item in answer.candidates] == [("127.0.0.1", 8189)]
    assert answer.end_of_candidates
    # From here on the new state is the one that is meant.
    assert patched.etag != accepted.etag
    with pytest.raises(PreconditionFailed):
        await trickle(fragment("other", "another-password-of-28-chars"), accepted.etag)
    text = fragment("other", "another-password-of-28-chars")
    assert await trickle(text, patched.etag) == Patched(patched.etag)
    # Fragments of the ICE session before are late, not another restart.
    assert await trickle(fragment(), "*") == Patched(patched.etag)
    assert world.engine.taken(RestartIce) == [restart]
    again = await trickle(fragment("third"), "*")
    assert again.etag not in (patched.etag, accepted.etag)
    assert len(world.engine.taken(RestartIce)) == 2
    assert world.engine.taken(RemoveSession) == []


async def test_half_a_restart_changes_nothing(world: World) -> None:
    accepted = await world.publish("show", PUBLISH)
    for text in ("a=ice-ufrag:other", "a=ice-pwd:another-password-of-28-chars"):
        with pytest.raises(Unprocessable, match="both"):
            await world.control.trickle("publish", "show", accepted.secret, text, "*")
    patched = await world.control.trickle("publish", "show", accepted.secret, fragment(), "*")
    assert patched == Patched(accepted.etag)
    assert world.engine.taken(RestartIce) == []


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
