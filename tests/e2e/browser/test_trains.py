"""Trains are real: counted by the server, seen by the viewers' sockets, by strace and in CPU time.

The picture is noisy and its bitrate is asked for, so that a frame has several packets, as it has in
any stream that is worth watching.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from pyforward.config.models import Engine
from tests.conftest import MISSING_TOOL
from tests.e2e.aiortc_peers import party
from tests.e2e.browser.conftest import Serve
from tests.e2e.browser.rig import ROOT, Peer, Server, publish, until, watch

pytestmark = [pytest.mark.browser, pytest.mark.alone]

VIEWERS = 50
KBPS = 2500
PICTURE: dict[str, Any] = {"width": 960, "height": 540, "noise": True, "codec": "VP8", "kbps": KBPS}
FIRST = 'pyforward_packets_total{direction="out",transmission="first"}'


@dataclass
class Crowd:
    """Light viewers in a process of their own, so that they are nobody's load but their own."""

    process: asyncio.subprocess.Process

    async def leave(self) -> dict[str, Any]:
        """They go, and tell what they counted."""
        out, _ = await self.process.communicate(b"")
        assert self.process.returncode == 0
        counted: dict[str, Any] = json.loads(out)
        return counted


@contextlib.asynccontextmanager
async def crowd(server: Server) -> AsyncIterator[Crowd]:
    """Fifty of them; returns when each has media."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.light_viewer", f"{server.url}/whep/live"),
        *("--viewers", str(VIEWERS)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"watching\n"
        yield Crowd(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def forwarded(server: Server, packets: int) -> float:
    """Waits until so many more were sent to viewers; how many it were."""
    before = server.metric(FIRST)

    async def look() -> float | None:
        more = server.metric(FIRST) - before
        return more if more >= packets else None

    return await until(look, f"{packets} forwarded packets")


async def full_bitrate(publisher: Peer) -> None:
    """Waits until a second of the publisher's has 2 Mbit in it."""
    seen = (await publisher.stats()).video

    async def look() -> bool:
        nonlocal seen
        now = (await publisher.stats()).video
        milliseconds = now["timestamp"] - seen["timestamp"]
        if milliseconds < 1000:
            return False
        bits = 8 * (now["bytesSent"] - seen["bytesSent"])
        seen = now
        return bool(bits / milliseconds >= 2000)

    await until(look, "2 Mbit/s")


async def test_trains_carry_frames(serve: Serve, chromium: BrowserContext) -> None:
    server = serve()
    publisher = await publish(chromium, server, **PICTURE)
    await full_bitrate(publisher)
    async with crowd(server) as viewers:
        assert server.metric("pyforward_viewers") == VIEWERS
        trains = -server.metric("pyforward_train_packets_count")
        packets = -server.metric("pyforward_train_packets_sum")
        await forwarded(server, 40_000)
        trains += server.metric("pyforward_train_packets_count")
        packets += server.metric("pyforward_train_packets_sum")
        assert packets / trains >= 3
        counted = await viewers.leave()
    assert counted["packets"] >= 40_000
    # The same from outside: datagrams that one read brought.
    assert counted["packets"] / sum(counted["trains"].values()) >= 3


def switches() -> list[str]:
    """What of the engine is on or off."""
    return [name for name, field in Engine.model_fields.items() if field.annotation is bool]


def at_work(server: Server) -> dict[str, float]:
    """What trains and padding leave in the metrics."""
    names = {
        "trains": "pyforward_train_packets_count",
        "packets": "pyforward_train_packets_sum",
        "evening": "pyforward_evening_bytes_total",
        "bytes": 'pyforward_bytes_total{direction="out",transmission="first"}',
    }
    return {short: server.metric(name) for short, name in names.items()}


async def test_chromium_and_aiortc_play_it_with_every_switch_on(
    serve: Serve, chromium: BrowserContext
) -> None:
    assert {"gso", "padding", "sendmmsg", "riders"} <= set(switches())
    assert all(getattr(Engine(), name) for name in switches())
    server = serve()
    await full_bitrate(await publish(chromium, server, **PICTURE))
    page = await watch(chromium, server)
    async with party(server.url) as present:
        _, seen = await present.watch("live")
        await seen.more()
        first, before = await page.stats(), at_work(server)
        await asyncio.gather(seen.more(count=60), page.moving(60), page.sounding())
        last, after = await page.stats(), at_work(server)
    for lost in (last.video, last.audio):
        assert lost["packetsLost"] == 0
    assert last.frames >= first.frames + 60
    more = {name: after[name] - before[name] for name in after}
    assert more["packets"] / more["trains"] >= 2, "audio alone is a train as well"
    assert 0 < more["evening"] < more["bytes"] / 100


@pytest.mark.strace
async def test_a_system_call_carries_many_packets(serve: Serve, chromium: BrowserContext) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip(f"{MISSING_TOOL}strace")
    server = serve()
    await full_bitrate(await publish(chromium, server, **PICTURE))
    async with crowd(server):
        tracer = await asyncio.create_subprocess_exec(
            *(strace, "-f", "-c", "-U", "calls,name", "-e", "trace=sendto,sendmsg,sendmmsg"),
            *("-p", str(server.process.pid)),
            stderr=asyncio.subprocess.PIPE,
        )
        assert tracer.stderr is not None
        said = await tracer.stderr.readline()
        if b"attached" not in said:
            pytest.skip(f"{MISSING_TOOL}right to trace ({said.decode().strip()})")
        packets = await forwarded(server, 20_000)
        tracer.send_signal(signal.SIGINT)
        table = (await tracer.communicate())[1].decode()
    calls = {
        name: int(count)
        for count, name in (line.split() for line in table.splitlines() if "send" in line)
        if count.isdigit()
    }
    assert calls, table
    # Trains alone would make it three to a call; sendmmsg puts many viewers' trains into one.
    assert sum(calls.values()) < packets / 6, (calls, packets)


async def test_without_segmentation_the_cpu_works_more(
    serve: Serve, chromium: BrowserContext
) -> None:
    """Two servers, one after the other in turns, so that a busy machine is busy for both."""
    servers = {"on": serve(), "off": serve("--engine-gso=false")}
    publishers = {}
    spent, packets = dict.fromkeys(servers, 0.0), dict.fromkeys(servers, 0.0)
    async with contextlib.AsyncExitStack() as stack:
        for gso, server in servers.items():
            publishers[gso] = await publish(chromium, server, **PICTURE)
            await stack.enter_async_context(crowd(server))
            await publishers[gso].call("setActive", False)
        for gso in ("on", "off", "on", "off"):
            server = servers[gso]
            await publishers[gso].call("setActive", True)
            await full_bitrate(publishers[gso])
            spent[gso] -= server.cpu_s()
            packets[gso] += await forwarded(server, 20_000)
            spent[gso] += server.cpu_s()
            await publishers[gso].call("setActive", False)
    assert servers["off"].process.poll() is None
    cost = {gso: spent[gso] / packets[gso] for gso in servers}
    assert cost["off"] > cost["on"], (spent, packets)
