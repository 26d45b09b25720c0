"""Sessions in the client role: their stages, and everything that may come instead of the next."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from pyforward import ice
from pyforward.client import Session
from pyforward.commands import (
    AddSession,
    AddStream,
    CloseReason,
    DtlsReceived,
    Flowing,
    InjectRtp,
    InstallKeys,
    KeepFarewell,
    Opened,
    Publish,
    RemoveSession,
    RemoveStream,
    Secured,
    SendDtls,
    Subscribe,
)
from pyforward.errors import BadAnswer, SessionFailed
from pyforward.ids import NOWHERE, SessionId
from tests.unit.answers import FILE, RECEIVING, SENDING
from tests.unit.client.site import Handler, created, problem, status
from tests.unit.client.world import STREAM, World, answered, said, world
from tests.unit.signalling.world import KEYS, report_row


async def failed(session: Session, world: World) -> SessionFailed:
    """Why it never connected."""
    with pytest.raises(SessionFailed) as caught:
        await session.connected
    await world.settled()
    assert len(world.site.requests("DELETE")) == 1
    return caught.value


# The stages ---------------------------------------------------------------------------------------


async def test_from_the_offer_to_the_end() -> None:
    async with world() as w:
        session = await w.watch()
        added = w.added()
        assert added.ice is not None
        assert (added.ice.remote_ufrag, added.ice.remote_pwd) == ("STRA", "NGERNGERNGERNGERNGER00")
        assert f"a=ice-ufrag:{added.ice.local_ufrag}\r\n" in w.site.seen[0].body
        assert isinstance(added.media, Publish)
        assert added.media.stream == NOWHERE
        assert [track.codec for track in added.media.tracks] == ["opus", "h264"]
        best, *_ = added.candidates
        assert (best.address, best.port) == ("192.0.2.7", 40000)
        assert not w.pool.started

        w.claim(session)
        ((claimed, role, fingerprints),) = w.pool.started
        assert (claimed, role) == (session.id, "server"), "the answer says active"
        assert fingerprints == (("sha-256", bytes(range(32))),)
        w.sessions.handle(DtlsReceived(session.id, b"hello"))
        assert w.pool.received == [(session.id, b"hello")]
        w.pool.on_flight(session.id, [b"a", b"b"])
        assert w.engine.taken(SendDtls) == [SendDtls(session.id, (b"a", b"b"))]
        assert not session.connected.done()

        w.pool.on_keys(session.id, KEYS)
        assert await session.connected == KEYS.profile
        (keys,) = w.engine.taken(InstallKeys)
        assert (keys.session, keys.local_key, keys.remote_salt) == (
            session.id,
            KEYS.local_key,
            KEYS.remote_salt,
        )
        w.sessions.handle(Secured(session.id))
        assert w.pool.told_secured == [session.id]
        w.pool.on_farewell(session.id, b"notify")
        assert w.engine.taken(KeepFarewell) == [KeepFarewell(session.id, b"notify")]

        w.obey()
        await w.sessions.leave(session)
        assert session.closed.result() == "deleted"
        assert w.removed() == ["deleted"]
        await w.sessions.close()
        assert w.pool.closed
        assert len(w.site.requests("DELETE")) == 1


async def test_a_passive_server_makes_us_the_client() -> None:
    passive = SENDING.replace("a=setup:active", "a=setup:passive")
    async with world(answered(passive)) as w:
        w.claim(await w.watch())
        assert [role for _, role, _ in w.pool.started] == ["client"]


async def test_a_publisher_names_its_stream_and_other_ways() -> None:
    async with world(answered(RECEIVING)) as w:
        also = [("127.0.0.1", 9), ("192.0.2.7", 40000)]
        url = w.site.url("/whip/show")
        await w.sessions.publish(w.signalling, url, STREAM, FILE, also=also)
        added = w.added()
        assert isinstance(added.media, Subscribe)
        assert added.media.stream == STREAM
        assert [track.kind for track in added.media.tracks] == ["audio", "video"]
        addresses = [(item.address, item.port) for item in added.candidates]
        assert addresses.count(("192.0.2.7", 40000)) == 1
        assert addresses[-1] == ("127.0.0.1", 9)
        assert added.candidates[-1].priority == 1, "what the answer names is tried before"


async def test_a_film() -> None:
    async with world(answered(RECEIVING)) as w:
        film = w.sessions.add_film(STREAM, ())
        w.sessions.play(film, [b"one", b"two"])
        w.sessions.remove_film(STREAM, film)
        assert w.engine.submitted == [
            AddStream(STREAM),
            AddSession(film, None, Publish(STREAM, ())),
            InjectRtp(film, (b"one", b"two")),
            RemoveSession(film, "deleted"),
            RemoveStream(STREAM),
        ]


async def test_figures() -> None:
    async with world() as w:
        session = await w.watch()
        row = report_row(session.id)
        w.engine.rows[session.id] = row
        events = asyncio.create_task(w.sessions.run_events())
        assert await w.sessions.report([session]) == {session.id: row}
        w.engine.end()
        await events


async def test_an_event_that_goes_wrong_harms_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        session = await w.watch()

        def broken(_: SessionId) -> None:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(w.pool, "secured", broken)
        events = asyncio.create_task(w.sessions.run_events())
        w.engine.tell(Secured(session.id), DtlsReceived(session.id, b"still"))
        w.engine.end()
        await events
        assert w.pool.received == [(session.id, b"still")]


# What the server's answer may be ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("v=0\r\n", "The line o= is missing"),
        (SENDING.replace("a=setup:active", "a=setup:actpass"), "DTLS role"),
        (SENDING.replace("a=candidate", "a=x-candidate"), "candidate"),
        (SENDING.replace("a=fingerprint", "a=x-fingerprint"), "fingerprint"),
    ],
)
async def test_an_answer_of_no_use_is_deleted_once(answer: str, reason: str) -> None:
    async with world(answered(answer)) as w:
        with pytest.raises(BadAnswer, match=reason):
            await w.watch()
        assert w.engine.submitted == []
        assert len(w.site.requests("DELETE")) == 1


async def test_a_server_that_takes_one_of_two_tracks() -> None:
    one = RECEIVING.replace("m=video 9", "m=video 0")
    async with world(answered(one)) as w:
        with pytest.raises(BadAnswer, match=r"does not take the video \(h264\)"):
            await w.publish()
        assert w.engine.submitted == []
        assert len(w.site.requests("DELETE")) == 1


async def test_given_up_in_the_middle_of_a_join() -> None:
    asked, released = asyncio.Event(), asyncio.Event()
    fine = answered()

    async def held(request: web.Request) -> web.StreamResponse:
        asked.set()
        await released.wait()
        return await fine(request)

    async with world(held, fine) as w:
        joining = asyncio.create_task(w.watch())
        await asked.wait()
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        released.set()
        await w.signalling.close()
        assert w.engine.submitted == []
        assert len(w.site.requests("DELETE")) == 1


# Trickle ------------------------------------------------------------------------------------------


async def test_a_full_agent_that_asks_is_told_our_candidates() -> None:
    async with world(answered(said("a=ice-options:trickle ice2"))) as w:
        session = await w.watch()
        w.sessions.handle(Opened(session.id, 40123))
        await w.settled()
        (patch,) = w.site.requests("PATCH")
        added = w.added()
        assert added.ice is not None
        fragment = ice.parse_fragment(patch.body)
        assert (fragment.ufrag, fragment.pwd) == (added.ice.local_ufrag, added.ice.local_pwd)
        assert (fragment.kind, fragment.mid) == ("audio", "0")
        assert fragment.end_of_candidates
        assert fragment.candidates
        assert {candidate.port for candidate in fragment.candidates} == {40123}


@pytest.mark.parametrize(
    "answer",
    [SENDING, said("a=ice-lite"), said("a=ice-lite\r\na=ice-options:trickle")],
    ids=["no trickle", "lite", "lite that says trickle"],
)
async def test_nobody_else_is(answer: str) -> None:
    async with world(answered(answer)) as w:
        session = await w.watch()
        w.sessions.handle(Opened(session.id, 40123))
        await w.settled()
        assert w.site.requests("PATCH") == []


@pytest.mark.parametrize("reply", [status(405), problem(412, '"No."'), status(500)])
async def test_a_fragment_that_is_refused_ends_nothing(reply: Handler) -> None:
    join = answered(said("a=ice-options:trickle"))
    async with world(join, reply, status(200)) as w:
        session = await w.watch()
        w.sessions.handle(Opened(session.id, 40123))
        await w.settled()
        w.connect(session)
        assert await session.connected == KEYS.profile
        assert not session.is_over


# Failures -----------------------------------------------------------------------------------------


async def test_no_check_is_answered() -> None:
    async with world() as w:
        session = await w.watch()
        ((delay_s, _),) = w.timers.started
        assert delay_s == 15, "ice.connect_timeout_s"
        w.timers.expire()
        assert w.removed() == ["never_connected"]
        assert not session.connected.done(), "Closed alone ends it"
        w.close(session, "never_connected")
        error = await failed(session, w)
        assert error.reason == "never_connected"
        assert "No check was answered" in str(error)


async def test_the_handshake_takes_too_long() -> None:
    async with world() as w:
        session = await w.watch()
        w.claim(session)
        w.timers.expire()
        assert w.removed() == [], "from now on the pool has an eye on it"
        w.pool.on_failed(session.id, "timeout")
        assert w.removed() == ["handshake"]
        w.close(session, "handshake")
        error = await failed(session, w)
        assert error.reason == "handshake"
        assert "timeout" in str(error)


async def test_a_wrong_fingerprint() -> None:
    async with world() as w:
        session = await w.watch()
        w.claim(session)
        w.pool.on_failed(session.id, "fingerprint")
        assert w.removed() == ["handshake"]
        w.close(session, "handshake")
        error = await failed(session, w)
        assert error.reason == "handshake"
        assert "fingerprint" in str(error)


@pytest.mark.parametrize("reason", ["no_socket", "silent", "bye", "stopping"])
async def test_closed_between_the_join_and_the_connection(reason: CloseReason) -> None:
    async with world() as w:
        session = await w.watch()
        w.close(session, reason)
        error = await failed(session, w)
        assert error.reason == reason
        assert str(error).endswith(".")
        assert "{" not in str(error)
        w.timers.expire()
        assert w.removed() == [], "its time is no more"


async def test_media_that_ends() -> None:
    async with world() as w:
        session = await w.watch()
        w.connect(session)
        w.timers.expire()
        assert w.removed() == [], "who is connected has no deadline"
        w.close(session, "silent")
        assert await session.closed == "silent"
        assert session.connected.result() == KEYS.profile
        await w.settled()
        assert len(w.site.requests("DELETE")) == 1


async def test_an_alert_after_the_keys_is_a_farewell() -> None:
    async with world() as w:
        session = await w.watch()
        w.connect(session)
        w.pool.on_failed(session.id, "closed")
        assert w.removed() == ["bye"]


async def test_a_farewell_that_the_pool_still_has_goes_first() -> None:
    async with world() as w:
        session = await w.watch()
        w.connect(session)
        w.pool.lingering[session.id] = b"notify"
        w.engine.forget()
        w.obey()
        await w.sessions.leave(session)
        assert w.engine.submitted == [
            KeepFarewell(session.id, b"notify"),
            RemoveSession(session.id, "deleted"),
        ]


async def test_late_events_of_a_session_that_is_over() -> None:
    async with world(answered(said("a=ice-options:trickle"))) as w:
        session = await w.watch()
        w.close(session, "deleted")
        w.engine.forget()
        w.close(session, "silent")
        w.claim(session)
        w.sessions.handle(Opened(session.id, 1))
        w.sessions.handle(Flowing(session.id))
        w.pool.on_flight(session.id, [b"x"])
        w.pool.on_keys(session.id, KEYS)
        w.pool.on_failed(session.id, "closed")
        w.pool.on_farewell(session.id, b"x")
        await w.settled()
        assert w.engine.submitted == []
        assert w.pool.started == []
        assert session.closed.result() == "deleted"
        assert w.site.requests("PATCH") == []
        assert len(w.site.requests("DELETE")) == 1


# Leaving ------------------------------------------------------------------------------------------


async def test_leaving_twice_deletes_once() -> None:
    async with world() as w:
        session = await w.watch()
        w.connect(session)
        w.obey()
        await asyncio.gather(w.sessions.leave(session), w.sessions.leave(session))
        await w.sessions.leave(session)
        await w.sessions.close()
        assert len(w.site.requests("DELETE")) == 1


async def test_an_engine_that_hangs_does_not_keep_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyforward.client.sessions.CLOSE_LIMIT_S", 0.01)
    async with world() as w:
        session = await w.watch()
        await w.sessions.leave(session)
        assert not session.is_over
        assert len(w.site.requests("DELETE")) == 1


async def test_all_are_left_at_the_end() -> None:
    async with world(answered(), answered()) as w:
        sessions = [await w.watch() for _ in range(2)]
        w.obey()
        await w.sessions.close()
        assert all(session.closed.result() == "deleted" for session in sessions)
        assert len(w.site.requests("DELETE")) == 2
        assert w.pool.closed


async def test_times_count_from_the_offer_that_was_taken() -> None:
    """A join may have waited for its stream long before."""
    sent_away_s = 0.0
    not_yet = status(404, Retry_After="20")

    async def later(request: web.Request) -> web.StreamResponse:
        nonlocal sent_away_s
        sent_away_s = asyncio.get_running_loop().time()
        return await not_yet(request)

    async with world(later, answered()) as w:
        session = await w.watch()
        assert 0 < sent_away_s <= session.begun_s <= session.added_s <= w.timers.time()


async def test_a_join_that_is_no_session() -> None:
    async with world(created("")) as w:
        with pytest.raises(BadAnswer):
            await w.watch()
        assert w.engine.submitted == []
