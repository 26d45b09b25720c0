"""Media that pyforward itself plays: the demo's recording, and files, as RTP packets in time."""

from __future__ import annotations

from pathlib import Path

from pyforward.media.demo import Demo
from pyforward.media.file import MediaFile
from pyforward.media.source import Burst, Source

__all__ = ["Burst", "Demo", "MediaFile", "Source", "open_source"]


def open_source(name: str, *, loop: bool = False) -> Source:
    """The file of this name, or the built-in recording for ``test``, which has no end.

    Raises :class:`pyforward.errors.MediaError` for a file that cannot be sent as it is, and
    :class:`pyforward.errors.HostError` where a file cannot be read at all here.
    """
    return Demo.load() if name == "test" else MediaFile(Path(name), loop=loop)
