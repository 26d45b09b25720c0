"""A media file as a source: its encoded frames in the order of their time, and as RTP packets.

H.264, VP8 and Opus go out as they are; nothing is decoded. What WebRTC cannot carry is refused with
the reason and the ffmpeg line that converts it: at opening for all that the first seconds show, on
the way for the rest. A pure generator over what it reads: it never waits and knows no clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from pathlib import Path

from pyforward.commands import Codec, Kind, PublishTrack
from pyforward.errors import MediaError
from pyforward.media import avc, container, conversion, rtp
from pyforward.media.packetizers import h264, opus, vp8
from pyforward.media.source import (
    AUDIO_CLOCK_HZ,
    AUDIO_PAYLOAD_TYPE,
    VIDEO_CLOCK_HZ,
    VIDEO_PAYLOAD_TYPE,
    Burst,
    publish_track,
)

# What is read at opening, to judge the file and its rate.
EXAMINED_S = 10.0

# A container that counts in milliseconds misses the time of an Opus packet by up to one of them,
# and so does the packet before. Closer than this an audio packet begins where the last one ended.
_LARGEST_ROUNDING_SAMPLES = 3 * AUDIO_CLOCK_HZ // 1_000

_CLOCKS_HZ: dict[Kind, int] = {"video": VIDEO_CLOCK_HZ, "audio": AUDIO_CLOCK_HZ}
_PAYLOAD_TYPES: dict[Kind, int] = {"video": VIDEO_PAYLOAD_TYPE, "audio": AUDIO_PAYLOAD_TYPE}


@dataclass(frozen=True, slots=True)
class Frame:
    """An encoded frame; H.264 is in Annex B form, its parameter sets before each keyframe.

    ``timestamp`` counts units of the track's clock from the start of the file, without a bound;
    ``time_s`` is the same in seconds.
    """

    kind: Kind
    time_s: float
    timestamp: int
    data: bytes = field(repr=False)
    keyframe: bool


class MediaFile:
    """A :class:`pyforward.media.source.Source` whose file was examined when the object was made.

    ``duration_s`` is what the container says, None where it says nothing; ``codecs`` are those of
    the tracks. With ``loop`` there is no end, and times run on from one turn to the next.
    """

    def __init__(
        self, path: Path, *, loop: bool = False, chance: random.Random | None = None
    ) -> None:
        """``chance`` gives SSRCs, and where sequence numbers and timestamps begin.

        Raises :class:`MediaError` for a file that cannot be sent,
        :class:`pyforward.errors.HostError` without PyAV.
        """
        self.path = path
        self._loop = loop
        contents = container.contents(path)
        self.duration_s = contents.duration_s
        self._tracks = {track.kind: track for track in contents.tracks}
        self.codecs: dict[Kind, Codec] = {track.kind: track.codec for track in contents.tracks}
        self._configuration = avc.Configuration(0, ())
        if self.codecs.get("video") == "h264":
            self._configuration = self._h264_configuration()
        self._begin = min(self._first_shown(track) for track in contents.tracks)
        self.video_bits_per_s: float = 0.0
        self._parameter_sets = self._configuration.parameter_sets
        self._examine()
        self._numbering = _numbering(chance if chance is not None else random.SystemRandom())

    # What it is ----------------------------------------------------------------------------------

    def tracks(self) -> tuple[PublishTrack, ...]:
        """The tracks as a publisher would have negotiated them, video first."""
        return tuple(
            publish_track(
                kind,
                str(number),
                codec,
                self._numbering[kind].ssrc,
                self._parameter_sets if kind == "video" else (),
            )
            for number, (kind, codec) in enumerate(self.codecs.items())
        )

    def fmtp(self, kind: Kind) -> str:
        """RFC 6184 §8.1, RFC 7587 §6.1; VP8 needs none (RFC 7741 §6.1)."""
        match self.codecs[kind]:
            case "h264":
                profile = avc.profile_level_id(self._parameter_sets)
                return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
            case "opus":
                stereo = ";stereo=1;sprop-stereo=1" if self._tracks[kind].channels == 2 else ""
                return f"minptime=10;useinbandfec=1{stereo}"
            case _:
                return ""

    # What is due when ----------------------------------------------------------------------------

    def bursts(self) -> Iterator[Burst]:
        """A burst of RTP packets for each frame; each call begins anew, with the same numbers.

        Raises :class:`MediaError` at a frame that cannot be sent.
        """
        writers = {
            kind: rtp.Writer(
                _PAYLOAD_TYPES[kind],
                start.ssrc,
                first_sequence=start.sequence,
                first_timestamp=start.timestamp,
            )
            for kind, start in self._numbering.items()
        }
        picture_id = 0
        for frame in self.frames():
            try:
                payloads = _payloads(frame, self.codecs[frame.kind], picture_id)
            except MediaError as error:
                raise MediaError(f"{self.path}, at {frame.time_s:.3f} s: {error}") from error
            picture_id += frame.kind == "video"
            if payloads:
                # The marker ends a video frame; with audio it would open a talkspurt (RFC 7587
                # §4.1 with RFC 3551 §4.1), and a file is one long one.
                packets = writers[frame.kind].packets(
                    payloads, frame.timestamp, marker=frame.kind == "video"
                )
                yield Burst(frame.time_s, frame.kind, packets)

    def frames(self) -> Iterator[Frame]:
        """The frames of all tracks in the order of their time; each call begins anew.

        Raises :class:`MediaError` at a frame that cannot be sent.
        """
        turn = Fraction(0)
        while True:
            lap = _Lap(turn, turn)
            tracks = [self._frames(track, lap) for track in self._tracks.values()]
            yield from heapq.merge(*tracks, key=lambda frame: frame.time_s)
            if not self._loop:
                return
            if lap.end_s == turn:
                raise MediaError(f"{self.path} has no frames any more.")
            turn = lap.end_s

    def _frames(self, track: container.Track, lap: _Lap) -> Iterator[Frame]:
        """One track, once."""
        clock_hz = _CLOCKS_HZ[track.kind]
        first_tick = round(lap.begin_s * clock_hz)
        last: container.Sample | None = None
        tick, step, next_tick = 0, 0, 0
        for sample in container.samples(self.path, track):
            if last is not None and sample.shown < last.shown:
                raise self._out_of_order(track, last, sample)
            ticks = round((sample.shown - self._begin) * clock_hz)
            data, keyframe, sounds = self._content(track, sample, ticks / clock_hz)
            if sounds and last is not None and abs(ticks - next_tick) <= _LARGEST_ROUNDING_SAMPLES:
                ticks = next_tick
            if last is not None:
                # Two frames never share a timestamp, as VP8's hidden ones may within a container.
                ticks = max(ticks, tick + 1)
                step = ticks - tick
            last, tick = sample, ticks
            next_tick = ticks + (sounds or round(sample.duration * clock_hz) or step or 1)
            lap.end_s = max(lap.end_s, Fraction(first_tick + next_tick, clock_hz))
            timestamp = first_tick + ticks
            yield Frame(track.kind, timestamp / clock_hz, timestamp, data, keyframe)

    def _content(
        self, track: container.Track, sample: container.Sample, time_s: float
    ) -> tuple[bytes, bool, int]:
        """The data as it is sent, whether it is a keyframe, and the samples that it sounds."""
        try:
            match track.codec:
                case "h264":
                    unit = avc.access_unit(sample.data, self._configuration)
                    return unit.data, unit.keyframe, 0
                case "vp8":
                    return sample.data, vp8.is_keyframe(sample.data), 0
                case _:
                    return sample.data, True, opus.samples(sample.data)
        except MediaError as error:
            raise MediaError(f"{self.path}, at {time_s:.3f} s: {error}") from error

    # At opening ----------------------------------------------------------------------------------

    def _h264_configuration(self) -> avc.Configuration:
        try:
            return avc.configuration(self._tracks["video"].extradata)
        except MediaError as error:
            raise MediaError(f"{self.path}: {error}") from error

    def _first_shown(self, track: container.Track) -> Fraction:
        """When the track begins, by the file's own clock."""
        for sample in container.samples(self.path, track):
            return sample.shown
        raise MediaError(f"{self.path} has {track.kind}, but not one frame of it.")

    def _examine(self) -> None:
        """Reads the first seconds: raises what they give cause to, and learns rate and profile."""
        video = [
            frame
            for frame in takewhile(lambda frame: frame.time_s < EXAMINED_S, self.frames())
            if frame.kind == "video"
        ]
        if not video:
            return
        keyframe = next((frame for frame in video if frame.keyframe), None)
        if keyframe is None:
            raise self._refused(f"the first {EXAMINED_S:g} s of its video have no keyframe")
        span_s = video[-1].time_s - video[0].time_s
        # The last frame's bytes belong to the time after it.
        sent_bytes = sum(len(frame.data) for frame in video[:-1]) or len(video[0].data)
        self.video_bits_per_s = 8 * sent_bytes / (span_s or 1.0)
        if self.codecs["video"] == "h264":
            self._parameter_sets = avc.parameter_sets(keyframe.data)
            self._judge_profile()

    def _judge_profile(self) -> None:
        try:
            profile = avc.profile_level_id(self._parameter_sets)
        except MediaError as error:
            raise self._refused("its first keyframe has no sequence parameter set") from error
        if int(profile[:2], 16) not in avc.PROFILES:
            raise self._refused(
                f"its H.264 profile, {profile}, is not one of {', '.join(avc.PROFILES.values())}, "
                "and browsers take no other"
            )

    def _out_of_order(
        self, track: container.Track, last: container.Sample, sample: container.Sample
    ) -> MediaError:
        at_s = float(sample.shown - self._begin)
        if track.kind == "video" and sample.decoded > last.decoded:
            return self._refused(
                f"its video has B-frames (the first is at {at_s:.3f} s), and WebRTC shows frames "
                "in the order of decoding"
            )
        return MediaError(f"{self.path}: the times of its {track.kind} go back to {at_s:.3f} s.")

    def _refused(self, reason: str) -> MediaError:
        """Of the video; a file without audio has none to keep, and the line does no harm."""
        return conversion.refused(self.path, reason, keep_audio="audio" in self.codecs)


@dataclass(slots=True)
class _Lap:
    """One turn of a loop: when it begins, and when the track that lasts longest has ended."""

    begin_s: Fraction
    end_s: Fraction


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a track's numbers begin (RFC 3550 §5.1: at random)."""

    ssrc: int
    sequence: int
    timestamp: int


def _numbering(chance: random.Random) -> dict[Kind, _Start]:
    ssrcs = chance.sample(range(1, 1 << 32), 2)
    kinds: tuple[Kind, ...] = ("video", "audio")
    # Sequence numbers begin in the lower half, so that no receiver can guess a rollover wrong
    # (RFC 3711 §3.3.1).
    return {
        kind: _Start(ssrc, chance.randrange(1 << 15), chance.randrange(1 << 32))
        for kind, ssrc in zip(kinds, ssrcs, strict=True)
    }


def _payloads(frame: Frame, codec: Codec, picture_id: int) -> list[bytes]:
    match codec:
        case "h264":
            return h264.packetize(frame.data, rtp.MOST_PAYLOAD_BYTES)
        case "vp8":
            return vp8.packetize(frame.data, picture_id, rtp.MOST_PAYLOAD_BYTES)
        case _:
            return opus.packetize(frame.data, rtp.MOST_PAYLOAD_BYTES)
