"""The HTTP of publishers, viewers and operators, through a real server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request, TCPSite
from structlog.testing import capture_logs

from pyforward.api import TokenAuthoriser, make_app, make_runner
from pyforward.api.body import FRAGMENT_TYPE, SDP_TYPE
from pyforward.commands import RemoveSession
from pyforward.config import Config
from pyforward.control import AccessRequest, Claims
from pyforward.errors import Forbidden
from pyforward.ids import format_session
from tests.unit.signalling.offers import fragment, offer
from tests.unit.signalling.world import World, report_row, running

PUBLISH = offer("sendonly")
WATCH = offer("recvonly")

EXPOSED = {"Location", "ETag", "Link", "Retry-After", "Accept-Patch"}


@dataclass
class Site:
    """A server and a client of it."""

    world: World
    client: TestClient[Request, Application]

    async def offer(self, path: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.post(path, data=text, headers={"Content-Type": SDP_TYPE} | headers)

    async def trickle(self, path: str, text: str, **headers: str) -> ClientResponse:
        return await self.client.patch(
            path,
            data=text,
            headers={"Content-Type": FRAGMENT_TYPE}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    async def location(self, path: str, text: str) -> str:
        """A session's URL."""
        response = await self.offer(path, text)
        assert response.status == 201, await response.text()
        return response.headers["Location"]


@asynccontextmanager
async def site(**sections: Mapping[str, object]) -> AsyncIterator[Site]:
    config = Config.model_validate(sections)
    async with running(config) as world:
        app = make_app(
            world.control, config, TokenAuthoriser(config), lambda _: (b"# metrics\n", "text/plain")
        )
        async with TestClient(TestServer(app)) as client:
            yield Site(world, client)


@pytest_asyncio.fixture
async def plain() -> AsyncIterator[Site]:
    async with site() as opened:
        yield opened


async def problem(response: ClientResponse, status: int, code: str) -> dict[str, object]:
    """The body of an error, after looking at all that every error must have."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body = json.loads(await response.text())
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"][0].isupper()
    assert body["detail"].endswith((".", ">"))
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert isinstance(body, dict)
    return body


# Joining -----------------------------------------------------------------------------------------


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


# Bad bodies --------------------------------------------------------------------------------------


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


# Sessions ----------------------------------------------------------------------------------------


async def test_delete_then_again(plain: Site) -> None:
    location = await plain.location("/whip/show", PUBLISH)
    response = await plain.client.delete(location, headers={"If-Match": '"another"'})
    assert response.status == 200
    await problem(await plain.client.delete(location), 404, "session_not_found")
    assert [c.reason for c in plain.world.engine.taken(RemoveSession)] == ["deleted"]


async def test_session_url_serves_its_own_session_only(plain: Site) -> None:
    publisher = await plain.location("/whip/show", PUBLISH)
    viewer = await plain.location("/whep/show", WATCH)
    secret = publisher.rsplit("/", 1)[1]
    for path in (
        f"/whep/show/{secret}",
        f"/whip/other/{secret}",
        "/whip/show/" + viewer.rsplit("/", 1)[1],
        "/whip/show/" + "A" * 22,
    ):
        await problem(await plain.client.delete(path), 404, "session_not_found")
        response = await plain.trickle(path, fragment(), If_Match="*")
        await problem(response, 404, "session_not_found")
    assert plain.world.engine.taken(RemoveSession) == []
    assert (await plain.client.delete(publisher)).status == 200


async def test_trickle(plain: Site) -> None:
    created = await plain.offer("/whip/show", PUBLISH)
    location, etag = created.headers["Location"], created.headers["ETag"]
    for if_match in (etag, "*"):
        response = await plain.trickle(location, fragment(), If_Match=if_match)
        assert response.status == 204
        assert await response.read() == b""
    await problem(await plain.trickle(location, fragment()), 428, "precondition_required")
    response = await plain.trickle(location, fragment(), If_Match='"x"')
    await problem(response, 412, "precondition_failed")
    for if_match in (etag, "*"):
        response = await plain.trickle(location, fragment(ufrag="changed"), If_Match=if_match)
        body = await problem(response, 422, "unprocessable")
        assert "restart" in str(body["detail"])
    response = await plain.client.patch(
        location, data=fragment(), headers={"Content-Type": SDP_TYPE, "If-Match": etag}
    )
    await problem(response, 415, "unsupported_media_type")
    response = await plain.trickle(location, "a" * 70_000, If_Match=etag)
    await problem(response, 413, "body_too_large")
    response = await plain.trickle(location, fragment(), If_Match=etag)
    assert response.status == 204, "no refusal has ended the session"


async def test_location_behind_proxies() -> None:
    async with site(http={"public_url": "https://live.example"}) as public:
        location = await public.location("/whip/show", PUBLISH)
        assert location.startswith("https://live.example/whip/show/")
    forwarded = {"Forwarded": "for=198.51.100.7;proto=https;host=live.example"}
    x_forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "live.example:8443"}
    async with site(http={"trusted_proxies": ["127.0.0.0/8"]}) as proxied:
        response = await proxied.offer("/whip/show", PUBLISH, **forwarded)
        assert response.headers["Location"].startswith("https://live.example/whip/show/")
        response = await proxied.offer("/whip/show", PUBLISH, **x_forwarded)
        assert response.headers["Location"].startswith("https://live.example:8443/whip/show/")
        response = await proxied.offer(
            "/whip/show", PUBLISH, **(x_forwarded | {"X-Forwarded-Host": "evil/x?"})
        )
        assert response.headers["Location"].startswith("/whip/show/")
    async with site() as direct:
        response = await direct.offer("/whip/show", PUBLISH, **forwarded, **x_forwarded)
        assert response.headers["Location"].startswith("/whip/show/")


# CORS and the other methods ----------------------------------------------------------------------


async def test_every_response_carries_cors(plain: Site) -> None:
    location = await plain.location("/whip/show", PUBLISH)
    for method, path in (
        ("GET", "/healthz"),
        ("GET", "/api/streams"),
        ("GET", "/metrics"),
        ("GET", "/nothing/here/at/all"),
        ("PUT", "/whip/show"),
        ("HEAD", "/whep/show"),
        ("POST", "/whep/none"),
        ("DELETE", location),
        ("DELETE", location),
        ("OPTIONS", "/whip/show"),
    ):
        response = await plain.client.request(method, path)
        assert response.headers["Access-Control-Allow-Origin"] == "*", (method, path)
        assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == EXPOSED


async def test_options_needs_no_token() -> None:
    tokens = {"publish_token": "p", "view_token": "v", "admin_token": "a"}
    async with site(auth=tokens) as guarded:
        for path in ("/whip/show", "/whep/show"):
            response = await guarded.client.options(path)
            assert response.status == 204
            assert response.headers["Accept-Post"] == SDP_TYPE
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
            allowed = response.headers["Access-Control-Allow-Headers"]
            assert set(allowed.split(", ")) == {"Authorization", "Content-Type", "If-Match"}
        response = await guarded.client.options("/whip/show/secret")
        assert response.status == 204
        assert response.headers["Accept-Patch"] == FRAGMENT_TYPE
        assert response.headers["Access-Control-Allow-Methods"] == "DELETE, OPTIONS, PATCH"
        assert (await guarded.client.options("/api/streams")).status == 204


async def test_head_and_get_of_an_endpoint(plain: Site) -> None:
    for path in ("/whip/show", "/whep/show"):
        response = await plain.client.head(path)
        assert (response.status, response.content_type) == (200, SDP_TYPE)
        response = await plain.client.get(path)
        assert response.status == 204
        assert await response.read() == b""


async def test_other_methods_are_told_what_is_taken(plain: Site) -> None:
    response = await plain.client.put("/whip/show")
    body = await problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert "POST" in str(body["detail"])
    location = await plain.location("/whip/show", PUBLISH)
    for method in ("GET", "HEAD", "POST", "PUT"):
        assert (await plain.client.request(method, location)).status == 405
    await problem(await plain.client.get("/nothing"), 404, "not_found")


async def test_what_breaks_inside_is_not_shown(
    plain: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(plain.world.engine, "submit", broken)
    response = await plain.offer("/whip/show", PUBLISH)
    body = await problem(response, 500, "internal")
    assert "secret" not in json.dumps(body)


# Tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "method", "path"),
    [
        ("publish_token", "POST", "/whip/show"),
        ("view_token", "POST", "/whep/show"),
        ("admin_token", "GET", "/api/streams"),
        ("admin_token", "GET", "/api/streams/show"),
        ("admin_token", "GET", "/api/streams/show/viewers"),
        ("admin_token", "DELETE", "/api/streams/show"),
        ("admin_token", "DELETE", "/api/sessions/0123456789abcdef"),
        ("admin_token", "GET", "/metrics"),
    ],
)
async def test_tokens(setting: str, method: str, path: str) -> None:
    async with site(auth={setting: "right"}) as guarded:
        response = await guarded.client.request(method, path)
        await problem(response, 401, "unauthorised")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        for wrong in ("Bearer wrong", "Bearer righ", "Bearer right2", "Basic cmlnaHQ=", "Bearer "):
            response = await guarded.client.request(method, path, headers={"Authorization": wrong})
            await problem(response, 403, "forbidden")
        for right in ("Bearer right", "bearer right"):
            response = await guarded.client.request(method, path, headers={"Authorization": right})
            assert response.status not in (401, 403)


async def test_one_role_s_token_is_not_another_s() -> None:
    tokens = {"publish_token": "p", "view_token": "v", "admin_token": "a"}
    async with site(auth=tokens) as guarded:
        for path, text, token in (("/whip/x", PUBLISH, "v"), ("/whep/x", WATCH, "p")):
            response = await guarded.offer(path, text, Authorization=f"Bearer {token}")
            await problem(response, 403, "forbidden")


async def test_refused_before_the_body_is_read() -> None:
    async with site(auth={"publish_token": "right"}) as guarded:
        response = await guarded.offer("/whip/show", "x" * 70_000)
        await problem(response, 401, "unauthorised")


async def test_session_url_needs_no_token() -> None:
    async with site(auth={"publish_token": "right"}) as guarded:
        created = await guarded.offer("/whip/show", PUBLISH, Authorization="Bearer right")
        assert (await guarded.client.delete(created.headers["Location"])).status == 200


async def test_another_hook_may_authorise(plain: Site) -> None:
    asked: list[AccessRequest] = []

    async def hook(request: AccessRequest) -> Claims:
        asked.append(request)
        if request.token != "ticket-for-show":
            raise Forbidden("Your ticket is for another show.")
        return Claims(request.role, "show")

    app = make_app(plain.world.control, Config(), hook, lambda _: (b"", "text/plain"))
    async with TestClient(TestServer(app)) as client:
        headers = {"Content-Type": SDP_TYPE, "Authorization": "Bearer ticket-for-show"}
        response = await client.post("/whip/show", data=PUBLISH, headers=headers)
        assert response.status == 201
        response = await client.post("/whip/other", data=PUBLISH, headers=headers)
        await problem(response, 403, "forbidden")
        response = await client.post("/whip/show", data=PUBLISH, headers={"Content-Type": SDP_TYPE})
        body = await problem(response, 403, "forbidden")
        assert body["detail"] == "Your ticket is for another show."
    assert (asked[0].role, asked[0].stream, asked[0].token) == (
        "publish",
        "show",
        "ticket-for-show",
    )
    assert str(asked[0].peer) == "127.0.0.1"


# Who is a loopback peer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "198.51.100.7"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 403),
        ({"Forwarded": "for=198.51.100.7"}, 403),
        ({"Origin": "https://evil.example"}, 403),
    ],
    ids=["direct", "proxied", "claims loopback", "forwarded", "a foreign page"],
)
async def test_loopback_without_trusted_proxies(
    plain: Site, headers: dict[str, str], status: int
) -> None:
    for path in ("/api/streams", "/metrics"):
        assert (await plain.client.get(path, headers=headers)).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Forwarded-For": "198.51.100.7"}, 403),
        ({"X-Forwarded-For": "127.0.0.1, 198.51.100.7"}, 403),
        ({"X-Forwarded-For": "198.51.100.7, 127.0.0.1"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 200),
        ({"X-Forwarded-For": "::ffff:127.0.0.1"}, 200),
        ({"Forwarded": 'for="[::1]:4711"'}, 200),
        ({"Forwarded": 'for="[2001:db8::1]:4711"'}, 403),
        ({"Forwarded": "for=unknown"}, 403),
        ({"Forwarded": "for=127.0.0.1", "X-Forwarded-For": "198.51.100.7"}, 403),
    ],
)
async def test_loopback_behind_trusted_proxies(headers: dict[str, str], status: int) -> None:
    async with site(http={"trusted_proxies": ["127.0.0.1"]}) as proxied:
        assert (await proxied.client.get("/api/streams", headers=headers)).status == status


async def test_own_page_may_ask(plain: Site) -> None:
    origin = str(plain.client.make_url("/")).rstrip("/")
    assert (await plain.client.get("/api/streams", headers={"Origin": origin})).status == 200


async def test_with_a_token_any_page_may_ask() -> None:
    async with site(auth={"admin_token": "right"}) as guarded:
        headers = {"Authorization": "Bearer right", "Origin": "https://board.example"}
        assert (await guarded.client.get("/api/streams", headers=headers)).status == 200


# Operators ---------------------------------------------------------------------------------------


async def test_streams_and_viewers(plain: Site) -> None:
    await plain.location("/whip/show", PUBLISH)
    await plain.location("/whep/show", WATCH)
    publisher, viewer = (added.session for added in plain.world.added())
    for session in (publisher, viewer):
        await plain.world.connect(session)
        plain.world.engine.rows[session] = report_row(session)
    body = await (await plain.client.get("/api/streams")).json()
    assert set(body) == {"items", "next"}
    (item,) = body["items"]
    assert {"name", "state", "age_s", "publisher", "viewers"} <= set(item)
    assert {"session", "codecs", "bitrate_bps", "srtp_profile"} <= set(item["publisher"])
    assert (item["name"], item["state"], item["viewers"], body["next"]) == ("show", "live", 1, None)
    assert item["publisher"]["session"] == format_session(publisher)
    assert await (await plain.client.get("/api/streams/show")).json() == item
    body = await (await plain.client.get("/api/streams/show/viewers")).json()
    (row,) = body["items"]
    assert row == {
        "session": format_session(viewer),
        "state": "live",
        "shard": 0,
        "address": "192.0.2.7:51234",
        "srtp_profile": "SRTP_AEAD_AES_128_GCM",
        "packets": 100,
        "bytes": 120_000,
        "nacks": 5,
        "repaired": 4,
        "drops": 1,
        "loss": 0.25,
        "rtt_ms": 12.5,
    }


async def test_paging(plain: Site) -> None:
    for name in ("a", "b", "c"):
        await plain.location(f"/whip/{name}", PUBLISH)
    seen, query = [], {"limit": "2"}
    while True:
        body = await (await plain.client.get("/api/streams", params=query)).json()
        seen += [item["name"] for item in body["items"]]
        if body["next"] is None:
            break
        query["after"] = body["next"]
    assert seen == ["a", "b", "c"]
    for limit in ("0", "1001", "-1", "x", "1e2", "²", "9" * 30):
        response = await plain.client.get("/api/streams", params={"limit": limit})
        await problem(response, 400, "bad_request")
    response = await plain.client.get("/api/streams/a/viewers", params={"after": "x"})
    await problem(response, 400, "bad_request")


async def test_ending_streams_and_sessions(plain: Site) -> None:
    await plain.location("/whip/show", PUBLISH)
    await plain.location("/whep/show", WATCH)
    viewer = format_session(plain.world.added()[1].session)
    assert (await plain.client.delete(f"/api/sessions/{viewer}")).status == 200
    for path in (f"/api/sessions/{viewer}", "/api/sessions/xyz", "/api/sessions/" + "0" * 16):
        await problem(await plain.client.delete(path), 404, "session_not_found")
    assert (await plain.client.delete("/api/streams/show")).status == 200
    for method, path in (
        ("DELETE", "/api/streams/show"),
        ("GET", "/api/streams/show"),
        ("GET", "/api/streams/show/viewers"),
    ):
        await problem(await plain.client.request(method, path), 404, "stream_not_found")
    reasons = [command.reason for command in plain.world.engine.taken(RemoveSession)]
    assert reasons == ["deleted", "deleted"]


async def test_health_and_readiness(plain: Site) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await plain.client.get(path)).status == 200
    await plain.world.control.close()
    assert (await plain.client.get("/healthz")).status == 200
    assert (await plain.client.get("/readyz")).status == 503
    response = await plain.offer("/whip/show", PUBLISH)
    await problem(response, 503, "overloaded")
    assert int(response.headers["Retry-After"]) >= 1


async def test_metrics(plain: Site) -> None:
    response = await plain.client.get("/metrics")
    assert (response.status, await response.text()) == (200, "# metrics\n")


async def test_runner_unpacks_nothing_and_logs_no_secret(plain: Site) -> None:
    config = Config.model_validate({"log": {"level": "debug"}})
    app = make_app(
        plain.world.control, config, TokenAuthoriser(config), lambda _: (b"", "text/plain")
    )
    runner = make_runner(app, config)
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    headers = {"Content-Type": SDP_TYPE}
    with capture_logs() as lines:
        async with ClientSession() as client:
            packed = {"Content-Encoding": "gzip", **headers}
            response = await client.post(url + "/whip/show", data=b"bomb", headers=packed)
            await problem(response, 415, "unsupported_media_type")
            response = await client.post(url + "/whip/show", data=PUBLISH, headers=headers)
            location = response.headers["Location"]
            assert (await client.delete(url + location)).status == 200
        await runner.cleanup()
    logged = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in logged] == [415, 201, 200]
    assert logged[2]["route"] == "/whip/{stream}/{secret}"
    assert location.rsplit("/", 1)[1] not in str(lines)


# Overload ----------------------------------------------------------------------------------------


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
        assert statuses == [201] * 6 + [503] * 2
        small.world.pass_time(15.0)
        assert (await small.offer("/whip/s9", PUBLISH)).status == 201
