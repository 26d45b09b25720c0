"""The text of ``/metrics``, and how much of the control loop it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.registry import Collector

from pyforward.metrics.collector import (
    ControlPort,
    EnginePort,
    Facts,
    PulsePort,
    Snapshots,
    UnreadPort,
)

SHARE = 0.25
BURST_S = 2.0
"""Answers are made anew as long as they take no more than this share of the time, and this much at
once. However many ask beyond that get the last one again: joins are worth more than scrapes."""


class Exporter:
    """See the top of the file. ``clock`` gives seconds of a monotonic clock."""

    def __init__(
        self,
        engine: EnginePort,
        control: ControlPort,
        pulse: PulsePort,
        unread: UnreadPort,
        facts: Facts,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        # A registry of our own: what libraries register globally is not ours to publish.
        self._registry = CollectorRegistry()
        self._snapshots = Snapshots(engine, control, pulse, unread, facts)
        self._registry.register(self._snapshots)
        ProcessCollector(registry=self._registry)
        self._clock = clock
        self._kept: dict[str, bytes] = {}
        self._credit_s = BURST_S
        self._credited_at = clock()

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type, as the Accept header asks for it."""
        encode, content_type = _encoder(accept)
        began_at = self._clock()
        gained_s = SHARE * (began_at - self._credited_at)
        self._credit_s = min(BURST_S, self._credit_s + gained_s)
        self._credited_at = began_at
        kept = self._kept.get(content_type)
        if kept is not None and self._credit_s <= 0:
            return kept, content_type
        body = self._kept[content_type] = encode(self._registry)
        took_s = self._clock() - began_at
        self._credit_s -= took_s
        self._snapshots.last_scrape_s = took_s
        return body, content_type


class _Escaping(Protocol):
    def __call__(self, registry: Collector, *, escaping: str) -> bytes: ...


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What makes the text that is asked for, and its content type.

    Names with underscores in place of what others may not have are our names as they are; looking
    at each letter of them would take as long as all the rest.
    """
    encode, content_type = choose_encoder(accept)
    if content_type.endswith(f"escaping={UNDERSCORES}"):
        encode = partial(cast("_Escaping", encode), escaping=ALLOWUTF8)
    return encode, content_type
