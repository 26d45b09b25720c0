"""What operators ask and end over HTTP."""

from __future__ import annotations

from aiohttp import ClientSession
from aiohttp.web import TCPSite
from structlog.testing import capture_logs

from pyforward.api import TokenAuthoriser, Unread, make_app, make_runner
from pyforward.api.body import SDP_TYPE
from pyforward.commands import RemoveSession
from pyforward.config import Config
from pyforward.ids import format_session
from tests.unit.signalling.site import PUBLISH, WATCH, Site, problem
from tests.unit.signalling.world import report_row


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
        "bitrate_bps": 900_000,
        "connected_s": 0.0,
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
    runner = make_runner(app, config, Unread(config.limits.unread_bytes))
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
