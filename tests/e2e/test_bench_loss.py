"""``pyforward-bench loss`` at a server of ours: what is lost on purpose comes again."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.benches import Measured, bench, measured, published
from tests.e2e.server import running, wait_for

TIMES = ("--viewers=3", "--duration=4")


async def lossy(*arguments: str) -> Measured:
    with running() as server:
        async with published(server) as url:
            told = await measured("loss", url, *TIMES, *arguments)
    assert told.code in (0, 4), told.lines
    assert told.value("joined") == 3
    assert told.value("expected") > 500
    for name in ("corrupted", "repeated", "unstamped"):
        assert told.value(name) == 0
    return told


async def test_what_is_lost_is_repaired() -> None:
    told = await lossy("--loss=5%", "--rtt=40ms")
    missed = told.value("missed")
    assert missed / told.value("expected") == pytest.approx(0.05, rel=0.6)
    assert missed == told.value("repaired") + told.value("lost")
    assert told.value("of_missed") > 0.9
    assert told.value("finally") > 0.99
    assert 0 < told.value("within_two_round_trips") <= told.value("finally")
    # A request and its answer take a round trip.
    assert told.value("repair.p50") >= 40
    assert told.value("latency.packet.p50") >= 20
    assert told.value("retransmissions") * told.value("expected") >= told.value("repaired")
    assert told.value("latency.frame.p99") >= 60, "frames wait for what is repaired of them"
    assert told.value("frames") > 100
    assert told.value("asked_again") > 0
    assert told.value("asked.loss") == 0.05
    assert told.value("asked.rtt") == 40


async def test_a_way_that_only_disturbs_the_order() -> None:
    told = await lossy("--loss=0", "--rtt=20", "--jitter=5ms", "--reorder=2%")
    assert told.value("finally") == 1
    assert told.value("lost") == 0
    assert 10 <= told.value("latency.packet.p50") <= told.value("latency.packet.p99")


async def test_runs_of_losses_without_a_round_trip() -> None:
    told = await lossy("--loss=0.03", "--burst=4")
    assert told.value("missed") > 0
    assert told.value("of_missed") > 0.8
    assert told.results is not None
    (why,) = [r.why for r in told.results.rows if r.name == "loss.within_two_round_trips"]
    assert why == "no --rtt was given"


async def test_ctrl_c_keeps_what_there_is() -> None:
    with running() as server:
        async with published(server) as url:
            with bench("loss", url, "--viewers=3", "--duration=60", "--loss=5%") as losing:
                await asyncio.to_thread(
                    wait_for,
                    "everybody",
                    lambda: [v["packets"] > 1500 for v in server.viewers("bench")] == [True] * 3,
                )
                losing.interrupt()
                told = await losing.ended()
    assert told.code in (0, 4), told.lines
    assert told.value("joined") == 3
    assert told.value("missed") > 0
    assert told.value("repaired") > 0
