"""Joining another server: answers, redirects, waits, refusals, and what breaks on the way."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest
from aiohttp import web

from pyforward.client import Signalling
from pyforward.client.exchange import MAX_BODY_BYTES
from pyforward.client.signalling import JITTER, LEAST_WAIT_S, MAX_REDIRECTS
from pyforward.errors import BadAnswer, ConfigError, NotYet, Refused, RemoteError, Unreachable
from tests.unit.client.site import (
    ANSWER,
    OFFER,
    Handler,
    Time,
    client,
    created,
    problem,
    serving,
    status,
)

# Answers ------------------------------------------------------------------------------------------


async def test_a_join() -> None:
    async with serving(created(ETag='"e1"')) as site, client(token="t0") as signalling:
        resource = await signalling.join(site.url("/whep/show?x=1"), OFFER)
        assert (resource.answer, resource.etag) == (ANSWER, '"e1"')
        assert str(resource.url) == site.url("/session/secret")
    (post,) = site.seen
    assert (post.method, post.path, post.body) == ("POST", "/whep/show?x=1", OFFER)
    assert post.headers["Content-Type"] == "application/sdp"
    assert post.headers["Authorization"] == "Bearer t0"
    assert post.headers["User-Agent"].startswith("pyforward/")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/a/b", "/a/b"),
        ("b?c=d", "/whep/b?c=d"),
        ("../b", "/b"),
        ("?only=query", "/whep/show?only=query"),
        ("/a#fragment", "/a"),
    ],
)
async def test_a_relative_location(location: str, expected: str) -> None:
    async with serving(created(location)) as site, client() as signalling:
        resource = await signalling.join(site.url("/whep/show"), OFFER)
        assert str(resource.url) == site.url(expected)


async def test_an_absolute_location_elsewhere_gets_no_token() -> None:
    async with (
        serving(status(200)) as other,
        serving(created(other.url("/s/1"))) as site,
        client(token="t0") as signalling,
    ):
        resource = await signalling.join(site.url("/whep/show"), OFFER)
        assert await resource.delete()
        (delete,) = other.seen
        assert (delete.method, delete.path) == ("DELETE", "/s/1")
        assert "Authorization" not in delete.headers


@pytest.mark.parametrize("location", ["", "mailto:x", "http://[::1", "http://h:99999/", "ftp://h/"])
async def test_without_a_usable_location_there_is_no_session(location: str) -> None:
    async with serving(created(location)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match="Location"):
            await signalling.join(site.url("/whep/show"), OFFER)


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "reason"),
    [
        (ANSWER, "text/html", {}, "application/sdp"),
        ("x" * (MAX_BODY_BYTES + 1), "application/sdp", {}, "bytes"),
        (ANSWER, "application/sdp", {"Content_Encoding": "br"}, "encoded"),
    ],
)
async def test_an_answer_that_is_none_is_deleted(
    body: str, content_type: str, headers: dict[str, str], reason: str
) -> None:
    bad = status(201, body, content_type, Location="/s/1", **headers)
    async with serving(bad, status(200)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match=reason):
            await signalling.join(site.url("/whep/show"), OFFER)
        assert [(item.method, item.path) for item in site.seen[1:]] == [("DELETE", "/s/1")]


async def test_an_answer_that_is_no_text_is_deleted() -> None:
    async def bad(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=201, body=b"\xff", content_type="application/sdp", headers={"Location": "/s"}
        )

    async with serving(bad, status(200)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match="UTF-8"):
            await signalling.join(site.url("/whep/show"), OFFER)
        assert len(site.requests("DELETE")) == 1


async def test_an_answer_that_never_ends_is_deleted() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201, headers={"Location": "/s"})
        response.content_type = "application/sdp"
        await response.prepare(request)
        while True:
            await response.write(b"a=x\r\n" * 2000)

    async with serving(endless, status(200)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match="bytes"):
            await signalling.join(site.url("/whep/show"), OFFER)
        assert len(site.requests("DELETE")) == 1


@pytest.mark.parametrize("etag", ["not quoted", '"with a blank "', '"' + "x" * 300 + '"'])
async def test_an_entity_tag_that_is_none_is_not_kept(etag: str) -> None:
    async with serving(created(ETag=etag)) as site, client() as signalling:
        assert (await signalling.join(site.url("/whep/show"), OFFER)).etag is None


# Redirects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [307, 308])
async def test_a_redirect_keeps_the_offer(code: int) -> None:
    async with (
        serving(status(code, Location="/there"), created("s/1")) as site,
        client(token="t0") as signalling,
    ):
        resource = await signalling.join(site.url("/whep/show"), OFFER)
        assert str(resource.url) == site.url("/s/1")
    assert [(item.path, item.body) for item in site.seen] == [
        ("/whep/show", OFFER),
        ("/there", OFFER),
    ]
    assert site.seen[1].headers["Authorization"] == "Bearer t0"


async def test_another_origin_gets_neither_token_nor_headers() -> None:
    async with (
        serving(created()) as other,
        serving(status(307, Location=other.url("/there"))) as site,
        client(token="t0", headers={"X-Key": "k"}) as signalling,
    ):
        resource = await signalling.join(site.url("/whep/show"), OFFER)
        assert str(resource.url) == other.url("/session/secret")
    assert site.seen[0].headers["X-Key"] == "k"
    assert not {"Authorization", "X-Key"} & other.seen[0].headers.keys()


@pytest.mark.parametrize("location", ["/whep/show", "http://127.0.0.1:{port}/whep/show#x"])
async def test_a_circle(location: str) -> None:
    async with serving() as site, client() as signalling:
        site.replies.append(status(307, Location=location.format(port=site.server.port)))
        with pytest.raises(BadAnswer, match="circle"):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert len(site.seen) == 1


async def test_redirects_without_end() -> None:
    async def on(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": request.path + "x"})

    async with serving(on) as site, client() as signalling:
        with pytest.raises(BadAnswer, match=f"{MAX_REDIRECTS} times"):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert len(site.seen) == MAX_REDIRECTS + 1


async def test_a_redirect_to_nowhere() -> None:
    async with serving(status(307)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match="where to"):
            await signalling.join(site.url("/whep/show"), OFFER)


@pytest.mark.parametrize("code", [301, 302, 303])
async def test_redirects_that_lose_the_offer_are_not_followed(code: int) -> None:
    async with serving(status(code, Location="/there")) as site, client() as signalling:
        with pytest.raises(Refused, match=str(code)):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert len(site.seen) == 1


# Waiting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [404, 409, 429, 503])
async def test_who_is_told_when_to_come_again_waits(code: int) -> None:
    time = Time()
    not_yet = problem(code, '"Not yet."', Retry_After="4")
    async with serving(not_yet, not_yet, created()) as site, client(time) as signalling:
        await signalling.join(site.url("/whep/show"), OFFER)
    assert len(time.slept) == 2
    assert all(4 <= seconds <= 4 * (1 + JITTER) for seconds in time.slept)
    assert time.slept[0] != time.slept[1]


async def test_a_date_counts_from_the_servers_clock() -> None:
    time = Time()
    busy = status(
        503,
        Date="Wed, 21 Oct 2015 07:28:00 GMT",
        Retry_After="Wed, 21 Oct 2015 07:28:10 GMT",
    )
    async with serving(busy, created()) as site, client(time) as signalling:
        await signalling.join(site.url("/whep/show"), OFFER)
    (slept,) = time.slept
    assert 10 <= slept <= 10 * (1 + JITTER)


async def test_patience_ends() -> None:
    time = Time()
    async with (
        serving(problem(404, '"There is no stream."', Retry_After="10")) as site,
        client(time, patience_s=35) as signalling,
    ):
        with pytest.raises(NotYet, match="There is no stream") as caught:
            await signalling.join(site.url("/whep/show"), OFFER)
    assert caught.value.status == 404
    assert "35 s" in str(caught.value)
    assert 20 < sum(time.slept) <= 35


async def test_who_has_no_patience_waits_for_nothing() -> None:
    time = Time()
    for retry_after in ("0", "1", "999999999"):
        async with (
            serving(status(503, Retry_After=retry_after)) as site,
            client(time, patience_s=0) as signalling,
        ):
            with pytest.raises(NotYet):
                await signalling.join(site.url("/whep/show"), OFFER)
    assert time.slept == []


async def test_at_once_is_not_without_end() -> None:
    time = Time()
    async with (
        serving(status(503, Retry_After="0")) as site,
        client(time, patience_s=5) as signalling,
    ):
        with pytest.raises(NotYet):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert min(time.slept) >= LEAST_WAIT_S
    assert len(site.seen) <= 5 / LEAST_WAIT_S + 1


@pytest.mark.parametrize("retry_after", ["", "-1", "soon", "1.5", "9" * 20, "\u0663"])
async def test_without_a_time_there_is_no_waiting(retry_after: str) -> None:
    async with serving(status(503, Retry_After=retry_after)) as site, client() as signalling:
        with pytest.raises(Refused) as caught:
            await signalling.join(site.url("/whep/show"), OFFER)
    assert not isinstance(caught.value, NotYet)
    assert caught.value.status == 503


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 401, 403, 405, 406, 413, 415, 422, 500, 502, 504])
async def test_a_refusal_is_told_with_its_reason(code: int) -> None:
    refusal = problem(code, '"The token does not allow that."', Retry_After="1")
    async with serving(refusal) as site, client() as signalling:
        with pytest.raises(Refused, match="The token does not allow that") as caught:
            await signalling.join(site.url("/whep/secret-key"), OFFER)
    assert caught.value.status == code
    text = str(caught.value)
    assert re.match(rf"http://127\.0\.0\.1:\d+ answered {code} [A-Z]", text)
    assert text.endswith(".")
    assert ".." not in text
    assert "secret-key" not in text


@pytest.mark.parametrize("code", [200, 202, 204])
async def test_a_success_that_creates_nothing(code: int) -> None:
    async with serving(status(code)) as site, client() as signalling:
        with pytest.raises(BadAnswer, match="201"):
            await signalling.join(site.url("/whep/show"), OFFER)


@pytest.mark.parametrize(
    "reply",
    [
        problem(403, '"\\u001b]0;owned\\u0007\\u009b31m\\u202e\\r\\n"'),
        problem(403, '"' + "x" * 50_000 + '"'),
        problem(403, "[" * 30_000),
        problem(403, "7"),
        problem(403, '"\\ud800"'),
        status(403, "[1, 2]", "application/problem+json"),
        status(403, "<html>\x1b[31m", "text/html"),
        status(403, "x" * (MAX_BODY_BYTES + 1), "application/problem+json"),
    ],
)
async def test_what_a_server_says_is_fit_for_a_terminal(reply: Handler) -> None:
    async with serving(reply) as site, client() as signalling:
        with pytest.raises(Refused) as caught:
            await signalling.join(site.url("/whep/show"), OFFER)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) <= 500
    text.encode()


# What breaks on the way ---------------------------------------------------------------------------


async def test_nobody_is_there() -> None:
    async with serving(created()) as site:
        url = site.url("/whep/show")
    async with client() as signalling:
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:\d+ cannot be reached: .*ref"):
            await signalling.join(url, OFFER)


async def test_nobody_answers() -> None:
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await asked.wait()
        return web.Response()

    async with serving(silent) as site, client(time_limit_s=0.05) as signalling:
        with pytest.raises(Unreachable, match=r"did not answer within 0\.05 s"):
            await signalling.join(site.url("/whep/show"), OFFER)
        asked.set()


CREATED = b"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: "


@pytest.mark.parametrize(
    ("raw", "error", "reason"),
    [
        (b"", Unreachable, "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable, "no HTTP"),
        (CREATED + b"x" * 20_000 + b"\r\n\r\n", Unreachable, "no HTTP"),
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", Refused, "answered 999"),
        (CREATED + b"/s\r\nContent-Length: 50\r\n\r\nv=0", BadAnswer, "broke off"),
        (CREATED + b"http://\xff/\r\nContent-Length: 0\r\n\r\n", BadAnswer, "Location"),
    ],
)
async def test_a_server_that_speaks_badly(
    raw: bytes, error: type[RemoteError], reason: str
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, client() as signalling:
        with pytest.raises(error, match=reason):
            await signalling.join(f"http://127.0.0.1:{port}/whep/show", OFFER)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "show",
        "ftp://host/x",
        "http://",
        "https:///x",
        "http://[::1",
        "http://h:99999/x",
        "file:///x",
    ],
)
async def test_what_is_no_address(url: str) -> None:
    async with client() as signalling:
        with pytest.raises(ConfigError, match="https://host/whep/stream"):
            await signalling.join(url, OFFER)


@pytest.mark.parametrize("token", ["two\r\nlines", "schlüssel", "x" * 9000])
async def test_a_token_that_cannot_be_sent(token: str) -> None:
    async with client(token=token) as signalling:
        with pytest.raises(ConfigError, match="Authorization") as caught:
            await signalling.join("http://127.0.0.1:1/x", OFFER)
    assert token not in str(caught.value)


async def test_a_name_and_a_password_in_the_address() -> None:
    async with serving(created()) as site, client() as signalling:
        url = site.url("/whep/show").replace("http://", "http://user:pass@")
        resource = await signalling.join(url, OFFER)
        assert resource.url.user is None
        await resource.delete()
    assert [item.headers["Authorization"] for item in site.seen] == ["Basic dXNlcjpwYXNz"] * 2


async def test_an_address_of_ipv6() -> None:
    try:
        async with serving(created(), host="::1") as site, client(token="t") as signalling:
            resource = await signalling.join(site.url("/whep/show"), OFFER)
            assert str(resource.url).startswith("http://[::1]:")
            site.replies[:] = [status(403)]
            with pytest.raises(Refused, match=r"http://\[::1\]:\d+ answered"):
                await signalling.join(site.url("/whep/show"), OFFER)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


async def test_a_client_that_is_closed() -> None:
    async with aiohttp.ClientSession() as http:
        signalling = Signalling(http)
    with pytest.raises(Unreachable, match="closed"):
        await signalling.join("http://127.0.0.1:1/x", OFFER)
