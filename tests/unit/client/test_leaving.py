"""What follows a join, and its end: trickle, DELETE, joins that are given up."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from pyforward import ice
from pyforward.client.signalling import Resource
from pyforward.errors import BadAnswer, Refused, Unreachable
from tests.unit.client.site import OFFER, Handler, Site, client, created, problem, serving, status

FRAGMENT = ice.Fragment(
    "ufra", "p" * 24, tuple(ice.host_candidates([("192.0.2.1", 5000)])), True, "audio", "0"
).write()


def _held(reply: Handler) -> tuple[Handler, asyncio.Event, asyncio.Event]:
    """The reply, given when the second event is set; the first tells that it was asked for."""
    asked, released = asyncio.Event(), asyncio.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        asked.set()
        await released.wait()
        return await reply(request)

    return held, asked, released


# Trickle ------------------------------------------------------------------------------------------


async def test_a_fragment_is_sent_under_the_present_etag() -> None:
    replies = created(ETag='"e1"'), status(204, ETag='"e2"'), status(200), status(204)
    async with serving(*replies) as site, client(token="t0") as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        for _ in range(3):
            assert await resource.patch(FRAGMENT)
    first, second, third = site.requests("PATCH")
    assert (first.path, first.body) == ("/session/secret", FRAGMENT)
    assert first.headers["Content-Type"] == "application/trickle-ice-sdpfrag"
    assert first.headers["Authorization"] == "Bearer t0"
    assert [item.headers["If-Match"] for item in (first, second, third)] == ['"e1"', '"e2"', '"e2"']


async def test_without_an_etag_there_is_no_precondition() -> None:
    async with serving(created(), status(204)) as site, client() as signalling:
        assert await (await signalling.join(site.url("/whip/show"), OFFER)).patch(FRAGMENT)
    (patch,) = site.requests("PATCH")
    assert "If-Match" not in patch.headers


@pytest.mark.parametrize("code", [405, 415, 422, 501])
async def test_a_server_that_takes_no_fragments(code: int) -> None:
    async with serving(created(), status(code)) as site, client() as signalling:
        assert not await (await signalling.join(site.url("/whip/show"), OFFER)).patch(FRAGMENT)


@pytest.mark.parametrize("code", [307, 400, 404, 412, 428, 500])
async def test_a_fragment_that_is_refused(code: int) -> None:
    async with serving(created(), problem(code, '"No."')) as site, client() as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        with pytest.raises(Refused, match=f"answered {code}") as caught:
            await resource.patch(FRAGMENT)
    assert "secret" not in str(caught.value)


async def test_a_fragment_to_nobody() -> None:
    async with client() as signalling:
        async with serving(created()) as site:
            resource = await signalling.join(site.url("/whip/show"), OFFER)
        with pytest.raises(Unreachable):
            await resource.patch(FRAGMENT)


# The end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "gone"), [(200, True), (204, True), (404, True), (410, True), (500, False)]
)
async def test_a_session_is_deleted_once(code: int, gone: bool) -> None:
    async with serving(created(), status(code)) as site, client(token="t0") as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        assert {*await asyncio.gather(resource.delete(), resource.delete())} == {gone}
        assert await resource.delete() is gone
    (delete,) = site.requests("DELETE")
    assert (delete.path, delete.headers["Authorization"]) == ("/session/secret", "Bearer t0")


async def test_deleting_at_a_server_that_is_gone() -> None:
    async with client() as signalling:
        async with serving(created()) as site:
            resource = await signalling.join(site.url("/whip/show"), OFFER)
        assert not await resource.delete()


async def test_deleting_at_a_server_that_hangs() -> None:
    held, _, released = _held(status(200))
    async with serving(created(), held) as site, client(leave_limit_s=0.05) as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        assert not await resource.delete()
        released.set()


async def test_a_deletion_is_finished_when_its_caller_is_cancelled() -> None:
    held, asked, released = _held(status(200))
    async with serving(created(), held) as site, client() as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        deleting = asyncio.create_task(resource.delete())
        await asked.wait()
        deleting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deleting
        released.set()
        assert await resource.delete()
    assert len(site.requests("DELETE")) == 1


# Joins that are given up --------------------------------------------------------------------------


async def _give_up(site: Site, joining: asyncio.Task[Resource], asked: asyncio.Event) -> None:
    await asked.wait()
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert site.requests("DELETE") == []


async def test_a_session_that_nobody_wants_any_more_is_deleted() -> None:
    held, asked, released = _held(created("/s/1"))
    async with serving(held, status(200)) as site:
        async with client(token="t0") as signalling:
            joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
            await _give_up(site, joining, asked)
            released.set()
        (delete,) = site.requests("DELETE")
    assert (delete.path, delete.headers["Authorization"]) == ("/s/1", "Bearer t0")


async def test_a_session_behind_a_redirect_too() -> None:
    held, asked, released = _held(created("/s/1"))
    async with serving(status(307, Location="/there"), held, status(200)) as site:
        async with client() as signalling:
            joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
            await _give_up(site, joining, asked)
            released.set()
        assert [item.path for item in site.requests("DELETE")] == ["/s/1"]


async def test_a_server_that_never_answers_does_not_hold_up_who_gives_up() -> None:
    held, asked, released = _held(created("/s/1"))
    async with serving(held) as site:
        async with client(leave_limit_s=0.05) as signalling:
            joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
            await _give_up(site, joining, asked)
        assert not released.is_set()
        released.set()
    assert [item.method for item in site.seen] == ["POST"]


@pytest.mark.parametrize(
    "reply",
    [status(403), status(307, Location="/there"), status(503, Retry_After="1"), status(201)],
)
async def test_a_refusal_that_nobody_waits_for(reply: Handler) -> None:
    held, asked, released = _held(reply)
    async with serving(held, created()) as site:
        async with client() as signalling:
            joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
            await _give_up(site, joining, asked)
            released.set()
        assert len(site.seen) == 1


async def test_given_up_while_a_bad_answer_is_deleted() -> None:
    held, asked, released = _held(status(200))
    bad = status(201, "x", "text/plain", Location="/s/1")
    async with serving(bad, held) as site:
        async with client() as signalling:
            joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
            await asked.wait()
            joining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joining
            released.set()
        assert len(site.requests("DELETE")) == 1


async def test_given_up_while_waiting() -> None:
    sleeping = asyncio.Event()

    async def sleep(_: float) -> None:
        sleeping.set()
        await asyncio.Event().wait()

    async with serving(status(503, Retry_After="1")) as site, client() as signalling:
        signalling._sleep = sleep
        joining = asyncio.create_task(signalling.join(site.url("/whip/show"), OFFER))
        await sleeping.wait()
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
    assert len(site.seen) == 1


async def test_a_session_that_cannot_be_used_after_all() -> None:
    async with serving(created(), status(200)) as site, client() as signalling:
        resource = await signalling.join(site.url("/whip/show"), OFFER)
        try:
            raise BadAnswer("It has no codec.")
        except BadAnswer:
            await resource.delete()
    assert len(site.requests("DELETE")) == 1
