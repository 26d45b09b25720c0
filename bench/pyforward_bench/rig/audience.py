"""Who watches: sinks from one address, whose media a counter may take, and probes from another.

Both are full ICE and DTLS joins of :class:`~pyforward_bench.swarm.Swarm` in this process. Probes
come in between sinks, so that they stand for all places in the server's order and not for its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyforward.client import Target
from pyforward.commands import Trial
from pyforward.config import Config
from pyforward.errors import RunError
from pyforward_bench import host
from pyforward_bench.rig.network import Addresses
from pyforward_bench.swarm import Member, Swarm

_BATCHES = 4
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

    def __init__(self, sinks: Swarm, probes: Swarm, crowd: Crowd) -> None:
        self.sinks = sinks
        self.probes = probes
        self._kind = (crowd.trial, crowd.skew)
        self._house = contextlib.AsyncExitStack()
        self.watches: list[host.Watch] = []
        """What this process did, for each of the two engines."""

    @classmethod
    async def open(cls, config: Config, addresses: Addresses, url: str, crowd: Crowd) -> Audience:
        """Nobody has joined yet."""
        target = Target(url)
        audience = cls(
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

    def can_become(self, crowd: Crowd) -> bool:
        """Whether only the numbers differ."""
        return self._kind == (crowd.trial, crowd.skew)

    async def become(self, crowd: Crowd) -> Sequence[Member]:
        """So many, by more joining or by the last ones leaving; those who joined. Raises HostError
        when the machine has no room for them, RunError when not all of them could join."""
        host.need_descriptors(crowd.viewers)
        host.need_memory(crowd.viewers - self.there.viewers)
        joined: list[Member] = []
        for sinks, probes in _batches(crowd.sinks, crowd.probes):
            for swarm, count in ((self.sinks, sinks), (self.probes, probes)):
                missing = count - _count(swarm)
                if missing > 0:
                    everybody = missing if swarm is self.probes else 0
                    joined += await swarm.join(missing, probes=everybody)
        for swarm, count in ((self.sinks, crowd.sinks), (self.probes, crowd.probes)):
            if _count(swarm) > count:
                await swarm.leave(_count(swarm) - count)
        failed = [member for member in joined if not member.is_there]
        if failed:
            why = failed[0].sentence or "they were sent away"
            raise RunError(f"{len(failed)} of {len(joined)} viewers did not join: {why}")
        return joined

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

    def verdict(self) -> list[str]:
        """Why this process was the bottleneck since the mark; none if it was not."""
        return list(dict.fromkeys(why for watch in self.watches for why in watch.verdict()))

    async def close(self) -> None:
        """Everybody leaves."""
        await self._house.aclose()


# Private -----------------------------------------------------------------------------------------


def _count(swarm: Swarm) -> int:
    return sum(member.is_there for member in swarm.members)


def _at(config: Config, address: str) -> Config:
    """One thread for the media, since there is one core, and patience while the server pauses."""
    ice = config.ice.model_copy(update={"source_address": address, "silence_s": SILENCE_S})
    engine = config.engine.model_copy(update={"shards": 1})
    return config.model_copy(update={"ice": ice, "engine": engine})


def _batches(sinks: int, probes: int) -> Iterator[tuple[int, int]]:
    """How many there are of each after each of a few steps."""
    for step in range(1, _BATCHES + 1):
        yield sinks * step // _BATCHES, probes * step // _BATCHES
