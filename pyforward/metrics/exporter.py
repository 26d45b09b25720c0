"""The text of ``/metrics``, and how much of the control loop it may take."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from pyforward.metrics.collector import ControlPort, EnginePort, Facts, PulsePort, Snapshots

REST = 4
"""An answer is kept for so many times as long as it took to make: however many ask, the loop spends
at most a fifth of its time on them."""


class Exporter:
    """See the top of the file. ``clock`` gives seconds of a monotonic clock."""

    def __init__(
        self,
        engine: EnginePort,
        control: ControlPort,
        pulse: PulsePort,
        facts: Facts,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        # A registry of our own: what libraries register globally is not ours to publish.
        self._registry = CollectorRegistry()
        self._snapshots = Snapshots(engine, control, pulse, facts)
        self._registry.register(self._snapshots)
        ProcessCollector(registry=self._registry)
        self._clock = clock
        self._kept: dict[str, tuple[float, bytes]] = {}

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type, as the Accept header asks for it."""
        encode, content_type = choose_encoder(accept)
        began_at = self._clock()
        good_until, body = self._kept.get(content_type, (began_at, b""))
        if began_at < good_until:
            return body, content_type
        body = encode(self._registry)
        ended_at = self._clock()
        self._snapshots.last_scrape_s = ended_at - began_at
        self._kept[content_type] = (ended_at + REST * (ended_at - began_at), body)
        return body, content_type
