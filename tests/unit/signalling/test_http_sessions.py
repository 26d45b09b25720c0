"""Sessions by their URL, CORS, and the methods that are not POST."""

from __future__ import annotations

import json

import pytest

from pyforward.api.body import FRAGMENT_TYPE, SDP_TYPE
from pyforward.commands import RemoveSession, RestartIce
from tests.unit.signalling.offers import fragment
from tests.unit.signalling.site import EXPOSED, PUBLISH, WATCH, Site, problem, site

# Sessions -----------------------------------------------------------------------------------------


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
    response = await plain.client.patch(
        location, data=fragment(), headers={"Content-Type": SDP_TYPE, "If-Match": etag}
    )
    await problem(response, 415, "unsupported_media_type")
    response = await plain.trickle(location, "a" * 70_000, If_Match=etag)
    await problem(response, 413, "body_too_large")
    response = await plain.trickle(location, fragment(), If_Match=etag)
    assert response.status == 204, "no refusal has ended the session"


async def test_restart(plain: Site) -> None:
    created = await plain.offer("/whip/show", PUBLISH)
    location, first = created.headers["Location"], created.headers["ETag"]
    changed = fragment("changed", "another-password-of-28-chars")
    response = await plain.trickle(location, changed, If_Match='"*"')
    assert (response.status, response.content_type) == (200, FRAGMENT_TYPE)
    second = response.headers["ETag"]
    assert second != first
    assert "ETag" in response.headers["Access-Control-Expose-Headers"]
    (restart,) = plain.world.engine.taken(RestartIce)
    ours = f"a=ice-ufrag:{restart.ice.local_ufrag}\r\na=ice-pwd:{restart.ice.local_pwd}\r\n"
    body = await response.text()
    assert ours in body
    for line in ("a=ice-lite", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", "a=end-of-candidates"):
        assert f"{line}\r\n" in body
    await problem(
        await plain.trickle(location, changed, If_Match=first), 412, "precondition_failed"
    )
    response = await plain.trickle(location, changed, If_Match=second)
    assert (response.status, response.headers["ETag"]) == (204, second)
    response = await plain.trickle(location, fragment("again"), If_Match=second)
    assert response.status == 200
    half = "a=ice-ufrag:half\r\n"
    response = await plain.trickle(location, half, If_Match="*")
    body_of_problem = await problem(response, 422, "unprocessable")
    assert "ice-pwd" in str(body_of_problem["detail"])
    await problem(await plain.trickle(location, changed), 428, "precondition_required")
    assert len(plain.world.engine.taken(RestartIce)) == 2
    assert plain.world.engine.taken(RemoveSession) == []


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


# CORS and the other methods -----------------------------------------------------------------------


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
            assert {"Authorization", "Content-Type", "If-Match"} <= set(allowed.split(", "))
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


async def test_head_goes_wherever_get_does(plain: Site) -> None:
    await plain.location("/whip/show", PUBLISH)
    for path in ("/api/streams", "/api/streams/show/viewers", "/metrics", "/healthz", "/readyz"):
        got, head = await plain.client.get(path), await plain.client.head(path)
        assert (head.status, head.content_type) == (200, got.content_type)
        assert await head.read() == b""
        assert await got.read()


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
