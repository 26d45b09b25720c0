"""The answer to a publisher (WHIP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyforward.commands import Codec, PublishTrack
from pyforward.sdp.grammar import SessionDescription
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.transport import LocalTransport


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """At most one track a kind, what the viewers are told of them, and the answer's text."""

    tracks: tuple[PublishTrack, ...]
    live: tuple[LiveTrack, ...]
    text: str


def answer_publish(
    description: SessionDescription, local: LocalTransport, *, prefer: Sequence[Codec] = ()
) -> PublishAnswer:
    """One codec with its RTX for each m-line: the first of ``prefer`` that is offered, otherwise
    the publisher's first. Raises Unprocessable (NoCommonCodec among them) and BadOffer."""
    raise NotImplementedError
