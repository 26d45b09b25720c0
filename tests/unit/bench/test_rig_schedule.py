"""What the ceiling sender plays: the feed, gathered as the forwarder gathers it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pyforward.media.source import Burst
from pyforward_bench.rig.ceiling import LONGEST_TRAIN, Due
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.schedule import departures, schedule
from pyforward_bench.traces import Frame, Trace

WINDOW_S = 0.005


def played(
    monkeypatch: pytest.MonkeyPatch, *frames: Frame, seconds: float = 1.0, opus: bool = False
) -> list[tuple[int, tuple[int, ...], bool]]:
    """A bursty feed of these frames, as it is played."""
    trace = Trace("clip", frames)
    monkeypatch.setattr(Feed, "trace", trace)
    found = schedule(Feed(opus=opus), seconds, WINDOW_S)
    return [(due.due_us, due.sizes, due.ends_frame) for due in found]


def test_a_frame_is_a_train_that_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(
        monkeypatch,
        Frame(0, "video", (900, 900, 800)),
        Frame(40_000, "video", (300,)),
        seconds=0.05,
    )
    assert found == [(0, (900, 900, 800), True), (40_000, (300,), True)]


def test_only_the_last_train_of_a_frame_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(monkeypatch, Frame(0, "video", (78, *(900,) * 20)), seconds=0.01)
    assert found == [(0, (78,), False), (0, (900,) * 15, False), (0, (900,) * 5, True)]
    found = played(monkeypatch, Frame(0, "video", (78, 900, 900)), seconds=0.01)
    assert found == [(0, (78,), False), (0, (900, 900), True)]


def test_audio_goes_alone_and_ends_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = (
        Frame(0, "video", (900, 900)),
        Frame(0, "audio", (80,)),
        Frame(20_000, "audio", (90,)),
    )
    found = played(monkeypatch, *frames, seconds=0.03, opus=True)
    assert found == [(0, (900, 900), True), (0, (80,), False), (20_000, (90,), False)]


def test_it_goes_round_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Frame(number * 100_000, "video", (300,)) for number in range(5)]
    found = played(monkeypatch, *frames, seconds=1.25)
    assert [due_us for due_us, _, _ in found] == [number * 100_000 for number in range(13)]


def packet(number: int, timestamp: int, size: int = 100, *, marker: bool = False) -> bytes:
    head = (
        bytes((0x80, 96 | marker << 7)) + number.to_bytes(2, "big") + timestamp.to_bytes(4, "big")
    )
    return head + bytes(4 + size)


def gathered(*bursts: Burst) -> list[tuple[float, int]]:
    """When departures are due, and of how many packets they are."""
    found = departures(bursts, WINDOW_S)
    return [(departure.due_s, len(departure.packets)) for departure in found]


def test_a_frame_is_gathered_until_its_marker() -> None:
    bursts = (
        Burst(0.000, "video", (packet(1, 9), packet(2, 9))),
        Burst(0.004, "video", (packet(3, 9, marker=True), packet(4, 10))),
        Burst(0.005, "video", (packet(5, 10, marker=True),)),
    )
    assert gathered(*bursts) == [(0.004, 3), (0.005, 2)]


def test_the_window_ends_a_train_that_is_due_when_its_last_packet_is_there() -> None:
    bursts = [Burst(number * 0.002, "video", (packet(number, 9),)) for number in range(6)]
    assert gathered(*bursts) == [(0.004, 3), (0.010, 3)]


def test_another_timestamp_and_sixteen_packets_end_it() -> None:
    many = tuple(packet(number, 9) for number in range(LONGEST_TRAIN + 1))
    other = Burst(0.001, "video", (packet(40, 10),))
    assert gathered(Burst(0.0, "video", many), other) == [(0.0, 16), (0.0, 1), (0.001, 1)]


@pytest.mark.parametrize("rate", [1.0, 7.0])
@pytest.mark.parametrize("opus", [False, True])
def test_the_usual_feed_is_played_whole(rate: float, opus: bool) -> None:
    feed = Feed(paced=True, rate=rate, opus=opus)
    found = schedule(feed, 4.0, WINDOW_S)
    assert sum(len(due.sizes) for due in found) == pytest.approx(4 * feed.packets_per_s, rel=0.1)
    assert sum(due.ends_frame for due in found) == pytest.approx(120 * rate, abs=2)
    assert all(before.due_us <= after.due_us for before, after in pairwise(found))
    assert found[-1].due_us < 4e6


def test_a_line_is_as_the_program_reads_it() -> None:
    assert Due(4_515, (1146, 1146, 900), ends_frame=False).line == "4515 1146,1146,900\n"
    assert Due(0, (78,), ends_frame=True).line == "0 78 m\n"
