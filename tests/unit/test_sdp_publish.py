"""Answers to publishers: one codec with RTX a kind, or the whole offer is refused with a reason."""

from __future__ import annotations

import pytest

from pyforward import sdp
from pyforward.errors import BadOffer, RequestError, Unprocessable
from tests.unit.offers import PUBLISHERS, changed, local, offer, offer_text, sections

CHROMIUM = "chromium-publish.sdp"
AUDIO, VIDEO = 1, 2


def _answer(name: str, *changes: tuple[str, str]) -> sdp.PublishAnswer:
    return sdp.answer_publish(changed(name, *changes), local())


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_known_publisher_is_answered(name: str) -> None:
    description = offer(name)
    answer = sdp.answer_publish(description, local())
    read = sdp.parse(answer.text)
    assert len(answer.text.encode()) <= 8 * 1024  # FFmpeg reads no more
    assert [(m.kind, m.mid) for m in read.media] == [(m.kind, m.mid) for m in description.media]
    assert len(answer.tracks) == len(answer.live) >= 1


def test_chromium_gets_one_codec_with_rtx_and_its_feedback() -> None:
    answer = sdp.answer_publish(offer(CHROMIUM), local())
    audio, video = answer.tracks
    assert (audio.kind, audio.codec, audio.payload_type, audio.clock_rate) == (
        "audio",
        "opus",
        111,
        48000,
    )
    assert (audio.nack, audio.rtx_payload_type, audio.transport_cc) == (False, None, True)
    assert (video.codec, video.payload_type, video.rtx_payload_type) == ("vp8", 96, 97)
    assert video.ssrcs == (1625652300,)
    assert video.rtx_ssrcs == ((1625652300, 852280689),)
    assert (video.nack, video.pli, video.fir) == (True, True, True)
    assert (video.transport_cc, video.remb) == (True, False)
    assert dict(video.extensions) == {
        13: "video_orientation",
        3: "transport_cc",
        5: "playout_delay",
        6: "video_content_type",
        7: "video_timing",
        8: "color_space",
        4: "mid",
        10: "rid",
        11: "repaired_rid",
    }
    assert answer.live[1] == sdp.LiveTrack("video", "vp8", "")
    lines = sections(answer.text)
    assert lines[VIDEO][0] == "m=video 8189 UDP/TLS/RTP/SAVPF 96 97"
    assert "a=recvonly" in lines[VIDEO]
    assert "a=rtcp-fb:96 transport-cc" in lines[VIDEO]
    assert "a=rtcp-fb:96 goog-remb" not in lines[VIDEO]
    assert "a=fmtp:97 apt=96" in lines[VIDEO]
    assert "red/" not in answer.text
    assert "ulpfec" not in answer.text


def test_transport_is_written_once_and_closed() -> None:
    ours = local()
    lines = sections(sdp.answer_publish(offer(CHROMIUM), ours).text)
    assert lines[0][4:] == [
        "a=group:BUNDLE 0 1",
        "a=ice-lite",
        "a=ice-options:trickle",
        "a=extmap-allow-mixed",
    ]
    assert lines[AUDIO][1] == "c=IN IP4 192.0.2.1"
    assert [line.split()[4] for line in lines[AUDIO] if line.startswith("a=candidate")] == [
        "192.0.2.1",
        "2001:db8::1",
        "127.0.0.1",
    ]
    assert "a=end-of-candidates" in lines[AUDIO]
    assert not [line for line in lines[VIDEO] if "candidate" in line]
    for section in lines[1:]:
        assert f"a=ice-ufrag:{ours.ufrag}" in section
        assert f"a=ice-pwd:{ours.pwd}" in section
        assert "a=setup:passive" in section
        assert "a=rtcp-mux" in section
        assert "a=rtcp-rsize" in section
        assert [line for line in section if line.startswith("a=fingerprint:sha-256 00:01:02:")]


def test_trickle_is_offered_only_to_who_trickles() -> None:
    answer = _answer(CHROMIUM, (r"^a=ice-options:trickle\r\n", ""))
    assert "ice-options" not in answer.text


def test_what_viewers_hold_is_preferred() -> None:
    tracks = sdp.answer_publish(offer(CHROMIUM), local(), prefer=["av1"]).tracks
    assert [(t.codec, t.payload_type, t.rtx_payload_type) for t in tracks] == [
        ("opus", 111, None),
        ("av1", 45, 46),
    ]
    tracks = sdp.answer_publish(offer(CHROMIUM), local(), prefer=["h265", "h264", "pcma"]).tracks
    # Packetization-mode 1, and of those the publisher's first profile.
    assert [(t.codec, t.payload_type) for t in tracks] == [("pcma", 8), ("h264", 102)]


def test_packetization_mode_1_goes_before_the_publishers_order() -> None:
    order = (r"^(m=video .*SAVPF) .*\r$", "\\1 104 107 102 103\r")
    (_, video) = _answer(CHROMIUM, order).tracks
    assert (video.payload_type, video.rtx_payload_type) == (102, 103)


def test_remb_where_transport_cc_is_missing() -> None:
    for change in (
        (r"^a=rtcp-fb:96 transport-cc\r\n", ""),
        (r"^a=extmap:3 .*transport-wide-cc.*\r\n", ""),
    ):
        answer = _answer(CHROMIUM, change)
        video = answer.tracks[1]
        assert (video.transport_cc, video.remb) == (False, True)
        assert "transport_cc" not in dict(video.extensions).values()
        assert "a=rtcp-fb:96 goog-remb" in sections(answer.text)[VIDEO]


def test_no_rtx_without_nack() -> None:
    answer = _answer(CHROMIUM, (r"^a=rtcp-fb:96 nack\r\n", ""))
    video = answer.tracks[1]
    assert (video.nack, video.rtx_payload_type, video.rtx_ssrcs) == (False, None, ())
    assert "rtx" not in answer.text


def test_video_first_maps_right() -> None:
    video, audio = sdp.answer_publish(offer("chromium-publish-video-first.sdp"), local()).tracks
    assert (video.kind, video.mid, video.codec) == ("video", "0", "vp8")
    assert (audio.kind, audio.mid, audio.codec) == ("audio", "1", "opus")
    assert video.feedback_ssrc != audio.feedback_ssrc


def test_sendrecv_is_answered_recvonly() -> None:
    lines = sections(sdp.answer_publish(offer("chromium-publish-sendrecv.sdp"), local()).text)
    assert "a=recvonly" in lines[AUDIO]
    assert "a=recvonly" in lines[VIDEO]


def test_simulcast_is_accepted_with_every_rid() -> None:
    """OBS aborts when a RID is missing; Chromium would send its smallest picture."""
    for name, rids in (
        ("chromium-publish-simulcast.sdp", ("q", "h", "f")),
        ("obs-publish-simulcast.sdp", ("0", "1", "2")),
    ):
        answer = sdp.answer_publish(offer(name), local())
        assert answer.tracks[1].rids == rids
        assert answer.tracks[1].ssrcs == ()
        lines = sections(answer.text)[VIDEO]
        assert [line for line in lines if line.startswith("a=rid:")] == [
            f"a=rid:{rid} recv" for rid in rids
        ]
        assert f"a=simulcast:recv {';'.join(rids)}" in lines


def test_simulcast_with_paused_alternative_and_restricted_layers() -> None:
    answer = _answer(
        "chromium-publish-simulcast.sdp",
        (r"^a=rid:h send", "a=rid:h send pt=96,98;max-width=640"),
        (r"^a=rid:f send", "a=rid:f send pt=45"),
        (r"^a=simulcast:.*\r$", "a=simulcast:recv x send ~q;h,f\r"),
    )
    assert answer.tracks[1].rids == ("q", "h")
    lines = sections(answer.text)[VIDEO]
    assert "a=rid:h recv pt=96,98;max-width=640" in lines
    assert "a=simulcast:recv q;h" in lines


def test_ssrcs_of_a_sim_group_and_without_repair_streams() -> None:
    answer = _answer(
        CHROMIUM,
        (
            r"^a=ssrc-group:FID 1625652300 852280689",
            (
                "a=ssrc-group:SIM 1625652300 7\r\na=ssrc-group:FID 1625652300 852280689\r\n"
                "a=ssrc-group:FID 7 8\r\na=ssrc-group:FEC-FR 1625652300 9\r\na=ssrc:9 cname:x"
            ),
        ),
    )
    assert answer.tracks[1].ssrcs == (1625652300, 7)
    assert answer.tracks[1].rtx_ssrcs == ((1625652300, 852280689), (7, 8))


def test_opus_keeps_stereo_fec_and_dtx() -> None:
    lines = sections(sdp.answer_publish(offer("obs-publish-simulcast.sdp"), local()).text)
    (fmtp,) = (line for line in lines[AUDIO] if line.startswith("a=fmtp:111"))
    parameters = fmtp.partition(" ")[2].split(";")
    assert {"stereo=1", "useinbandfec=1", "minptime=10"} <= set(parameters)
    assert "sprop-stereo=1" not in parameters


def test_bundle_that_names_an_absent_mid_and_passive_setup() -> None:
    """FFmpeg 8.0 names both mids though it sends one, and is passive itself."""
    description = offer("ffmpeg-publish-video-only.sdp")
    peer = sdp.offer_transport(description)
    assert (peer.setup, peer.our_setup) == ("passive", "active")
    answer = sdp.answer_publish(description, local(peer.our_setup))
    lines = sections(answer.text)
    assert "a=group:BUNDLE 1" in lines[0]
    assert "a=setup:active" in lines[1]
    assert answer.tracks[0].ssrcs == (3735928559,)


def test_ffmpeg_asks_for_nack_alone() -> None:
    """FFmpeg 8.1 repairs by RTX, but takes no request for a keyframe: none is promised to it."""
    description = offer("ffmpeg-publish.sdp")
    answer = sdp.answer_publish(description, local())
    audio, video = answer.tracks
    assert (audio.codec, audio.payload_type, len(audio.ssrcs)) == ("opus", 111, 1)
    assert (video.codec, video.payload_type, video.rtx_payload_type) == ("h264", 106, 105)
    ((ssrc, rtx_ssrc),) = video.rtx_ssrcs
    assert video.ssrcs == (ssrc,)
    assert rtx_ssrc == ssrc + 1
    assert (video.nack, video.pli, video.fir) == (True, False, False)
    assert (video.reduced_size, audio.reduced_size) == (True, False)
    lines = sections(answer.text)
    assert [line for line in lines[VIDEO] if "rtcp-fb" in line] == ["a=rtcp-fb:106 nack"]
    # It goes where the first candidate line of the answer says, and knows no other.
    first = next(line for section in lines for line in section if "a=candidate" in line)
    assert " udp 2130706431 192.0.2.1 8189 typ host" in first


def test_one_m_line_without_bundle_and_mid() -> None:
    answer = sdp.answer_publish(offer("encoder-publish-sprop.sdp"), local())
    (track,) = answer.tracks
    assert track.mid == ""
    assert track.nack
    assert "a=group" not in answer.text
    assert "a=mid" not in answer.text
    assert [unit[0] & 31 for unit in track.parameter_sets] == [7, 8]
    assert "sprop" not in answer.text
    assert "sprop" in answer.live[0].fmtp


def test_sprop_that_is_no_parameter_set_is_left_out() -> None:
    for text in ("Zg==", "!!!!", "", "Z", "A" * 4000, ",,,"):
        (track,) = _answer(
            "encoder-publish-sprop.sdp",
            (r"sprop-parameter-sets=\S+", f"sprop-parameter-sets={text}"),
        ).tracks
        assert track.parameter_sets == ()


def test_audio_only_and_video_only() -> None:
    text = offer_text(CHROMIUM)
    head, audio, video = text.partition("m=audio")[0], "", ""
    audio = "m=audio" + text.partition("m=audio")[2].partition("m=video")[0]
    video = "m=video" + text.partition("m=video")[2]
    for part, kind in ((audio, "audio"), (video, "video")):
        answer = sdp.answer_publish(sdp.parse(head + part), local())
        assert [track.kind for track in answer.tracks] == [kind]


def test_data_and_extra_m_lines_are_refused_by_port_0() -> None:
    extra = (
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n"
        "m=text 9 RTP/AVP 98\r\n"
    )
    answer = sdp.answer_publish(sdp.parse(offer_text(CHROMIUM) + extra), local())
    lines = sections(answer.text)
    assert [section[0] for section in lines[3:]] == [
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=video 0 UDP/TLS/RTP/SAVPF 96",
        "m=text 0 RTP/AVP 98",
    ]
    assert "a=group:BUNDLE 0 1" in lines[0]


def test_a_long_mid_travels_in_no_header_element() -> None:
    mid = "m" * 17
    (track, _) = _answer(
        CHROMIUM, (r"^a=mid:0", f"a=mid:{mid}"), (r"BUNDLE 0", f"BUNDLE {mid}")
    ).tracks
    assert track.mid == mid
    assert "mid" not in dict(track.extensions).values()


def test_extension_ids_above_14_need_allow_mixed() -> None:
    two_byte = (r"^a=extmap:13 ", "a=extmap:200 ")
    assert (200, "video_orientation") in _answer(CHROMIUM, two_byte).tracks[1].extensions
    without = _answer(CHROMIUM, two_byte, (r"^a=extmap-allow-mixed\r\n", ""))
    assert "video_orientation" not in dict(without.tracks[1].extensions).values()
    assert "extmap-allow-mixed" not in without.text
    reserved = _answer(CHROMIUM, (r"^a=extmap:13 ", "a=extmap:15 "))
    assert "video_orientation" not in dict(reserved.tracks[1].extensions).values()


def test_extension_directions_are_turned_round() -> None:
    answer = _answer(
        CHROMIUM,
        (r"^a=extmap:13 ", "a=extmap:13/sendonly "),
        (r"^a=extmap:8 ", "a=extmap:8/recvonly "),
    )
    assert "a=extmap:13/recvonly urn:3gpp:video-orientation" in answer.text
    assert 8 not in dict(answer.tracks[1].extensions)


REFUSED = [
    pytest.param((r"^a=rtcp-mux\r\n", ""), Unprocessable, "rtcp-mux", id="no rtcp-mux"),
    pytest.param((r"^m=audio", "m=video"), Unprocessable, "one video track", id="two videos"),
    pytest.param(
        (r"^(m=\w+ \d+) UDP/TLS/RTP/SAVPF", r"\1 RTP/AVP"), Unprocessable, "DTLS", id="plain RTP"
    ),
    pytest.param((r"^a=group:BUNDLE.*\r\n", ""), Unprocessable, "BUNDLE", id="no bundle"),
    pytest.param((r"BUNDLE 0 1", "BUNDLE 0"), Unprocessable, "BUNDLE", id="half a bundle"),
    pytest.param((r"^a=group:BUNDLE.*\r$", "a=group\r"), Unprocessable, "BUNDLE", id="bare group"),
    pytest.param((r"^a=sendonly", "a=recvonly"), Unprocessable, "neither", id="sends nothing"),
    pytest.param((r"opus", "speex"), None, "", id="another codec is there"),
    pytest.param(
        (r"(opus|PCMU|PCMA|VP8|VP9|H264|AV1)/", "nope/"),
        Unprocessable,
        "none of the offered audio codecs",
        id="no usable codec",
    ),
    pytest.param((r"^a=mid:1", "a=mid:0"), BadOffer, "mid", id="one mid twice"),
    pytest.param((r"^a=mid:1", "a=mid:b c"), BadOffer, "mid", id="mid is no token"),
    pytest.param((r"ssrc:1625652300", "ssrc:4294967296"), BadOffer, "SSRC", id="huge SSRC"),
    pytest.param((r"ssrc-group:FID \d+", "ssrc-group:FID x"), BadOffer, "SSRC", id="no SSRC"),
    pytest.param(
        (r"^a=ssrc-group.*\r$", "\n".join(f"a=ssrc:{n} cname:x\r" for n in range(33))),
        Unprocessable,
        "SSRCs",
        id="many SSRCs",
    ),
]


@pytest.mark.parametrize(("change", "error", "reason"), REFUSED)
def test_refused_with_a_reason(
    change: tuple[str, str], error: type[RequestError] | None, reason: str
) -> None:
    if error is None:
        _answer(CHROMIUM, change)
        return
    with pytest.raises(error, match=reason):
        _answer(CHROMIUM, change)


def test_a_payload_type_means_one_thing_in_a_bundle() -> None:
    with pytest.raises(Unprocessable, match="two formats"):
        _answer(CHROMIUM, (r"SAVPF 111", "SAVPF 96"), (r"^a=rtpmap:111 ", "a=rtpmap:96 "))


def test_more_layers_than_anybody_has() -> None:
    rids = [f"r{n}" for n in range(9)]
    lines = "".join(f"a=rid:{rid} send\r\n" for rid in rids)
    with pytest.raises(Unprocessable, match="layers"):
        _answer(
            "chromium-publish-simulcast.sdp",
            (r"^a=rid:q send\r\n", lines),
            (r"^a=simulcast:.*\r$", f"a=simulcast:send {';'.join(rids)}\r"),
        )
    with pytest.raises(BadOffer, match="rid"):
        _answer("chromium-publish-simulcast.sdp", (r"^a=rid:q send", "a=rid:" + "q" * 17 + " send"))
