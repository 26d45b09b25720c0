"""The demo: a recording of 20 s, looped for ever as one unbroken stream.

A pure generator: it says what is due when and never waits, sends or reads a clock. Who plays it is
``pyforward.client.playing``. The recording comes from ``scripts/make_demo.py``.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from pyforward.commands import Kind, PublishTrack
from pyforward.errors import HostError
from pyforward.media import rtpdump
from pyforward.media.source import (
    AUDIO_CLOCK_HZ,
    AUDIO_PAYLOAD_TYPE,
    VIDEO_CLOCK_HZ,
    VIDEO_PAYLOAD_TYPE,
    Burst,
    publish_track,
)

VIDEO_FMTP = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01e"
AUDIO_FMTP = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"

_CLOCKS_HZ = {VIDEO_PAYLOAD_TYPE: VIDEO_CLOCK_HZ, AUDIO_PAYLOAD_TYPE: AUDIO_CLOCK_HZ}
_PATCH = struct.Struct("!HI")  # sequence number and timestamp, from the packet's third byte on


@dataclass(frozen=True, slots=True)
class _Moment:
    """A burst of the recording: ``due_s`` from its start, packets as (number within the track,
    time since the track's first timestamp, bytes)."""

    due_s: float
    payload_type: int
    packets: tuple[tuple[int, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Lap:
    """What one turn of the loop adds to a track's sequence numbers and timestamps."""

    first_sequence: int
    first_timestamp: int
    packets: int
    duration: int


class Demo:
    """A recording that can be looped: one video and one audio track of the same duration."""

    def __init__(self, records: Sequence[rtpdump.Record]) -> None:
        """Raises :class:`HostError` when the records cannot be looped."""
        tracks = {
            payload_type: [r for r in records if r.payload_type == payload_type]
            for payload_type in _CLOCKS_HZ
        }
        if sum(map(len, tracks.values())) != len(records) or not all(tracks.values()):
            raise HostError("The demo's recording does not hold one video and one audio track.")
        self._laps = {payload_type: _lap(track) for payload_type, track in tracks.items()}
        seconds = {lap.duration / _CLOCKS_HZ[pt] for pt, lap in self._laps.items()}
        if len(seconds) != 1:
            raise HostError("The tracks of the demo's recording differ in duration.")
        self.duration_s: float = seconds.pop()
        video_bytes = sum(len(record.packet) for record in tracks[VIDEO_PAYLOAD_TYPE])
        self.video_bits_per_s: float = 8 * video_bytes / self.duration_s
        self._ssrcs = {payload_type: track[0].ssrc for payload_type, track in tracks.items()}
        self._moments = sorted(
            (
                moment
                for payload_type, track in tracks.items()
                for moment in _moments(payload_type, track, self._laps[payload_type])
            ),
            key=lambda moment: moment.due_s,
        )

    @classmethod
    def load(cls) -> Demo:
        """The demo that comes with the package; :class:`HostError` when it is missing or broken."""
        file = resources.files("pyforward.media") / "demo.rtp"
        try:
            return cls(rtpdump.read(file.read_bytes()))
        except (OSError, rtpdump.RtpdumpError) as error:
            raise HostError(f"The demo's recording cannot be read: {error}") from error

    def tracks(self) -> tuple[PublishTrack, ...]:
        """The tracks as a publisher would have negotiated them."""
        return (
            publish_track("video", "0", "h264", self._ssrcs[VIDEO_PAYLOAD_TYPE]),
            publish_track("audio", "1", "opus", self._ssrcs[AUDIO_PAYLOAD_TYPE]),
        )

    def fmtp(self, kind: Kind) -> str:
        """The parameters of the track's format."""
        return VIDEO_FMTP if kind == "video" else AUDIO_FMTP

    def bursts(self) -> Iterator[Burst]:
        """All bursts in the order of their time, without end; sequence numbers and timestamps run
        on from one turn to the next."""
        turn = 0
        while True:
            for moment in self._moments:
                lap = self._laps[moment.payload_type]
                packets = tuple(_at_turn(packet, lap, turn) for packet in moment.packets)
                kind: Kind = "video" if moment.payload_type == VIDEO_PAYLOAD_TYPE else "audio"
                yield Burst(turn * self.duration_s + moment.due_s, kind, packets)
            turn += 1


def _lap(track: Sequence[rtpdump.Record]) -> _Lap:
    first, last = track[0], track[-1]
    steps = Counter(
        step
        for before, after in pairwise(track)
        if (step := (after.timestamp - before.timestamp) & 0xFFFFFFFF)
    )
    if not steps:
        raise HostError("A track of the demo's recording holds a single moment.")
    usual_step = steps.most_common(1)[0][0]
    span = (last.timestamp - first.timestamp) & 0xFFFFFFFF
    return _Lap(first.sequence, first.timestamp, len(track), span + usual_step)


def _moments(payload_type: int, track: Sequence[rtpdump.Record], lap: _Lap) -> Iterator[_Moment]:
    clock_hz = _CLOCKS_HZ[payload_type]
    held: list[tuple[int, int, bytes]] = []
    for number, record in enumerate(track):
        since = (record.timestamp - lap.first_timestamp) & 0xFFFFFFFF
        if held and held[0][1] != since:
            yield _Moment(held[0][1] / clock_hz, payload_type, tuple(held))
            held = []
        held.append((number, since, record.packet))
    yield _Moment(held[0][1] / clock_hz, payload_type, tuple(held))


def _at_turn(packet: tuple[int, int, bytes], lap: _Lap, turn: int) -> bytes:
    number, since, recorded = packet
    sequence = (lap.first_sequence + number + turn * lap.packets) & 0xFFFF
    timestamp = (lap.first_timestamp + since + turn * lap.duration) & 0xFFFFFFFF
    return recorded[:2] + _PATCH.pack(sequence, timestamp) + recorded[8:]
