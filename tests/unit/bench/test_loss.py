"""What ``loss`` asks of links, and how shares of what was repaired in time are reckoned."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyforward.commands import Link
from pyforward_bench.loss import Options, share_within, within_two_round_trips
from pyforward_bench.statistics import Figures, Histogram

RTT_MS = 40.0


def histogram(values: Iterable[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def probes(**figures: Any) -> Figures:
    """What a tally would say of them."""
    known = {"packet_latency_us": Histogram(), "repair_us": Histogram(), "repaired": 0, "lost": 0}
    return cast("Figures", SimpleNamespace(**known | figures))


def test_the_same_each_way() -> None:
    trial = Options(0.05, 2.0, rtt_ms=40.0, jitter_ms=5.0, reorder=0.01, seed=3).trial()
    assert trial.inbound == trial.outbound == Link(0.05, 2.0, 20_000, 5_000, 0.01, 3)


@pytest.mark.parametrize(
    ("values", "limit", "share"),
    [
        ([], 10, 0.0),
        ([5, 6, 7], 4, 0.0),
        ([5, 6, 7], 7, 1.0),
        ([5, 6, 7, 8], 6, 0.5),
        ([5, 6, 7, 8], 6.5, 0.5),
        ([1] * 999 + [100], 99, 0.999),
        (range(1, 1001), 250, 0.25),
    ],
)
def test_shares_within_a_limit(values: Iterable[int], limit: float, share: float) -> None:
    assert share_within(histogram(values), limit) == pytest.approx(share, abs=2e-6)


def test_in_time_by_stamps() -> None:
    """Of 1,000 packets 900 came at once, 80 within two round trips, 10 later, 10 never."""
    times = [20_000] * 900 + [79_000] * 80 + [81_000] * 10
    told = probes(expected=1_000, lost=10, repaired=90, packet_latency_us=histogram(times))
    assert within_two_round_trips(told, RTT_MS) == pytest.approx(0.98, abs=1e-5)


def test_in_time_without_stamps() -> None:
    """Counted from what showed the gap, which is half a round trip after the first transmission."""
    repairs = histogram([41_000] * 60 + [59_000] * 20 + [61_000] * 10)
    told = probes(expected=1_000, lost=10, repaired=90, repair_us=repairs)
    assert within_two_round_trips(told, RTT_MS) == pytest.approx(0.98, abs=1e-5)


def test_nothing_was_lost() -> None:
    assert within_two_round_trips(probes(expected=10), RTT_MS) == 1.0
