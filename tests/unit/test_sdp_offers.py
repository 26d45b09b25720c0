"""Our own offers, and what is read in the answers of others and of our own answerers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from pyforward import ice, sdp
from pyforward.commands import Format
from pyforward.errors import BadAnswer
from pyforward.sdp.codecs import FORWARDABLE, formats
from pyforward.sdp.extensions import FROM_SERVERS, TO_VIEWERS, offered
from pyforward.sdp.grammar import MAX_TEXT_BYTES
from tests.unit.answers import FILE, RECEIVING, SENDING, offer_publish, offer_watch
from tests.unit.offers import H264, LIVE, local, sections

AUDIO, VIDEO = 1, 2


def _changed(text: str, *changes: tuple[str, str]) -> str:
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    return text


# What we offer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("offer", [offer_watch(), offer_publish()])
def test_an_offer_reads_back_as_it_was_meant(offer: sdp.Offer) -> None:
    assert sdp.parse(offer.text) == offer.description
    peer = sdp.offer_transport(offer.description)
    assert (peer.setup, peer.trickle, peer.ice_lite) == ("actpass", True, False)
    assert [item.host for item in ice.usable_candidates(peer.candidates)] == [
        "192.0.2.1",
        "2001:db8::1",
        "127.0.0.1",
    ]
    seen: list[str] = []
    for section in sections(offer.text)[1:]:
        seen += section[0].split()[3:]
        for line in ("a=rtcp-mux", "a=rtcp-rsize", "a=setup:actpass", "a=end-of-candidates"):
            assert line in section
    assert len(seen) == len(set(seen)), "a payload type stands for one thing in a bundle"
    assert not any(64 <= int(payload_type) <= 95 for payload_type in seen)


def test_a_viewer_offers_every_codec_with_what_a_browser_offers() -> None:
    offer = offer_watch()
    for media in offer.description.media:
        found = formats(media)
        wanted = FORWARDABLE["audio" if media.kind == "audio" else "video"]
        assert {item.codec for item in found} == set(wanted)
        if media.kind == "video":
            assert all(item.rtx_payload_type is not None for item in found)
            assert all(
                item.feedback == {"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"}
                for item in found
            )
        own = media.attributes
        names = {item.name for item in offered(own, own, peer_sends=False)}
        if media.kind == "video":
            assert names == FROM_SERVERS - {"audio_level"}
        else:
            common = {"mid", "abs_send_time", "transport_cc", "abs_capture_time"}
            assert names == common | {"audio_level"}
    h264 = [item for item in formats(offer.description.media[1]) if item.codec == "h264"]
    assert {item.parameters["packetization-mode"] for item in h264} == {"0", "1"}
    assert h264[0].parameters["profile-level-id"] == "42e01f"
    assert "rtcp-xr" not in offer.text
    lines = sections(offer.text)
    assert "a=recvonly" in lines[AUDIO]
    assert "a=group:BUNDLE 0 1" in lines[0]
    assert "a=extmap-allow-mixed" in lines[0]


def test_one_kind_alone() -> None:
    (media,) = sdp.offer_watch(local("actpass"), audio=False).description.media
    assert (media.kind, media.mid) == ("video", "0")
    with pytest.raises(ValueError, match="audio"):
        sdp.offer_watch(local("actpass"), audio=False, video=False)


def test_without_candidates_the_list_stays_open() -> None:
    ours = sdp.LocalTransport("ufrag", "p" * 24, ("sha-256", bytes(32)), "actpass", ())
    text = sdp.offer_watch(ours).text
    assert "candidate" not in text
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\nc=IN IP4 0.0.0.0\r\n" in text
    assert "a=ice-options:trickle" in text


def test_a_publisher_offers_one_codec_a_track_under_fresh_ssrcs() -> None:
    offer = offer_publish()
    lines = sections(offer.text)
    assert lines[AUDIO][0] == "m=audio 8189 UDP/TLS/RTP/SAVPF 111"
    assert lines[VIDEO][0] == "m=video 8189 UDP/TLS/RTP/SAVPF 102 103"
    assert "a=sendonly" in lines[VIDEO]
    assert f"a=fmtp:102 {H264}" in lines[VIDEO]
    assert "a=fmtp:111 stereo=1" in lines[AUDIO]
    assert "a=msid:file video" in lines[VIDEO]
    (group,) = (line for line in lines[VIDEO] if line.startswith("a=ssrc-group:FID "))
    ssrcs = group.split()[1:]
    for ssrc in ssrcs:
        assert f"a=ssrc:{ssrc} cname:{offer.cname}" in lines[VIDEO]
        assert f"a=ssrc:{ssrc} msid:file video" in lines[VIDEO]
    assert len({*ssrcs, *re.findall(r"a=ssrc:(\d+) cname", offer.text)}) == 3
    (video,) = formats(offer.description.media[1])
    assert video.feedback == {"nack", "nack pli", "ccm fir"}
    media = offer.description.media[1].attributes
    names = {item.name for item in offered(media, media, peer_sends=True)}
    assert names == TO_VIEWERS - {"audio_level"}
    assert offer_publish().cname != offer.cname


@pytest.mark.parametrize(
    "tracks",
    [
        (),
        (FILE[0], FILE[0]),
        (sdp.LiveTrack("audio", "vp8"),),
    ],
)
def test_what_cannot_be_offered(tracks: Sequence[sdp.LiveTrack]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sdp.offer_publish(local("actpass"), tracks, msid_stream="x")


# Our own answerers -------------------------------------------------------------------------------


def test_watching_ourselves() -> None:
    offer = offer_watch()
    answer = sdp.answer_watch(sdp.parse(offer.text), local(), LIVE, msid_stream="demo")
    accepted = sdp.accept_watch(offer, answer.text)
    assert (accepted.transport.setup, accepted.transport.our_setup) == ("passive", "active")
    assert accepted.transport.ice_lite
    assert len(ice.usable_candidates(accepted.transport.candidates)) == 3
    for ours, theirs in zip(accepted.tracks, answer.tracks, strict=True):
        assert (ours.kind, ours.mid, ours.ssrcs) == (theirs.kind, theirs.mid, (theirs.ssrc,))
        first = Format(ours.codec, ours.payload_type, ours.rtx_payload_type)
        assert (first, *ours.alternatives) == theirs.formats
        assert ours.extensions == theirs.extensions
        assert (ours.nack, ours.clock_rate) == (theirs.nack, theirs.clock_rate)
        # Neither is negotiated toward viewers here.
        assert (ours.transport_cc, ours.remb) == (False, False)
    audio, video = accepted.tracks
    assert (audio.codec, video.codec) == ("opus", "h264")
    assert video.rtx_ssrcs == ((answer.tracks[1].ssrc, answer.tracks[1].rtx_ssrc),)
    assert (video.pli, video.fir, audio.pli) == (True, True, False)
    ssrcs = [audio.feedback_ssrc, video.feedback_ssrc, *audio.ssrcs, *video.ssrcs]
    assert len(set(ssrcs)) == 4


def test_publishing_to_ourselves() -> None:
    offer = offer_publish()
    answer = sdp.answer_publish(sdp.parse(offer.text), local())
    accepted = sdp.accept_publish(offer, answer.text)
    assert accepted.cname == offer.cname
    for ours, theirs in zip(accepted.tracks, answer.tracks, strict=True):
        assert (ours.kind, ours.mid) == (theirs.kind, theirs.mid)
        assert ours.formats == (Format(theirs.codec, theirs.payload_type, theirs.rtx_payload_type),)
        assert (ours.ssrc,) == theirs.ssrcs
        assert ours.extensions == theirs.extensions
        assert (ours.extmap_allow_mixed, ours.rrtr) == (True, False)
        assert ours.nack == theirs.nack
        assert theirs.rtx_ssrcs == (() if ours.rtx_ssrc is None else ((ours.ssrc, ours.rtx_ssrc),))
    assert [track.nack for track in accepted.tracks] == [False, True]
    assert accepted.tracks[0].rtx_ssrc is None
    assert accepted.tracks[1].rtx_ssrc is not None


@pytest.mark.parametrize("codec", FORWARDABLE["video"])
def test_each_codec_goes_both_ways(codec: str) -> None:
    (live,) = (
        sdp.LiveTrack("video", known, H264 if known == "h264" else "")
        for known in FORWARDABLE["video"]
        if known == codec
    )
    watching = offer_watch()
    answer = sdp.answer_watch(sdp.parse(watching.text), local(), [live], msid_stream="x")
    (track,) = sdp.accept_watch(watching, answer.text).tracks
    assert track.codec == codec
    publishing = sdp.offer_publish(local("actpass"), [live], msid_stream="x")
    (sent,) = sdp.accept_publish(
        publishing, sdp.answer_publish(sdp.parse(publishing.text), local()).text
    ).tracks
    assert sent.formats[0].codec == codec
    assert sent.formats[0].rtx_payload_type is not None


def test_what_the_server_lacks_is_left_out() -> None:
    offer = offer_watch()
    answer = sdp.answer_watch(sdp.parse(offer.text), local(), LIVE[:1], msid_stream="x")
    assert "a=inactive" in answer.text
    assert [track.kind for track in sdp.accept_watch(offer, answer.text).tracks] == ["video"]
    refused = _changed(SENDING, (r"^m=audio 9", "m=audio 0"))
    # The transport's candidates stood in the m-line that is refused.
    accepted = sdp.accept_watch(offer, refused)
    assert [track.kind for track in accepted.tracks] == ["video"]
    assert accepted.transport.candidates


# Other servers -----------------------------------------------------------------------------------


def test_a_stranger_that_sends() -> None:
    accepted = sdp.accept_watch(offer_watch(), SENDING)
    audio, video = accepted.tracks
    assert (audio.payload_type, audio.nack, audio.ssrcs) == (111, False, (11,))
    assert (video.codec, video.payload_type, video.rtx_payload_type) == ("h264", 126, 127)
    assert (video.ssrcs, video.rtx_ssrcs) == ((21,), ((21, 22),))
    assert (video.nack, video.pli, video.fir) == (True, True, False)
    assert (video.transport_cc, video.remb) == (False, True)
    assert video.extensions == ((4, "mid"),), "nobody offered the dependency descriptor"
    assert [unit[0] & 0x1F for unit in video.parameter_sets] == [7, 8]
    assert video.alternatives == (Format("vp8", 96, None),)
    peer = accepted.transport
    assert (peer.ufrag, peer.setup, peer.our_setup) == ("STRA", "active", "passive")
    assert (peer.trickle, peer.ice_lite) == (False, False)
    usable = ice.usable_candidates(peer.candidates)
    assert [(item.type, item.host, item.port) for item in usable] == [
        ("host", "192.0.2.7", 40000),
        ("srflx", "198.51.100.7", 40002),
        ("relay", "203.0.113.9", 3478),
    ]


def test_transport_wide_feedback_needs_its_extension() -> None:
    line = "a=rtcp-fb:126 transport-cc\r\na=rtcp-fb:126 goog-remb"
    without = _changed(SENDING, (r"^a=rtcp-fb:126 goog-remb", line))
    (_, video) = sdp.accept_watch(offer_watch(), without).tracks
    assert (video.transport_cc, video.remb) == (False, True)
    extmap = "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    with_it = _changed(without, (r"^a=extmap:4", extmap + "\r\na=extmap:4"))
    (_, video) = sdp.accept_watch(offer_watch(), with_it).tracks
    assert (video.transport_cc, video.remb) == (True, False)
    assert (3, "transport_cc") in video.extensions
    unasked = _changed(with_it, (r"^a=rtcp-fb:126 transport-cc\r\n", ""))
    (_, video) = sdp.accept_watch(offer_watch(), unasked).tracks
    assert (video.transport_cc, video.remb) == (False, True)
    assert video.extensions == ((4, "mid"),)


def test_a_stranger_that_receives() -> None:
    offer = offer_publish()
    accepted = sdp.accept_publish(offer, RECEIVING)
    _, video = accepted.tracks
    assert video.formats == (Format("h264", 102, 103),)
    assert video.nack
    # Transport-wide feedback was not offered; color-space it takes in our direction.
    assert video.extensions == ((4, "mid"), (8, "color_space"))
    assert not video.extmap_allow_mixed


def test_retransmissions_only_where_the_answer_takes_them() -> None:
    plain = _changed(RECEIVING, (r"SAVPF 102 103", "SAVPF 102"), (r"^a=.*:103 .*\r\n", ""))
    (_, video) = sdp.accept_publish(offer_publish(), plain).tracks
    assert (video.formats[0].rtx_payload_type, video.rtx_ssrc, video.nack) == (None, None, True)
    deaf = _changed(RECEIVING, (r"^a=rtcp-fb:102 nack\r\n", ""))
    (_, video) = sdp.accept_publish(offer_publish(), deaf).tracks
    assert (video.formats[0].rtx_payload_type, video.rtx_ssrc, video.nack) == (None, None, False)


def test_a_server_with_its_own_payload_types_gets_those() -> None:
    own = _changed(RECEIVING, (r"\b102\b", "120"), (r"\b103\b", "121"))
    (_, video) = sdp.accept_publish(offer_publish(), own).tracks
    assert video.formats == (Format("h264", 120, 121),)
    mode_0 = (r"packetization-mode=1", "packetization-mode=0")
    assert [t.kind for t in sdp.accept_publish(offer_publish(), _changed(own, mode_0)).tracks] == [
        "audio"
    ]
    # Under our own number its parameters are taken as repeated, whatever it wrote.
    bare = _changed(RECEIVING, (r"^a=fmtp:102 .*\r\n", ""))
    assert len(sdp.accept_publish(offer_publish(), bare).tracks) == 2


def test_a_role_that_the_offer_took_is_not_left() -> None:
    offer = sdp.offer_watch(local("active"))
    with pytest.raises(BadAnswer, match="DTLS role"):
        sdp.accept_watch(offer, SENDING)
    passive = sdp.accept_watch(offer, _changed(SENDING, (r"^a=setup:active", "a=setup:passive")))
    assert passive.transport.our_setup == "active"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((r"^v=0", "v=1"), "version"),
        ((r"^m=audio(.|\r\n)*?(?=m=video)", ""), "1 m-lines to the offer's 2"),
        ((r"\Z", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"), "3 m-lines"),
        ((r"^m=audio", "m=video"), "in their order"),
        ((r"^a=mid:0", "a=mid:7"), "in their order"),
        ((r"^a=rtcp-mux\r\n", ""), "rtcp-mux"),
        ((r"^a=group:.*\r\n", ""), "BUNDLE"),
        ((r"UDP/TLS/RTP/SAVPF", "RTP/AVP"), "DTLS"),
        ((r"^a=ice-(ufrag|pwd):.*\r\n", ""), "answer has no ICE credentials"),
        ((r"^a=ice-pwd:.*\r$", "a=ice-pwd:short\r"), "ice-pwd"),
        ((r"^a=fingerprint:.*\r\n", ""), "answer has no certificate fingerprint"),
        ((r"^a=setup:.*\r$", "a=setup:actpass\r"), "DTLS role"),
        ((r"^a=setup:.*\r\n", ""), "DTLS role"),
        ((r"^a=setup:.*\r$", "a=setup:holdconn\r"), "holdconn"),
        ((r"^m=(audio|video) 9", r"m=\1 0"), "neither audio nor video"),
        ((r"^a=sendonly", "a=inactive"), "neither audio nor video"),
        ((r"^a=sendonly", "a=recvonly"), "neither audio nor video"),
        ((r"^a=rtpmap:.*\r\n", ""), "neither audio nor video"),
        ((r"^a=rtpmap:111 .*\r$", "a=rtpmap:111 opus/48000/2\r\na=ssrc:x\r"), "SSRC"),
        ((r"\b111\b", "96"), "96 stands for two formats"),
        ((r"\r\n\Z", ""), "cut off"),
    ],
)
def test_refused_with_a_reason(change: tuple[str, str], reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason):
        sdp.accept_watch(offer_watch(), _changed(SENDING, change))


def test_what_is_enormous_or_no_description_is_refused() -> None:
    for text in ("", "hello", "\x1b[31m", SENDING + "a=x\r\n" * MAX_TEXT_BYTES):
        with pytest.raises(BadAnswer, match=r"cannot be used\."):
            sdp.accept_publish(offer_publish(), text)


def test_the_sentence_is_fit_for_a_terminal() -> None:
    hostile = _changed(SENDING, (r"^a=setup:.*\r$", "a=setup:\u009b31m\u202e\r"))
    with pytest.raises(BadAnswer) as caught:
        sdp.accept_watch(offer_watch(), hostile)
    assert str(caught.value).isprintable()


def test_candidates_are_bounded_and_each_address_counts_once() -> None:
    line = "1 1 udp 2130706431 192.0.2.{} 40000 typ host"
    values = [line.format(n) for n in range(100)] + [line.format(1)] * 100
    assert len(ice.usable_candidates(values)) == 16
    assert len(ice.usable_candidates([line.format(1)] * 2)) == 1
