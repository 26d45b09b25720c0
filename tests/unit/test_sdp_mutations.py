"""Changed offers never end in anything but an answer or a reason, and every answer can be read.
Changed answers to our own offers are used or refused with a sentence."""

from __future__ import annotations

from ipaddress import ip_address

from pyforward import ice, sdp
from pyforward.errors import BadAnswer, BadOffer, Unprocessable
from pyforward.sdp.codecs import MAX_PARAMETER_SETS
from pyforward.sdp.transport import MAX_FINGERPRINTS
from tests.unit.answers import RECEIVING, SENDING, offer_publish, offer_watch
from tests.unit.mutation import corpus, mutations
from tests.unit.offers import LIVE, OFFERS, local, offer_text


def test_mutated_offers() -> None:
    ours = local()
    answered = refused = 0
    for data in mutations([*(offer_text(name).encode() for name in OFFERS), *corpus("sdp")]):
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


def test_mutated_answers() -> None:
    watched = sdp.answer_watch(sdp.parse(WATCHING.text), local(), LIVE, msid_stream="demo").text
    published = sdp.answer_publish(sdp.parse(PUBLISHING.text), local()).text
    accepted = 0
    sentences: list[str] = []
    good = [text.encode() for text in (watched, published, SENDING, RECEIVING)]
    for data in mutations([*good, *corpus("sdp")]):
        text = data.decode("utf-8", "replace")
        for read in (_accept_watch, _accept_publish):
            try:
                transport = read(text)
            except BadAnswer as error:
                sentences.append(str(error))
                continue
            accepted += 1
            assert transport.setup in ("active", "passive")
            assert 1 <= len(transport.fingerprints) <= MAX_FINGERPRINTS
            for candidate in ice.usable_candidates(transport.candidates):
                assert 0 < candidate.port <= 65535
                assert 0 < candidate.priority < 1 << 31
                ip_address(candidate.host)
    assert accepted > 20
    assert len(sentences) > 20
    assert all(text.isprintable() and text.endswith(".") for text in sentences)


WATCHING, PUBLISHING = offer_watch(), offer_publish()


def _accept_watch(text: str) -> sdp.PeerTransport:
    result = sdp.accept_watch(WATCHING, text)
    assert 1 <= len(result.tracks) <= 2
    for track in result.tracks:
        types = [track.payload_type, *(item.payload_type for item in track.alternatives)]
        assert all(0 <= payload_type <= 127 for payload_type in types)
        assert len(set(types)) == len(types)
        assert all(0 < id_ <= 255 for id_, _ in track.extensions)
        assert all(0 <= ssrc < 1 << 32 for ssrc in track.ssrcs)
        assert track.feedback_ssrc not in track.ssrcs
        assert len(track.parameter_sets) <= MAX_PARAMETER_SETS
    return result.transport


def _accept_publish(text: str) -> sdp.PeerTransport:
    result = sdp.accept_publish(PUBLISHING, text)
    assert 1 <= len(result.tracks) <= 2
    for track in result.tracks:
        (format_,) = track.formats
        assert format_.codec == {"audio": "opus", "video": "h264"}[track.kind]
        assert (format_.rtx_payload_type is None) == (track.rtx_ssrc is None)
        assert all(0 < id_ <= 255 for id_, _ in track.extensions)
    return result.transport
