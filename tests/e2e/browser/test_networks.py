"""Other ways than 127.0.0.1: a browser without special flags, IPv6, and a network that loses."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.conftest import CHROMIUM, Launch, Serve
from tests.e2e.browser.lossy import Namespace
from tests.e2e.browser.rig import publish, until, watch

pytestmark = [pytest.mark.browser, pytest.mark.alone]


def own_address() -> str | None:
    """The machine's address on the way out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
        return None if address.startswith("127.") else address


async def test_a_browser_without_special_flags(serve: Serve, launch: Launch) -> None:
    address = own_address()
    if address is None:
        pytest.skip(f"{MISSING_TOOL}address beyond loopback")
    server = serve(f"--media-bind={address}")
    assert server.url.startswith("http://127.0.0.1:")
    assert [host for host, _ in server.media] == [address]
    chromium = await launch(())
    publisher = await publish(chromium, server)
    viewer = await watch(chromium, server)
    figures = await viewer.sounding()
    assert figures.cipher is not None
    assert "GCM" in figures.cipher
    assert figures.remote == address
    assert (await publisher.stats()).remote == address


async def test_ipv6(serve: Serve, chromium: BrowserContext) -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip(f"{MISSING_TOOL}IPv6")
    server = serve("--media-bind=::1", http="[::1]:0")
    assert server.url.startswith("http://[::1]:")
    publisher = await publish(chromium, server)
    viewer = await watch(chromium, server)
    assert (await viewer.sounding()).remote == "::1"
    assert (await publisher.stats()).remote == "::1"
    (row,) = server.api("streams/live/viewers")["items"]
    assert row["address"].startswith("[::1]:")


# A network that loses -----------------------------------------------------------------------------


@pytest.mark.namespaces
async def test_a_network_that_loses_packets(
    lossy: Namespace, serve: Serve, launch: Launch, tmp_path: Path
) -> None:
    server = serve("--http-allow-open", "--auth-admin-token=operator", http=f"{lossy.outside}:0")
    inside = tmp_path / "chromium"
    inside.write_text(f'#!/bin/sh\nexec ip netns exec {lossy.name} {CHROMIUM} "$@"\n')
    inside.chmod(0o755)
    chromium = await launch((), inside)
    publisher = await publish(chromium, server, noise=True, codec="VP8", kbps=1500)
    viewers = [await watch(chromium, server, name=f"viewer {n}") for n in (1, 2)]

    async def has_hurt() -> bool:
        return lossy.lost("into") > 50 and lossy.lost("out_of") > 25

    await until(has_hurt, "losses both ways")
    before = [(await peer.stats()).frames for peer in (publisher, *viewers)]
    # Still moving after all this, and again, and again.
    for _ in range(3):
        await asyncio.gather(*(peer.moving(60) for peer in (publisher, *viewers)))
    after = [(await peer.stats()).frames for peer in (publisher, *viewers)]
    sent, *decoded = [now - then for then, now in zip(before, after, strict=True)]
    # Without repair one packet of twenty would be missing, and most pictures with them.
    assert all(frames >= 0.8 * sent for frames in decoded), (sent, decoded)
    for viewer in viewers:
        figures = await viewer.sounding()
        assert figures.video["nackCount"] > 0
        assert figures.video["retransmittedPacketsReceived"] > 0
    assert server.metric('pyforward_nack_answers_total{result="served"}') > 0
    assert server.metric('pyforward_nacked_packets_total{direction="out"}') > 0
    sent_again = (await publisher.stats()).video["retransmittedPacketsSent"]
    assert sent_again > 0
