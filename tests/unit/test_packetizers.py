"""H.264, VP8 and Opus packetizers, uncompiled and compiled, against aiortc's depacketizers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, takewhile
from types import ModuleType

import pytest
from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor

from pyforward.errors import MediaError
from pyforward.media.demo import Demo
from pyforward.media.packetizers import opus
from tests import twins

LONG, SHORT = b"\0\0\0\1", b"\0\0\1"
LIMIT = 100

Modules = dict[str, ModuleType]


@pytest.fixture(scope="module", params=twins.KINDS)
def modules(request: pytest.FixtureRequest) -> Modules:
    return twins.loaded(request.param, "pyforward.media.packetizers")


@pytest.fixture(scope="module")
def h264(modules: Modules) -> ModuleType:
    return modules["h264"]


@pytest.fixture(scope="module")
def vp8(modules: Modules) -> ModuleType:
    return modules["vp8"]


def unit(size: int, kind: int = 1, seed: int = 0) -> bytes:
    """A NAL unit of this size with emulation prevention (H.264 §7.4.1), so with no start code."""
    source = random.Random(seed << 24 | size << 5 | kind)
    out = bytearray([0x60 | kind])
    while len(out) < size:
        byte = source.choice((0, 0, 0, 1, 2, 3, source.randrange(256)))
        if out[-2:] == b"\0\0" and byte <= 3:
            byte = 3
        out.append(byte)
    if size > 1 and out[-1] == 0:
        out[-1] = 0x80
    return bytes(out)


def received(payloads: list[bytes]) -> bytes:
    """The access unit in Annex B form, as aiortc puts it together."""
    return b"".join(H264PayloadDescriptor.parse(payload)[1] for payload in payloads)


def fragments(payloads: list[bytes]) -> list[bytes]:
    return [payload for payload in payloads if payload[0] & 0x1F == 28]


def test_the_twins_are_what_they_claim(modules: Modules, request: pytest.FixtureRequest) -> None:
    compiled = "[compiled]" in request.node.name
    assert set(modules) == {"h264", "vp8"}
    for module in modules.values():
        assert str(module.__file__).endswith(".abi3.so" if compiled else ".py")


# H.264 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        [2],
        [LIMIT - 3],
        [LIMIT - 2],
        [LIMIT - 1],
        [LIMIT],
        [LIMIT + 1],
        [LIMIT + 2],
        [2 * LIMIT - 4],
        [2 * LIMIT - 3],
        [2 * LIMIT - 2],
        [2] * 200,
        [20, 8, 5_000],
        [5_000, 8, 20, 5_000],
        [LIMIT - 7, 2, 2],
        [47, 48],
        [47, 49],
        [20_000],
    ],
    ids=str,
)
def test_an_access_unit_comes_back_as_it_was(h264: ModuleType, sizes: list[int]) -> None:
    units = [unit(size, seed=number) for number, size in enumerate(sizes)]
    payloads = h264.packetize(h264.annex_b(units), LIMIT)
    assert received(payloads) == LONG + LONG.join(units)
    assert max(map(len, payloads)) <= LIMIT


@pytest.mark.parametrize(
    ("sizes", "kinds"),
    [
        ([LIMIT], ["single"]),
        ([LIMIT + 1], ["FU-A", "FU-A"]),
        # A byte of the unit's own is its header, and two of each payload: 1 + 2 × 98.
        ([197], ["FU-A", "FU-A"]),
        ([198], ["FU-A", "FU-A", "FU-A"]),
        ([20, 8, LIMIT + 1], ["STAP-A", "FU-A", "FU-A"]),
        ([47, 48], ["STAP-A"]),
        ([47, 49], ["single", "single"]),
        ([LIMIT - 2, 5, 5], ["single", "STAP-A"]),
        ([5, LIMIT + 1, 5], ["single", "FU-A", "FU-A", "single"]),
    ],
    ids=str,
)
def test_which_packets_a_unit_becomes(h264: ModuleType, sizes: list[int], kinds: list[str]) -> None:
    payloads = h264.packetize(h264.annex_b([unit(size) for size in sizes]), LIMIT)
    names = {24: "STAP-A", 28: "FU-A"}
    assert [names.get(payload[0] & 0x1F, "single") for payload in payloads] == kinds


def test_fragments_differ_by_a_byte_at_most_and_the_longer_come_first(h264: ModuleType) -> None:
    for size in range(LIMIT + 1, 1_000):
        payloads = fragments(h264.packetize(LONG + unit(size), LIMIT))
        sizes = [len(payload) for payload in payloads]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1
        assert len(sizes) == -(-(size - 1) // (LIMIT - 2)), "as few as can be"
        begun = [payload[1] >> 6 for payload in payloads]
        assert begun == [2] + [0] * (len(begun) - 2) + [1]


def test_a_stap_a_is_as_important_as_its_most_important_unit(h264: ModuleType) -> None:
    (payload,) = h264.packetize(LONG + b"\x06\x01" + LONG + b"\x47\x02" + LONG + b"\x28\x03", LIMIT)
    assert payload == b"\x58\0\2\x06\x01\0\2\x47\x02\0\2\x28\x03"


@pytest.mark.parametrize(
    "data",
    [
        LONG + b"\x67ab" + LONG + b"\x68c",
        SHORT + b"\x67ab" + SHORT + b"\x68c",
        LONG + b"\x67ab" + SHORT + b"\x68c",
        b"\0\0\0\0\0" + SHORT + b"\x67ab\0\0\0" + LONG + b"\x68c\0\0\0\0",
        SHORT + SHORT + b"\x67ab" + LONG + LONG + b"\x68c" + SHORT,
        LONG + b"\x67ab" + LONG + b"\0\0" + LONG + b"\x68c\0",
    ],
    ids=["long", "short", "mixed", "zeros around", "empty units", "units of zeros"],
)
def test_start_codes_and_zeros_are_not_the_units(h264: ModuleType, data: bytes) -> None:
    assert h264.nal_units(data) == [b"\x67ab", b"\x68c"]


def test_emulation_prevention_stays(h264: ModuleType) -> None:
    units = [b"\x65\0\0\3\1\0\0\3\0\0\3\2", b"\x41\0\0\3"]
    assert h264.nal_units(h264.annex_b(units)) == units


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\0\0\0\0", b"\x67ab", b"a\0\0\1\x67ab"])
def test_what_begins_without_a_start_code_is_refused(h264: ModuleType, data: bytes) -> None:
    with pytest.raises(MediaError, match="does not begin with a start code"):
        h264.nal_units(data)
    with pytest.raises(MediaError):
        h264.packetize(data, LIMIT)


def test_what_no_receiver_needs_is_left_out(h264: ModuleType) -> None:
    left_out = [
        b"\x09\xf0",
        b"\x0c" + b"\xff" * 500 + b"\x80",
        b"\x00a",
        b"\x18a",
        b"\x1ca",
        b"\x1fa",
        b"\x0b",
    ]
    for each in left_out:
        assert h264.packetize(LONG + each, LIMIT) == []
    wanted = [b"\x67ab", b"\x06c", b"\x65d"]
    data = h264.annex_b([left_out[0], wanted[0], *left_out[1:], *wanted[1:]])
    assert received(h264.packetize(data, LIMIT)) == LONG + LONG.join(wanted)


def test_a_unit_marked_as_broken_is_refused(h264: ModuleType) -> None:
    with pytest.raises(MediaError, match="forbidden_zero_bit"):
        h264.packetize(LONG + b"\xe5abc", LIMIT)


@pytest.mark.parametrize("limit", [-1, 0, 2, 65_536, 1 << 70])
def test_an_impossible_payload_size_is_refused(h264: ModuleType, limit: int) -> None:
    with pytest.raises(ValueError, match="payloads of"):
        h264.packetize(LONG + b"\x65abc", limit)


def test_the_least_payload_still_carries_everything(h264: ModuleType) -> None:
    payloads = h264.packetize(LONG + unit(50), 3)
    assert len(payloads) == 49
    assert received(payloads) == LONG + unit(50)


@pytest.mark.parametrize("length_bytes", [1, 2, 3, 4])
def test_units_after_their_lengths(h264: ModuleType, length_bytes: int) -> None:
    units = [unit(1), unit(200), b"\x65\0\0\1\0\0\0"]
    prefixed = [len(each).to_bytes(length_bytes, "big") + each for each in (*units, b"")]
    assert h264.length_prefixed_units(b"".join(prefixed), length_bytes) == units
    assert h264.length_prefixed_units(b"", length_bytes) == []


def test_a_length_beyond_the_end_is_refused(h264: ModuleType) -> None:
    whole = b"\0\0\0\3abc\0\0\0\2de"
    assert h264.length_prefixed_units(whole, 4) == [b"abc", b"de"]
    for cut in set(range(1, len(whole))) - {7}:
        with pytest.raises(MediaError, match=r"at byte [07]\b"):
            h264.length_prefixed_units(whole[:cut], 4)
    with pytest.raises(MediaError, match="claims 4294967295 bytes"):
        h264.length_prefixed_units(b"\xff\xff\xff\xff" + b"a" * 100, 4)


@pytest.mark.parametrize("length_bytes", [-1, 0, 5])
def test_lengths_of_a_wrong_size_are_refused(h264: ModuleType, length_bytes: int) -> None:
    with pytest.raises(MediaError, match="lengths of"):
        h264.length_prefixed_units(b"abcdefgh", length_bytes)


def test_random_access_units_come_back(h264: ModuleType) -> None:
    source = random.Random(1)
    for number in range(200):
        sizes = [source.choice((2, 5, 40, 97, 98, 100, 101, 900)) for _ in range(6)]
        units = [unit(size, source.choice((1, 5, 6, 7, 8)), number) for size in sizes]
        data = b"".join(source.choice((LONG, SHORT, b"\0\0" + LONG)) + each for each in units)
        limit = source.choice((3, 17, 100, 1_188))
        assert h264.nal_units(data) == units
        payloads = h264.packetize(data, limit)
        assert received(payloads) == LONG + LONG.join(units)
        assert max(map(len, payloads)) <= limit


def test_any_bytes_give_payloads_or_a_media_error(h264: ModuleType) -> None:
    """The scan agrees with a split by the standard library, on bytes made of little else than
    start codes."""
    source = random.Random(2)
    outcomes: Counter[str] = Counter()
    for _ in range(10_000):
        data = bytes(source.choices((0, 0, 0, 1, 1, 3, 0x65, 0xE5, 0x1C), k=source.randrange(40)))
        before, *parts = data.split(SHORT)
        if parts and not before.strip(b"\0"):
            units = [part.rstrip(b"\0") for part in parts if part.strip(b"\0")]
            assert h264.nal_units(data) == units
        else:
            with pytest.raises(MediaError):
                h264.nal_units(data)
        try:
            assert all(len(payload) <= 9 for payload in h264.packetize(data, 9))
            outcomes["packetized"] += 1
        except MediaError:
            outcomes["refused"] += 1
        try:
            found = h264.length_prefixed_units(data, 1)
            assert sum(1 + len(each) for each in found) <= len(data)
            outcomes["split by lengths"] += 1
        except MediaError:
            outcomes["refused by lengths"] += 1
    assert len(outcomes) == 4, "each of them was tried"


def test_the_demo_s_frames_become_its_packets_again(h264: ModuleType) -> None:
    """Its packets were judged by browsers; STAP-A, FU-A and sizes are as there."""
    frames = 0
    for burst in takewhile(lambda burst: burst.due_s < 4, Demo.load().bursts()):
        if burst.kind == "video":
            payloads = [packet[12:] for packet in burst.packets]
            assert h264.packetize(received(payloads), 1_180) == payloads
            frames += 1
    assert frames == 120


# VP8 ---------------------------------------------------------------------------------------------


def vp8_received(payloads: list[bytes]) -> Iterator[tuple[VpxPayloadDescriptor, bytes]]:
    return (VpxPayloadDescriptor.parse(payload) for payload in payloads)


@pytest.mark.parametrize("limit", [5, 100, 1_188])
def test_a_vp8_frame_comes_back_as_it_was(vp8: ModuleType, limit: int) -> None:
    source = random.Random(limit)
    edges = [3, 4, *(n * (limit - 4) + d for n in (1, 2, 3) for d in (-1, 0, 1))]
    for size in [size for size in edges if size >= 3] + [source.randrange(3, 9_000)] * 20:
        frame = source.randbytes(size)
        payloads = vp8.packetize(frame, 5, limit)
        parsed = list(vp8_received(payloads))
        assert b"".join(part for _, part in parsed) == frame
        assert [d.partition_start for d, _ in parsed] == [1] + [0] * (len(parsed) - 1)
        assert {d.partition_id for d, _ in parsed} == {0}
        assert {d.picture_id for d, _ in parsed} == {5}
        assert {(d.tl0picidx, d.tid, d.keyidx) for d, _ in parsed} == {(None, None, None)}
        sizes = [len(payload) for payload in payloads]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1
        assert sizes[0] <= limit
        assert len(sizes) == -(-size // (limit - 4)), "as few as can be"


@pytest.mark.parametrize(
    ("number", "sent"),
    [(0, 0), (127, 127), (128, 128), (0x7FFF, 0x7FFF), (0x8000, 0), (1 << 40 | 7, 7)],
)
def test_the_picture_id_has_fifteen_bits(vp8: ModuleType, number: int, sent: int) -> None:
    (payload,) = vp8.packetize(b"abc", number, LIMIT)
    assert len(payload) == 4 + 3
    assert VpxPayloadDescriptor.parse(payload)[0].picture_id == sent


@pytest.mark.parametrize("frame", [b"", b"a", b"ab"])
def test_a_vp8_frame_without_a_header_is_refused(vp8: ModuleType, frame: bytes) -> None:
    with pytest.raises(MediaError, match=f"has {len(frame)} bytes"):
        vp8.packetize(frame, 0, LIMIT)
    assert not vp8.is_keyframe(frame)


@pytest.mark.parametrize("limit", [-1, 0, 4])
def test_an_impossible_vp8_payload_size_is_refused(vp8: ModuleType, limit: int) -> None:
    with pytest.raises(ValueError, match="payloads of"):
        vp8.packetize(b"abc", 0, limit)


def test_vp8_keyframes_are_told_by_a_bit(vp8: ModuleType) -> None:
    assert vp8.is_keyframe(b"\x10\x02\x00\x9d\x01\x2a")
    assert not vp8.is_keyframe(b"\x11\x02\x00")


# Opus --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\x00a", 480),  # SILK, 10 ms
        (b"\x18a", 2_880),  # SILK, 60 ms
        (b"\x78a", 960),  # hybrid, 20 ms
        (b"\x80a", 120),  # CELT, 2.5 ms
        (b"\xfca", 960),  # CELT, 20 ms, stereo
        (b"\xfda", 1_920),  # two frames
        (b"\xfea", 1_920),
        (b"\xff\x03a", 2_880),  # a count of frames
        (b"\xff\x86a", 5_760),
        (b"\xfc", 960),  # DTX: no byte of audio
    ],
)
def test_an_opus_packet_says_how_long_it_sounds(packet: bytes, samples: int) -> None:
    assert opus.samples(packet) == samples
    assert opus.packetize(packet, LIMIT) == [packet]


@pytest.mark.parametrize("packet", [b"", b"\xff", b"\xff\x00", b"\xff\x07a", b"\x1b\x03a"])
def test_a_broken_opus_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(MediaError, match="Opus packet"):
        opus.packetize(packet, LIMIT)


def test_an_opus_packet_that_does_not_fit_is_refused() -> None:
    assert opus.packetize(b"\xfc" + bytes(LIMIT - 1), LIMIT)
    with pytest.raises(MediaError, match="has 101 bytes, and 100 fit"):
        opus.packetize(b"\xfc" + bytes(LIMIT), LIMIT)


def test_the_frame_sizes_rise_within_each_mode() -> None:
    """RFC 6716 table 2: only a new mode begins with a shorter frame."""
    sizes = [opus.samples(bytes([number << 3])) for number in range(32)]
    falls = [number for number, (a, b) in enumerate(pairwise(sizes), 1) if b < a]
    assert falls == [4, 8, 12, 14, 16, 20, 24, 28]
