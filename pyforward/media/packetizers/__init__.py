"""Encoded frames to RTP payloads: one module for each codec, bytes in, list of bytes out.

``h264`` and ``vp8`` are in Cython's pure-Python mode; ``pyforward.twins`` says what that means.
"""

from __future__ import annotations

from pyforward import twins

twins.choose(__path__)

from pyforward.media.packetizers import h264, opus, vp8

compiled: bool = twins.is_compiled(h264)
"""Whether the compiled twins are loaded."""

__all__ = ["compiled", "h264", "opus", "vp8"]
