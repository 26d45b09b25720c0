"""Answers to viewers: every forwardable codec, the stream's first; one msid, one CNAME."""

from __future__ import annotations

import pytest

from pyforward import sdp
from pyforward.commands import Codec
from pyforward.errors import BadOffer, NoCommonCodec, RequestError, Unprocessable
from pyforward.sdp.codecs import formats
from tests.unit.offers import H264, LIVE, VIEWERS, changed, local, offer, offer_text, sections

CHROMIUM = "chromium-watch.sdp"
AUDIO, VIDEO = 1, 2


def _watch(
    name: str, *changes: tuple[str, str], live: tuple[sdp.LiveTrack, ...] = LIVE
) -> sdp.WatchAnswer:
    return sdp.answer_watch(changed(name, *changes), local(), live, msid_stream="demo")


def _video(codec: Codec, fmtp: str = "") -> sdp.LiveTrack:
    return sdp.LiveTrack("video", codec, fmtp)


def _formats(answer: sdp.WatchAnswer, kind: str = "video") -> list[tuple[str, int, int | None]]:
    (track,) = (track for track in answer.tracks if track.kind == kind)
    return [(item.codec, item.payload_type, item.rtx_payload_type) for item in track.formats]


@pytest.mark.parametrize("name", VIEWERS)
def test_every_known_viewer_is_answered(name: str) -> None:
    description = offer(name)
    answer = sdp.answer_watch(description, local(), LIVE, msid_stream="demo")
    read = sdp.parse(answer.text)
    assert len(answer.text.encode()) <= 8 * 1024  # FFmpeg reads no more
    assert [(m.kind, m.mid) for m in read.media] == [(m.kind, m.mid) for m in description.media]
    assert sorted(track.kind for track in answer.tracks) == ["audio", "video"]


def test_every_forwardable_codec_the_streams_first() -> None:
    answer = _watch(CHROMIUM)
    assert _formats(answer) == [
        ("h264", 108, 109),  # the stream's own profile, before 42001f
        ("vp8", 96, 97),
        ("vp9", 98, 99),
        ("av1", 45, 46),
    ]
    assert _formats(answer, "audio") == [("opus", 111, None)]
    lines = sections(answer.text)
    assert lines[VIDEO][0] == "m=video 8189 UDP/TLS/RTP/SAVPF 108 109 96 97 98 99 45 46"
    assert f"a=fmtp:108 {H264}" in lines[VIDEO]
    assert "a=sendonly" in lines[VIDEO]
    for unwanted in ("transport-cc", "goog-remb", "transport-wide-cc", "ulpfec", "flexfec", "red/"):
        assert unwanted not in answer.text


def test_names_and_ssrcs() -> None:
    answer = _watch(CHROMIUM)
    audio, video = answer.tracks
    ssrcs = {audio.ssrc, video.ssrc, video.rtx_ssrc}
    assert len(ssrcs) == 3
    assert 0 not in ssrcs
    assert audio.rtx_ssrc is None
    lines = sections(answer.text)
    assert "a=msid:demo audio" in lines[AUDIO]
    assert "a=msid:demo video" in lines[VIDEO]
    assert f"a=ssrc:{audio.ssrc} cname:{answer.cname}" in lines[AUDIO]
    assert f"a=ssrc-group:FID {video.ssrc} {video.rtx_ssrc}" in lines[VIDEO]
    assert f"a=ssrc:{video.ssrc} cname:{answer.cname}" in lines[VIDEO]
    assert f"a=ssrc:{video.rtx_ssrc} cname:{answer.cname}" in lines[VIDEO]
    assert _watch(CHROMIUM).cname != answer.cname


def test_a_stream_name_that_is_no_token_still_names_one_media_stream() -> None:
    for name, token in (("über camp", "-ber-camp"), ("", "pyforward"), ("---", "pyforward")):
        text = sdp.answer_watch(offer(CHROMIUM), local(), LIVE, msid_stream=name).text
        assert f"a=msid:{token} video\r\n" in text
        assert f"a=msid:{token} audio\r\n" in text


def test_feedback_extensions_and_round_trips() -> None:
    answer = _watch(CHROMIUM)
    audio, video = answer.tracks
    assert (audio.nack, video.nack) == (False, True)
    assert (audio.rrtr, video.rrtr) == (True, True)
    assert video.extmap_allow_mixed
    assert dict(audio.extensions) == {1: "audio_level", 4: "mid"}
    assert dict(video.extensions) == {
        13: "video_orientation",
        5: "playout_delay",
        6: "video_content_type",
        7: "video_timing",
        8: "color_space",
        4: "mid",
    }
    lines = sections(answer.text)
    assert "a=rtcp-xr:rcvr-rtt=all" in lines[VIDEO]
    assert [line for line in lines[VIDEO] if line.startswith("a=rtcp-fb:96 ")] == [
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
    ]
    plain = _watch(
        CHROMIUM,
        (r"^a=rtcp-xr.*\r\n", ""),
        (r"^a=rtcp-fb:\d+ nack\r\n", ""),
        (r"^a=extmap-allow-mixed\r\n", ""),
        (r"^a=rtcp-rsize\r\n", ""),
    )
    video = plain.tracks[1]
    assert (video.rrtr, video.nack, video.rtx_ssrc) == (False, False, None)
    assert not video.extmap_allow_mixed
    for absent in ("rtcp-xr", "rtx/", "FID", "extmap-allow-mixed", "rtcp-rsize"):
        assert absent not in plain.text


@pytest.mark.parametrize(
    ("fmtp", "payload_type"),
    [
        ("packetization-mode=1;profile-level-id=42e01f", 108),
        ("packetization-mode=1;profile-level-id=42c033", 108),  # another level
        ("packetization-mode=1;profile-level-id=42001f", 102),
        ("packetization-mode=1;profile-level-id=4d4028", 116),
        ("packetization-mode=1;profile-level-id=640c1f", 41),  # nearest above: 4:4:4 takes it
        ("packetization-mode=1;profile-level-id=f4001f", 41),
        ("packetization-mode=1;profile-level-id=zz", 108),  # malformed: as constrained baseline
        ("packetization-mode=1", 108),
        ("packetization-mode=0;profile-level-id=42e01f", 108),  # mode 0 goes to mode 1
        ("", 108),
    ],
)
def test_h264_by_mode_then_profile_never_by_level(fmtp: str, payload_type: int) -> None:
    answer = _watch(CHROMIUM, live=(_video("h264", fmtp),))
    assert _formats(answer)[0][:2] == ("h264", payload_type)


def test_h264_mode_1_does_not_go_to_a_mode_0_viewer() -> None:
    only_mode_0 = (r"packetization-mode=1", "packetization-mode=0")
    with pytest.raises(NoCommonCodec) as caught:
        _watch(CHROMIUM, only_mode_0)
    assert caught.value.codecs == ("h264", "opus")
    mode_0 = (_video("h264", "packetization-mode=0;profile-level-id=42e01f"),)
    assert _formats(_watch(CHROMIUM, only_mode_0, live=mode_0))[0][0] == "h264"
    # Unasked it is not promised either: the next publisher will send mode 1.
    assert "h264" not in [
        item[0] for item in _formats(_watch(CHROMIUM, only_mode_0, live=(_video("vp8"),)))
    ]


@pytest.mark.parametrize(
    ("codec", "fmtp", "payload_type"),
    [
        ("vp9", "", 98),
        ("vp9", "profile-id=0", 98),
        ("vp9", "profile-id=2", 100),
        ("vp9", "profile-id=1", 35),
        ("av1", "", 45),
        ("av1", "level-idx=5;profile=1;tier=0", 47),
    ],
)
def test_profiles_of_vp9_and_av1_are_strict(codec: Codec, fmtp: str, payload_type: int) -> None:
    answer = _watch(CHROMIUM, live=(_video(codec, fmtp),))
    assert _formats(answer)[0][:2] == (codec, payload_type)
    assert [item[0] for item in _formats(answer)].count(codec) == 1


@pytest.mark.parametrize(
    ("codec", "fmtp"),
    [("vp9", "profile-id=4"), ("av1", "profile=2"), ("h265", "profile-id=1"), ("h265", "")],
)
def test_no_common_codec_names_the_streams(codec: Codec, fmtp: str) -> None:
    with pytest.raises(NoCommonCodec) as caught:
        _watch(CHROMIUM, live=(_video(codec, fmtp), sdp.LiveTrack("audio", "opus")))
    assert caught.value.codecs == (codec, "opus")


def test_hevc_main_and_main_10_are_two_things() -> None:
    hevc = (r"^a=rtpmap:96 VP8", "a=fmtp:96 profile-id=2;tier-flag=0\r\na=rtpmap:96 H265")
    assert _formats(_watch(CHROMIUM, hevc, live=(_video("h265", "profile-id=2"),)))[0][0] == "h265"
    with pytest.raises(NoCommonCodec):
        _watch(CHROMIUM, hevc, live=(_video("h265", "profile-id=1"),))


def test_audio_formats_share_one_clock() -> None:
    answer = _watch(CHROMIUM, live=(sdp.LiveTrack("audio", "pcma"),))
    assert _formats(answer, "audio") == [("pcma", 8, None), ("pcmu", 0, None)]
    (track,) = answer.tracks
    assert track.clock_rate == 8000


def test_static_payload_types_need_no_rtpmap() -> None:
    change = (r"^a=rtpmap:[08] .*\r\n", "")
    answer = _watch(CHROMIUM, change, live=(sdp.LiveTrack("audio", "pcmu"),))
    assert _formats(answer, "audio")[0] == ("pcmu", 0, None)
    assert "a=rtpmap:0 PCMU/8000" in answer.text


def test_opus_parameters_are_echoed() -> None:
    change = (r"^a=fmtp:111 .*\r$", "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;usedtx=1;x=y\r")
    (line,) = (
        line
        for line in sections(_watch(CHROMIUM, change).text)[AUDIO]
        if line.startswith("a=fmtp:111 ")
    )
    assert set(line.partition(" ")[2].split(";")) == {
        "minptime=10",
        "useinbandfec=1",
        "stereo=1",
        "usedtx=1",
    }


def test_video_first_maps_right() -> None:
    video, audio = _watch("chromium-watch-video-first.sdp").tracks
    assert (video.kind, video.mid, video.formats[0].codec) == ("video", "0", "h264")
    assert (audio.kind, audio.mid, audio.formats[0].codec) == ("audio", "1", "opus")


def test_sendrecv_becomes_sendonly_and_data_is_refused() -> None:
    lines = sections(_watch("chromium-watch-data.sdp").text)
    assert "a=sendonly" in lines[VIDEO]
    assert lines[3][0] == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"
    assert "a=group:BUNDLE 0 1" in lines[0]


def test_a_second_video_is_refused_by_port_0() -> None:
    lines = sections(_watch("chromium-watch-two-videos.sdp").text)
    assert lines[1][0].startswith("m=video 8189 ")
    assert lines[2][0].startswith("m=video 0 ")
    assert lines[3][0].startswith("m=audio 8189 ")
    assert "a=group:BUNDLE 0 2" in lines[0]


def test_the_m_line_that_receives_goes_before_one_that_does_not() -> None:
    text = offer_text("chromium-watch-two-videos.sdp").replace("a=recvonly", "a=inactive", 1)
    answer = sdp.answer_watch(sdp.parse(text), local(), LIVE, msid_stream="demo")
    assert [track.mid for track in answer.tracks] == ["1", "2"]


def test_media_that_the_stream_lacks_is_inactive_in_the_bundle() -> None:
    answer = _watch(CHROMIUM, live=(LIVE[0],))
    assert [track.kind for track in answer.tracks] == ["video"]
    lines = sections(answer.text)
    assert lines[AUDIO][0] == "m=audio 8189 UDP/TLS/RTP/SAVPF 111"
    assert "a=inactive" in lines[AUDIO]
    assert "a=group:BUNDLE 0 1" in lines[0]
    assert not [line for line in lines[AUDIO] if "ssrc" in line or "msid" in line]


def test_a_viewer_may_leave_a_track_out() -> None:
    answer = _watch(CHROMIUM, (r"^m=audio", "m=text"))
    assert [track.kind for track in answer.tracks] == ["video"]
    assert sections(answer.text)[1][0].startswith("m=text 0 ")


def test_port_0_is_an_offer_only_where_it_is_bundle_only() -> None:
    port_0 = (r"^m=video \d+", "m=video 0")
    assert [track.kind for track in _watch(CHROMIUM, port_0).tracks] == ["audio"]
    bundle_only = (r"^a=mid:1", "a=bundle-only\r\na=mid:1")
    assert len(_watch(CHROMIUM, port_0, bundle_only).tracks) == 2


def test_payload_types_that_look_like_rtcp_are_not_used() -> None:
    """RFC 5761 §4: 64 to 95 cannot be told from RTCP on the same port."""
    change = (r"(?<=SAVPF )96\b|(?<=rtpmap:)96\b", "72")
    assert "vp8" not in [item[0] for item in _formats(_watch(CHROMIUM, change))]


@pytest.mark.parametrize(
    ("change", "live", "error", "reason"),
    [
        ((r"^a=rtcp-mux\r\n", ""), LIVE, Unprocessable, "rtcp-mux"),
        ((r"^a=group:.*\r\n", ""), LIVE, Unprocessable, "BUNDLE"),
        ((r"^a=recvonly", "a=sendonly"), LIVE, Unprocessable, "no track"),
        ((r"^m=video", "m=text"), LIVE[:1], Unprocessable, "no track"),
        ((r"^a=mid:1", "a=mid:0"), LIVE, BadOffer, "mid"),
        ((r"UDP/TLS/RTP/SAVPF", "RTP/AVP"), LIVE, Unprocessable, "DTLS"),
        ((r"^s=-", "s=-"), (), Unprocessable, "no track"),
    ],
)
def test_refused_with_a_reason(
    change: tuple[str, str],
    live: tuple[sdp.LiveTrack, ...],
    error: type[RequestError],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        _watch(CHROMIUM, change, live=live)


def test_a_format_that_is_listed_again_is_read_once() -> None:
    # 128 times one format with thousands of parameters used to stop the loop for seconds.
    line = "m=video 36266 UDP/TLS/RTP/SAVPF 96 "
    media = changed(CHROMIUM, (line, line + "96 096 96 ")).media[1]
    assert media.kind == "video"
    payload_types = [item.payload_type for item in formats(media)]
    assert payload_types.count(96) == 1
    assert len(set(payload_types)) == len(payload_types)
