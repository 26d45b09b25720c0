"""A trace as a source: real RTP packets, looped for ever, as fast as is asked for.

A pure generator like every source: it never waits and knows no clock. Sequence numbers, timestamps
and the counters in the stamps run on from one turn of the trace to the next.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from pyforward.commands import Codec, Kind, PublishTrack
from pyforward.media import rtp
from pyforward.media.source import (
    AUDIO_CLOCK_HZ,
    AUDIO_PAYLOAD_TYPE,
    VIDEO_CLOCK_HZ,
    VIDEO_PAYLOAD_TYPE,
    Burst,
    publish_track,
)
from pyforward_bench.payloads import Audio, Video
from pyforward_bench.traces import Frame, Trace

# Level 3.1, as browsers offer it whatever they send; an asymmetric level is allowed.
VIDEO_FMTP = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
AUDIO_FMTP = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"

_CODECS: dict[Kind, Codec] = {"video": "h264", "audio": "opus"}
_CLOCKS_HZ: dict[Kind, int] = {"video": VIDEO_CLOCK_HZ, "audio": AUDIO_CLOCK_HZ}
_PAYLOAD_TYPES: dict[Kind, int] = {"video": VIDEO_PAYLOAD_TYPE, "audio": AUDIO_PAYLOAD_TYPE}


class TraceSource:
    """A :class:`pyforward.media.source.Source`. ``rate`` divides all times: at 10 it is ten times
    as many frames of the same size a second, keyframes come ten times as often, and timestamps
    still count real time."""

    def __init__(
        self, trace: Trace, *, rate: float = 1.0, chance: random.Random | None = None
    ) -> None:
        """``chance`` gives SSRCs, and where sequence numbers and timestamps begin."""
        self.trace = trace
        self.rate = rate
        self._chance = chance if chance is not None else random.SystemRandom()
        ssrcs = self._chance.sample(range(1, 1 << 32), len(trace.kinds))
        self._ssrcs = dict(zip(trace.kinds, ssrcs, strict=True))

    @property
    def video_bits_per_s(self) -> float:
        """Of whole RTP packets; 0 without video."""
        if "video" not in self.trace.kinds:
            return 0.0
        return self.rate * self.trace.bits_per_s("video", rtp.HEADER_BYTES)

    @property
    def step_s(self) -> float:
        """The usual time between two frames: of the video, or of the audio where that is alone."""
        return self.trace.step_us(self.trace.kinds[0]) / 1e6 / self.rate

    def tracks(self) -> tuple[PublishTrack, ...]:
        """The tracks as a publisher would have negotiated them, video first."""
        sets = Video(self.trace.height).parameter_sets
        return tuple(
            publish_track(kind, str(number), _CODECS[kind], ssrc, sets if kind == "video" else ())
            for number, (kind, ssrc) in enumerate(self._ssrcs.items())
        )

    def fmtp(self, kind: Kind) -> str:
        """The parameters of the track's format."""
        return VIDEO_FMTP if kind == "video" else AUDIO_FMTP

    def bursts(self) -> Iterator[Burst]:
        """A burst for each frame, without end."""
        video, audio = Video(self.trace.height), Audio()

        def audio_payloads(frame: Frame) -> list[bytes]:
            return [audio.packet(size) for size in frame.sizes]

        def video_payloads(frame: Frame) -> list[bytes]:
            return video.frame(frame.sizes, keyframe=frame.keyframe)

        makers: dict[Kind, Callable[[Frame], list[bytes]]] = {
            "video": video_payloads,
            "audio": audio_payloads,
        }
        numbered = {kind: _Numbered(kind, ssrc, self._chance) for kind, ssrc in self._ssrcs.items()}
        turn_us = 0
        while True:
            for frame in self.trace.frames:
                due_s = (turn_us + frame.due_us) / 1e6 / self.rate
                payloads = makers[frame.kind](frame)
                yield Burst(due_s, frame.kind, numbered[frame.kind].packets(payloads, due_s))
            turn_us += self.trace.duration_us


class _Numbered:
    """RTP headers of one track (RFC 3550 §5.1)."""

    def __init__(self, kind: Kind, ssrc: int, chance: random.Random) -> None:
        self._clock_hz = _CLOCKS_HZ[kind]
        # With audio a marker would open a talkspurt (RFC 3551 §4.1), and a trace is one long one.
        self._marker = kind == "video"
        self._ticks = -1
        self._writer = rtp.Writer(
            _PAYLOAD_TYPES[kind],
            ssrc,
            # In the lower half, so that no receiver can guess a rollover wrong (RFC 3711 §3.3.1).
            first_sequence=chance.randrange(1 << 15),
            first_timestamp=chance.randrange(1 << 32),
        )

    def packets(self, payloads: list[bytes], due_s: float) -> tuple[bytes, ...]:
        # Two frames never share a timestamp, however fast they are played.
        self._ticks = max(self._ticks + 1, round(due_s * self._clock_hz))
        return self._writer.packets(payloads, self._ticks, marker=self._marker)
