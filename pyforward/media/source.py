"""What publishes: tracks, and what is due when. A file and the demo are the same to a publisher.

Only shapes are here. A source is a pure generator: it never waits, sends or reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pyforward.commands import Codec, Kind, PublishTrack

VIDEO_PAYLOAD_TYPE = 96
VIDEO_CLOCK_HZ = 90_000
AUDIO_PAYLOAD_TYPE = 111
AUDIO_CLOCK_HZ = 48_000  # RFC 7587 §4.1


@dataclass(frozen=True, slots=True)
class Burst:
    """Whole RTP packets of one track that are due together: a frame, or a part of it that a pacer
    made. ``due_s`` counts seconds from the start of the source."""

    due_s: float
    kind: Kind
    packets: tuple[bytes, ...]


class Source(Protocol):
    """One video track, one audio track, or both."""

    @property
    def video_bits_per_s(self) -> float:
        """The mean rate of the video's packets, 0 without video: what a pacer reckons with."""

    def tracks(self) -> tuple[PublishTrack, ...]:
        """The tracks, video first, as a publisher would have negotiated them."""

    def fmtp(self, kind: Kind) -> str:
        """The parameters of the track's format, for an offer; empty when there are none."""

    def bursts(self) -> Iterator[Burst]:
        """A burst for each frame, in the order of their time. Each call begins anew."""


def publish_track(
    kind: Kind, mid: str, codec: Codec, ssrc: int, parameter_sets: tuple[bytes, ...] = ()
) -> PublishTrack:
    """A track of which nothing is asked, because it comes from a recording: it loses no packet and
    its keyframes come when they come."""
    video = kind == "video"
    return PublishTrack(
        kind=kind,
        mid=mid,
        codec=codec,
        payload_type=VIDEO_PAYLOAD_TYPE if video else AUDIO_PAYLOAD_TYPE,
        rtx_payload_type=None,
        clock_rate=VIDEO_CLOCK_HZ if video else AUDIO_CLOCK_HZ,
        ssrcs=(ssrc,),
        rtx_ssrcs=(),
        rids=(),
        extensions=(),
        feedback_ssrc=1,
        nack=False,
        pli=False,
        fir=False,
        reduced_size=False,
        transport_cc=False,
        remb=False,
        parameter_sets=parameter_sets,
    )
