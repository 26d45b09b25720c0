"""Who watches: sinks from one address, whose media a counter may take, and probes from another.

Both are full ICE and DTLS joins of :class:`~pyforward_bench.swarm.Swarm` in this process. Probes
come in between sinks, so that they stand for all places in the server's order and not for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyforward.client import Target
from pyforward.commands import Trial
from pyforward.config import Config
from pyforward.errors import RunError
from pyforward_bench import host
from pyforward_bench.rig.counter import Counter, Ports
from pyforward_bench.rig.network import Network
from pyforward_bench.swarm import Member, Swarm

FIRST_PORT = 10_000
_LAST_PORT = 65_535
_SPARE_PORTS = 128
"""For the HTTP connections of the joins."""

_BATCHES = 4
_ONE_BATCH = 40
_FIRST_PACKET_LIMIT_S = 10.0
"""Nobody waits so long who gets something: a keyframe for ten thousand takes a second or two."""
SILENCE_S = 600.0
"""Longer than any pause of a run."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many watch, and how. ``trial`` is asked of all of them; ``skew`` compares when the probes
    received the same packet."""

    sinks: int = 0
    probes: int = 0
    trial: Trial | None = None
    skew: bool = False

    @property
    def viewers(self) -> int:
        return self.sinks + self.probes


class Audience:
    """The two swarms of one server. Made by :meth:`open`, ended by :meth:`close`."""

    def __init__(
        self, network: Network, counter: Counter | None, sinks: Swarm, probes: Swarm, crowd: Crowd
    ) -> None:
        self.sinks = sinks
        self.probes = probes
        self._network = network
        self._counter = counter
        self._next_port = FIRST_PORT
        self._storm = 0
        self._kind = (crowd.trial, crowd.skew)
        self._house = contextlib.AsyncExitStack()
        self.watches: list[host.Watch] = []
        """What this process did, for each of the two engines."""

    @classmethod
    async def open(
        cls, config: Config, network: Network, counter: Counter | None, url: str, crowd: Crowd
    ) -> Audience:
        """Nobody has joined yet. Where there is a counter, it takes what is meant for the sinks,
        from a first packet of each on."""
        target, addresses = Target(url), network.addresses
        audience = cls(
            network,
            counter,
            Swarm(_at(config, addresses.sinks), target, trial=crowd.trial),
            Swarm(_at(config, addresses.probes), target, trial=crowd.trial, skew=crowd.skew),
            crowd,
        )
        try:
            for swarm in (audience.sinks, audience.probes):
                await audience._house.enter_async_context(swarm)
                watch = await audience._house.enter_async_context(host.Watch(swarm.engine))
                audience.watches.append(watch)
        except BaseException:
            await audience.close()
            raise
        return audience

    @property
    def there(self) -> Crowd:
        """How many are there now."""
        trial, skew = self._kind
        return Crowd(_count(self.sinks), _count(self.probes), trial, skew)

    @property
    def suites(self) -> frozenset[str]:
        """The SRTP profiles that those who joined have negotiated."""
        return frozenset(
            profile
            for swarm in (self.sinks, self.probes)
            for profile in swarm.figures().srtp_profiles
        )

    def can_become(self, crowd: Crowd) -> bool:
        """Whether only the numbers differ, and there are ports for those who have to join."""
        missing = max(0, crowd.sinks - _count(self.sinks))
        end = self._next_port + _ports_for(missing) + _BATCHES * _SPARE_PORTS
        return self._kind == (crowd.trial, crowd.skew) and end <= _LAST_PORT

    async def become(self, crowd: Crowd) -> None:
        """So many, by more joining or by the last ones leaving. Raises HostError when the machine
        has no room for them, RunError when not all of them could join."""
        host.need_descriptors(crowd.viewers)
        host.need_memory(crowd.viewers - self.there.viewers)
        for sinks, probes in _batches(self.there, crowd):
            await self._more_sinks(sinks - _count(self.sinks))
            missing = max(0, probes - _count(self.probes))
            _check(await self.probes.join(missing, probes=missing))
        for swarm, count in ((self.sinks, crowd.sinks), (self.probes, crowd.probes)):
            if _count(swarm) > count:
                await swarm.leave(_count(swarm) - count)

    @property
    def ports(self) -> Ports:
        """Those that sinks have had so far."""
        return Ports(FIRST_PORT, self._next_port)

    async def cover(self) -> int:
        """From now on the counter takes what is meant for sinks that have joined: not before each
        has received something, since viewers report what they receive, and who never did reports
        nothing. How many wait for that in vain."""
        if self._counter is None or _count(self.sinks) == 0:
            return 0
        waiting = await self._without_packets()
        await self._counter.cover(self.ports)
        return waiting

    async def _more_sinks(self, count: int) -> None:
        if count <= 0:
            return
        end = self._next_port + _ports_for(count)
        with self._network.ports_from(self._next_port, end - 1):
            _check(await self.sinks.join(count))
        self._next_port = end

    async def storm(self, count: int) -> float:
        """So many more sinks at once, as fast as they come; how long it took, in seconds.
        :meth:`settle` sends them away. Raises RunError when not all of them joined."""
        host.need_descriptors(self.there.viewers + count)
        host.need_memory(count)
        end = self._next_port + _ports_for(count)
        if self._counter is not None:
            await self._counter.cover(Ports(FIRST_PORT, end))
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        with self._network.ports_from(self._next_port, end - 1):
            members = await self.sinks.join(count)
        took_s = loop.time() - begun_s
        self._storm += sum(member.is_there for member in members)
        _check(members)
        return took_s

    async def settle(self) -> None:
        """Those of the storm leave."""
        await self.sinks.leave(self._storm)
        self._storm = 0

    async def _without_packets(self) -> int:
        """How many sinks have received nothing, once nobody is left or the time is over."""
        until = asyncio.get_running_loop().time() + _FIRST_PACKET_LIMIT_S
        waiting = [member for member in self.sinks.members if member.is_there]
        while waiting and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.1)
            await self.sinks.look(waiting)
            waiting = [member for member in waiting if not member.has_received]
        return len(waiting)

    async def received(self) -> tuple[int, int]:
        """Packets and bytes that the sinks received themselves, so far: where nothing counts and
        drops outside."""
        await self.sinks.look()
        figures = self.sinks.figures()
        return figures.packets, figures.bytes

    def mark(self) -> None:
        """What is observed of the probes and of this process counts from here."""
        self.probes.tally.clear()
        for watch in self.watches:
            watch.mark()

    def usages(self) -> list[host.Usage]:
        """What this process did since the mark, by each of the two."""
        return [watch.usage() for watch in self.watches]

    async def close(self) -> None:
        """Everybody leaves."""
        await self._house.aclose()


# Private -----------------------------------------------------------------------------------------


def _count(swarm: Swarm) -> int:
    return sum(member.is_there for member in swarm.members)


def _check(joined: Sequence[Member]) -> None:
    failed = [member for member in joined if not member.is_there]
    if failed:
        why = failed[0].sentence or "they were sent away"
        raise RunError(f"{len(failed)} of {len(joined)} viewers did not join: {why}")


def _ports_for(sinks: int) -> int:
    """Out of how many free ports so many find theirs soon."""
    return sinks + sinks // 4 + _SPARE_PORTS


def _at(config: Config, address: str) -> Config:
    """One thread for the media, since there is one core, and patience while nobody publishes. The
    run's settings of the engine are the server's."""
    ice = config.ice.model_copy(update={"source_address": address, "silence_s": SILENCE_S})
    engine = type(config.engine)(shards=1)
    return config.model_copy(update={"ice": ice, "engine": engine})


def _batches(there: Crowd, crowd: Crowd) -> Iterator[tuple[int, int]]:
    """How many there are of each after each of a few steps, or of one for a few viewers."""
    steps = _BATCHES if crowd.viewers - there.viewers > _ONE_BATCH else 1
    for step in range(1, steps + 1):
        yield crowd.sinks * step // steps, crowd.probes * step // steps
