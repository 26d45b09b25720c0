"""The server that is measured: a process of its own, pinned, in its own namespace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import aiohttp

from pyforward.config import settings
from pyforward.errors import ConfigError, RunError
from pyforward_bench.rig import clocks
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.network import Network

STREAM = "rig"
"""What is published."""

READY_LIMIT_S = 30.0
_ASK_LIMIT_S = 30.0
_DYING_S = 0.5
"""Sockets of a process that was killed are gone before it is."""

BUSY = """\
while True:
    pass
"""
"""Python that never rests, as careless application code would be."""

# What a thread beside the server does while it is told to.
_BUSY = """\
while True:
    told.wait()
    while told.is_set():
        pass
"""
# In parts of milliseconds, so that every window pays its share.
_SLOWING = """\
import time
while True:
    told.wait()
    before_s, own_before_s = time.process_time(), time.thread_time()
    while told.is_set():
        time.sleep(0.005)
        of_others_s = time.process_time() - before_s - (time.thread_time() - own_before_s)
        while time.thread_time() - own_before_s < {share} * of_others_s:
            pass
"""

_LOOK = signal.SIGUSR1
"""Look whether the file is there that says so. Of two signals that wait, one for each word, Python
would take the one with the lower number first, whichever came last."""

# What the server needs is imported before: each file would wait for the other thread's turn to end.
_BESIDE = """\
import os
import signal
import threading
import pyforward.server
from pyforward.cli import main
told = threading.Event()
def look(*_):
    told.set() if os.path.exists({sign!r}) else told.clear()
signal.signal({look}, look)
threading.Thread(target=exec, args=({code!r}, {{"told": told}}), name="beside", daemon=True).start()
main()
"""


@dataclass(frozen=True, slots=True)
class Serving:
    """How the server is begun. ``settings`` by their names, as text; ``busy_thread``: with a thread
    of Python that never rests, ``slowed``: with one that wastes CPU, so that the process gets this
    share less done with the same CPU, both while :meth:`Server.burden` says so. ``peer`` begins
    another forwarder instead, which has none of them and keeps its viewers no longer than its
    publisher."""

    settings: tuple[tuple[str, str], ...] = ()
    cores: tuple[int, ...] = (0,)
    busy_thread: bool = False
    slowed: float = 0.0
    peer: Begin | None = None

    def program(self, sign: Path) -> list[str]:
        """What runs ``pyforward``; the thread beside it works while there is such a file."""
        if self.busy_thread:
            beside = _BUSY
        elif self.slowed:
            beside = _SLOWING.format(share=self.slowed / (1 - self.slowed))
        else:
            return [sys.executable, "-m", "pyforward"]
        code = _BESIDE.format(code=beside, look=int(_LOOK), sign=str(sign))
        return [sys.executable, "-c", code]

    def arguments(self) -> list[str]:
        """The settings as flags. ConfigError for one that this pyforward does not have."""
        known = {setting.name: setting for setting in settings()}
        flags: list[str] = []
        for name, text in self.settings:
            if name not in known:
                raise ConfigError(f"This pyforward has no setting {name}.")
            flags.append(f"{known[name].flag}={text}")
        return flags


class Server:
    """A server that answers. Made by :func:`begin`."""

    def __init__(
        self, child: Child, url: str, token: str, serving: Serving, sign: Path | None = None
    ) -> None:
        self.url = url
        self.serving = serving
        self.child = child
        self.clock = clocks.ServerClock(child.pid, serving.cores)
        self._token = token
        self._sign = sign

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def whip(self) -> str:
        """Where the stream is published."""
        return f"{self.url}/whip/{STREAM}"

    @property
    def whep(self) -> str:
        """Where it is watched."""
        return f"{self.url}/whep/{STREAM}"

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as ``/metrics`` writes it. It costs the server
        milliseconds: not for timed intervals."""
        text = await self._get("/metrics")
        samples = re.findall(r"^([^#\s]+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in samples}

    async def arrived(self) -> float:
        """What has come in so far, as packets: for seeing that a publisher's do."""
        return total(await self.metrics(), "pyforward_packets_total", 'direction="in"')

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory now, see :func:`.clocks.memory_bytes`."""
        return clocks.memory_bytes(self.pid)

    def keep_shards_alone(self, core: int, others: int) -> None:
        """Pins the threads that forward to one core and every other thread to another."""
        shards = set(clocks.shard_threads(self.pid))
        for thread in clocks.threads(self.pid):
            os.sched_setaffinity(thread, {core if thread in shards else others})

    def burden(self, *, on: bool) -> None:
        """Whether the thread beside it works, which it does not at first."""
        assert self._sign is not None, "there is no thread beside it"
        if on:
            self._sign.touch()
        else:
            self._sign.unlink(missing_ok=True)
        self.child.tell(_LOOK)

    async def stop(self) -> None:
        """Its end, however."""
        await self.child.stop()

    async def _get(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {self._token}"}
        limit = aiohttp.ClientTimeout(total=_ASK_LIMIT_S)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=limit) as http,
                http.get(f"{self.url}{path}", raise_for_status=True) as answer,
            ):
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            with contextlib.suppress(RunError):
                await self.child.ended(_DYING_S)
            if self.child.code is not None:
                raise RunError(f"The server ended: {self.child.last_words}.") from None
            why = str(error) or "nothing came in time"
            raise RunError(f"The server does not answer {path}: {why}.") from None


Begin: TypeAlias = Callable[[Network, Path, Serving], Awaitable[Server]]


async def begin(network: Network, folder: Path, serving: Serving) -> Server:
    """Returns when it is ready. Raises RunError with its last line when it does not start, and
    ConfigError for a setting that does not exist."""
    ready, sign, token = folder / "ready", folder / "burden", secrets.token_hex(16)
    for left in (ready, sign):
        left.unlink(missing_ok=True)  # of one that was killed
    address = network.addresses.server
    host = f"[{address}]" if ":" in address else address
    child = Child.begin(
        "server",
        [
            *serving.program(sign),
            "serve",
            f"--http-bind={host}:0",
            "--http-allow-open",
            f"--media-bind={address}",
            "--media-port=0",
            f"--ready-file={ready}",
            *serving.arguments(),
        ],
        folder,
        netns=network.server_pid,
        cores=serving.cores,
        # A flag would show it in the list of processes.
        environment={"PYFORWARD_AUTH__ADMIN_TOKEN": token},
    )
    try:
        url = await _ready(child, ready)
    except BaseException:
        await child.stop()
        raise
    has_thread = serving.busy_thread or serving.slowed > 0
    return Server(child, url, token, serving, sign if has_thread else None)


async def _ready(child: Child, ready: Path) -> str:
    until = asyncio.get_running_loop().time() + READY_LIMIT_S
    while (told := _read(ready)) is None:
        if child.code is not None:
            raise RunError(f"The server does not start: {child.last_words}.")
        if asyncio.get_running_loop().time() > until:
            raise RunError(f"The server is not ready after {READY_LIMIT_S:g} s.")
        await asyncio.sleep(0.02)
    return str(json.loads(told)["http_url"])


def _read(ready: Path) -> str | None:
    return ready.read_text() if ready.exists() else None


def change(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """How metrics changed; those that appeared count from zero."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def total(metrics: Mapping[str, float], name: str, *labels: str) -> float:
    """The sum of a metric's samples that have all of these labels (``direction="in"``)."""
    return sum(
        value
        for sample, value in metrics.items()
        if sample.partition("{")[0] == name and all(label in sample for label in labels)
    )


def mean_train(metrics: Mapping[str, float]) -> float:
    """Packets of a message that carried media."""
    packets = total(metrics, "pyforward_train_packets_sum")
    return packets / max(1.0, total(metrics, "pyforward_train_packets_count"))


def train_lengths(metrics: Mapping[str, float]) -> dict[int, int]:
    """Messages by how many packets they held, from the histogram ``pyforward_train_packets``: by
    the upper bounds of its buckets."""
    cumulative = sorted(
        (float(found[1]), value)
        for sample, value in metrics.items()
        if (found := re.match(r'pyforward_train_packets_bucket\{le="([^"]+)"\}', sample))
    )
    lengths: dict[int, int] = {}
    below = 0.0
    for bound, value in cumulative:
        if value > below and bound != float("inf"):
            lengths[int(bound)] = round(value - below)
        below = value
    return lengths
