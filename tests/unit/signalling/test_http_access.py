"""Who may do what over HTTP: tokens, hooks, loopback peers, proxies."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from aiohttp.test_utils import TestClient, TestServer

from pyforward.api import TokenAuthoriser, make_app
from pyforward.api.body import SDP_TYPE
from pyforward.config import Config
from pyforward.control import AccessRequest, Claims
from pyforward.errors import Forbidden
from tests.unit.signalling.site import PUBLISH, WATCH, Site, problem, site

# Tokens -------------------------------------------------------------------------------------------


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
        ("admin_token", "GET", "/api/server"),
        ("admin_token", "HEAD", "/api/events"),
        ("admin_token", "GET", "/metrics"),
    ],
)
async def test_tokens(setting: str, method: str, path: str) -> None:
    async with site(auth={setting: "right"}) as guarded:
        response = await guarded.client.request(method, path)
        assert response.status == 401
        if method != "HEAD":
            await problem(response, 401, "unauthorised")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        for wrong in ("Bearer wrong", "Bearer righ", "Bearer right2", "Basic cmlnaHQ=", "Bearer "):
            response = await guarded.client.request(method, path, headers={"Authorization": wrong})
            assert response.status == 403
            if method != "HEAD":
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


# Who is a loopback peer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "198.51.100.7"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 403),
        ({"Forwarded": "for=198.51.100.7"}, 403),
        ({"X-Real-IP": "198.51.100.7"}, 403),
        ({"Via": "1.1 proxy.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=[
        "direct",
        "proxied",
        "claims loopback",
        "forwarded",
        "nginx",
        "any proxy",
        "a foreign page",
        "a broken origin",
        "an opaque origin",
    ],
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
        ({"X-Real-IP": "127.0.0.1"}, 403),
        ({"Forwarded": "for=127.0.0.1", "X-Forwarded-For": "198.51.100.7"}, 403),
    ],
)
async def test_loopback_behind_trusted_proxies(headers: dict[str, str], status: int) -> None:
    async with site(http={"trusted_proxies": ["127.0.0.1"]}) as proxied:
        assert (await proxied.client.get("/api/streams", headers=headers)).status == status


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("192.0.2.7", False),
        ("10.0.0.1", False),
        ("2001:db8::7", False),
        ("fe80::1", False),
        (None, False),
    ],
)
async def test_without_an_admin_token_loopback_peers_only(peer: str | None, allowed: bool) -> None:
    address = None if peer is None else ip_address(peer)
    asked = AccessRequest("admin", None, None, address)
    if allowed:
        assert (await TokenAuthoriser(Config())(asked)).role == "admin"
    else:
        with pytest.raises(Forbidden, match=r"auth\.admin_token"):
            await TokenAuthoriser(Config())(asked)


async def test_own_page_may_ask(plain: Site) -> None:
    origin = str(plain.client.make_url("/")).rstrip("/")
    assert (await plain.client.get("/api/streams", headers={"Origin": origin})).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("", 403),
    ],
)
async def test_a_name_that_was_pointed_here_opens_nothing(
    plain: Site, host: str, status: int
) -> None:
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        for path in ("/api/streams", "/metrics"):
            assert (await plain.client.get(path, headers=headers)).status == status


async def test_with_a_token_any_name_serves() -> None:
    async with site(auth={"admin_token": "right"}) as guarded:
        headers = {"Authorization": "Bearer right", "Host": "media.example"}
        assert (await guarded.client.get("/api/streams", headers=headers)).status == 200


async def test_with_a_token_any_page_may_ask() -> None:
    async with site(auth={"admin_token": "right"}) as guarded:
        headers = {"Authorization": "Bearer right", "Origin": "https://board.example"}
        assert (await guarded.client.get("/api/streams", headers=headers)).status == 200
