"""What a media file holds, read with PyAV: its tracks, and their samples as they are.

The only module that knows PyAV, which is the extra ``media``: it is imported when a file is read.
Nothing is decoded here, and no sample is looked into.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pyforward.commands import Codec, Kind
from pyforward.errors import HostError, MediaError
from pyforward.media import conversion

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

_SENT: dict[str, Codec] = {"h264": "h264", "vp8": "vp8", "opus": "opus"}
_MOST_CHANNELS = 2  # RFC 7587 §4.1


@dataclass(frozen=True, slots=True)
class Track:
    """A track that may be sent. ``extradata`` is what the container says about its codec."""

    kind: Kind
    codec: Codec
    index: int
    extradata: bytes = field(repr=False)
    channels: int


@dataclass(frozen=True, slots=True)
class Contents:
    """At most one video and one audio track, video first; ``duration_s`` is None where the
    container does not know it."""

    tracks: tuple[Track, ...]
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame of the container: when it is shown, by the file's own clock in seconds, and when it
    is decoded; ``duration`` is 0 where that is unknown."""

    shown: Fraction
    decoded: Fraction
    duration: Fraction
    data: bytes = field(repr=False)


def contents(path: Path) -> Contents:
    """The tracks that ffmpeg too would choose.

    Raises :class:`MediaError` when the file cannot be read, has no media or a codec that is not
    sent, :class:`HostError` without PyAV.
    """
    with _opened(path) as container:
        chosen: dict[Kind, Stream] = {}
        kinds: tuple[Kind, ...] = ("video", "audio")
        for kind in kinds:
            stream = container.streams.best(kind)
            if stream is not None and not _is_picture(stream):
                chosen[kind] = stream
        if not chosen:
            raise MediaError(f"{path} has neither video nor audio.")
        _refuse_others(path, chosen)
        tracks = tuple(
            Track(
                kind=kind,
                codec=_SENT[_codec_name(stream)],
                index=stream.index,
                extradata=bytes(stream.codec_context.extradata or b""),
                channels=_channels(stream),
            )
            for kind, stream in chosen.items()
        )
        return Contents(tracks, container.duration / 1e6 if container.duration else None)


def samples(path: Path, track: Track) -> Iterator[Sample]:
    """The samples of one track in the order of decoding.

    Each call reads the file by itself, so that two tracks can be read in step however far apart
    the file has them. Raises :class:`MediaError` where the file cannot be read any further, and
    for samples without times.
    """
    with _opened(path) as container:
        stream = container.streams[track.index]
        for packet in container.demux(stream):
            if packet.size == 0:  # the end, as PyAV tells a decoder
                continue
            if packet.pts is None or packet.time_base is None:
                raise conversion.refused(
                    path,
                    f"its {track.kind} has frames without a time",
                    keep_video=track.codec if track.kind == "video" else None,
                )
            decoded = packet.pts if packet.dts is None else packet.dts
            yield Sample(
                packet.pts * packet.time_base,
                decoded * packet.time_base,
                (packet.duration or 0) * packet.time_base,
                bytes(packet),
            )


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        import av
    except ImportError as error:
        raise HostError("Media files are read by PyAV: pip install 'pyforward[media]'") from error
    if not path.is_file():
        raise MediaError(f"There is no file {path}.")
    try:
        # The prefix keeps a colon in a name from being taken for a protocol.
        with av.open(f"file:{path}") as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error


def _refuse_others(path: Path, chosen: dict[Kind, Stream]) -> None:
    """Raises when a track's codec or its channels cannot be sent."""
    wrong = []
    kept: dict[Kind, Codec] = {}
    for kind, stream in chosen.items():
        codec = _SENT.get(_codec_name(stream))
        if codec is None:
            wrong.append(f"its {kind} is {_codec_name(stream)}, not {_ALLOWED[kind]}")
        elif _channels(stream) > _MOST_CHANNELS:
            wrong.append(f"its audio has {_channels(stream)} channels, more than two")
        else:
            kept[kind] = codec
    if wrong:
        raise conversion.refused(
            path, " and ".join(wrong), keep_video=kept.get("video"), keep_audio="audio" in kept
        )


_ALLOWED: dict[Kind, str] = {"video": "H.264 or VP8", "audio": "Opus"}


def _codec_name(stream: Stream) -> str:
    """As ffmpeg names the codec, not one of its decoders."""
    # There is no context where ffmpeg knows no decoder at all.
    context = getattr(stream, "codec_context", None)
    return str(context.codec.canonical_name) if context is not None else "of an unknown codec"


def _channels(stream: Stream) -> int:
    return int(getattr(stream.codec_context, "channels", None) or 0)


def _is_picture(stream: Stream) -> bool:
    """Whether the "video" is the cover of a music file."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)
