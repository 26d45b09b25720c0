"""Offers as text that a test can bend, and what it reads of answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Track:
    """One m-line of an offer."""

    kind: str
    lines: tuple[str, ...]
    payload_types: tuple[int, ...]
    ssrc: int = 0
    """What a publisher sends it under."""


def video(
    codec: str = "VP8", *, payload_type: int = 96, rtx: int | None = None, ssrc: int = 0x1111
) -> Track:
    n = payload_type
    lines = [
        f"a=rtpmap:{n} {codec}/90000",
        f"a=rtcp-fb:{n} nack",
        f"a=rtcp-fb:{n} nack pli",
        "a=rtcp-rsize",
    ]
    if codec == "H264":
        fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
        lines.append(f"a=fmtp:{n} {fmtp}")
    types = [n]
    if rtx is not None:
        lines += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={n}"]
        types.append(rtx)
    return Track("video", tuple(lines), tuple(types), ssrc)


def audio(ssrc: int = 0x2222) -> Track:
    lines = ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1")
    return Track("audio", lines, (111,), ssrc)


def offer(tracks: Iterable[Track], direction: str, local: tuple[str, str], fingerprint: str) -> str:
    """An offer with one bundle."""
    tracks = list(tracks)
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(str(n) for n in range(len(tracks))),
    ]
    for mid, track in enumerate(tracks):
        types = " ".join(map(str, track.payload_types))
        lines += [
            f"m={track.kind} 9 UDP/TLS/RTP/SAVPF {types}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            f"a={direction}",
            f"a=ice-ufrag:{local[0]}",
            f"a=ice-pwd:{local[1]}",
            f"a=fingerprint:{fingerprint}",
            "a=setup:actpass",
            "a=rtcp-mux",
            *track.lines,
        ]
        if direction == "sendonly" and track.ssrc:
            lines.append(f"a=ssrc:{track.ssrc} cname:peer")
    return "\r\n".join(lines) + "\r\n"


def credentials(text: str) -> tuple[str, str]:
    """ICE ufrag and pwd."""
    return _value(text, "ice-ufrag"), _value(text, "ice-pwd")


def fingerprint_of(text: str) -> bytes:
    algorithm, _, digest = _value(text, "fingerprint").partition(" ")
    assert algorithm == "sha-256"
    return bytes.fromhex(digest.replace(":", ""))


def ssrc_of(text: str, kind: str) -> int:
    """The SSRC that an answer announces first for this kind."""
    (section,) = re.findall(rf"^m={kind} .*?(?=^m=|\Z)", text, re.MULTILINE | re.DOTALL)
    return int(_value(section, "ssrc").split()[0])


def rtx_ssrc_of(text: str) -> int:
    """The second SSRC of the group of RFC 5576 §4.2."""
    return int(_value(text, "ssrc-group").split()[2])


def _value(text: str, name: str) -> str:
    found = re.search(rf"^a={name}:(.*)$", text, re.MULTILINE)
    assert found, name
    return found[1].strip()
