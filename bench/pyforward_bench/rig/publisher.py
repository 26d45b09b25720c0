"""Who publishes: ``pyforward-bench publish`` in a process of its own, beside the viewers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pyforward.client.playing import MOST_LATE_S
from pyforward.errors import ConfigError, RunError
from pyforward_bench import results, traces
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.server import Server
from pyforward_bench.traces import Trace

VIDEO = "1080p30"
"""2.5 Mbit/s of H.264, a keyframe every 2 s, and Opus where it is asked for."""

AUDIO = "audio"

BEGIN_LIMIT_S = 20.0
_HALT_S = MOST_LATE_S + 0.1
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Feed:
    """What is published. ``rate`` plays the trace faster; without ``opus`` the video track is
    alone. ``paced`` spreads a frame's packets as libwebrtc does, otherwise they leave at once."""

    profile: str = VIDEO
    paced: bool = False
    rate: float = 1.0
    opus: bool = False

    @property
    def trace(self) -> Trace:
        """As it is played, at rate 1."""
        whole = traces.profile(self.profile)
        return whole if self.opus or self.profile == AUDIO else whole.only(["video"])

    @property
    def packets_per_s(self) -> float:
        """Of each viewer."""
        trace = self.trace
        packets = sum(map(trace.packets, trace.kinds))
        return self.rate * packets * 1e6 / trace.duration_us

    @property
    def payload_bytes(self) -> int:
        """Mean RTP payload of its packets."""
        sizes = [size for frame in self.trace.frames for size in frame.sizes]
        return round(sum(sizes) / len(sizes))

    @property
    def largest_frame(self) -> int:
        """Packets of the largest frame: by so many a count may be off at each end of a window."""
        return max(len(frame.sizes) for frame in self.trace.frames)

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.profile}, {'paced' if self.paced else 'bursty'}, at {self.rate:g}"

    def arguments(self) -> list[str]:
        """For the command."""
        words = ["--profile", self.profile, "--paced" if self.paced else "--bursty"]
        words += ["--rate", f"{self.rate:g}"]
        return words if self.opus or self.profile == AUDIO else [*words, "--video-only"]


class Publisher:
    """It plays from :func:`begin` on."""

    def __init__(self, child: Child, feed: Feed, results_file: Path) -> None:
        self.feed = feed
        self._child = child
        self._results = results_file
        self._was_paused = False

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is published while inside, and the session stays. Of a pause that is too short
        to count as a halt all would be made up for at once, so that it lasts longer."""
        self.check()
        self._was_paused = True
        loop = asyncio.get_running_loop()
        self._child.tell(signal.SIGSTOP)
        until_s = loop.time() + _HALT_S
        try:
            yield
            await asyncio.sleep(until_s - loop.time())
        finally:
            self._child.tell(signal.SIGCONT)

    def check(self) -> None:
        """Raises RunError when it has ended."""
        if self._child.code is not None:
            raise RunError(f"The publisher ended: {self._child.last_words}")

    async def stop(self) -> list[str]:
        """Its end, however; it says farewell. Why what it sent was not the trace, a sentence each;
        that it was made to pause is no reason."""
        await self._child.stop(signal.SIGINT)
        try:
            told = results.read(self._results).invalid_because
        except ConfigError:
            return []  # it was killed, or never began
        return [why for why in told if not (self._was_paused and _is_of_a_pause(why))]


def _is_of_a_pause(why: str) -> bool:
    """Who was stopped stood still, and its event loop was late once, by the whole of it."""
    return "stood still" in why or "event loop" in why


async def begin(server: Server, folder: Path, feed: Feed, cores: tuple[int, ...]) -> Publisher:
    """Returns when its media reaches the server. Raises RunError with its last line."""
    before = await server.arrived()
    results_file = folder / "publisher.json"
    results_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pyforward_bench", "publish", server.whip]
    child = Child.begin(
        "publisher",
        [
            *command,
            *feed.arguments(),
            "--i-may-load-this-host",
            f"--output={results_file}",
        ],
        folder,
        cores=cores,
    )
    publisher = Publisher(child, feed, results_file)
    try:
        until = asyncio.get_running_loop().time() + BEGIN_LIMIT_S
        while await server.arrived() == before:
            publisher.check()
            if asyncio.get_running_loop().time() > until:
                raise RunError(f"Nothing was published within {BEGIN_LIMIT_S:g} s.")
            await asyncio.sleep(_LOOK_EVERY_S)
    except BaseException:
        await publisher.stop()
        raise
    return publisher
