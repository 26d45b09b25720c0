"""Janus, as far as this side goes: what it is told to be, and what it and a viewer are told of each
other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pyforward import sdp
from pyforward.sdp.transport import answer_transport
from pyforward_bench.rig.peers import janus
from tests.unit.offers import H264, local

# As its streaming plugin offers a viewer the one track of a mountpoint.
OFFER = f"""\
v=0
o=- 1700000000000000 1 IN IP4 10.0.0.1
s=Mountpoint 1
t=0 0
a=group:BUNDLE 0
a=ice-options:trickle
a=fingerprint:sha-256 {bytes(range(32)).hex(":").upper()}
a=extmap-allow-mixed
a=msid-semantic: WMS *
a=ice-lite
m=video 9 UDP/TLS/RTP/SAVPF 102 103
c=IN IP4 10.0.0.1
a=sendonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:Janu
a=ice-pwd:s23456789012345678901234
a=ice-options:trickle
a=setup:actpass
a=rtpmap:102 H264/90000
a=fmtp:102 {H264}
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=msid:janus janusv0
a=ssrc:1234567890 cname:janus
a=ssrc:987654321 cname:janus
a=ssrc-group:FID 1234567890 987654321
a=candidate:1 1 udp 2015363327 10.0.0.1 40000 typ host
a=end-of-candidates
""".replace("\n", "\r\n")


def test_a_viewer_is_answered_with_the_transport_of_janus() -> None:
    offer = sdp.offer_watch(local("actpass"))
    to_viewer, _ = janus.introduced(sdp.parse(offer.text), OFFER)
    accepted = sdp.accept_watch(offer, to_viewer)
    (track,) = accepted.tracks
    assert (track.kind, track.payload_type, track.ssrcs) == ("video", 102, (1234567890,))
    assert track.rtx_ssrcs == ((1234567890, 987654321),)
    peer = accepted.transport
    assert (peer.ufrag, peer.pwd) == ("Janu", "s23456789012345678901234")
    assert peer.fingerprints == (("sha-256", bytes(range(32))),)
    assert (peer.setup, peer.ice_lite) == ("active", True)
    (candidate,) = peer.candidates
    assert "10.0.0.1 40000" in candidate


def test_janus_is_answered_with_the_transport_of_the_viewer() -> None:
    ours = local("actpass")
    _, to_janus = janus.introduced(sdp.parse(sdp.offer_watch(ours).text), OFFER)
    answer = sdp.parse(to_janus)
    peer = answer_transport(answer, "actpass")
    assert (peer.ufrag, peer.pwd) == (ours.ufrag, ours.pwd)
    assert peer.fingerprints == (ours.fingerprint,)
    assert (peer.setup, peer.ice_lite) == ("passive", False)
    (media,) = answer.media
    assert media.formats[0] == "102"
    assert "recvonly" in media.attributes
    assert "extmap" not in media.attributes


def test_it_is_configured_in_a_directory_of_the_run(tmp_path: Path) -> None:
    for _ in range(2):  # once more over what is there
        words = janus.command(tmp_path, "10.0.0.1")
    assert words[0] == "janus"
    home = tmp_path / "janus"
    assert f"--configs-folder={home}" in words
    core = (home / "janus.jcfg").read_text()
    for line in ("event_loops = 1", "ice_lite = true", 'ice_enforce_list = "10.0.0.1"'):
        assert line in core
    assert 'ip = "10.0.0.1"' in (home / "janus.transport.http.jcfg").read_text()
    used = {"libjanus_videoroom.so", "libjanus_streaming.so"}
    assert {path.name for path in (home / "plugins").iterdir()} <= used


def test_where_it_is_not_installed_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "apt-get install janus" in (janus.missing() or "")
