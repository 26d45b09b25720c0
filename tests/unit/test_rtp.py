"""RTP headers, read back by aiortc."""

from __future__ import annotations

from aiortc.rtp import RtpPacket

from pyforward.media import rtp


def test_packets_say_what_they_were_told() -> None:
    writer = rtp.Writer(96, 0xDEADBEEF, first_sequence=7, first_timestamp=1_000)
    packets = [RtpPacket.parse(p) for p in writer.packets([b"a", b"bc"], 3_000, marker=True)]
    packets += [RtpPacket.parse(p) for p in writer.packets([b"d"], 6_000, marker=False)]
    assert [p.payload for p in packets] == [b"a", b"bc", b"d"]
    assert [p.sequence_number for p in packets] == [7, 8, 9]
    assert [p.timestamp for p in packets] == [4_000, 4_000, 7_000]
    assert [p.marker for p in packets] == [0, 1, 0]
    assert {(p.version, p.payload_type, p.ssrc, p.padding_size) for p in packets} == {
        (2, 96, 0xDEADBEEF, 0)
    }
    assert all(not p.csrc and p.extensions == type(p.extensions)() for p in packets)


def test_numbers_wrap() -> None:
    writer = rtp.Writer(111, 1, first_sequence=0xFFFF, first_timestamp=0xFFFFFFFF)
    packets = [RtpPacket.parse(p) for p in writer.packets([b"a", b"b"], (5 << 32) + 2, marker=True)]
    assert [p.sequence_number for p in packets] == [0xFFFF, 0]
    assert [p.timestamp for p in packets] == [1, 1]


def test_no_payload_makes_no_packet() -> None:
    writer = rtp.Writer(111, 1)
    assert writer.packets([], 0, marker=True) == ()
    (packet,) = writer.packets([b"a"], 0, marker=True)
    assert RtpPacket.parse(packet).sequence_number == 0


def test_the_largest_packet_is_1200_bytes() -> None:
    (packet,) = rtp.Writer(96, 1).packets([bytes(rtp.MOST_PAYLOAD_BYTES)], 0, marker=True)
    assert len(packet) == rtp.MOST_PACKET_BYTES == 1_200
