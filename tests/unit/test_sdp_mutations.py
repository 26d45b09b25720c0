"""Changed offers never end in anything but an answer or a reason, and every answer can be read."""

from __future__ import annotations

from pyforward import sdp
from pyforward.errors import BadOffer, Unprocessable
from tests.unit.mutation import mutations
from tests.unit.offers import LIVE, OFFERS, local, offer_text


def test_mutated_offers() -> None:
    ours = local()
    answered = refused = 0
    for data in mutations([offer_text(name).encode() for name in OFFERS]):
        text = data.decode("utf-8", "replace")
        try:
            description = sdp.parse(text)
        except BadOffer:
            refused += 1
            continue
        assert sdp.parse(description.write()) == description
        for answer in (_publish, _watch):
            try:
                sdp.offer_transport(description)
                written = answer(description, ours)
            except (BadOffer, Unprocessable):
                refused += 1
                continue
            answered += 1
            assert len(sdp.parse(written).media) == len(description.media)
            assert len(written) < 2 * len(text) + 4096
    assert answered > 20
    assert refused > 20


def _publish(description: sdp.SessionDescription, ours: sdp.LocalTransport) -> str:
    answer = sdp.answer_publish(description, ours)
    for track in answer.tracks:
        assert 0 <= track.payload_type <= 127
        assert all(0 <= ssrc < 1 << 32 for ssrc in track.ssrcs)
        assert all(0 < id_ <= 255 for id_, _ in track.extensions)
        assert len(track.mid) <= 64
    return answer.text


def _watch(description: sdp.SessionDescription, ours: sdp.LocalTransport) -> str:
    answer = sdp.answer_watch(description, ours, LIVE, msid_stream="demo")
    for track in answer.tracks:
        assert all(0 <= item.payload_type <= 127 for item in track.formats)
        assert len({item.codec for item in track.formats}) == len(track.formats)
    return answer.text
