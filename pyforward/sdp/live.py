"""What a stream carries, in the words of SDP."""

from __future__ import annotations

from dataclasses import dataclass

from pyforward.commands import Codec, Kind


@dataclass(frozen=True, slots=True)
class LiveTrack:
    """A track that is being published: ``fmtp`` is the publisher's own parameter string, without
    the payload type, empty if it gave none."""

    kind: Kind
    codec: Codec
    fmtp: str = ""
