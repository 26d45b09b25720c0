"""What ``pyforward-bench publish`` may be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pyforward.errors import ConfigError
from pyforward_bench import traces
from pyforward_bench.traces import Trace

LEAST_RATE, MOST_RATE = 0.01, 100.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is played, in this order of precedence: the file ``trace``; a trace made on the fly of
    ``bitrate_kbps`` at ``fps`` frames a second; ``profile``.

    ``paced`` spreads the packets of a frame as libwebrtc does, otherwise it leaves whole. ``rate``
    plays so many times as fast. ``duration_s`` counts from the first packet; None has no end.
    ``allowed``: the server need not be this machine.
    """

    trace: Path | None = None
    profile: str = "1080p30"
    bitrate_kbps: float | None = None
    fps: float = 30.0
    video_only: bool = False
    paced: bool = False
    rate: float = 1.0
    duration_s: float | None = None
    allowed: bool = False

    def __post_init__(self) -> None:
        if self.profile not in traces.PROFILES:
            known = ", ".join(traces.PROFILES)
            raise ConfigError(f"--profile {self.profile[:40]!r}: there are {known}.")
        if self.trace is not None and self.bitrate_kbps is not None:
            raise ConfigError("--trace and --bitrate: a file has a bitrate of its own, take one.")
        if not LEAST_RATE <= self.rate <= MOST_RATE:
            raise ConfigError(
                f"--rate {self.rate:g}: it goes from {LEAST_RATE:g} to {MOST_RATE:g}."
            )
        if self.duration_s is not None and not 0 <= self.duration_s < math.inf:
            raise ConfigError(
                f"--duration {self.duration_s:g}: it is a time in seconds, from 0 on."
            )

    def load(self) -> Trace:
        """The trace. Raises ConfigError, MediaError for a file, HostError."""
        whole = self._whole()
        return whole.only(["video"]) if self.video_only else whole

    def _whole(self) -> Trace:
        if self.trace is not None:
            return traces.read(self.trace)
        if self.bitrate_kbps is None:
            return traces.profile(self.profile)
        try:
            return traces.generated(self.bitrate_kbps * 1e3, self.fps)
        except ValueError as error:
            raise ConfigError(f"--bitrate and --fps: {error}.") from error
