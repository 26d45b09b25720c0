"""One Chromium publishes, two pages watch: nearly every frame arrives, no worse than directly."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.rig import Figures, Peer, open_page, publish, watch, watch_directly

pytestmark = [pytest.mark.browser, pytest.mark.alone]

WINDOW_S = 10.0
# A machine that others use freezes a page now and then; what the server does wrong it does always.
WINDOWS = 2


@dataclass(frozen=True)
class Window:
    """What happened between two looks."""

    sent: int
    decoded: list[int]
    freezes: list[int]
    control_freezes: int

    @property
    def good(self) -> bool:
        complete = all(frames >= 0.95 * self.sent for frames in self.decoded)
        return complete and all(count <= self.control_freezes for count in self.freezes)


async def look(publisher: Peer, viewers: list[Peer], control: Peer) -> list[Figures]:
    """The publisher first: what is on its way counts for the viewers at both ends."""
    return [await peer.stats() for peer in (publisher, control, *viewers)]


async def measure(publisher: Peer, viewers: list[Peer], control: Peer) -> Window:
    """Ten seconds of watching."""
    before = await look(publisher, viewers, control)
    deadline = time.monotonic() + WINDOW_S
    await publisher.moving(round(30 * WINDOW_S), timeout_s=6 * WINDOW_S)
    # Slow pages may need longer for their frames, quick ones never less than the window.
    await asyncio.sleep(max(deadline - time.monotonic(), 0))
    after = await look(publisher, viewers, control)
    frames = [now.frames - then.frames for then, now in zip(before, after, strict=True)]
    freezes = [now.freezes - then.freezes for then, now in zip(before, after, strict=True)]
    return Window(frames[0], frames[2:], freezes[2:], freezes[1])


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_two_pages_watch_a_third(codec: str, serve: Serve, chromium: BrowserContext) -> None:
    server = serve()
    page = await open_page(chromium, server)
    capabilities = await page.evaluate("RTCRtpSender.getCapabilities('video').codecs")
    if not any(one["mimeType"] == f"video/{codec}" for one in capabilities):
        pytest.skip(f"{MISSING_TOOL}Chromium that encodes {codec}")
    publisher = await publish(chromium, server, codec=codec)
    viewers = [await watch(chromium, server, name=f"viewer {n}") for n in (1, 2)]
    control = await watch_directly(publisher, chromium, server)

    windows: list[Window] = []
    while not (windows and windows[-1].good):
        assert len(windows) < WINDOWS, windows
        windows.append(await measure(publisher, viewers, control))

    for viewer in viewers:
        figures = await viewer.sounding()
        assert figures.size == (640, 360)
        assert figures.video["codec"] == f"video/{codec}"
        assert figures.audio["codec"] == "audio/opus"
        assert figures.cipher is not None
        assert "AES" in figures.cipher
        assert "GCM" in figures.cipher
    late = await watch(chromium, server, name="late viewer")
    assert (await late.sounding()).size == (640, 360)
    (item,) = server.api("streams")["items"]
    assert item["viewers"] == 3
    assert item["publisher"]["srtp_profile"] == "SRTP_AEAD_AES_128_GCM"


@pytest.mark.parametrize("kinds", [("video", "audio"), ("audio", "video")])
async def test_either_order_of_transceivers_maps_right(
    kinds: tuple[str, str], serve: Serve, chromium: BrowserContext
) -> None:
    server = serve()
    await publish(chromium, server, codec="VP8")
    viewer = Peer(await open_page(chromium, server), "viewer")
    mids = await viewer.call("watch", f"{server.url}/whep/live", {"kinds": kinds})
    assert [mids[mid]["kind"] for mid in sorted(mids)] == list(kinds)
    # One stream holds both tracks, so that lips are synchronised.
    streams = {tuple(row["streams"]) for row in mids.values()}
    assert len(streams) == 1
    assert len(streams.pop()) == 1
    figures = await viewer.moving()
    assert figures.video["mid"] == str(kinds.index("video"))
    figures = await viewer.sounding()
    assert figures.audio["mid"] == str(kinds.index("audio"))
