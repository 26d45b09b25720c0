"""What is played by the harness: any server sees H.264 and Opus in it, any receiver its stamps."""

from __future__ import annotations

import zlib

import pytest

from pyforward.media.avc import profile_level_id
from pyforward.media.packetizers import opus
from pyforward_bench.payloads import (
    HEIGHTS,
    STAMP_BYTES,
    Audio,
    Stamp,
    Video,
    blank,
    completed,
)

IDR, OTHER, SEI, SPS, PPS, FILLER = 5, 1, 6, 7, 8, 12
STAP_A, FU_A = 24, 28


def kind(byte: int) -> int:
    return byte & 0x1F


def aggregated(payload: bytes) -> list[bytes]:
    """The units of a STAP-A, which fill it exactly."""
    assert kind(payload[0]) == STAP_A
    units, at = [], 1
    while at < len(payload):
        size = int.from_bytes(payload[at : at + 2], "big")
        unit = payload[at + 2 : at + 2 + size]
        assert len(unit) == size > 0
        units.append(unit)
        at += 2 + size
    return units


def counters(payloads: list[bytes]) -> list[int]:
    stamps = [Stamp.read(payload) for payload in payloads]
    return [stamp.counter for stamp in stamps if stamp is not None]


# The stamp ---------------------------------------------------------------------------------------


def test_a_stamp_is_laid_out_as_the_engine_reads_it() -> None:
    stamp = Stamp(counter=0x01020304, clock=5, sent_us=0x0A0B0C0D0E0F, checksum=6)
    packed = stamp.pack()
    assert len(packed) == STAMP_BYTES == 24
    assert packed[:4] == b"pfst"
    assert packed[4:8] == b"\4\3\2\1"
    assert packed[8:12] == b"\5\0\0\0"
    assert packed[12:20] == b"\x0f\x0e\x0d\x0c\x0b\x0a\0\0"
    assert packed[20:] == b"\6\0\0\0"
    assert Stamp.read(b"whatever" + packed) == stamp


def test_a_blank_stamp_has_its_counter_alone() -> None:
    assert Stamp.read(blank(7)) == Stamp(7, 0, 0, 0)
    assert blank(7)[8:] == bytes(16)
    assert Stamp.read(blank((1 << 32) + 7)) == Stamp(7, 0, 0, 0)


def test_completed_is_what_the_engine_makes_of_it() -> None:
    payload = completed(b"payload" + blank(9), clock=3, sent_us=1_000)
    stamp = Stamp.read(payload)
    assert stamp is not None
    assert (stamp.counter, stamp.clock, stamp.sent_us) == (9, 3, 1_000)
    assert stamp.checksum == zlib.crc32(payload[:-4])
    assert stamp.is_of(payload)
    with pytest.raises(ValueError, match="no stamp"):
        completed(b"payload", 3, 1_000)


def test_every_changed_byte_is_seen() -> None:
    payload = completed(Video().frame([60], keyframe=False)[0], clock=3, sent_us=1_000)
    for at in range(len(payload)):
        changed = payload[:at] + bytes([payload[at] ^ 0x10]) + payload[at + 1 :]
        stamp = Stamp.read(changed)
        assert stamp is None or not stamp.is_of(changed), at


@pytest.mark.parametrize("payload", [b"", bytes(23), bytes(24), b"pfst" + bytes(19), bytes(1_188)])
def test_no_stamp(payload: bytes) -> None:
    assert Stamp.read(payload) is None


# Video -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", HEIGHTS)
def test_a_keyframe_begins_with_its_parameter_sets(height: int) -> None:
    video = Video(height)
    first, *picture = video.frame([200, 1_000, 1_000, 1_001], keyframe=True)
    sps, pps, filler, sei = aggregated(first)
    assert (kind(sps[0]), kind(pps[0]), kind(sei[0])) == (SPS, PPS, SEI)
    assert (sps, pps) == video.parameter_sets
    assert profile_level_id((sps,)).startswith("42c0")
    assert kind(filler[0]) == FILLER
    assert set(filler[1:-1]) == {0xFF}
    # An unregistered user data message that fills the unit: a UUID and the stamp.
    assert sei[1] == 5
    assert sei[2] == len(sei) - 3 == 16 + STAMP_BYTES
    assert [len(payload) for payload in (first, *picture)] == [200, 1_000, 1_000, 1_001]
    assert counters([first, *picture]) == [0, 1, 2, 3]
    assert [kind(payload[0]) for payload in picture] == [FU_A] * 3
    assert [payload[1] for payload in picture] == [0x80 | IDR, IDR, 0x40 | IDR]
    assert picture[0][2] & 0x80, "the slice begins with the first macroblock"


def test_parameter_sets_of_every_size_fill_their_packet() -> None:
    least = Video().least_parameters_bytes
    for size in range(1, 1_189):
        first, _ = Video().frame([size, 500], keyframe=True)
        assert len(first) == max(size, least)
        units = aggregated(first)
        assert [kind(unit[0]) for unit in units if kind(unit[0]) != FILLER] == [SPS, PPS, SEI]
        assert units[-1][2] == len(units[-1]) - 3
        assert counters([first]) == [0]


def test_a_keyframe_of_two_packets_has_its_picture_in_one_unit() -> None:
    _, picture = Video().frame([100, 900], keyframe=True)
    assert kind(picture[0]) == IDR
    assert picture[1] & 0x80
    assert len(picture) == 900


def test_a_keyframe_of_one_packet_has_all_in_it() -> None:
    (payload,) = Video().frame([900], keyframe=True)
    assert [kind(unit[0]) for unit in aggregated(payload)] == [SPS, PPS, IDR]
    assert len(payload) == 900
    assert counters([payload]) == [0]


def test_another_frame() -> None:
    video = Video()
    (single,) = video.frame([700], keyframe=False)
    assert kind(single[0]) == OTHER
    fragments = video.frame([700, 701], keyframe=False)
    assert [payload[:2] for payload in fragments] == [b"\x5c\x81", b"\x5c\x41"]
    assert [len(payload) for payload in (single, *fragments)] == [700, 700, 701]
    assert counters([single, *fragments]) == [0, 1, 2]


def test_sizes_too_small_for_a_stamp_are_raised() -> None:
    payloads = Video().frame([1, 2, 28, 29], keyframe=False)
    assert [len(payload) for payload in payloads] == [28, 28, 28, 29]
    assert counters(payloads) == [0, 1, 2, 3]
    (keyframe,) = Video().frame([1], keyframe=True)
    assert [kind(unit[0]) for unit in aggregated(keyframe)] == [SPS, PPS, IDR]
    assert len(Audio().packet(1)) == 25


# Filler ------------------------------------------------------------------------------------------


def test_filler_has_no_start_code_and_does_not_repeat() -> None:
    video = Video()
    bodies = [video.frame([1_188], keyframe=False)[0][2:-STAMP_BYTES] for _ in range(5_000)]
    assert all(0 not in body for body in bodies)
    assert len(set(bodies)) == len(bodies)
    assert all(len(zlib.compress(body)) > 0.95 * len(body) for body in bodies[::100])


# Audio -------------------------------------------------------------------------------------------


def test_opus_packets_of_20_ms() -> None:
    audio = Audio()
    packets = [audio.packet(size) for size in (25, 26, 160, 1_188)]
    assert [len(packet) for packet in packets] == [25, 26, 160, 1_188]
    assert [opus.samples(packet) for packet in packets] == [960] * 4
    assert counters(packets) == [0, 1, 2, 3]
