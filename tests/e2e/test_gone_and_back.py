"""Publishers that go in every way and come back as another one, seen by viewers that stay."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.aiortc_peers import party, until_closed
from tests.e2e.server import ROOT, Server, running, wait_for

# Viewers report every second or so; a busy machine is late with it.
SILENCE = ("--ice-silence-s", "3")


@contextlib.contextmanager
def publishing(server: Server, name: str, luma: int) -> Iterator[None]:
    """aiortc in a process of its own, which is killed at the end."""
    command = [sys.executable, "-m", "tests.e2e.aiortc_peers", server.url, name, str(luma)]
    process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def until(what: str, true: Callable[[], object]) -> None:
    """Waits while the peers of this process go on."""
    await asyncio.to_thread(wait_for, what, true)


def is_in(server: Server, name: str, state: str) -> bool:
    return any((found["name"], found["state"]) == (name, state) for found in server.streams())


async def test_killed_and_back_as_somebody_else() -> None:
    with running(*SILENCE) as server:
        async with party(server.url) as present:
            with publishing(server, "killed", 60):
                await until("a publisher", lambda: is_in(server, "killed", "live"))
                viewer, seen = await present.watch("killed")
                await seen.shows(60)
            # Before anybody has noticed; and then by an end that is said.
            second = await present.publish("killed", 210)
            await seen.shows(210)
            await second.close()
            await until("an end", lambda: is_in(server, "killed", "waiting"))
            with publishing(server, "killed", 110):
                await seen.shows(110)
            await until("silence", lambda: is_in(server, "killed", "waiting"))
            await present.publish("killed", 210, "video/H264")
            await seen.shows(210)
            await seen.more()
            assert not seen.ended
            assert viewer.connectionState == "connected"
            assert len(server.viewers("killed")) == 1


async def test_nobody_comes_back() -> None:
    with running(*SILENCE, "--streams-wait-s", "1") as server:
        async with party(server.url) as present:
            with publishing(server, "left", 60):
                await until("a publisher", lambda: is_in(server, "left", "live"))
                viewer, seen = await present.watch("left")
                await seen.more()
            await until_closed(viewer)
            assert not server.streams()
            assert "reason=stream_ended" in server.log.read_text()


@pytest.mark.parametrize(
    ("codec", "other"), [("video/VP8", "video/H264"), ("video/H264", "video/VP8")]
)
async def test_another_codec_takes_those_along_who_hold_it(codec: str, other: str) -> None:
    lingering = 'pyforward_dtls_handshakes{state="lingering"}'
    with running() as server:
        async with party(server.url) as present:
            await present.publish("codec", 120, codec)
            one, alone = await present.watch("codec", codec=codec)
            _, both = await present.watch("codec")
            await asyncio.gather(alone.more(), both.more())
            # A farewell is kept once the handshake is over for good.
            await until("the end of handshakes", lambda: server.metric(lingering) == 0)
            await present.publish("codec", 210, other)
            await asyncio.gather(both.shows(210), until_closed(one))
            await both.more()
            assert len(server.viewers("codec")) == 1
            assert "reason=no_common_codec" in server.log.read_text()
