"""The forwarders that the rig holds this one against, each as a process: they are joined, and what
comes out of them is what went in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pyforward_bench.rig.peers import baseline, relay
from tests.e2e.benches import bench, measured
from tests.e2e.server import ROOT

VIEWERS = 5


@pytest.mark.parametrize("module", [baseline.__name__, relay.__name__])
async def test_packets_in_and_out(module: str) -> None:
    with serving(module) as (process, at):
        with bench("publish", at["whip"], "--profile=1080p30", "--video-only") as publishing:
            await publishing.wait_for("publishing to")
            told = await measured(
                "load", at["whep"], f"--viewers={VIEWERS}", "--probes=2", "--duration=2"
            )
            assert told.is_well(), told
            assert told.value("joined") == VIEWERS
            assert told.value("packets") > 200 * VIEWERS
            assert told.value("frames") > 20
            for name in ("lost", "missing", "repeated", "corrupted", "unstamped", "silent"):
                assert told.value(name) == 0, name
            publishing.interrupt()
            sent = await publishing.ended()
            assert sent.is_well(), sent
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0


async def test_there_is_nothing_to_watch_before_somebody_publishes() -> None:
    with serving(baseline.__name__) as (_, at):
        told = await measured("load", at["whep"], "--viewers=1", "--duration=1")
        assert told.has_failed(), told
        assert told.says("Nobody publishes")


@contextlib.contextmanager
def serving(module: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A process, and its endpoints."""
    path = f"{ROOT}:{ROOT / 'bench'}"
    program = [sys.executable, "-m", module, "--host=127.0.0.1"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()
