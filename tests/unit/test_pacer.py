"""The pacer's promises, in the time of the source alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

import pytest

from pyforward.media.pacer import bursty, paced
from pyforward.media.source import Burst

RATE = 800_000.0  # bits/s, so 2.5 × that is 250 bytes a millisecond
PACKET = bytes(1_000)  # takes 4 ms


def video(due_s: float, packets: int, size: int = 1_000) -> Burst:
    return Burst(due_s, "video", (bytes(size),) * packets)


def audio(due_s: float) -> Burst:
    return Burst(due_s, "audio", (b"sound",))


def due_ms(bursts: list[Burst]) -> list[float]:
    return [round(burst.due_s * 1_000, 6) for burst in bursts]


def test_bursty_changes_nothing() -> None:
    bursts = [video(0, 9), audio(0.01), video(0.03, 4)]
    assert list(bursty(bursts)) == bursts


def test_a_frame_is_spread_at_two_and_a_half_times_the_rate() -> None:
    out = list(paced([video(1.0, 5)], RATE))
    assert [len(burst.packets) for burst in out] == [1] * 5
    assert due_ms(out) == [1_000, 1_004, 1_008, 1_012, 1_016]


def test_what_five_milliseconds_hold_leaves_together() -> None:
    out = list(paced([video(0, 10, size=250)], RATE))
    assert [len(burst.packets) for burst in out] == [5, 5]
    assert due_ms(out) == [0, 5]
    out = list(paced([video(0, 4, size=700)], RATE))
    assert [len(burst.packets) for burst in out] == [1] * 4, "two would last 5.6 ms"


def test_a_packet_that_lasts_longer_leaves_alone() -> None:
    out = list(paced([video(0, 3)], RATE / 10))
    assert [len(burst.packets) for burst in out] == [1] * 3
    assert due_ms(out) == [0, 40, 80]


def test_a_frame_waits_for_the_one_before_it() -> None:
    out = list(paced([video(0, 10), video(0.033, 1)], RATE))
    assert due_ms(out) == [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]


def test_an_idle_pacer_saves_nothing_up() -> None:
    out = list(paced([video(0, 1), video(10.0, 3)], RATE))
    assert due_ms(out) == [0, 10_000, 10_004, 10_008]


def test_audio_is_never_held_and_costs_nothing() -> None:
    sounds = [audio(n / 50) for n in range(50)]
    pictures = [video(0, 60), video(0.5, 60)]
    merged = sorted([*sounds, *pictures], key=lambda burst: burst.due_s)
    out = list(paced(merged, RATE))
    assert [burst for burst in out if burst.kind == "audio"] == sounds
    assert [b for b in out if b.kind == "video"] == list(paced(pictures, RATE))
    assert [burst.due_s for burst in out] == sorted(burst.due_s for burst in out)


def test_a_queue_of_more_than_two_seconds_is_sent_faster() -> None:
    packets = 5_000  # 20 s at the rate
    out = list(paced([video(0, packets)], RATE))
    lasts_s = out[-1].due_s
    # The rate falls with the queue until the usual one is enough again.
    assert 2.0 < lasts_s < 2.0 + 2.0 * 2.5
    assert out[1].due_s - out[0].due_s <= 0.005 + 1e-9
    assert sum(len(burst.packets) for burst in out) == packets


def test_nothing_is_held_at_a_rate_of_zero() -> None:
    bursts = [audio(0), video(0, 3), audio(0.02)]
    assert list(paced(bursts, 0)) == bursts


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="cannot be paced"):
        list(paced([], rate))


def test_a_source_without_end_can_be_paced() -> None:
    def endless() -> Iterator[Burst]:
        return (video(n / 30, 3) for n in count())

    assert len(list(islice(paced(endless(), RATE), 1_000))) == 1_000


def test_nothing_is_lost_reordered_or_early() -> None:
    source = random.Random(3)
    time_s, bursts, number = 0.0, [], 0
    for _ in range(2_000):
        time_s += source.choice((0.0, 0.001, 0.02, 0.033))
        sizes = [source.randrange(20, 1_200) for _ in range(source.choice((1, 2, 8)))]
        packets = []
        for size in sizes:
            packets.append(number.to_bytes(4, "big") + bytes(size))
            number += 1
        bursts.append(Burst(time_s, source.choice(("video", "video", "audio")), tuple(packets)))
    out = list(paced(bursts, 4 * RATE))
    assert [burst.due_s for burst in out] == sorted(burst.due_s for burst in out)
    for kind in ("video", "audio"):
        sent = [(p, b.due_s) for b in out if b.kind == kind for p in b.packets]
        given = [(p, b.due_s) for b in bursts if b.kind == kind for p in b.packets]
        assert [p for p, _ in sent] == [p for p, _ in given]
        assert all(at >= due for (_, at), (_, due) in zip(sent, given, strict=True))
