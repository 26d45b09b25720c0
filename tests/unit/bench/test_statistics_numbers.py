"""Loss, repair and stamps against numpy and plain counting, uncompiled and compiled."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyforward_bench.records import INTACT, LATE, REPAIRED, STAMPED, Record
from tests import twins
from tests.unit.bench.tracks import GOOD, Track, packed, together

WRAP = 1 << 32
STARTS = (0, 65_500, WRAP - 700, WRAP // 2 - 700)


@pytest.fixture(scope="module", params=twins.KINDS)
def tally(request: pytest.FixtureRequest) -> ModuleType:
    return twins.loaded(request.param, "pyforward_bench.statistics")["tally"]


def figures(tally: ModuleType, *tracks: Track) -> Any:
    counted = tally.Tally()
    counted.feed(together(*tracks))
    return counted.figures()


def runs_of(received: NDArray[np.int64]) -> dict[int, int]:
    """How long what is missing between these numbers is, and how often."""
    gaps = np.diff(np.unique(received)) - 1
    lengths, times = np.unique(gaps[gaps > 0], return_counts=True)
    return dict(zip(lengths.tolist(), times.tolist(), strict=True))


# Loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("bursts", [False, True])
def test_loss_is_what_never_came(tally: ModuleType, start: int, bursts: bool) -> None:
    """Of 8,000 packets a tenth is lost, and four of five of those are repaired or only late."""
    source = np.random.default_rng(start + bursts)
    lost = source.random(8_000) < 0.1
    if bursts:
        lost = np.repeat(source.random(1_000) < 0.1, 8)
    lost[[0, -1]] = False
    comes_late = lost & (source.random(8_000) < 0.8)
    order = np.arange(8_000) + np.where(comes_late, source.integers(3, 900, 8_000) + 0.5, 0)
    sent = np.argsort(order, kind="stable")
    track = Track()
    newest = -1
    for number in sent.tolist():
        if lost[number] and not comes_late[number]:
            continue
        if number < newest:
            track.late(start + number, repaired=number % 3 > 0)
        else:
            track.packet(start + number)
        newest = max(newest, number)
    received = np.flatnonzero(~lost | comes_late)
    found = figures(tally, track)
    assert found.loss_runs == runs_of(received)
    assert found.lost == found.missing == 8_000 - len(received)
    assert found.expected == 8_000
    assert found.packets == len(received)
    assert found.late == sum(record.flags & LATE > 0 for record in track.records) > 300
    assert found.repaired == sum(record.flags & REPAIRED > 0 for record in track.records) > 200
    assert (found.repeated, found.reordered_content, found.restarts) == (0, 0, 0)


def test_a_gap_that_is_repaired_is_no_loss(tally: ModuleType) -> None:
    track = Track()
    track.packets([1, 2, 6, 7])
    for sequence in (3, 5, 4):
        track.late(sequence)
    found = figures(tally, track)
    assert (found.expected, found.lost, found.loss_runs) == (7, 0, {})


def test_a_repair_in_its_middle_makes_two_runs_of_one(tally: ModuleType) -> None:
    track = Track()
    track.packets([0, 7, 8])
    assert figures(tally, track).loss_runs == {6: 1}
    track.late(3)
    assert figures(tally, track).loss_runs == {2: 1, 3: 1}
    track.packets(range(9, 5_000))
    assert figures(tally, track).loss_runs == {2: 1, 3: 1}, "given up, and counted once"


def test_a_run_that_is_half_given_up_is_one_run(tally: ModuleType) -> None:
    track = Track()
    track.packets([0, *range(11, 2_053)])
    found = figures(tally, track)
    assert (found.lost, found.loss_runs) == (10, {10: 1})
    track.late(10)
    assert figures(tally, track).loss_runs == {9: 1}


@pytest.mark.parametrize(("behind", "lost"), [(2_047, 0), (2_048, 1), (5_000, 1)])
def test_what_comes_after_the_window_stays_lost(tally: ModuleType, behind: int, lost: int) -> None:
    track = Track()
    track.packets([0, 1, *range(3, 2 + behind + 1)])
    track.late(2)
    found = figures(tally, track)
    assert (found.lost, found.loss_runs) == (lost, {1: 1} if lost else {})
    assert (found.packets, found.expected) == (behind + 3, behind + 3)


@pytest.mark.parametrize("gap", [2_045, 2_046, 2_047, 2_048, 2_049, 2_999, 100_000])
def test_a_gap_as_large_as_the_window_and_larger(tally: ModuleType, gap: int) -> None:
    track = Track()
    track.packets([0, 1, 3, 4, *range(5 + gap, 5 + gap + 9)])
    found = figures(tally, track)
    # A jump as far as the window is believed when the next packet confirms it.
    assert found.loss_runs == {1: 1, gap: 1}
    assert (found.lost, found.expected, found.packets) == (gap + 1, gap + 14, 13)


def test_what_comes_before_the_first_was_expected_too(tally: ModuleType) -> None:
    track = Track()
    track.packets([10, 11])
    track.late(9, repaired=False)
    found = figures(tally, track)
    assert (found.packets, found.expected, found.lost) == (3, 3, 0)
    assert (found.repeated, found.reordered_content) == (0, 0)


def test_a_restart_begins_the_numbers_anew(tally: ModuleType) -> None:
    track = Track()
    track.packets([100, 101, 103])
    track.restart(5, counter=104)
    track.packet(7, counter=105)
    found = figures(tally, track)
    assert (found.restarts, found.packets, found.expected, found.lost) == (1, 5, 7, 2)
    assert found.loss_runs == {1: 2}
    assert found.missing == 1, "the publisher's counter went on"


def test_repair_is_timed_from_the_arrival_that_revealed_the_gap(tally: ModuleType) -> None:
    track = Track()
    track.packet(1, at_us=1_000)
    track.packet(4, at_us=2_000)
    track.packet(6, at_us=3_000)
    track.late(3, at_us=2_000 + 41_000)
    track.late(5, at_us=3_000 + 99_000)
    track.late(2, at_us=2_000 + 700, repaired=False)
    # The end of a burst, sent again unasked: nothing had shown that it was missing.
    track.packet(7, at_us=200_000, flags=GOOD | REPAIRED)
    counted = tally.Tally()
    counted.feed(packed(track.records))
    repair_us = counted.figures().repair_us
    assert (repair_us.count, repair_us.least, repair_us.most) == (2, 41_000, 99_000)


def test_time_to_repair_among_many_open_gaps(tally: ModuleType) -> None:
    """The last 32 gaps of a track are timed."""
    track = Track()
    track.packets(range(0, 200, 2))  # 99 gaps, revealed a millisecond apart
    track.now_us = 5_000_000
    for sequence in (1, 135, 137, 197):
        track.late(sequence, at_us=5_000_000)
    repair_us = figures(tally, track).repair_us
    revealed = {sequence: 1_001_000 + (sequence + 1) * 500 for sequence in (135, 137, 197)}
    assert repair_us.count == 3
    assert repair_us.most == 5_000_000 - revealed[135]
    assert repair_us.least == 5_000_000 - revealed[197]


# Stamps ------------------------------------------------------------------------------------------


def test_what_the_publisher_sent_and_nobody_forwarded_is_missing(tally: ModuleType) -> None:
    """The forwarder drops before it numbers: no sequence number is missing."""
    source = np.random.default_rng(1)
    counters = (np.flatnonzero(source.random(5_000) < 0.99) + WRAP - 2_500).tolist()
    track = Track()
    for sequence, counter in enumerate(counters):
        track.packet(sequence, counter=counter)
    found = figures(tally, track)
    assert found.missing == counters[-1] - counters[0] + 1 - len(counters) > 0
    assert (found.lost, found.repeated, found.reordered_content) == (0, 0, 0)


def test_content_that_comes_again_is_repeated(tally: ModuleType) -> None:
    track = Track()
    for sequence, counter in enumerate([0, 1, 2, 2, 3, 1, 4]):
        track.packet(sequence, counter=counter, size=100)
    found = figures(tally, track)
    assert (found.repeated, found.missing, found.reordered_content) == (2, 0, 0)
    assert (found.bytes, found.goodput_bytes) == (700, 500)


def test_older_content_under_newer_numbers_is_reordered(tally: ModuleType) -> None:
    track = Track()
    for sequence, counter in enumerate([10, 12, 11, 13, 9]):
        track.packet(sequence, counter=counter)
    found = figures(tally, track)
    assert (found.reordered_content, found.missing, found.repeated) == (2, 0, 0)
    other = Track()
    other.packets([10, 12])
    other.late(11, repaired=False)
    assert figures(tally, other).reordered_content == 0, "the network did that, and its number says"


def test_a_corrupted_packet_is_not_missing(tally: ModuleType) -> None:
    track = Track()
    track.packets([0, 1])
    track.packet(2, flags=STAMPED, size=100)
    track.packet(3)
    track.packet(4, counter=4 + 70_000, flags=STAMPED)  # the counter itself is damaged
    track.packet(5)
    found = figures(tally, track)
    assert (found.corrupted, found.missing, found.repeated) == (2, 1, 0)
    assert found.goodput_bytes == found.bytes - 1_300


def test_a_damaged_counter_begins_nothing(tally: ModuleType) -> None:
    track = Track()
    track.packet(1_000, counter=0, flags=STAMPED)
    track.packets([1_001, 1_002, 1_003])
    found = figures(tally, track)
    assert (found.corrupted, found.missing, found.expected) == (1, 0, 4)


def test_what_has_no_stamp_is_only_that(tally: ModuleType) -> None:
    track = Track()
    for sequence in range(4):
        track.packet(sequence, counter=0, flags=0)
    found = figures(tally, track)
    assert (found.unstamped, found.repeated, found.corrupted, found.missing) == (4, 0, 0, 0)
    assert found.goodput_bytes == found.bytes


@pytest.mark.parametrize("anew", [0, 200_000])
def test_another_publisher_counts_from_elsewhere(tally: ModuleType, anew: int) -> None:
    track = Track()
    for sequence in range(100):
        track.packet(sequence, counter=100_000 + sequence)
    for sequence in range(100, 200):
        track.packet(sequence, counter=anew + sequence)
    found = figures(tally, track)
    assert (found.repeated, found.reordered_content) == (0, 0)
    assert found.missing == (0 if anew == 0 else anew - 100_000)


def test_stragglers_from_far_back_confirm_nothing(tally: ModuleType) -> None:
    track = Track()
    for sequence in range(10_000):
        track.packet(sequence, counter=sequence + 5_000)
        if sequence % 1_000 == 0:
            track.packet(sequence + 1, counter=sequence // 1_000)
    assert figures(tally, track).missing == 0


# Viewers and time --------------------------------------------------------------------------------


def test_each_viewer_has_its_own_figures_and_all_add_up(tally: ModuleType) -> None:
    source = np.random.default_rng(3)
    tracks = []
    for viewer in (0, 1, 77, 0xFFFF_FFFE, *range(1_000, 1_600)):
        for video in (True, False):
            track = Track(viewer, video, now_us=int(source.integers(1_000_000, 9_000_000)))
            track.packets(np.flatnonzero(source.random(30) < 0.9).tolist())
            tracks.append(track)
    counted = tally.Tally()
    data = together(*tracks)
    for begin in range(0, len(data), 3_200):
        counted.feed(data[begin : begin + 3_200])
    found = counted.figures()
    assert found.viewers == 604
    names = ("packets", "bytes", "expected", "lost", "missing", "unstamped", "goodput_bytes")
    total: Counter[str] = Counter()
    for pictures, sound in zip(tracks[::2], tracks[1::2], strict=True):
        one = counted.viewer(pictures.viewer)
        both = pictures.records + sound.records
        assert (one.viewer, one.packets) == (pictures.viewer, len(both))
        times = [record.arrival_us for record in both]
        assert one.duration_s == pytest.approx((max(times) - min(times)) / 1e6)
        assert one.expected == sum(
            track.records[-1].sequence - track.records[0].sequence + 1
            for track in (pictures, sound)
        )
        total.update({name: getattr(one, name) for name in names})
    assert {name: getattr(found, name) for name in names} == {name: total[name] for name in names}


def test_a_viewer_that_nobody_heard_of(tally: ModuleType) -> None:
    counted = tally.Tally()
    track = Track(viewer=3)
    track.packets([1, 2])
    counted.feed(packed(track.records))
    one = counted.viewer(4)
    assert (one.packets, one.expected, one.duration_s, one.jitter_ms) == (0, 0, 0.0, None)


def test_an_empty_tally(tally: ModuleType) -> None:
    counted = tally.Tally(skew=True)
    counted.feed(b"")
    found = counted.figures()
    assert (found.viewers, found.packets, found.loss_runs, found.last_share) == (0, 0, {}, None)


@pytest.mark.parametrize("size", [1, 31, 33, 65])
def test_a_cut_record_is_refused_and_nothing_is_taken(tally: ModuleType, size: int) -> None:
    counted = tally.Tally()
    with pytest.raises(ValueError, match=f"^{size} bytes"):
        counted.feed(bytes(size))
    assert counted.figures().packets == 0


def test_after_clearing_the_figures_begin_anew_and_the_numbers_go_on(tally: ModuleType) -> None:
    track = Track()
    track.packets([-3_003, *range(-3_000, 0)])
    track.late(-1_000)  # nothing was missing there
    track.packets([0, 1, 4])
    track.late(2)
    track.packet(6, counter=5)
    counted = tally.Tally()
    counted.feed(packed(track.records))
    found = counted.figures()
    assert (found.lost, found.loss_runs, found.repair_us.count) == (4, {1: 2, 2: 1}, 1)
    counted.clear()
    found = counted.figures()
    assert found.repair_us.count == 0
    assert (found.viewers, found.packets, found.expected, found.lost) == (0, 0, 0, 0)
    assert (found.missing, found.loss_runs) == (0, {})

    after = Track(now_us=5_000_000)
    after.late(3)  # belongs to the gap of before, and is not that gap's loss any more
    after.packet(7, counter=6)
    after.packet(9, counter=8)
    counted.feed(packed(after.records))
    found = counted.figures()
    assert (found.packets, found.late, found.repaired) == (3, 1, 1)
    assert (found.expected, found.lost, found.loss_runs) == (4, 1, {1: 1})
    assert (found.missing, found.repeated) == (1, 0)
    assert counted.viewer(7).duration_s == pytest.approx(0.002)

    after.packets(range(10, 3_000))
    counted.feed(packed(after.records[3:]))
    assert counted.figures().loss_runs == {1: 1}, "what was open before is given up without a word"


def test_one_viewer_s_lost_packets_hide_nobody_else_s_closed_gap(tally: ModuleType) -> None:
    honest, closed = Track(1), Track(2)
    for number in (0, 1, 4, 5):
        honest.packet(number)
    for number, counter in enumerate((0, 1, 4, 5)):
        closed.packet(number, counter=counter)
    counted = tally.Tally()
    counted.feed(packed(honest.records + closed.records))
    found = counted.figures()
    assert (found.lost, found.missing, found.hidden) == (2, 4, 2)
    assert (counted.viewer(1).hidden, counted.viewer(2).hidden) == (0, 2)


def test_how_records_are_cut_into_batches_changes_nothing(tally: ModuleType) -> None:
    data = packed(anything(3_000, seed=5))
    whole, pieces = tally.Tally(skew=True), tally.Tally(skew=True)
    whole.feed(data)
    source = np.random.default_rng(6)
    begin = 0
    while begin < len(data):
        end = begin + 32 * int(source.integers(1, 90))
        pieces.feed(data[begin:end])
        begin = end
    assert whole.figures() == pieces.figures()


def test_both_twins_give_the_same() -> None:
    found = []
    for kind in twins.KINDS:
        modules = twins.loaded(kind, "pyforward_bench.statistics")
        counted = modules["tally"].Tally(skew=True)
        counted.feed(packed(anything(6_000, seed=7)))
        one = counted.figures()
        histograms = (one.packet_latency_us, one.frame_latency_us, one.repair_us, one.skew_us)
        cells = [each._cells.tobytes() for each in histograms]
        found.append((repr(one), cells, [repr(counted.viewer(number)) for number in range(5)]))
        assert min(one.lost, one.missing, one.repeated, one.reordered_content, one.late) > 0
        assert min(each.count for each in histograms) > 0
    assert found[0] == found[1]


def anything(count: int, seed: int) -> list[Record]:
    """Records that claim whatever they like, of a few viewers, with numbers that mostly go on."""
    source = np.random.default_rng(seed)
    sequence, counter, timestamp, now_us = WRAP - 500, WRAP - 400, WRAP - 9_000, 1_000_000
    made = []
    for _ in range(count):
        now_us += int(source.integers(0, 3_000))
        sequence += int(source.integers(-4, 7))
        counter += int(source.integers(-4, 7))
        timestamp += int(source.choice((0, 0, 0, 3_000)))
        if source.random() < 0.002:
            sequence, counter = (int(source.integers(0, WRAP)) for _ in range(2))
        flags = int(source.choice((0x71, 0x61, 0x79, 0x69, 0x60, 0x41, 0x21, 0x61, 0x61)))
        flags |= 0x80 if source.random() < 0.002 else 0
        late = LATE if source.random() < 0.3 else 0
        record = Record(
            now_us,
            int(source.integers(0, 5)),
            sequence % WRAP,
            timestamp % WRAP,
            counter % WRAP,
            int(source.integers(0, 90_000)),
            int(source.integers(0, 1_500)),
            flags | late,
        )
        if flags & INTACT == 0 and source.random() < 0.5:
            record = record._replace(latency_us=0xFFFF_FFFF)
        made.append(record)
    return made
