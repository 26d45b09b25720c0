"""Publishers that go and come back, seen by Chromium: the same peer connection decodes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.aiortc_peers import party
from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.rig import ROOT, Peer, Server, open_page, publish, until, watch

pytestmark = pytest.mark.browser


class Held:
    """A viewer that must go on as it began: nothing agreed anew, nothing lost on the way."""

    def __init__(self, viewer: Peer, agreed: list[str]) -> None:
        self.viewer = viewer
        self.agreed = agreed

    async def goes_on(self, codec: str) -> None:
        """Picture and sound come, in this codec."""
        viewer = self.viewer

        async def shown() -> bool:
            return bool((await viewer.stats()).video["codec"] == f"video/{codec}")

        await until(shown, f"{codec} at {viewer.name}")
        await viewer.moving()
        figures = await viewer.sounding()
        assert figures.state == "connected"
        assert figures.video["packetsLost"] == figures.audio["packetsLost"] == 0
        assert await viewer.call("agreed") == self.agreed


async def held(chromium: BrowserContext, server: Server) -> Held:
    viewer = await watch(chromium, server)
    return Held(viewer, await viewer.call("agreed"))


async def publisher_changed(server: Server, before: str) -> tuple[str, str]:
    """Another one has the stream: which, and in what codec."""

    async def look() -> tuple[str, str] | None:
        publisher = server.api("streams/live")["publisher"]
        if publisher is None or publisher["session"] == before:
            return None
        return publisher["session"], publisher["codecs"][1].upper()

    return await until(look, "another publisher")


async def test_a_page_is_closed_and_another_opens(serve: Serve, chromium: BrowserContext) -> None:
    server = serve("--ice-silence-s", "4")
    first = await publish(chromium, server, codec="VP8")
    viewer = await held(chromium, server)
    await first.page.close()

    async def waits() -> bool:
        return bool(server.api("streams/live")["state"] == "waiting")

    await until(waits, "the stream without publisher")
    await publish(chromium, server, codec="VP8")
    await viewer.goes_on("VP8")


async def test_another_codec(serve: Serve, chromium: BrowserContext) -> None:
    server = serve()
    page = await open_page(chromium, server)
    capabilities = await page.evaluate("RTCRtpSender.getCapabilities('video').codecs")
    if not any(one["mimeType"] == "video/H264" for one in capabilities):
        pytest.skip(f"{MISSING_TOOL}Chromium that encodes H264")
    await publish(chromium, server, codec="VP8")
    viewer = await held(chromium, server)
    alone = await watch(chromium, server, name="viewer of VP8", codec="VP8")

    async def settled() -> bool:
        return server.metric('pyforward_dtls_handshakes{state="lingering"}') == 0

    await until(settled, "the end of handshakes")
    # The codec that present viewers hold is preferred; this publisher has but one.
    await publish(chromium, server, codec="H264")
    await viewer.goes_on("H264")

    async def closed() -> bool:
        return (await alone.stats()).state in ("closed", "failed", "disconnected")

    await until(closed, "the end of the viewer that lacks it")
    assert "reason=no_common_codec role=watch" in server.log.read_text()
    assert server.api("streams/live")["viewers"] == 1


@contextlib.contextmanager
def command(server: Server) -> Iterator[None]:
    """``pyforward publish`` with its own picture."""
    asked = [sys.executable, "-m", "pyforward", "publish", "test", f"{server.url}/whip/live"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
    process = subprocess.Popen(
        asked, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def test_each_kind_of_publisher_replaces_another(
    serve: Serve, chromium: BrowserContext
) -> None:
    server = serve()
    async with party(server.url) as present:
        await present.publish("live", 120)
        viewer = await held(chromium, server)
        session, codec = await publisher_changed(server, "")
        with command(server):
            session, other = await publisher_changed(server, session)
            await viewer.goes_on(other)
            assert other != codec
            await publish(chromium, server, codec="VP8")
            await publisher_changed(server, session)
            await viewer.goes_on("VP8")
