"""Reading the answer to an offer of ours (RFC 3264 §6, RFC 9429 §5.11), with the distrust that an
offer meets: bounded, and every failure a :class:`~pyforward.errors.BadAnswer` with its sentence.

What the answer says counts only where we offered it; where it gives a codec another payload type or
an extension another id than we did, its number counts, because by that one it sends and receives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from pyforward.commands import Kind
from pyforward.errors import BadAnswer, BadOffer, Unprocessable
from pyforward.sdp import extensions
from pyforward.sdp.codecs import OfferedFormat, formats
from pyforward.sdp.extensions import Extmap
from pyforward.sdp.grammar import Media, SessionDescription, Shape, parse
from pyforward.sdp.offer import Offer, ProposedMedia
from pyforward.sdp.sections import bundle, check_media, peer_receives, peer_sends
from pyforward.sdp.transport import PeerTransport, answer_transport


@dataclass(frozen=True, slots=True)
class AcceptedMedia:
    """An m-line of our offer that the peer takes part in. ``formats`` are those of the answer, in
    its order, at least one, all of one clock rate; their feedback and retransmissions are what both
    sides named."""

    kind: Kind
    mid: str
    offered: Media
    answered: Media
    formats: tuple[OfferedFormat, ...]
    extensions: tuple[Extmap, ...]
    extmap_allow_mixed: bool


@contextmanager
def reading() -> Iterator[None]:
    """Whatever an offer would be refused for, in the words of an answer."""
    try:
        yield
    except (BadOffer, Unprocessable) as error:
        reason = error.detail[:1].upper() + error.detail[1:].removesuffix(".")
        raise BadAnswer(f"The answer cannot be used. {reason}.") from None


def read(
    offer: Offer, answer_text_untrusted: str, *, we_send: bool
) -> tuple[tuple[AcceptedMedia, ...], PeerTransport]:
    """The m-lines with media, at least one, and the transport of all of them. Raises BadAnswer."""
    with reading():
        description = parse(answer_text_untrusted)
        _check_order(offer.description, description)
        takes_part = peer_receives if we_send else peer_sends
        rows = zip(offer.media, offer.description.media, description.media, strict=True)
        found = [
            _read(
                proposed,
                offered,
                answered,
                _taken(proposed, offered.mid, description.shape, at, we_send),
            )
            for at, (proposed, offered, answered) in enumerate(rows)
            if answered.port != 0 and takes_part(answered, description)
        ]
        accepted = tuple(item for item in found if item is not None)
        if not accepted:
            raise BadAnswer(
                "The answer takes neither audio nor video with a codec that was offered."
            )
        for item in accepted:
            check_media(item.answered)
        bundle(description, [item.answered for item in accepted])
        _check_payload_types(accepted)
        return accepted, answer_transport(description, offer.setup)


# Private -----------------------------------------------------------------------------------------


def _check_order(offer: SessionDescription, answer: SessionDescription) -> None:
    """An answer has the m-lines of its offer, in their order (RFC 3264 §6)."""
    if len(answer.media) != len(offer.media):
        raise BadOffer(f"it has {len(answer.media)} m-lines to the offer's {len(offer.media)}")
    for offered, answered in zip(offer.media, answer.media, strict=True):
        if answered.kind != offered.kind or answered.mid not in ("", offered.mid):
            raise BadOffer("its m-lines are not those of the offer in their order", answered.line)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What an m-line of an answer takes of what was proposed."""

    formats: tuple[OfferedFormat, ...]
    extensions: tuple[Extmap, ...]
    extmap_allow_mixed: bool


@lru_cache(maxsize=64)
def _taken(proposed: ProposedMedia, mid: str, shape: Shape, at: int, we_send: bool) -> _Taken:
    """One server answers a crowd alike, so that this is found out once."""
    description = shape.description
    media = description.media[at]
    listed = extensions.offered(media.attributes, description.attributes, peer_sends=not we_send)
    return _Taken(
        _formats(proposed, media),
        tuple(extensions.choose(listed, proposed.extension_names, mid)),
        extensions.allows_mixed(media.attributes, description.attributes),
    )


def _read(
    proposed: ProposedMedia, offered: Media, answered: Media, taken: _Taken
) -> AcceptedMedia | None:
    """None where no format is left."""
    if not taken.formats:
        return None
    return AcceptedMedia(
        proposed.kind,
        offered.mid,
        offered,
        answered,
        taken.formats,
        taken.extensions,
        taken.extmap_allow_mixed,
    )


def _formats(proposed: ProposedMedia, answered: Media) -> tuple[OfferedFormat, ...]:
    found: list[OfferedFormat] = []
    for item in formats(answered):
        ours = proposed.feedback.get(item.codec)
        # A track has one clock: a format of another rate could not follow on the same SSRC
        # (RFC 3550 §5.2).
        if ours is None or (found and item.clock_rate != found[0].clock_rate):
            continue
        common = item.feedback & ours
        rtx = item.rtx_payload_type if "nack" in common else None
        found.append(replace(item, feedback=common, rtx_payload_type=rtx))
    return tuple(found)


def _check_payload_types(accepted: Sequence[AcceptedMedia]) -> None:
    """In one bundle a payload type means one thing (RFC 8843 §9.1)."""
    seen: set[int] = set()
    for media in accepted:
        for item in media.formats:
            for payload_type in (item.payload_type, item.rtx_payload_type):
                if payload_type in seen:
                    raise BadOffer(f"payload type {payload_type} stands for two formats")
                if payload_type is not None:
                    seen.add(payload_type)
