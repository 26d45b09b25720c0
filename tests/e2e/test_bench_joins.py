"""``pyforward-bench joins`` at a server of ours."""

from __future__ import annotations

import asyncio

from tests.e2e.benches import bench, measured, published
from tests.e2e.server import running, wait_for

STAGES = ("answer", "ice", "dtls", "packet", "keyframe", "whole")


async def test_each_stage_of_a_storm() -> None:
    with running() as server:
        async with published(server) as url:
            told = await measured("joins", url, "--rate=30/s", "--count=60")
            await asyncio.to_thread(wait_for, "nobody", lambda: not server.viewers("bench"))
    assert told.code in (0, 4), told.lines
    assert told.value("joined") == told.value("viewers") == 60
    assert told.value("unserved") == 0
    for stage in STAGES:
        values = [told.value(f"{stage}.{q}") for q in ("p50", "p90", "p99", "max")]
        assert values == sorted(values)
        assert values[0] >= 0
    parts = sum(told.value(f"{stage}.max") for stage in STAGES[:-1])
    assert 0 < told.value("whole.p50") <= told.value("whole.max") <= parts + 1
    assert told.value("rate") > 0
    assert told.value("asked_rate") == 30
    for when in ("before", "during"):
        assert told.value(f"{when}.packet.p99") > 0
        assert told.value(f"{when}.frame.p99") > 0
    assert told.value("during.times") > 0


async def test_a_stream_without_video_and_viewers_that_stay() -> None:
    with running() as server:
        async with published(server, profile="audio") as url:
            arguments = ("--rate=20", "--count=10", "--hold=2", "--probes=0")
            with bench("joins", url, *arguments) as storming:
                await asyncio.to_thread(
                    wait_for, "all at once", lambda: len(server.viewers("bench")) == 10
                )
                told = await storming.ended()
    assert told.code in (0, 4), told.lines
    assert told.value("joined") == 10
    assert told.value("whole.p50") > 0
    assert "keyframe.p50" not in told.values(), "there is none in audio"
    assert "during.times" not in told.values(), "nobody stood by"


async def test_ctrl_c_in_the_storm() -> None:
    with running() as server:
        async with published(server) as url:
            with bench("joins", url, "--rate=5/s", "--count=1000", "--hold=60") as storming:
                await asyncio.to_thread(wait_for, "some", lambda: len(server.viewers("bench")) > 10)
                storming.interrupt()
                told = await storming.ended()
            await asyncio.to_thread(wait_for, "nobody", lambda: not server.viewers("bench"))
    assert told.code in (0, 4), told.lines
    assert 0 < told.value("joined") < 1000
