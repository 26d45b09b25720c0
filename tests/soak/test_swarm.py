"""Many viewers of one server, over real sockets: what each received, and what is left when they are
gone. The figures are printed; docs/measurements.md keeps those of one run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest_asyncio

from pyforward import process
from pyforward.client import Rooms, Session, Target, open_rooms
from pyforward.client.watching import Crowd
from pyforward.config import Config
from tests.e2e.server import Server, running

VIEWERS = 200
WATCH_S = 30.0

LEAVES = 10_000
AT_A_TIME = 50
ALLOWED_BYTES = 2 * 1024 * 1024


@pytest_asyncio.fixture
async def rooms() -> AsyncIterator[Rooms]:
    process.raise_descriptor_limit()
    async with open_rooms(Config(), Target("http://127.0.0.1"), connections=AT_A_TIME) as rooms:
        yield rooms


def udp_errors() -> dict[str, int]:
    """What the kernel dropped for want of room (/proc/net/snmp), here and at the server."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    names, values = (line[1:] for line in lines if line[0] == "Udp:")
    found = dict(zip(names, map(int, values), strict=True))
    return {name: found[name] for name in ("RcvbufErrors", "SndbufErrors")}


def drops(metrics: Mapping[str, float]) -> dict[str, float]:
    """What the server itself says that it lost."""
    wanted = ("pyforward_send_drops_total", "pyforward_receive_drops_total")
    return {name: value for name, value in metrics.items() if name.startswith(wanted)}


def show(**figures: object) -> None:
    print(json.dumps(figures, indent=2))  # noqa: T201 - what a soak is for


async def test_two_hundred_viewers_receive_what_is_sent(rooms: Rooms) -> None:
    with running(command="demo") as server:
        before = udp_errors()

        async def join() -> Session:
            return await rooms.sessions.watch(rooms.signalling, f"{server.url}/whep/demo")

        crowd = Crowd(rooms.sessions, VIEWERS, join)
        await crowd.gather()
        await asyncio.sleep(WATCH_S)
        # The film stops, so that both sides can be held against each other.
        await asyncio.to_thread(server.request, "DELETE", f"/api/sessions/{publisher(server)}")
        await asyncio.sleep(2.0)
        await crowd.look()
        sent = {row["address"]: row["packets"] for row in all_viewers(server)}
        figures = crowd.figures()
        lost = {name: count - before[name] for name, count in udp_errors().items()}
        server_drops = drops(server.metrics())
        show(figures=figures.to_json(), kernel=lost, server=server_drops)

        assert figures.joined == VIEWERS
        for viewer in crowd.viewers:
            assert viewer.session is not None
            assert viewer.report is not None
            tracks = viewer.report.tracks
            assert all(track.packets_lost == 0 for track in tracks)
            assert all(track.packets_received == track.packets_expected for track in tracks)
            # Numbers without a gap, and as many as the server sent: the sets are equal.
            received = sum(track.packets_received for track in tracks)
            assert received == sent[f"127.0.0.1:{viewer.session.port}"]
        expected = sum(track.packets_expected for track in figures.tracks)
        first_lost = sum(track.packets_repaired for track in figures.tracks)
        assert first_lost <= expected / 1_000
        # Each loss has a cause that somebody counted.
        assert first_lost <= sum(lost.values()) + sum(server_drops.values())
        await crowd.leave()


def publisher(server: Server) -> str:
    (stream,) = server.streams()
    return str(stream["publisher"]["session"])


def all_viewers(server: Server) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    after = ""
    while True:
        page = server.get(f"/api/streams/demo/viewers{after}").json
        rows += page["items"]
        if page["next"] is None:
            return rows
        after = f"?after={page['next']}"


# Coming and going --------------------------------------------------------------------------------


def held(server: Server) -> dict[str, float]:
    """What a server holds for its sessions."""
    metrics = server.metrics()
    changes = {
        change: metrics[f'pyforward_shard_sessions_total{{change="{change}"}}']
        for change in ("added", "removed")
    }
    dtls = sum(v for k, v in metrics.items() if k.startswith("pyforward_dtls_handshakes"))
    return {
        "sessions": metrics["pyforward_sessions"],
        "slab_entries": changes["added"] - changes["removed"],
        "dtls_objects": dtls,
        "descriptors": float(len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))),
    }


async def settled(server: Server) -> dict[str, float]:
    """The same once everybody who is gone is gone."""
    for _ in range(100):
        found = held(server)
        if found["sessions"] == 1 and found["dtls_objects"] == 0:
            break
        await asyncio.sleep(0.1)
    return held(server)


async def test_ten_thousand_joins_and_leaves_leave_nothing(rooms: Rooms) -> None:
    with running(command="demo") as server:
        places = asyncio.Semaphore(AT_A_TIME)

        async def come_and_go() -> None:
            async with places:
                url = f"{server.url}/whep/demo"
                session = await rooms.sessions.watch(rooms.signalling, url)
                await session.connected
                await rooms.sessions.leave(session)

        async def many(count: int) -> tuple[dict[str, float], int]:
            await asyncio.gather(*(come_and_go() for _ in range(count)))
            found = await settled(server)
            return found, server.rss_bytes()

        half, half_bytes = await many(LEAVES // 2)
        whole, whole_bytes = await many(LEAVES // 2)
        show(after_half=half, after_all=whole, rss_half=half_bytes, rss_all=whole_bytes)
        assert whole == half
        assert whole_bytes - half_bytes <= ALLOWED_BYTES
