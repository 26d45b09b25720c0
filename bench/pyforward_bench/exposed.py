"""How a run stands, for Prometheus: what the newest look at the swarm found, and nothing newer.

Scrapes come in a thread of their own and read one finished :class:`Standing`; they never touch the
swarm, which belongs to the loop. Counters go on where a measurement begins anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from pyforward import engine
from pyforward.errors import HostError
from pyforward_bench.exposition import LATENCY_BOUNDS_S, Exposition, Standing
from pyforward_bench.statistics import Histogram
from pyforward_bench.swarm import SwarmFigures

Bind = tuple[str, int]
"""Where scrapes are answered."""

_BOUNDS_US: Final = tuple(round(bound * 1e6) for bound in LATENCY_BOUNDS_S)


class Exposed:
    """See the top of the file."""

    def __init__(self) -> None:
        self._standing = Standing({"joining": 0, "receiving": 0}, {"connected": 0})
        self._before = Histogram()
        self._is_served = False

    def show(self, figures: SwarmFigures) -> None:
        """The newest look. Costs nothing where nobody is to ask."""
        if not self._is_served:
            return
        latency = self._before.copy()
        latency.merge(figures.probes.packet_latency_us)
        self._standing = Standing(
            viewers={"joining": figures.on_their_way, "receiving": figures.there},
            joins={"connected": figures.joined, **figures.failed},
            packets=figures.packets,
            bytes=figures.bytes,
            lost=figures.lost,
            repaired=figures.repaired,
            latency=_in_buckets(latency),
        )

    def keep(self, figures: SwarmFigures) -> None:
        """The probes' records are about to be forgotten; what they said still counts here."""
        self._before.merge(figures.probes.packet_latency_us)

    def standing(self) -> Standing:
        """For any thread."""
        return self._standing

    @contextlib.contextmanager
    def served(self, bind: Bind | None, say: Callable[[str], None]) -> Iterator[None]:
        """While inside, scrapes are answered, where anybody wants that; says where. Raises
        HostError."""
        if bind is None:
            yield
            return
        host, wanted = bind
        shown = f"[{host}]" if ":" in host else host
        try:
            server, port = Exposition(self.standing).serve(host, wanted)
        except OSError as error:
            raise HostError(f"--metrics {shown}:{wanted}: {error.strerror or error}.") from None
        self._is_served = True
        say(f"metrics at http://{shown}:{port}/metrics")
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


# Private -----------------------------------------------------------------------------------------


def _in_buckets(latency: Histogram) -> engine.Histogram:
    within = [latency.up_to(bound) for bound in _BOUNDS_US]
    buckets = tuple(most - less for most, less in zip(within, (0, *within), strict=False))
    return engine.Histogram(
        LATENCY_BOUNDS_S, buckets, latency.count - within[-1], latency.total / 1e6
    )
