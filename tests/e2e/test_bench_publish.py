"""``pyforward-bench publish``: what our server and a strange one make of it, and how it ends."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from pyforward.client import Target, open_rooms
from pyforward.commands import Trial
from pyforward.config import Config
from pyforward_bench import records, traces
from pyforward_bench.records import Record
from tests.e2e.benches import Bench, bench, measured
from tests.e2e.server import running, wait_for
from tests.e2e.stranger import open_stranger, serving

BEGUN = "publishing to"


async def watched(url: str, seconds: float) -> list[Record]:
    """Every packet that a viewer receives in this time, as the engine records it."""
    found: list[Record] = []
    async with open_rooms(Config(), Target(url), connections=1) as rooms:
        rooms.sessions.on_records = lambda data: found.extend(records.unpack(data))
        trial = Trial(record_as=1)
        session = await rooms.sessions.watch(rooms.signalling, url, trial=trial)
        await session.connected
        await asyncio.sleep(seconds)
        await rooms.sessions.leave(session)
    return found


def of_video(found: Iterable[Record]) -> list[Record]:
    return [record for record in found if record.flags & records.VIDEO]


def frames_of(found: Iterable[Record]) -> list[list[Record]]:
    """Whole video frames, each in the order of its packets."""
    by_timestamp: defaultdict[int, list[Record]] = defaultdict(list)
    for record in of_video(found):
        by_timestamp[record.timestamp].append(record)
    return list(by_timestamp.values())[1:-1]


async def ended(publishing: Bench) -> int:
    """By Ctrl-C: the packets that it says it sent."""
    publishing.interrupt()
    result = await publishing.ended()
    # On a busy machine it may rightly say that it fell behind.
    assert result.code in (0, 4), result.lines
    return int(result.value("packets"))


async def test_a_viewer_finds_every_stamp_intact() -> None:
    """And every packet, picture and keyframe of the trace."""
    with running() as server, bench("publish", f"{server.url}/whip/show", "--rate=4") as publishing:
        await publishing.wait_for(BEGUN)
        found = await watched(f"{server.url}/whep/show", 4.0)
        sent = await ended(publishing)
    assert sent > len(found) > 1_000
    intact = records.STAMPED | records.INTACT
    assert all(record.flags & intact == intact for record in found)
    assert all(record.latency_us != records.UNKNOWN for record in found)
    video = of_video(found)
    audio = [record for record in found if record not in video]
    assert len(audio) > 100
    for track in (video, audio):
        counters = [record.counter for record in track]
        assert counters == list(range(counters[0], counters[0] + len(track)))
    frames = frames_of(found)
    assert all(frame[-1].flags & records.MARKER for frame in frames)
    assert all(not record.flags & records.MARKER for frame in frames for record in frame[:-1])
    keyframes = [frame for frame in frames if frame[0].flags & records.KEYFRAME]
    sizes = sorted(
        {len(frame.sizes) for frame in traces.profile("1080p30").frames if frame.keyframe}
    )
    assert len(keyframes) >= 5
    assert {len(frame) for frame in keyframes} <= set(sizes)


@pytest.mark.parametrize("pace", ["--bursty", "--paced"])
async def test_a_frame_leaves_whole_or_spread(pace: str) -> None:
    """On the wire: neither the engine that publishes nor the server gathers what was paced."""
    with (
        running("--engine-frame-window-ms=0") as server,
        bench("publish", f"{server.url}/whip/show", "--video-only", pace) as publishing,
    ):
        await publishing.wait_for(BEGUN)
        # Video begins with a keyframe, and one comes every two seconds.
        found = await watched(f"{server.url}/whep/show", 5.0)
        await ended(publishing)
    large = [frame for frame in frames_of(found) if len(frame) >= 8]
    assert len(large) > 20
    spread_ms = [(frame[-1].arrival_us - frame[0].arrival_us) / 1e3 for frame in large]
    # 8 packets at 2.5 × 2.5 Mbit/s leave as three groups, 5 ms from the first to the second.
    assert (statistics.median(spread_ms) > 5) is (pace == "--paced")
    # Whoever waits for a frame's end holds its first packets longer than its last.
    held_us = [frame[0].latency_us - frame[-1].latency_us for frame in large]
    assert statistics.median(held_us) < 2_000


async def test_what_leaves_has_the_sizes_of_the_trace(tmp_path: Path) -> None:
    """No padding, though they differ by a byte."""
    path = tmp_path / "own.csv"
    path.write_text(
        "due_us,track,bytes,flags\n0,video,500,k\n0,video,500,k\n0,video,501,km\n"
        "20000,video,600,\n20000,video,601,m\n"
    )
    with running("--no-engine-padding") as server:
        url = f"{server.url}/whip/show"
        with bench("publish", url, "--trace", str(path)) as publishing:
            await publishing.wait_for(BEGUN)
            found = await watched(f"{server.url}/whep/show", 2.0)
            await ended(publishing)
    overhead = min(record.size for record in found) - 500
    shapes = {tuple(record.size - overhead for record in frame) for frame in frames_of(found)}
    assert shapes == {(500, 500, 501), (600, 601)}


async def test_a_strange_server_counts_what_it_says_it_sent() -> None:
    """aiortc, which takes the payloads for H.264 and Opus and repairs nothing here."""
    stranger = open_stranger()
    async with serving(stranger) as url:
        result = await measured("publish", f"{url}/whip", "--profile=720p30", "--duration=3")
    assert result.code in (0, 4), result.lines
    assert stranger.deleted == 1
    assert 2.5 < result.value("seconds") < 10
    assert result.value("bitrate") == pytest.approx(1_600_000, rel=0.5)
    assert result.value("halts") == 0
    assert result.value("repaired") == 0
    assert result.value("late.p50") <= result.value("late.p99") <= result.value("late.max")


async def test_a_trace_from_two_numbers() -> None:
    with running() as server:
        url = f"{server.url}/whip/show"
        result = await measured("publish", url, "--bitrate=1000", "--fps=50", "--duration=2")
        assert result.code in (0, 4), result.lines
        assert result.value("bitrate") == pytest.approx(1_000_000, rel=0.5)
        assert server.sessions() == 0


async def test_ctrl_c_leaves_no_session_and_keeps_the_sums() -> None:
    with running() as server:
        with bench("publish", f"{server.url}/whip/show", "--profile=audio") as publishing:
            await publishing.wait_for(BEGUN)
            await asyncio.sleep(0.5)
            assert await ended(publishing) > 0
        await asyncio.to_thread(wait_for, "no sessions", lambda: server.sessions() == 0)


async def test_a_server_that_dies_in_the_middle() -> None:
    with running() as server:
        with bench("publish", f"{server.url}/whip/show", "--ice-silence-s=2") as publishing:
            await publishing.wait_for(BEGUN)
            await asyncio.sleep(1.5)
            server.process.kill()
            result = await publishing.ended()
        server.process.wait()
        server.process.returncode = 0  # meant so
    assert result.code in (1, 4)
    assert result.says("over before its end (silent)")
    assert result.value("packets") > 0


async def test_a_server_that_is_not_there() -> None:
    result = await measured("publish", "http://127.0.0.1:9/whip/show", "--patience=0")
    assert result.code == 1
    assert len(result.lines) == 1
    assert result.results is None


async def test_what_keeps_it_from_beginning() -> None:
    url = "http://127.0.0.1:9/whip/show"
    result = await measured("publish", url, "--trace=nowhere.csv")
    assert result.code == 2
    assert result.says("nowhere.csv cannot be read")
    assert len(result.lines) == 1
