"""``pyforward-bench load`` with more viewers than a person would open, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest

from pyforward_bench import guard
from tests.e2e.benches import Measured, bench, measured, published
from tests.e2e.server import Server, running, wait_for

LATENCIES = [f"latency.packet.{q}" for q in ("p50", "p99", "p99.9", "max")]


async def nobody_is_left(server: Server) -> None:
    await asyncio.to_thread(wait_for, "nobody", lambda: not server.viewers("bench"))


def is_whole(told: Measured, viewers: int) -> None:
    """Rows of everything that was measured, whether or not the machine was up to it."""
    assert told.code in (0, 4), told.lines
    assert told.results is not None
    assert told.code == (0 if told.results.valid else 4)
    for because in told.results.invalid_because:
        assert told.says(because)
    assert told.value("viewers") == told.value("joined") == viewers
    assert told.value("silent") == 0


async def test_two_hundred_from_one_process() -> None:
    with running() as server:
        async with published(server, profile="audio") as url:
            told = await measured("load", url, "--viewers=200", "--duration=3", "--ramp=200/s")
            is_whole(told, 200)
            await nobody_is_left(server)
    assert told.value("probes") == 50
    assert told.value("packets") > 200 * 50
    assert told.value("bitrate") > 200 * 30_000
    for name in ("corrupted", "repeated", "unstamped"):
        assert told.value(name) == 0
    values = [told.value(name) for name in LATENCIES]
    assert values == sorted(values)
    assert 0 < told.value("first_packet.p50") <= told.value("first_packet.max")
    assert told.value("harness.cpu") > 0
    assert told.value("harness.memory") > 10


async def test_it_may_be_without_probes() -> None:
    with running() as server:
        async with published(server) as url:
            told = await measured("load", url, "--viewers=3", "--duration=1", "--probes=0")
            is_whole(told, 3)
    assert told.results is not None
    (why,) = {row.why for row in told.results.rows if row.name == "load.latency.packet.p50"}
    assert why is not None
    assert "probe" in why


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_viewers_join(number: signal.Signals) -> None:
    with running() as server:
        async with published(server, profile="audio") as url:
            with bench("load", url, "--viewers=500", "--ramp=20/s") as loading:
                await asyncio.to_thread(wait_for, "some", lambda: len(server.viewers("bench")) > 10)
                loading.process.send_signal(number)
                told = await loading.ended()
            assert told.code in (0, 4), told.lines
            # The server knows a viewer before that one has its keys.
            assert 5 < told.value("joined") < 500
            assert "bitrate" not in told.values()
            await nobody_is_left(server)


async def test_a_server_that_stops_says_so() -> None:
    with running() as server, bench("publish", f"{server.url}/whip/bench") as publishing:
        await publishing.wait_for("publishing to")
        with bench("load", f"{server.url}/whep/bench", "--viewers=2") as loading:
            await asyncio.to_thread(
                wait_for,
                "both",
                # Until it has looked at them for a while.
                lambda: [v["packets"] > 1500 for v in server.viewers("bench")] == [True, True],
            )
            await asyncio.to_thread(server.stop)
            told = await loading.ended()
        assert told.has_failed(), told
        assert told.says("2 viewers sent away (bye)")
        assert told.value("ended.bye") == 2
        assert told.value("packets") > 0


async def test_some_find_no_place() -> None:
    with running("--limits-viewers=4") as server:
        async with published(server) as url:
            told = await measured("load", url, "--viewers=6", "--duration=1", "--patience=0")
    assert told.code == 1
    assert (told.value("joined"), told.value("failed.http_503")) == (4, 2)
    assert told.says("2 viewers failed (http_503)")


async def test_json_and_the_file_are_the_same(tmp_path: Path) -> None:
    with running() as server:
        async with published(server) as url:
            with bench("load", url, "--viewers=1", "--duration=1", "--json") as loading:
                told = await loading.ended()
                printed = json.loads(loading.out())
    assert told.results is not None
    assert printed == told.results.model_dump(mode="json")
    assert printed["schema"] == "pyforward-bench/1"


async def test_somebody_elses_server() -> None:
    told = await measured("load", "http://192.0.2.1:1/whep/x", "--viewers=1")
    assert told.code == 2
    (line,) = told.lines
    assert guard.OPTION in line
    assert told.results is None


async def test_more_than_this_machine_holds_is_known_before() -> None:
    told = await measured("load", "http://127.0.0.1:9/whep/x", "--viewers=10000000")
    assert told.code == 3, told
    (line,) = told.lines
    assert line.startswith("10000000 viewers need ")
    # Whichever of the two is short first.
    assert "open files" in line or "MiB of memory" in line
    assert told.results is None
