"""Layers that a publisher offers: RIDs (RFC 8851), simulcast (RFC 8853), SSRC groups (RFC 5576)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pyforward.errors import BadOffer, Unprocessable
from pyforward.sdp.grammar import Attribute, Media, number

MAX_RIDS: Final = 8
MAX_SSRCS: Final = 32


@dataclass(frozen=True, slots=True)
class Layers:
    """The RIDs that a publisher sends, with the restrictions it put on them, in its order."""

    rids: tuple[str, ...]
    restrictions: tuple[str, ...]
    simulcast: bool

    def answer(self) -> list[Attribute]:
        """The lines that accept all of them. OBS gives up when one is missing, and Chromium would
        go on with its smallest picture."""
        lines = [
            Attribute("rid", f"{rid} recv {restriction}".rstrip())
            for rid, restriction in zip(self.rids, self.restrictions, strict=True)
        ]
        if self.simulcast:
            lines.append(Attribute("simulcast", "recv " + ";".join(self.rids)))
        return lines


@dataclass(frozen=True, slots=True)
class Sources:
    """The SSRCs that an offer announces: media, and (media, retransmission) pairs."""

    ssrcs: tuple[int, ...]
    rtx_ssrcs: tuple[tuple[int, int], ...]


def layers(media: Media, payload_type: int) -> Layers:
    """The RIDs in send direction that may carry ``payload_type``."""
    offered: dict[str, str] = {}
    for attribute in media.attributes.every("rid"):
        rid, direction, restriction = [*(attribute.value or "").split(" ", 2), "", ""][:3]
        if direction != "send":
            continue
        if not _RID.fullmatch(rid):
            raise BadOffer("a=rid is not letters, digits, '-' or '_', 16 at most", attribute.line)
        if _carries(restriction, payload_type):
            offered.setdefault(rid, restriction.strip())
    listed = _simulcast_send(media)
    rids = tuple(rid for rid in listed if rid in offered) if listed else tuple(offered)
    if len(rids) > MAX_RIDS:
        raise Unprocessable(f"Line {media.line}: more than {MAX_RIDS} layers.")
    return Layers(rids, tuple(offered[rid] for rid in rids), simulcast=bool(listed and rids))


def sources(media: Media) -> Sources:
    """The SSRCs of ``a=ssrc`` and of the FID and SIM groups; those of repair streams that are not
    accepted (FEC-FR) are left out."""
    rtx: dict[int, int] = {}
    repair: set[int] = set()
    found: dict[int, None] = {}
    for attribute in media.attributes.every("ssrc-group"):
        semantics, _, rest = (attribute.value or "").partition(" ")
        members = [_ssrc(text, attribute.line) for text in rest.split()]
        if semantics == "FID" and len(members) == 2:
            rtx[members[0]] = members[1]
            found[members[0]] = None
        elif semantics == "SIM":
            found.update(dict.fromkeys(members))
        elif semantics == "FEC-FR":
            repair.update(members[1:])
    for attribute in media.attributes.every("ssrc"):
        text, _, _ = (attribute.value or "").partition(" ")
        found[_ssrc(text, attribute.line)] = None
    if len(found) > MAX_SSRCS:
        raise Unprocessable(f"Line {media.line}: more than {MAX_SSRCS} SSRCs.")
    retransmissions = set(rtx.values())
    return Sources(
        tuple(ssrc for ssrc in found if ssrc not in retransmissions and ssrc not in repair),
        tuple(rtx.items()),
    )


# Private -----------------------------------------------------------------------------------------

# RFC 8851 §10 with the 16 bytes that a one-byte header element can carry.
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_LARGEST_SSRC = 0xFFFF_FFFF


def _ssrc(text: str, line: int) -> int:
    value = number(text, _LARGEST_SSRC)
    if value is None:
        raise BadOffer("an SSRC is not a number of 32 bits", line)
    return value


def _carries(restriction: str, payload_type: int) -> bool:
    """Whether ``pt=`` allows it; without ``pt=`` every format of the m-line may be sent."""
    for part in restriction.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "pt":
            return str(payload_type) in value.split(",")
    return True


def _simulcast_send(media: Media) -> list[str]:
    """The RIDs of ``a=simulcast:… send a;~b,c``, paused and alternative ones included."""
    parts = (media.attributes.value("simulcast") or "").split()
    for word, streams in pairwise(parts):
        if word == "send":
            alternatives = streams.replace(",", ";").split(";")
            return list(dict.fromkeys(item.removeprefix("~") for item in alternatives if item))
    return []
