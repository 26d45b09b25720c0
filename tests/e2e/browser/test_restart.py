"""Chromium restarts ICE by PATCH, as a publisher and as a viewer, and the picture goes on."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext

from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.rig import Peer, publish, until, watch

pytestmark = pytest.mark.browser


async def test_both_sides_restart(serve: Serve, chromium: BrowserContext) -> None:
    server = serve()
    publisher = await publish(chromium, server)
    viewer = await watch(chromium, server)
    etags = set()
    for peer in (viewer, publisher, viewer):
        before = await peer.stats()
        etags.add(await peer.call("restart"))
        await until(lambda: _restarted(peer, before.ufrag), f"new credentials of {peer.name}")  # noqa: B023
        await publisher.moving(30)
        await viewer.moving(30)
    assert len(etags) == 3
    assert None not in etags
    await viewer.sounding()
    figures = await viewer.stats()
    assert figures.state == "connected"
    assert figures.video["packetsLost"] == 0
    assert figures.audio["packetsLost"] == 0
    assert server.metric("pyforward_sessions") == 2


async def _restarted(peer: Peer, ufrag: str | None) -> bool:
    seen = await peer.stats()
    return seen.ufrag not in (None, ufrag) and seen.state == "connected"
