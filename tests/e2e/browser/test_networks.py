"""Other ways than 127.0.0.1: a browser without special flags, IPv6, and a network that loses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.conftest import MISSING_TOOL
from tests.e2e.browser.conftest import CHROMIUM, Launch, Serve
from tests.e2e.browser.rig import publish, until, watch

pytestmark = pytest.mark.browser


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

# Media packets meet the dice, each on its own; checks, handshakes and reports are shorter.
LOSSY_RULES = """
table inet lossy {
  counter into { }
  counter out_of { }
  chain input {
    type filter hook input priority 0;
    meta l4proto udp udp length > 400 numgen random mod 100 < 5 @media counter name into drop
  }
  chain output {
    type filter hook output priority 0;
    meta l4proto udp udp length > 400 numgen random mod 100 < 5 @media counter name out_of drop
  }
}
"""
FIRST_BYTE_IS_RTP = "@ih,0,1 1"  # RFC 7983 §7: DTLS and STUN begin below 128


@dataclass(frozen=True)
class Namespace:
    """A network of its own, joined to the machine by a pair of virtual Ethernets."""

    name: str
    outside: str

    def run(self, *command: str, text: str | None = None) -> str:
        return _run("ip", "netns", "exec", self.name, *command, text=text)

    def lost(self, counter: str) -> int:
        words = self.run("nft", "list", "counter", "inet", "lossy", counter).split()
        return int(words[words.index("packets") + 1])


@pytest.fixture
def lossy() -> Iterator[Namespace]:
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            pytest.skip(f"{MISSING_TOOL}{tool}")
    pid = os.getpid() % 10_000
    net = f"10.231.{pid % 250}"
    made = Namespace(f"pyf{pid}", f"{net}.1")
    outer, inner = f"pyfo{pid}", f"pyfi{pid}"
    rules = LOSSY_RULES.replace("@media", FIRST_BYTE_IS_RTP)
    try:
        try:
            _run("ip", "netns", "add", made.name)
            _run("ip", "link", "add", outer, "type", "veth", "peer", inner, "netns", made.name)
            # Trains are cut before they are carried over, so that single packets are lost.
            _run("ip", "link", "set", outer, "gso_max_segs", "1", "up")
            _run("ip", "address", "add", f"{net}.1/24", "dev", outer)
            made.run("ip", "address", "add", f"{net}.2/24", "dev", inner)
            made.run("ip", "link", "set", inner, "up")
            made.run("ip", "link", "set", "lo", "up")
            made.run("ip", "route", "add", "default", "via", f"{net}.1")
            made.run("nft", "-f", "-", text=rules)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{MISSING_TOOL}right to make network namespaces ({error.stderr.strip()})")
        yield made
    finally:
        for command in (["link", "del", outer], ["netns", "del", made.name]):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", *command)


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


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout
