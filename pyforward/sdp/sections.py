"""What kind of m-line it is: its direction, whether it is offered at all, how it is bundled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pyforward.errors import BadOffer, Unprocessable
from pyforward.sdp.grammar import Media, SessionDescription

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]


def is_offered(media: Media) -> bool:
    """Port 0 means no, except in a bundle-only m-line (RFC 8843 §6)."""
    return media.port != 0 or "bundle-only" in media.attributes


def is_media_over_dtls(media: Media) -> bool:
    """Audio or video that is offered, under DTLS-SRTP (RFC 5764 §8)."""
    return (
        media.kind in ("audio", "video")
        and media.protocol.upper() in _DTLS_PROTOCOLS
        and is_offered(media)
    )


def direction(media: Media, description: SessionDescription) -> Direction:
    """The m-line's own, else the session's, else both ways (RFC 8866 §6.7)."""
    for attributes in (media.attributes, description.attributes):
        for name in _DIRECTIONS:
            if name in attributes:
                return name
    return "sendrecv"


def peer_sends(media: Media, description: SessionDescription) -> bool:
    """Whether the offerer means to send here."""
    return direction(media, description) in ("sendrecv", "sendonly")


def peer_receives(media: Media, description: SessionDescription) -> bool:
    """Whether the offerer means to receive here."""
    return direction(media, description) in ("sendrecv", "recvonly")


def check_media(media: Media) -> None:
    """What an m-line needs before it can be accepted; raises Unprocessable with its line."""
    if media.protocol.upper() not in _DTLS_PROTOCOLS:
        raise Unprocessable(
            f"Line {media.line}: {media.protocol} is not DTLS-SRTP (UDP/TLS/RTP/SAVPF)."
        )
    if "rtcp-mux" not in media.attributes and "rtcp-mux-only" not in media.attributes:
        raise Unprocessable(f"Line {media.line}: RTP and RTCP have to share a port (a=rtcp-mux).")


def bundle(description: SessionDescription, accepted: Sequence[Media]) -> tuple[str, ...]:
    """The mids of the accepted m-lines in the order of the offer's BUNDLE group; empty where a
    single m-line came without one. Raises Unprocessable when several would need several ports.

    A group may name mids that no m-line has: FFmpeg and others write it by hand.
    """
    _check_mids(description)
    mids = [media.mid for media in accepted]
    for group in description.attributes.every("group"):
        semantics, _, rest = (group.value or "").partition(" ")
        members = rest.split()
        if semantics == "BUNDLE" and all(mid and mid in members for mid in mids):
            return tuple(mid for mid in dict.fromkeys(members) if mid in mids)
    if len(accepted) > 1:
        raise Unprocessable(
            "Audio and video have to share one transport (a=group:BUNDLE naming both)."
        )
    return ()


# Private -----------------------------------------------------------------------------------------

_DIRECTIONS: tuple[Direction, ...] = ("sendrecv", "sendonly", "recvonly", "inactive")
_DTLS_PROTOCOLS = frozenset(
    (
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "TCP/TLS/RTP/SAVPF",
        "TCP/TLS/RTP/SAVP",
        # What browsers wrote before RFC 5764 was read closely, and JSEP §5.1.2 still accepts.
        "RTP/SAVPF",
        "RTP/SAVP",
    )
)
_MID = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")


def _check_mids(description: SessionDescription) -> None:
    seen: set[str] = set()
    for media in description.media:
        attribute = media.attributes.first("mid")
        if attribute is None:
            continue
        if not _MID.fullmatch(attribute.value or ""):
            raise BadOffer("a=mid is not a token of at most 64 characters", attribute.line)
        if media.mid in seen:
            raise BadOffer(f"two m-lines have the mid {media.mid}", attribute.line)
        seen.add(media.mid)
