"""Answers to our own offers, as other servers would write them."""

from __future__ import annotations

from pyforward import sdp
from tests.unit.offers import H264, local

FILE = (sdp.LiveTrack("audio", "opus", "stereo=1"), sdp.LiveTrack("video", "h264", H264))

FINGERPRINT = ":".join(f"{byte:02X}" for byte in range(32))

# As a server with full ICE lists them: of use are the first three lines, here out of order.
CANDIDATES = """\
a=candidate:2 1 udp 1694498815 198.51.100.7 40002 typ srflx raddr 192.0.2.7 rport 40000
a=candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host
a=candidate:3 1 UDP 16777215 203.0.113.9 3478 typ relay raddr 198.51.100.7 rport 40002
a=candidate:1 2 udp 2130706430 192.0.2.7 40001 typ host
a=candidate:4 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active
a=candidate:5 1 udp 2130706431 2cf0b2c0-0842-4fe3-aaa0-4556a2dfbadc.local 52200 typ host
a=candidate:6 1 udp 2130706431 fe80::1 40000 typ host
a=candidate:7 1 udp 2130706431 0.0.0.0 40000 typ host
a=candidate:8 1 udp 9999999999 192.0.2.8 40000 typ host
a=candidate:9 1 udp 2130706431 192.0.2.9 0 typ host
a=end-of-candidates
"""


def offer_watch() -> sdp.Offer:
    """An offer to receive both kinds."""
    return sdp.offer_watch(local("actpass"))


def offer_publish() -> sdp.Offer:
    """An offer to send :data:`FILE`."""
    return sdp.offer_publish(local("actpass"), FILE, msid_stream="file")


def stranger(*, direction: str, audio: str, video: str, session: str = "") -> str:
    """The answer of a full-ICE server with transport lines in the first m-line only; ``audio`` and
    ``video`` are an m-line's formats and then its own lines."""
    lines = ["v=0", "o=- 7 2 IN IP4 198.51.100.7", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
    lines += session.split("\n") if session else []
    for mid, (kind, own) in enumerate((("audio", audio), ("video", video))):
        formats, *more = own.strip().split("\n")
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}",
            "c=IN IP4 0.0.0.0",
            "a=setup:active",
            f"a=mid:{mid}",
            f"a={direction}",
            "a=rtcp-mux",
            "a=ice-ufrag:STRA",
            "a=ice-pwd:NGERNGERNGERNGERNGER00",
            f"a=fingerprint:sha-256 {FINGERPRINT}",
            *more,
            *(CANDIDATES.strip().split("\n") if mid == 0 else []),
        ]
    return "\r\n".join(lines) + "\r\n"


SENDING = stranger(
    direction="sendonly",
    audio="""\
111
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 nack
a=ssrc:11 cname:x""",
    video="""\
126 127 96
a=rtpmap:126 H264/90000
a=fmtp:126 packetization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z0LAHtkD,aMuMsg==
a=rtcp-fb:126 nack
a=rtcp-fb:126 nack pli
a=rtcp-fb:126 goog-remb
a=rtcp-fb:126 x-unknown
a=rtpmap:127 rtx/90000
a=fmtp:127 apt=126
a=rtpmap:96 VP8/90000
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension
a=ssrc-group:FID 21 22
a=ssrc:21 cname:x
a=ssrc:22 cname:x""",
)
"""To :func:`offer_watch`, with payload types of its own."""

RECEIVING = stranger(
    direction="recvonly",
    audio="""\
111
a=rtpmap:111 opus/48000/2""",
    video="""\
102 103
a=rtpmap:102 H264/90000
a=fmtp:102 packetization-mode=1;profile-level-id=42e01f
a=rtcp-fb:102 nack
a=rtcp-fb:102 transport-cc
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:8/recvonly http://www.webrtc.org/experiments/rtp-hdrext/color-space""",
)
"""To :func:`offer_publish`."""
