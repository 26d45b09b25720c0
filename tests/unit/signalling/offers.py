"""Offers as browsers write them, short enough to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

UFRAG = "peer"
PWD = "a-password-of-24-letters"
DIGEST = bytes(range(32))
FINGERPRINT = ":".join(f"{byte:02X}" for byte in DIGEST)

Direction = Literal["sendonly", "recvonly"]

_VIDEO = {
    "vp8": ("VP8/90000", ""),
    "h264": (
        "H264/90000",
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
}


def offer(
    direction: Direction,
    *,
    video: Sequence[str] = ("vp8", "h264"),
    audio: bool = True,
    setup: str = "actpass",
    rtcp_mux: bool = True,
) -> str:
    """An offer with one audio and one video section; no ``video`` leaves that section out."""
    sections = []
    if audio:
        sections.append(_audio(direction))
    if video:
        sections.append(_video(direction, video))
    lines = [
        "v=0",
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(str(i) for i in range(len(sections))),
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS",
    ]
    for mid, section in enumerate(sections):
        lines += section
        lines += [
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{UFRAG}",
            f"a=ice-pwd:{PWD}",
            "a=ice-options:trickle",
            f"a=fingerprint:sha-256 {FINGERPRINT}",
            f"a=setup:{setup}",
            f"a=mid:{mid}",
            f"a={direction}",
        ]
        lines += ["a=rtcp-mux", "a=rtcp-rsize"] if rtcp_mux else []
    return "\r\n".join(lines) + "\r\n"


def fragment(ufrag: str = UFRAG, pwd: str = PWD) -> str:
    """A trickle fragment with one candidate."""
    return "\r\n".join(
        [
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{pwd}",
            "m=audio 9 UDP/TLS/RTP/SAVPF 0",
            "a=mid:0",
            "a=candidate:1 1 udp 2113937151 192.0.2.7 51234 typ host",
            "a=end-of-candidates",
            "",
        ]
    )


def _audio(direction: Direction) -> list[str]:
    return [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        *(["a=ssrc:1001 cname:sender"] if direction == "sendonly" else []),
    ]


def _video(direction: Direction, codecs: Sequence[str]) -> list[str]:
    lines = []
    payload_types = []
    for position, codec in enumerate(codecs):
        payload_type = 96 + 2 * position
        name, fmtp = _VIDEO[codec]
        payload_types += [payload_type, payload_type + 1]
        lines += [
            f"a=rtpmap:{payload_type} {name}",
            *([f"a=fmtp:{payload_type} {fmtp}"] if fmtp else []),
            f"a=rtcp-fb:{payload_type} nack",
            f"a=rtcp-fb:{payload_type} nack pli",
            f"a=rtpmap:{payload_type + 1} rtx/90000",
            f"a=fmtp:{payload_type + 1} apt={payload_type}",
        ]
    if direction == "sendonly":
        lines += [
            "a=ssrc-group:FID 2001 2002",
            "a=ssrc:2001 cname:sender",
            "a=ssrc:2002 cname:sender",
        ]
    return ["m=video 9 UDP/TLS/RTP/SAVPF " + " ".join(map(str, payload_types)), *lines]
