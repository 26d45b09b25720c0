"""Writing an answer: what the answers to publishers and to viewers have in common (RFC 9429 §5.3).

An answer has the m-lines of its offer, in order: accepted ones with a direction, or refused ones
with port 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pyforward.sdp.extensions import Extmap
from pyforward.sdp.grammar import Attribute, Media, Shape
from pyforward.sdp.sections import Direction
from pyforward.sdp.transport import LocalTransport
from pyforward.sdp.written import WrittenFormat, session_fields


@dataclass(frozen=True)
class AnsweredMedia:
    """An accepted m-line. It may answer many offers alike, and its text is written once."""

    offer: Media
    direction: Direction
    formats: Sequence[WrittenFormat]
    extensions: Sequence[Extmap] = ()

    @cached_property
    def payload_types(self) -> str:
        """As the m-line lists them."""
        return " ".join(text for format_ in self.formats for text in format_.payload_types())

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """All that is said of the media."""
        return tuple(map(str, _attributes(self)))


Answered = tuple[AnsweredMedia, Sequence[Attribute]]
"""And what stands after the formats, of this session alone: msid, ssrc, rid, simulcast."""


def write(
    shape: Shape,
    local: LocalTransport,
    accepted: Iterable[Answered],
    bundle: tuple[str, ...],
    *,
    msid_semantic: str = "",
) -> str:
    """The text of the answer; every m-line of the offer not among ``accepted`` is refused."""
    by_line = {item.offer.line: (item, trailer) for item, trailer in accepted}
    lines = [*map(str, session_fields()), *_session(shape, bundle, msid_semantic)]
    with_candidates = True
    for offered in shape.description.media:
        if offered.line not in by_line:
            lines += _refused(offered)
            continue
        item, trailer = by_line[offered.line]
        port, connection = local.connection()
        lines.append(f"m={offered.kind} {port} {offered.protocol} {item.payload_types}")
        lines.append(str(connection))
        lines += map(str, local.attributes(with_candidates=with_candidates))
        lines += item.lines
        lines += map(str, trailer)
        with_candidates = False
    return "\r\n".join(lines) + "\r\n"


# Private -----------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _session(shape: Shape, bundle: tuple[str, ...], msid_semantic: str) -> tuple[str, ...]:
    description = shape.description
    lines = ["a=group:BUNDLE " + " ".join(bundle)] if bundle else []
    lines.append("a=ice-lite")
    # Said only to who said it: all our candidates are here, but fragments are welcome.
    sections = (description.attributes, *(media.attributes for media in description.media))
    if any(
        "trickle" in (item.value or "").split()
        for section in sections
        for item in section.every("ice-options")
    ):
        lines.append("a=ice-options:trickle")
    if "extmap-allow-mixed" in description.attributes:
        lines.append("a=extmap-allow-mixed")
    if msid_semantic:
        lines.append(f"a=msid-semantic:WMS {msid_semantic}")
    return tuple(lines)


def _refused(offer: Media) -> Iterator[str]:
    yield f"m={offer.kind} 0 {offer.protocol} {offer.formats[0]}"
    yield "c=IN IP4 0.0.0.0"
    if offer.mid:
        yield f"a=mid:{offer.mid}"
    yield "a=inactive"


def _attributes(item: AnsweredMedia) -> Iterator[Attribute]:
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
