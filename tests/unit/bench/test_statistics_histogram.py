"""The histogram against numpy, uncompiled and compiled."""

from __future__ import annotations

from array import array
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests import twins

PRECISION = 1 / 1_024
SHARES = (0.0, 0.001, 0.07, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0)

Values = NDArray[np.int64]


@pytest.fixture(scope="module", params=twins.KINDS)
def histogram(request: pytest.FixtureRequest) -> ModuleType:
    return twins.loaded(request.param, "pyforward_bench.statistics")["histogram"]


def draw(name: str) -> Values:
    source = np.random.default_rng(len(name))
    size = 20_000
    drawn = {
        "constant": np.full(size, 777_777),
        "small": source.integers(0, 1_024, size),
        "uniform": source.integers(0, 1 << 40, size),
        "exponential": source.exponential(3_000, size),
        "wide": np.exp(source.uniform(0, 27, size)),
        "two humps": np.concatenate(
            [source.normal(900, 50, size // 2), source.normal(4e6, 9e5, size // 2)]
        ),
        "few": source.integers(1, 100_000, 3),
        "around a power of two": (1 << 20) + source.integers(-3, 4, size),
    }
    values: Values = np.clip(drawn[name], 0, (1 << 40) - 1).astype(np.int64)
    return values


DISTRIBUTIONS = (
    "constant",
    "small",
    "uniform",
    "exponential",
    "wide",
    "two humps",
    "few",
    "around a power of two",
)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_how_many_are_at_most_so_much(histogram: ModuleType, name: str) -> None:
    values = draw(name)
    counted = histogram.Histogram()
    counted.record_all(array("q", values.tolist()), len(values))
    for bound in (0, 500, 1_000, 100_000, 1 << 20, 1 << 41):
        least, most = bound * (1 - 2 * PRECISION), bound * (1 + 2 * PRECISION)
        assert (values <= least).sum() <= counted.up_to(bound) <= (values <= most).sum()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_numpy_s_within_the_precision(histogram: ModuleType, name: str) -> None:
    values = draw(name)
    counted = histogram.Histogram()
    counted.record_all(array("q", values.tobytes()), len(values))
    for share in SHARES:
        truth = np.quantile(values, share, method="inverted_cdf")
        assert abs(counted.quantile(share) - truth) <= truth * PRECISION, share
    assert counted.count == len(values)
    assert counted.total == values.sum()
    assert counted.mean == values.sum() / len(values)
    assert (counted.least, counted.most) == (values.min(), values.max())


@settings(deadline=None)
@given(
    values=st.lists(st.integers(0, (1 << 40) - 1), min_size=1, max_size=60),
    share=st.integers(0, 1_000),
)
def test_any_quantile_of_anything(histogram: ModuleType, values: list[int], share: int) -> None:
    counted = histogram.Histogram()
    for value in values:
        counted.record(value)
    # In whole numbers: the least value with at least this share at or below it.
    truth = sorted(values)[max(0, -(-share * len(values) // 1_000) - 1)]
    assert abs(counted.quantile(share / 1_000) - truth) <= truth * PRECISION


@settings(deadline=None)
@given(
    one=st.lists(st.integers(0, 1 << 41), max_size=40),
    other=st.lists(st.integers(0, 1 << 41), max_size=40),
)
def test_merging_is_counting_both(histogram: ModuleType, one: list[int], other: list[int]) -> None:
    merged, added, both = (histogram.Histogram() for _ in range(3))
    for value in one:
        merged.record(value)
        both.record(value)
    for value in other:
        added.record(value)
    both.record_all(array("q", other), len(other))
    merged.merge(added)
    assert merged == both
    assert merged.quantile(0.5) == both.quantile(0.5)


def test_recording_many_at_once_is_recording_each(histogram: ModuleType) -> None:
    values = [0, 1, 1_023, 1_024, 1_025, *(1 << n for n in range(45)), 5, 5, 5]
    one, other, third = (histogram.Histogram() for _ in range(3))
    for value in values:
        one.record(value)
    other.record_all(array("q", [*values, 99_999]), len(values))
    for value in sorted(set(values)):
        third.record(value, times=values.count(value))
    assert one == other == third


def test_every_value_below_1024_is_exact(histogram: ModuleType) -> None:
    for value in range(1_024):
        counted = histogram.Histogram()
        counted.record(0)
        counted.record(value)
        counted.record(1 << 39)
        assert counted.quantile(0.5) == value


def test_the_ends_are_exact(histogram: ModuleType) -> None:
    counted = histogram.Histogram()
    for value in (123_456_789, 234_567_891, 345_678_912):
        counted.record(value)
    assert counted.quantile(0) == 123_456_789
    assert counted.quantile(1) == 345_678_912


def test_an_empty_one_has_no_quantile_and_no_mean(histogram: ModuleType) -> None:
    counted = histogram.Histogram()
    counted.record(7, times=0)
    counted.record_all(array("q"), 0)
    counted.merge(histogram.Histogram())
    assert counted.quantile(0.5) is None
    assert counted.mean is None
    assert (counted.count, counted.total, counted.least, counted.most) == (0, 0, 0, 0)
    assert counted == histogram.Histogram()


def test_what_is_too_large_counts_as_the_largest(histogram: ModuleType) -> None:
    counted = histogram.Histogram()
    counted.record(1 << 60)
    assert counted.most == counted.quantile(0.5) == (1 << 40) - 1


def test_a_copy_goes_its_own_way_and_clearing_forgets(histogram: ModuleType) -> None:
    counted = histogram.Histogram()
    counted.record(5)
    other = counted.copy()
    other.record(6)
    assert (counted.count, other.count) == (1, 2)
    assert counted != other
    other.clear()
    assert other == histogram.Histogram()
    assert (counted.count, counted.quantile(0.5)) == (1, 5.0)


def test_it_never_grows(histogram: ModuleType) -> None:
    assert histogram.CELLS * 8 <= 250_000
    counted = histogram.Histogram()
    counted.record(histogram.MOST, times=1 << 50)
    counted.record(0, times=1 << 50)
    assert counted.count == 1 << 51


@pytest.mark.parametrize(("value", "times"), [(-1, 1), (1, -1)])
def test_nothing_negative(histogram: ModuleType, value: int, times: int) -> None:
    with pytest.raises(ValueError, match="cannot count"):
        histogram.Histogram().record(value, times)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_goes_from_0_to_1(histogram: ModuleType, share: float) -> None:
    with pytest.raises(ValueError, match="no quantile"):
        histogram.Histogram().quantile(share)
