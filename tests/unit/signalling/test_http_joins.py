"""Joining over HTTP: answers, refusals, bodies that nobody should send, overload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pyforward.api import make_app
from pyforward.api.body import FRAGMENT_TYPE, SDP_TYPE
from pyforward.config import Config
from pyforward.control import AccessRequest, Claims
from tests.unit.signalling.offers import offer
from tests.unit.signalling.site import PUBLISH, WATCH, Site, problem, site
from tests.unit.signalling.world import running

# Joining ------------------------------------------------------------------------------------------


async def test_publish_then_watch(plain: Site) -> None:
    for path, text in (("/whip/show", PUBLISH), ("/whep/show", WATCH)):
        response = await plain.offer(path, text)
        assert response.status == 201
        assert response.content_type == SDP_TYPE
        assert (await response.text()).startswith("v=0\r\n")
        location = response.headers["Location"]
        assert location.startswith(path + "/")
        assert len(location.removeprefix(path + "/")) >= 22, "128 bits"
        etag = response.headers["ETag"]
        assert etag.startswith('"')
        assert etag.endswith('"')
        assert response.headers["Accept-Patch"] == FRAGMENT_TYPE
        assert "Link" not in response.headers
    view = plain.world.control.view()
    assert (view.streams, view.viewers, view.sessions) == (1, 1, 2)


async def test_content_type_with_a_parameter_is_fine(plain: Site) -> None:
    response = await plain.offer("/whip/show", PUBLISH, **{"Content-Type": SDP_TYPE + ";x=1"})
    assert response.status == 201


async def test_unknown_stream_is_asked_for_again_later(plain: Site) -> None:
    response = await plain.offer("/whep/show", WATCH)
    body = await problem(response, 404, "stream_not_found")
    assert "show" in str(body["detail"])
    assert 2 <= int(response.headers["Retry-After"]) <= 8


async def test_declared_stream_without_publisher() -> None:
    async with site(streams={"declared": ["show"]}) as declared:
        response = await declared.offer("/whep/show", WATCH)
        await problem(response, 409, "stream_not_live")
        assert 2 <= int(response.headers["Retry-After"]) <= 8


async def test_no_common_codec_names_the_codecs(plain: Site) -> None:
    await plain.offer("/whip/show", offer("sendonly", video=("h264",), audio=False))
    response = await plain.offer("/whep/show", offer("recvonly", video=("vp8",), audio=False))
    body = await problem(response, 422, "no_common_codec")
    assert body["codecs"] == ["h264"]


async def test_stream_in_use() -> None:
    async with site(streams={"conflict": "reject"}) as rejecting:
        await rejecting.location("/whip/show", PUBLISH)
        await problem(await rejecting.offer("/whip/show", PUBLISH), 409, "stream_in_use")


@pytest.mark.parametrize("name", ["a%20b", "a%3Bb", "a" * 129, "%00", "a%2Fb", "%C3%A4"])
async def test_bad_stream_name(plain: Site, name: str) -> None:
    response = await plain.offer(f"/whip/{name}", PUBLISH)
    assert response.status in (400, 404)
    assert response.content_type == "application/problem+json"
    assert plain.world.engine.submitted == []


# Bad bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "", "application/sdpx", FRAGMENT_TYPE]
)
async def test_wrong_content_type(plain: Site, content_type: str) -> None:
    response = await plain.offer("/whip/show", PUBLISH, **{"Content-Type": content_type})
    await problem(response, 415, "unsupported_media_type")


async def test_compressed_body_is_not_unpacked(plain: Site) -> None:
    response = await plain.offer("/whip/show", PUBLISH, **{"Content-Encoding": "x-unknown"})
    await problem(response, 415, "unsupported_media_type")


async def test_enormous_body_announced(plain: Site) -> None:
    response = await plain.offer("/whip/show", "v=0\r\n" * 20_000)
    await problem(response, 413, "body_too_large")
    assert plain.world.engine.submitted == []


async def test_enormous_body_is_refused_before_it_comes(plain: Site) -> None:
    url = plain.client.make_url("/")
    assert url.host is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /whip/show HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 1000000000\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 413 Request Entity Too Large\r\n"
    writer.close()


async def test_enormous_body_in_chunks(plain: Site) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 1000

    response = await plain.client.post(
        "/whip/show", data=chunks(), headers={"Content-Type": SDP_TYPE}
    )
    await problem(response, 413, "body_too_large")


async def test_body_at_the_limit_is_read(plain: Site) -> None:
    response = await plain.offer("/whip/show", "x" * 65536)
    await problem(response, 400, "bad_offer")


async def test_body_that_never_comes(plain: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyforward.api.body.BODY_TIME_LIMIT_S", 0.05)
    release = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"v=0"
        await release.wait()

    response = await plain.client.post(
        "/whip/show", data=stalled(), headers={"Content-Type": SDP_TYPE}
    )
    release.set()
    await problem(response, 408, "body_too_slow")


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff\xfe" * 100, b"\x80abc", "v=0\r\n☃".encode(), PUBLISH.encode()[:200]],
    ids=["empty", "binary", "not UTF-8", "not SDP", "truncated"],
)
async def test_bad_offer(plain: Site, body: bytes) -> None:
    response = await plain.client.post("/whip/show", data=body, headers={"Content-Type": SDP_TYPE})
    assert response.status in (400, 422)
    assert response.content_type == "application/problem+json"
    assert plain.world.control.view().sessions == 0


# Overload -----------------------------------------------------------------------------------------


async def test_concurrent_joins_are_limited() -> None:
    config = Config.model_validate({"limits": {"concurrent_joins": 1}})
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow_hook(request: AccessRequest) -> Claims:
        entered.set()
        await release.wait()
        return Claims(request.role)

    async with running(config) as world:
        app = make_app(world.control, config, slow_hook, lambda _: (b"", "text/plain"))
        async with TestClient(TestServer(app)) as client:
            small = Site(world, client)
            first = asyncio.create_task(small.offer("/whip/a", PUBLISH))
            await entered.wait()
            response = await small.offer("/whip/b", PUBLISH)
            await problem(response, 503, "overloaded")
            assert int(response.headers["Retry-After"]) >= 1
            release.set()
            assert (await first).status == 201
            assert (await small.offer("/whip/b", PUBLISH)).status == 201


async def test_half_open_sessions_are_limited() -> None:
    async with site(limits={"sessions_half_open": 5}) as small:
        statuses = [(await small.offer(f"/whip/s{i}", PUBLISH)).status for i in range(8)]
        assert statuses == [201] * 5 + [503] * 3
        small.world.pass_time(15.0)
        assert (await small.offer("/whip/s9", PUBLISH)).status == 201
