"""The demo's recording is what the documentation says, loops without a seam, and keeps time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import islice, pairwise, takewhile

import pytest

from pyforward.client.playing import Playing
from pyforward.errors import HostError, MediaError
from pyforward.media.demo import Demo
from pyforward.media.rtpdump import Record
from pyforward.media.source import AUDIO_PAYLOAD_TYPE, VIDEO_PAYLOAD_TYPE, Burst

LOOP_S = 20


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo.load()


@pytest.fixture(scope="module")
def first_turn(demo: Demo) -> list[Burst]:
    return list(takewhile(lambda burst: burst.due_s < LOOP_S, demo.bursts()))


def of_type(bursts: list[Burst], payload_type: int) -> list[Burst]:
    return [burst for burst in bursts if burst.packets[0][1] & 0x7F == payload_type]


def sequence(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def timestamp(packet: bytes) -> int:
    return int.from_bytes(packet[4:8], "big")


def nal_types(packet: bytes) -> list[int]:
    """The NAL unit types that begin in this packet."""
    payload = packet[12:]
    match payload[0] & 0x1F:
        case 24:
            types, position = [], 1
            while position < len(payload):
                types.append(payload[position + 2] & 0x1F)
                position += 2 + int.from_bytes(payload[position : position + 2], "big")
            return types
        case 28:
            return [payload[1] & 0x1F] if payload[1] & 0x80 else []
        case other:
            return [other]


# What was recorded -------------------------------------------------------------------------------


def test_thirty_frames_and_fifty_audio_packets_a_second(first_turn: list[Burst]) -> None:
    video, audio = of_type(first_turn, VIDEO_PAYLOAD_TYPE), of_type(first_turn, AUDIO_PAYLOAD_TYPE)
    assert len(video) == 30 * LOOP_S
    assert len(audio) == 50 * LOOP_S
    assert len(video) + len(audio) == len(first_turn)
    assert [burst.due_s for burst in video] == [n / 30 for n in range(30 * LOOP_S)]
    assert [burst.due_s for burst in audio] == [n / 50 for n in range(50 * LOOP_S)]


def test_a_keyframe_with_its_parameter_sets_every_two_seconds(first_turn: list[Burst]) -> None:
    for number, burst in enumerate(of_type(first_turn, VIDEO_PAYLOAD_TYPE)):
        types = [kind for packet in burst.packets for kind in nal_types(packet)]
        assert types == ([7, 8, 5] if number % 60 == 0 else [1])


def test_constrained_baseline(first_turn: list[Burst]) -> None:
    stap_a = of_type(first_turn, VIDEO_PAYLOAD_TYPE)[0].packets[0][12:]
    profile_idc, constraints, level_idc = stap_a[4:7]
    assert profile_idc == 66
    assert constraints & 0x40, "constraint_set1_flag"
    assert level_idc == 30


def test_the_marker_ends_each_frame_and_nothing_else(first_turn: list[Burst]) -> None:
    for burst in first_turn:
        is_video = burst.packets[0][1] & 0x7F == VIDEO_PAYLOAD_TYPE
        markers = [packet[1] >> 7 for packet in burst.packets]
        assert markers == [0] * (len(markers) - 1) + [int(is_video)]


def test_fragments_fit_and_differ_by_a_byte_at_most(first_turn: list[Burst]) -> None:
    for burst in first_turn:
        assert all(len(packet) <= 12 + 1_180 for packet in burst.packets)
        fragments = [len(p) for p in burst.packets if p[12] & 0x1F == 28]
        if burst.packets[0][1] & 0x7F == VIDEO_PAYLOAD_TYPE and fragments:
            assert max(fragments) - min(fragments) <= 1


# The loop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload_type", [VIDEO_PAYLOAD_TYPE, AUDIO_PAYLOAD_TYPE])
def test_numbers_and_times_run_on_over_many_turns(
    demo: Demo, first_turn: list[Burst], payload_type: int
) -> None:
    bursts = of_type(list(islice(demo.bursts(), 100 * len(first_turn))), payload_type)
    packets = [packet for burst in bursts for packet in burst.packets]
    # Long enough for the sequence numbers to wrap, as they do after half an hour.
    assert len(packets) > 0x10000
    steps = {(sequence(after) - sequence(before)) & 0xFFFF for before, after in pairwise(packets)}
    assert steps == {1}
    ticks = {
        (timestamp(after.packets[0]) - timestamp(before.packets[0])) & 0xFFFFFFFF
        for before, after in pairwise(bursts)
    }
    assert ticks == {3_000 if payload_type == VIDEO_PAYLOAD_TYPE else 960}


def test_the_second_turn_has_the_first_one_s_payloads(demo: Demo, first_turn: list[Burst]) -> None:
    count = len(first_turn)
    second_turn = list(islice(demo.bursts(), count, 2 * count))
    assert [b.due_s for b in second_turn] == [b.due_s + LOOP_S for b in first_turn]
    assert [[p[12:] for p in b.packets] for b in second_turn] == [
        [p[12:] for p in b.packets] for b in first_turn
    ]


def rtp(payload_type: int, number: int, at: int) -> Record:
    header = bytes([0x80, payload_type]) + number.to_bytes(2, "big") + at.to_bytes(4, "big")
    return Record(0, header + bytes([0, 0, 0, payload_type]) + b"x")


def test_a_wrapping_recording_can_be_looped() -> None:
    video = [rtp(96, (0xFFFF + n) & 0xFFFF, (0xFFFFFFFF + 3_000 * n) & 0xFFFFFFFF) for n in (0, 1)]
    audio = [rtp(111, n, 1_600 * n) for n in (0, 1)]
    bursts = list(islice(Demo([*video, *audio]).bursts(), 8))
    assert [sequence(b.packets[0]) for b in of_type(bursts, 96)] == [0xFFFF, 0, 1, 2]
    assert [timestamp(b.packets[0]) for b in of_type(bursts, 96)] == [
        0xFFFFFFFF,
        2_999,
        5_999,
        8_999,
    ]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [rtp(96, 0, 0), rtp(96, 1, 3_000)],
        [rtp(96, 0, 0), rtp(96, 1, 3_000), rtp(111, 0, 0), rtp(111, 1, 960)],
        [rtp(96, 0, 0), rtp(111, 0, 0)],
        [rtp(96, 0, 0), rtp(96, 1, 3_000), rtp(111, 0, 0), rtp(111, 1, 1_600), rtp(5, 0, 0)],
    ],
    ids=["empty", "no audio", "durations differ", "one moment", "a third track"],
)
def test_a_recording_that_cannot_be_looped_is_refused(records: list[Record]) -> None:
    with pytest.raises(HostError):
        Demo(records)


def test_the_file_is_small() -> None:
    assert len((resources.files("pyforward.media") / "demo.rtp").read_bytes()) <= 2_000_000


# Playing -----------------------------------------------------------------------------------------


class Timers:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.due: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        self.due = [(when, callback)]
        loop = asyncio.get_running_loop()
        handle = loop.call_later(3_600, callback)
        handle.cancel()
        return handle

    def fire(self, late_s: float = 0.0) -> None:
        ((when, callback),) = self.due
        self.due = []
        self.now = when + late_s
        callback()


class Player:
    """What a run through the bursts did."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.ends: list[Exception | None] = []

    def play(self, bursts: Iterator[Burst], timers: Timers) -> Playing:
        return Playing(bursts, timers, self.packets.extend, self.ends.append)


async def test_bursts_leave_at_their_time_and_lateness_does_not_add_up(demo: Demo) -> None:
    player, timers = Player(), Timers()
    player.play(demo.bursts(), timers)
    while timers.due[0][0] < 1_002.0:
        timers.fire(late_s=0.004)
    expected = [
        packet
        for burst in takewhile(lambda burst: burst.due_s < 2.0, demo.bursts())
        for packet in burst.packets
    ]
    assert player.packets == expected
    assert timers.due[0][0] == 1_002.0


async def test_after_a_long_halt_it_goes_on_from_where_it_was(demo: Demo) -> None:
    player, timers = Player(), Timers()
    player.play(demo.bursts(), timers)
    timers.fire()
    sent = len(player.packets)
    timers.fire(late_s=60.0)
    assert len(player.packets) - sent <= 2
    assert timers.due[0][0] - timers.now < 0.05


async def test_the_end_is_told_once_everything_was_sent(demo: Demo) -> None:
    player, timers = Player(), Timers()
    bursts = list(islice(demo.bursts(), 3))
    player.play(iter(bursts), timers)
    while timers.due:
        timers.fire()
    await asyncio.sleep(0)
    assert player.packets == [packet for burst in bursts for packet in burst.packets]
    assert player.ends == [None]


async def test_a_source_that_fails_on_the_way_is_told() -> None:
    def bursts() -> Iterator[Burst]:
        yield Burst(0.0, "audio", (b"one",))
        raise MediaError("The file ends in the middle of a frame.")

    player = Player()
    player.play(bursts(), Timers())
    await asyncio.sleep(0)
    assert player.packets == [b"one"]
    assert [str(end) for end in player.ends] == ["The file ends in the middle of a frame."]


async def test_stopping_ends_the_timer_and_tells_nobody(demo: Demo) -> None:
    player = Player()
    playing = Playing(
        demo.bursts(), asyncio.get_running_loop(), player.packets.extend, player.ends.append
    )
    playing.stop()
    sent = len(player.packets)
    await asyncio.sleep(0.05)
    assert len(player.packets) == sent
    assert player.ends == []
