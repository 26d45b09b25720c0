"""The answer to a viewer (WHEP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyforward.commands import SubscribeTrack
from pyforward.sdp.grammar import SessionDescription
from pyforward.sdp.live import LiveTrack
from pyforward.sdp.transport import LocalTransport


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """At most one track a kind, the CNAME of all of them, and the answer's text."""

    tracks: tuple[SubscribeTrack, ...]
    cname: str
    text: str


def answer_watch(
    description: SessionDescription,
    local: LocalTransport,
    live: Sequence[LiveTrack],
    *,
    msid_stream: str,
) -> WatchAnswer:
    """Every forwardable codec of each m-line, the stream's first. Raises NoCommonCodec with the
    stream's codecs, Unprocessable and BadOffer."""
    raise NotImplementedError
