"""Refuses a file in one sentence, and says the ffmpeg line that makes one which can be sent.

It only writes the line; nothing here runs it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from pyforward.commands import Codec
from pyforward.errors import MediaError

# No B-frames, a keyframe every 60 frames for those who join, 8 bits and 4:2:0 for every browser.
_H264 = "-c:v libx264 -profile:v baseline -pix_fmt yuv420p -bf 0 -g 60"
_OPUS = "-c:a libopus -ac 2"


def refused(
    path: Path, reason: str, *, keep_video: Codec | None = None, keep_audio: bool = False
) -> MediaError:
    """What to raise. ``reason`` is a clause; ``keep_video`` is the codec of a video that can stay
    as it is."""
    command = line(path, keep_video=keep_video, keep_audio=keep_audio)
    return MediaError(f"{path} cannot be sent as it is: {reason}. Convert it: {command}")


def line(path: Path, *, keep_video: Codec | None = None, keep_audio: bool = False) -> str:
    """The command, to be pasted into a shell."""
    # MP4 does not hold VP8.
    target = path.with_name(path.stem + "-webrtc" + (".webm" if keep_video == "vp8" else ".mp4"))
    video = "-c:v copy" if keep_video else _H264
    audio = "-c:a copy" if keep_audio else _OPUS
    return f"ffmpeg -i {_argument(path)} {video} {audio} {_argument(target)}"


def _argument(path: Path) -> str:
    """Quoted for a shell; with a prefix where ffmpeg would see a protocol or an option."""
    text = str(path)
    return shlex.quote(f"file:{text}" if ":" in text or text.startswith("-") else text)
