"""The offers of ``tests/vectors/sdp`` and our side of a transport, for the tests of ``sdp``."""

from __future__ import annotations

import re
from pathlib import Path

from pyforward import ice, sdp
from pyforward.sdp.transport import Setup

VECTORS = Path(__file__).parents[1] / "vectors"

OFFERS = sorted(path.name for path in (VECTORS / "sdp").glob("*.sdp"))
PUBLISHERS = [name for name in OFFERS if "publish" in name]
VIEWERS = [name for name in OFFERS if "watch" in name]

H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
LIVE = (sdp.LiveTrack("video", "h264", H264), sdp.LiveTrack("audio", "opus", "useinbandfec=1"))


def offer_text(name: str) -> str:
    """A vector with its own line ends."""
    return (VECTORS / "sdp" / name).read_bytes().decode("utf-8")


def offer(name: str) -> sdp.SessionDescription:
    """A vector as a tree."""
    return sdp.parse(offer_text(name))


def changed(name: str, *changes: tuple[str, str]) -> sdp.SessionDescription:
    """A vector after regular expressions were replaced; each has to be found."""
    text = offer_text(name)
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    return sdp.parse(text)


def local(setup: Setup = "passive") -> sdp.LocalTransport:
    """Our side with three candidates."""
    ufrag, pwd = ice.new_credentials("00")
    addresses = [("192.0.2.1", 8189), ("127.0.0.1", 8189), ("2001:db8::1", 8189)]
    return sdp.LocalTransport(
        ufrag,
        pwd,
        ("sha-256", bytes(range(32))),
        setup,
        ice.host_candidates(addresses),
    )


def sections(text: str) -> list[list[str]]:
    """An answer's lines: the session's, then those of each m-line."""
    assert text.endswith("\r\n")
    out: list[list[str]] = [[]]
    for line in text.removesuffix("\r\n").split("\r\n"):
        if line.startswith("m="):
            out.append([])
        out[-1].append(line)
    return out
