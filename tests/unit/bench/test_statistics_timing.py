"""Jitter, latency and skew against numpy and plain references, uncompiled and compiled."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pyforward_bench.records import REPAIRED, RESTARTED, UNKNOWN, Record
from tests import twins
from tests.unit.bench.tracks import GOOD, Track, packed, together

WRAP = 1 << 32


@pytest.fixture(scope="module", params=twins.KINDS)
def tally(request: pytest.FixtureRequest) -> ModuleType:
    return twins.loaded(request.param, "pyforward_bench.statistics")["tally"]


def figures(tally: ModuleType, *tracks: Track, skew: bool = False) -> Any:
    counted = tally.Tally(skew=skew)
    counted.feed(together(*tracks))
    return counted.figures()


# Jitter ------------------------------------------------------------------------------------------


def jitter_ms(records: list[Record], clock_hz: int) -> float:
    """RFC 3550 §6.4.1 as it is written there, in floats."""
    jitter = 0.0
    for before, record in pairwise(records):
        ticks = (record.timestamp - before.timestamp + WRAP // 2) % WRAP - WRAP // 2
        arrived = (record.arrival_us - before.arrival_us) * clock_hz / 1e6
        jitter += (abs(arrived - ticks) - jitter) / 16
    return jitter * 1e3 / clock_hz


def jittery(viewer: int, video: bool, seed: int) -> Track:
    """A frame, or a packet of audio, every 20 ms, with timestamps that wrap on the way."""
    source = np.random.default_rng(seed)
    track = Track(viewer, video)
    ticks = 1_800 if video else 960
    for number in range(400):
        due_us = 2_000_000 + number * 20_000 + int(source.exponential(3_000))
        for _ in range(int(source.integers(1, 5)) if video else 1):
            track.packet(
                len(track.records), at_us=due_us, timestamp=WRAP - 200 * ticks + number * ticks
            )
            due_us += int(source.integers(0, 900))
    return track


def test_jitter_is_the_rfc_s(tally: ModuleType) -> None:
    tracks = [jittery(number // 2, number % 2 == 0, number) for number in range(6)]
    truth = [jitter_ms(track.records, 90_000 if track.video else 48_000) for track in tracks]
    counted = tally.Tally()
    counted.feed(together(*tracks))
    assert counted.figures().jitter_ms == pytest.approx(np.mean(truth), rel=1e-3)
    for viewer in range(3):
        mine = truth[2 * viewer : 2 * viewer + 2]
        assert counted.viewer(viewer).jitter_ms == pytest.approx(np.mean(mine), rel=1e-3)


def test_what_was_repaired_and_what_began_anew_is_no_jitter(tally: ModuleType) -> None:
    track = Track()
    for number in range(50):
        track.packet(number, at_us=1_000_000 + number * 10_000, timestamp=number * 900)
    steady = figures(tally, track)
    track.packet(50, at_us=5_000_000, timestamp=0, flags=GOOD | REPAIRED)
    track.packet(900, at_us=6_000_000, timestamp=77_777, flags=GOOD | RESTARTED)
    assert steady.jitter_ms == figures(tally, track).jitter_ms == 0.0


def test_one_packet_has_no_jitter(tally: ModuleType) -> None:
    track = Track()
    track.packet(0)
    assert figures(tally, track).jitter_ms is None


# Latency -----------------------------------------------------------------------------------------


def test_latency_of_packets_and_of_frames(tally: ModuleType) -> None:
    """Frames of one to nine packets; each frame's from its last packet in to its last one out."""
    source = np.random.default_rng(4)
    tracks, latencies, frames = [], [], []
    for viewer in range(5):
        track = Track(viewer)
        for frame in range(300):
            sizes = int(source.integers(1, 10))
            sent = 3_000_000 + frame * 33_000 + np.sort(source.integers(0, 5_000, sizes))
            arrived = sent + source.integers(200, 20_000, sizes)
            known = source.random(sizes) < 0.9
            for index in np.argsort(arrived).tolist():
                track.packet(
                    len(track.records),
                    at_us=int(arrived[index]),
                    timestamp=WRAP - 150 * 3_000 + frame * 3_000,
                    latency_us=int(arrived[index] - sent[index]) if known[index] else UNKNOWN,
                )
            latencies += (arrived - sent)[known].tolist()
            if frame < 299 and known.any():
                frames.append(int(arrived.max() - sent[known].max()))
        tracks.append(track)
    found = figures(tally, *tracks)
    assert found.frames == 5 * 299, "the last one may go on"
    for histogram, truth in (
        (found.packet_latency_us, latencies),
        (found.frame_latency_us, frames),
    ):
        assert (histogram.count, histogram.total) == (len(truth), sum(truth))
        for share in (0.01, 0.5, 0.99):
            exact = np.quantile(truth, share, method="inverted_cdf")
            assert histogram.quantile(share) == pytest.approx(exact, rel=1 / 1_024)


def test_a_frame_s_straggler_changes_nothing_once_the_next_has_begun(tally: ModuleType) -> None:
    track = Track()
    track.packet(0, at_us=1_000_000, timestamp=0, latency_us=100)
    track.packet(2, at_us=1_033_000, timestamp=3_000, latency_us=200)
    track.packet(1, at_us=1_050_000, timestamp=0, latency_us=50_100)
    track.packet(3, at_us=1_066_000, timestamp=6_000, latency_us=300)
    found = figures(tally, track)
    assert found.frames == 2
    latency = found.frame_latency_us
    assert (latency.count, latency.least, latency.most) == (2, 100, 200)
    assert found.packet_latency_us.most == 50_100


def test_a_restart_ends_the_frame(tally: ModuleType) -> None:
    track = Track()
    track.packet(0, timestamp=900_000, latency_us=100)
    track.packet(9, timestamp=5, latency_us=100, flags=GOOD | RESTARTED)
    track.packet(10, timestamp=3_005, latency_us=100)
    assert figures(tally, track).frames == 2


def test_audio_has_no_frames(tally: ModuleType) -> None:
    track = Track(video=False)
    for number in range(9):
        track.packet(number, timestamp=number * 960, latency_us=400)
    found = figures(tally, track)
    assert (found.frames, found.frame_latency_us.count, found.packet_latency_us.count) == (0, 0, 9)


def test_clearing_forgets_times(tally: ModuleType) -> None:
    track = jittery(1, video=True, seed=1)
    counted = tally.Tally(skew=True)
    counted.feed(packed([record._replace(latency_us=5) for record in track.records]))
    counted.clear()
    found = counted.figures()
    assert (found.frames, found.jitter_ms, found.last_share) == (0, None, None)
    assert found.packet_latency_us.count == found.frame_latency_us.count == 0
    assert found.skew_us.count == found.repair_us.count == 0


# Skew --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, WRAP - 2_000])
def test_skew_is_from_the_first_viewer_to_the_last(tally: ModuleType, start: int) -> None:
    """Of 6,000 packets to 8 viewers, more than are remembered; the seventh is often the last."""
    source = np.random.default_rng(9)
    arrivals = (
        2_000_000
        + np.arange(6_000)[:, None] * 1_000
        + source.integers(0, 30_000, (6_000, 8))
        + np.where(np.arange(8) == 6, 9_000, 0)
    )
    arrivals = np.sort(arrivals, axis=0)  # each viewer's packets come in order
    tracks = []
    for viewer in range(8):
        track = Track(viewer * 1_000)
        for number, at_us in enumerate(arrivals[:, viewer].tolist()):
            track.packet(number, counter=start + number, at_us=at_us)
        tracks.append(track)
    # Sound is not looked at.
    tracks.append(Track(5, video=False, now_us=90_000_000))
    tracks[-1].packets(range(50))
    found = figures(tally, *tracks, skew=True)
    skews = arrivals.max(axis=1) - arrivals.min(axis=1)
    assert (found.skew_us.count, found.skew_us.total) == (6_000, skews.sum())
    assert (found.skew_us.least, found.skew_us.most) == (skews.min(), skews.max())
    last = arrivals == arrivals.max(axis=1)[:, None]
    certain = last[last.sum(axis=1) == 1].sum(axis=0)
    ties = int((last.sum(axis=1) > 1).sum())
    assert certain.max() <= found.last_share * 6_000 <= certain.max() + ties


def test_records_of_several_shards_come_each_in_its_own_order(tally: ModuleType) -> None:
    one, other = Track(1), Track(2)
    for number in range(10):
        one.packet(number, at_us=1_000_000 + number * 1_000)
        other.packet(number, at_us=1_000_400 + number * 1_000)
    counted = tally.Tally(skew=True)
    counted.feed(packed(other.records))
    counted.feed(packed(one.records))
    found = counted.figures()
    assert (found.skew_us.count, found.skew_us.least, found.skew_us.most) == (10, 400, 400)
    assert found.last_share == 1.0


def test_what_was_repaired_repeated_or_came_to_one_alone_has_no_skew(tally: ModuleType) -> None:
    one, other = Track(1, now_us=1_000_000), Track(2, now_us=1_000_300)
    for track in (one, other):
        track.packets([0, 1])
    other.packet(2)
    one.packet(5, at_us=3_000_000, counter=1)
    one.late(2, at_us=4_000_000)
    found = figures(tally, one, other, skew=True)
    assert (found.skew_us.count, found.skew_us.most) == (2, 300)


def test_without_asking_there_is_no_skew(tally: ModuleType) -> None:
    one, other = Track(1), Track(2)
    for track in (one, other):
        track.packets(range(9))
    found = figures(tally, one, other)
    assert (found.skew_us.count, found.last_share) == (0, None)


def test_another_publisher_s_counters_are_taken_after_a_second(tally: ModuleType) -> None:
    one, other = Track(1, now_us=1_000_000), Track(2, now_us=1_000_500)
    for track in (one, other):
        track.packets(range(70_000, 70_010))
        track.now_us += 1_500_000
        for number in range(70_010, 70_020):
            track.packet(number, counter=number - 70_010 + 368)
    found = figures(tally, one, other, skew=True)
    assert found.skew_us.count == 20 - 1, "the first far counter waits for the second"
