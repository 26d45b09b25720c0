"""What a load test tells Prometheus while it runs."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pyforward.errors import HostError
from pyforward_bench.exposed import Exposed
from pyforward_bench.records import INTACT, RECORD, STAMPED
from pyforward_bench.statistics import Tally
from pyforward_bench.swarm import SwarmFigures
from tests.unit.bench.test_measuring import WELL_SERVED
from tests.unit.bench.test_screen import VIDEO

LOOPBACK = ("127.0.0.1", 0)


@contextmanager
def served(exposed: Exposed) -> Iterator[str]:
    """The address that people are told."""
    said: list[str] = []
    with exposed.served(LOOPBACK, said.append):
        yield said[0].removeprefix("metrics at ")


def scraped(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^pyforward_bench_([^#\s]+) (\S+)$", text, re.M)
    return {name: float(value) for name, value in found}


def latencies(*micros: int) -> SwarmFigures:
    """Figures of one probe whose packets took so long."""
    tally = Tally()
    for n, latency in enumerate(micros, 1):
        tally.feed(RECORD.pack(1_000_000 + n, 1, n, 90 * n, n, latency, 100, STAMPED | INTACT))
    return replace(WELL_SERVED, probes=tally.figures())


def test_before_the_first_look_all_is_zero() -> None:
    with served(Exposed()) as url:
        told = scraped(url)
    assert told['viewers{state="receiving"}'] == told['joins_total{result="connected"}'] == 0
    assert told["latency_seconds_count"] == 0


def test_the_newest_look() -> None:
    exposed = Exposed()
    track = replace(VIDEO, packets_received=98, packets_lost=2, packets_repaired=3, bytes=1_000)
    figures = replace(WELL_SERVED, on_their_way=4, there=2, failed={"http_503": 5}, tracks=(track,))
    with served(exposed) as url:
        exposed.show(WELL_SERVED)
        exposed.show(figures)
        told = scraped(url)
    assert told['viewers{state="joining"}'] == 4
    assert told['viewers{state="receiving"}'] == 2
    assert told['joins_total{result="connected"}'] == 3
    assert told['joins_total{result="http_503"}'] == 5
    assert [told[f"{name}_total"] for name in ("packets", "bytes", "lost_packets")] == [98, 1000, 2]
    assert told["repaired_packets_total"] == 3


def test_latencies_are_kept_where_a_measurement_begins_anew() -> None:
    exposed = Exposed()
    with served(exposed) as url:
        exposed.show(latencies(400, 900, 3_000_000))
        exposed.keep(latencies(400, 900, 3_000_000))
        exposed.show(latencies(600))
        told = scraped(url)
    assert told['latency_seconds_bucket{le="0.0005"}'] == 1
    assert told['latency_seconds_bucket{le="0.001"}'] == 3
    assert told['latency_seconds_bucket{le="1.0"}'] == 3
    assert told["latency_seconds_count"] == 4
    assert told["latency_seconds_sum"] == pytest.approx(3.0019)


def test_an_address_that_is_taken_is_a_sentence() -> None:
    with served(Exposed()) as url:
        port = int(url.split(":")[2].split("/")[0])
        with (
            pytest.raises(HostError, match=rf"--metrics 127\.0\.0\.1:{port}: .*in use"),
            Exposed().served(("127.0.0.1", port), print),
        ):
            pass


def test_nobody_asked() -> None:
    exposed = Exposed()
    before = exposed.standing()
    with exposed.served(None, pytest.fail):
        exposed.show(WELL_SERVED)
    assert exposed.standing() is before
