"""The peers: what each is, why it may not be run here, and how it is begun."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyforward.errors import ConfigError, RunError
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.network import Network
from pyforward_bench.rig.peers import baseline, janus, relay
from pyforward_bench.rig.peers.front import Front
from pyforward_bench.rig.server import READY_LIMIT_S, Begin, Server, Serving

HOST: Final = "{host}"
"""Stands for the address to serve at, in the words of a program."""

_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Peer:
    """``missing`` says why it cannot be run here and how to install it, or is None; ``begin`` is
    for :class:`.Serving`."""

    name: str
    what: str
    missing: Callable[[], str | None]
    begin: Begin


class PeerServer(Server):
    """It is asked for nothing but its two endpoints; what reaches viewers is counted outside, as
    ever. ``front`` ends with it, where it has one."""

    def __init__(
        self,
        child: Child,
        endpoints: Mapping[str, str],
        serving: Serving,
        network: Network,
        front: Front | None = None,
    ) -> None:
        super().__init__(child, "", "", serving)
        self._endpoints = endpoints
        self._network = network
        self._front = front

    @property
    def whip(self) -> str:
        return self._endpoints["whip"]

    @property
    def whep(self) -> str:
        return self._endpoints["whep"]

    async def metrics(self) -> dict[str, float]:
        """None that anybody knows."""
        return {}

    async def arrived(self) -> float:
        """Every datagram that came into its namespace, the checks among them."""
        return float(_datagrams(self._network.server_pid or self.pid))

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            if self._front is not None:
                await self._front.close()


def given(text: str) -> Peer:
    """One of somebody's own, by ``name=program arguments``. Raises ConfigError."""
    name, _, command = text.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"--peer {name}: {error}.") from None
    if not name or not words:
        raise ConfigError("--peer: write NAME=PROGRAM, with its arguments.")

    def missing() -> str | None:
        return None if shutil.which(words[0]) else f"there is no program {words[0]}"

    return Peer(name, command, missing, _as_program(name, words))


def endpoints_of(said: str, name: str) -> Mapping[str, str]:
    """What a program says in its first line. Raises RunError where it names no endpoints."""
    try:
        told = json.loads(said.partition("\n")[0])
        return {path: str(told[path]) for path in ("whip", "whep")}
    except (ValueError, TypeError, KeyError):
        wanted = '{"whip": URL, "whep": URL}'
        raise RunError(f"{name} did not say {wanted} in its first line.") from None


# Private -----------------------------------------------------------------------------------------


def _as_program(name: str, words: Sequence[str]) -> Begin:
    """One that says its endpoints in one line of JSON on stdout, as :func:`.front.main` does."""

    async def begin(network: Network, folder: Path, serving: Serving) -> PeerServer:
        program = [word.replace(HOST, network.addresses.server) for word in words]
        child = _child(name, program, network, folder, serving)
        try:
            return PeerServer(child, await _endpoints(child), serving, network)
        except BaseException:
            await child.stop()
            raise

    return begin


async def _begin_janus(network: Network, folder: Path, serving: Serving) -> PeerServer:
    """Its front is in this process, on the harness's core."""
    host = network.addresses.server
    child = _child("janus", janus.command(folder, host), network, folder, serving)
    room = janus.Mountpoint(janus.Api(host))
    front = Front(room)
    try:
        await room.open()
        endpoints = await front.open(network.addresses.client)
    except BaseException as error:
        await front.close()
        await child.stop()
        if isinstance(error, RunError) and child.code is not None:
            raise RunError(f"janus does not start: {child.last_words}") from None
        raise
    return PeerServer(child, endpoints, serving, network, front)


def _child(
    name: str, program: Sequence[str], network: Network, folder: Path, serving: Serving
) -> Child:
    name = f"peer-{''.join(char if char.isalnum() else '-' for char in name)}"
    return Child.begin(name, program, folder, netns=network.server_pid, cores=serving.cores)


async def _endpoints(child: Child) -> Mapping[str, str]:
    until = asyncio.get_running_loop().time() + READY_LIMIT_S
    while "\n" not in (said := child.printed):
        if child.code is not None:
            raise RunError(f"{child.name} does not start: {child.last_words}")
        if asyncio.get_running_loop().time() > until:
            raise RunError(f"{child.name} is not ready after {READY_LIMIT_S:g} s.")
        await asyncio.sleep(_LOOK_EVERY_S)
    return endpoints_of(said, child.name)


def _datagrams(pid: int) -> int:
    """UDP datagrams that were received in the network namespace of this process (RFC 4113)."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/snmp").read_text().splitlines()]
    names, values = (row for row in rows if row[0] == "Udp:")
    return int(values[names.index("InDatagrams")])


def _of_python(name: str, module: str) -> Begin:
    return _as_program(name, [sys.executable, "-m", module, "--host", HOST])


TABLE: Final = (
    Peer(
        "baseline",
        "uvloop, pylibsrtp and a sendto for each packet",
        baseline.missing,
        _of_python("baseline", baseline.__name__),
    ),
    Peer(
        "aiortc",
        "its own transports on uvloop",
        relay.missing,
        _of_python("aiortc", relay.__name__),
    ),
    Peer(
        "janus",
        "its streaming plugin, one event loop, ICE-lite",
        janus.missing,
        _begin_janus,
    ),
)
"""Those that are always asked for."""
