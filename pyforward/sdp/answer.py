"""Writing an answer: what the answers to publishers and to viewers have in common (RFC 9429 §5.3).

An answer has the m-lines of its offer, in order: accepted ones with a direction, or refused ones
with port 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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
from pyforward.sdp.written import WrittenFormat, session_fields


@dataclass(frozen=True, slots=True)
class AnsweredMedia:
    """An accepted m-line. ``trailer`` stands after the formats: msid, ssrc, rid, simulcast."""

    offer: Media
    direction: Direction
    formats: Sequence[WrittenFormat]
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
        fields=session_fields(),
        attributes=Attributes(tuple(_session(description, bundle, msid_semantic))),
        media=tuple(media),
    ).write()


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
