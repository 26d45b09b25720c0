"""The stream of a peer that is made here: one header for all viewers, and what is in it."""

from __future__ import annotations

import re

import pytest

from pyforward import sdp
from pyforward.errors import Unprocessable
from pyforward_bench.rig.peers.stream import MOST_BYTES, SSRCS, Stream
from tests.unit.offers import H264, local

LIVE = (sdp.LiveTrack("video", "h264", H264), sdp.LiveTrack("audio", "opus", ""))

PAYLOAD = b"payload"


def published(*, live: tuple[sdp.LiveTrack, ...] = LIVE) -> Stream:
    """A stream that our own client publishes."""
    stream = Stream()
    offer = sdp.offer_publish(local("actpass"), live, msid_stream="test")
    answer = stream.answer_publisher(sdp.parse(offer.text), local())
    assert len(sdp.accept_publish(offer, answer).tracks) == len(live)
    return stream


def watched(stream: Stream) -> sdp.WatchAccepted:
    """What our own client is told that it will get."""
    offer = sdp.offer_watch(local("actpass"))
    return sdp.accept_watch(offer, stream.answer_viewer(sdp.parse(offer.text), local()))


def packet(payload: bytes = PAYLOAD, *, first: int = 0x80, second: int = 0x80 | 102) -> bytes:
    head = bytes((first, second)) + (7).to_bytes(2, "big") + (9).to_bytes(4, "big")
    return head + b"ssrc" + payload


def test_all_viewers_are_told_the_same() -> None:
    stream = published()
    for _ in range(2):
        tracks = watched(stream).tracks
        assert {track.kind: track.ssrcs for track in tracks} == {
            kind: (ssrc,) for kind, ssrc in SSRCS.items()
        }
        assert {track.kind: track.payload_type for track in tracks} == {"audio": 111, "video": 102}


def test_a_packet_has_the_header_that_they_were_told() -> None:
    stream = published()
    watched(stream)
    found = stream.packet(packet())
    assert found is not None
    assert found[:2] == bytes((0x80, 0x80 | 102))
    assert found[2:8] == packet()[2:8]
    assert int.from_bytes(found[8:12], "big") == SSRCS["video"]
    assert found[12:] == PAYLOAD


@pytest.mark.parametrize(
    ("first", "body"),
    [
        pytest.param(0x90, b"\xbe\xde\x00\x01\x10\x61\x00\x00" + PAYLOAD, id="extension"),
        pytest.param(0xA0, PAYLOAD + b"\x00\x00\x03", id="padding"),
        pytest.param(0x82, bytes(8) + PAYLOAD, id="sources"),
    ],
)
def test_of_a_packet_the_payload_is_left(first: int, body: bytes) -> None:
    stream = published()
    watched(stream)
    found = stream.packet(packet(body, first=first))
    assert found is not None
    assert found[0] == 0x80
    assert found[12:] == PAYLOAD


@pytest.mark.parametrize(
    "untrusted",
    [
        b"",
        b"\x80",
        b"\x00" * 20,
        b"\x80" * 20,  # of no payload type that was agreed on
        packet(bytes(MOST_BYTES)),
        packet(b"\xbe\xde\xff\xff", first=0x90),
        packet(b"\xff", first=0xA0),
    ],
)
def test_what_is_no_packet_of_a_track_goes_to_nobody(untrusted: bytes) -> None:
    stream = published()
    watched(stream)
    assert stream.packet(untrusted) is None


def test_there_is_nothing_to_watch_before_somebody_publishes() -> None:
    with pytest.raises(Unprocessable, match="Nobody publishes"):
        watched(Stream())


def test_who_has_another_payload_type_cannot_get_the_same_packets() -> None:
    stream = published(live=LIVE[:1])
    watched(stream)
    offer = sdp.offer_watch(local("actpass")).text
    other = re.sub(r"\b102\b", "126", offer)
    with pytest.raises(Unprocessable, match="another payload type"):
        stream.answer_viewer(sdp.parse(other), local())
