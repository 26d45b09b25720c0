"""Writing an answer: what the answers to publishers and to viewers have in common (RFC 9429 §5.3).

An answer has the m-lines of its offer, in order: accepted ones with a direction, or refused ones
with port 0.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pyforward.sdp.codecs import OfferedFormat
from pyforward.sdp.extensions import Extmap
from pyforward.sdp.grammar import (
    Attribute,
    Attributes,
    Field,
    Media,
    SessionDescription,
)
from pyforward.sdp.sections import Direction
from pyforward.sdp.transport import LocalTransport


@dataclass(frozen=True, slots=True)
class AnsweredFormat:
    """A format of the offer as it is accepted: ``fmtp`` and ``feedback`` as they shall stand."""

    offered: OfferedFormat
    fmtp: str
    feedback: Sequence[str]
    rtx_payload_type: int | None

    def payload_types(self) -> Iterator[str]:
        """As the m-line lists them."""
        yield str(self.offered.payload_type)
        if self.rtx_payload_type is not None:
            yield str(self.rtx_payload_type)

    def attributes(self) -> Iterator[Attribute]:
        """rtpmap, rtcp-fb and fmtp of the codec, then of its retransmissions."""
        payload_type = self.offered.payload_type
        yield Attribute("rtpmap", f"{payload_type} {self.offered.encoding}")
        for item in self.feedback:
            yield Attribute("rtcp-fb", f"{payload_type} {item}")
        if self.fmtp:
            yield Attribute("fmtp", f"{payload_type} {self.fmtp}")
        if self.rtx_payload_type is not None:
            yield Attribute("rtpmap", f"{self.rtx_payload_type} rtx/{self.offered.clock_rate}")
            yield Attribute("fmtp", f"{self.rtx_payload_type} apt={payload_type}")


@dataclass(frozen=True, slots=True)
class AnsweredMedia:
    """An accepted m-line. ``trailer`` stands after the formats: msid, ssrc, rid, simulcast."""

    offer: Media
    direction: Direction
    formats: Sequence[AnsweredFormat]
    extensions: Sequence[Extmap] = ()
    trailer: Sequence[Attribute] = field(default=())


def write(
    description: SessionDescription,
    local: LocalTransport,
    accepted: Iterable[AnsweredMedia],
    bundle: Sequence[str],
    *,
    msid_semantic: str = "",
) -> str:
    """The text of the answer; every m-line of the offer not among ``accepted`` is refused."""
    by_line = {id(item.offer): item for item in accepted}
    media: list[Media] = []
    with_candidates = True
    for offered in description.media:
        item = by_line.get(id(offered))
        if item is None:
            media.append(_refused(offered))
        else:
            media.append(_accepted(item, local, with_candidates))
            with_candidates = False
    return SessionDescription(
        fields=(
            Field("v", "0"),
            # The address of o= is nobody's business and nobody's need (RFC 8828 §5.2).
            Field("o", f"- {secrets.randbits(62)} 1 IN IP4 0.0.0.0"),
            Field("s", "-"),
            Field("t", "0 0"),
        ),
        attributes=Attributes(tuple(_session(description, bundle, msid_semantic))),
        media=tuple(media),
    ).write()


def new_ssrc(taken: Container[int | None]) -> int:
    """A random SSRC, never 0 (RFC 3550 §8.1), not among ``taken``."""
    while True:
        ssrc = secrets.randbits(32)
        if ssrc != 0 and ssrc not in taken:
            return ssrc


# Private -----------------------------------------------------------------------------------------


def _session(
    description: SessionDescription, bundle: Sequence[str], msid_semantic: str
) -> Iterator[Attribute]:
    if bundle:
        yield Attribute("group", "BUNDLE " + " ".join(bundle))
    yield Attribute("ice-lite")
    # Said only to who said it: all our candidates are here, but fragments are welcome.
    sections = (description.attributes, *(media.attributes for media in description.media))
    if any(
        "trickle" in (item.value or "").split()
        for section in sections
        for item in section.every("ice-options")
    ):
        yield Attribute("ice-options", "trickle")
    if "extmap-allow-mixed" in description.attributes:
        yield Attribute("extmap-allow-mixed")
    if msid_semantic:
        yield Attribute("msid-semantic", f"WMS {msid_semantic}")


def _refused(offer: Media) -> Media:
    attributes = [Attribute("inactive")]
    if offer.mid:
        attributes.insert(0, Attribute("mid", offer.mid))
    return Media(
        offer.kind,
        0,
        offer.protocol,
        offer.formats[:1],
        (Field("c", "IN IP4 0.0.0.0"),),
        Attributes(tuple(attributes)),
    )


def _accepted(item: AnsweredMedia, local: LocalTransport, with_candidates: bool) -> Media:
    port, connection = local.connection()
    return Media(
        item.offer.kind,
        port,
        item.offer.protocol,
        tuple(text for format_ in item.formats for text in format_.payload_types()),
        (connection,),
        Attributes(tuple(_attributes(item, local, with_candidates))),
    )


def _attributes(
    item: AnsweredMedia, local: LocalTransport, with_candidates: bool
) -> Iterator[Attribute]:
    yield from local.attributes(with_candidates=with_candidates)
    if item.offer.mid:
        yield Attribute("mid", item.offer.mid)
    if "extmap-allow-mixed" in item.offer.attributes:
        yield Attribute("extmap-allow-mixed")
    for extmap in item.extensions:
        yield extmap.answer()
    yield Attribute(item.direction)
    yield Attribute("rtcp-mux")
    if "rtcp-rsize" in item.offer.attributes:
        yield Attribute("rtcp-rsize")
    for format_ in item.formats:
        yield from format_.attributes()
    yield from item.trailer
