"""Plays the demo into a stream: each burst at its time, by a clock that does not drift.

The one publisher that lives inside the process. It stops by itself when its session has ended, for
example because somebody else publishes under the same name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pyforward.commands import PublishTrack
from pyforward.ids import SessionId
from pyforward.media.demo import AUDIO_FMTP, VIDEO_FMTP, Demo
from pyforward.media.source import Burst
from pyforward.sdp import LiveTrack

STREAM_NAME = "demo"

# After a longer halt (a suspended machine, a stopped process) the demo goes on from where it was:
# making up for it would flood every viewer.
MOST_LATE_S = 0.5


class LocalPublishing(Protocol):
    """The part of :class:`pyforward.control.Control` that this publisher uses."""

    async def publish_local(
        self, name: str, tracks: Sequence[PublishTrack], live: Sequence[LiveTrack]
    ) -> SessionId:
        """Makes the session."""

    def inject(self, session: SessionId, packets: Sequence[bytes]) -> bool:
        """Hands packets over; False when the session has ended."""


class Timers(Protocol):
    """The part of an event loop that this publisher uses."""

    def time(self) -> float:
        """Seconds of a monotonic clock."""

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """Calls back at that time of the same clock."""


class DemoPublisher:
    """Publishes the demo between :meth:`start` and :meth:`close`."""

    def __init__(
        self,
        control: LocalPublishing,
        *,
        name: str = STREAM_NAME,
        demo: Demo | None = None,
        timers: Timers | None = None,
    ) -> None:
        """Reads the recording; :class:`pyforward.errors.HostError` when it cannot be read."""
        self._control = control
        self._name = name
        self._demo = demo if demo is not None else Demo.load()
        self._timers = timers
        self._playing: _Playing | None = None

    async def start(self) -> SessionId:
        """Becomes the publisher of the stream and begins to play."""
        session = await self._control.publish_local(
            self._name,
            self._demo.tracks(),
            (LiveTrack("video", "h264", VIDEO_FMTP), LiveTrack("audio", "opus", AUDIO_FMTP)),
        )
        timers = self._timers if self._timers is not None else asyncio.get_running_loop()
        self._playing = _Playing(
            self._demo.bursts(), timers, lambda packets: self._control.inject(session, packets)
        )
        return session

    @property
    def playing(self) -> bool:
        """Whether packets still go out."""
        return self._playing is not None and self._playing.active

    def close(self) -> None:
        """Plays no further; the session ends with everything else of the process."""
        if self._playing is not None:
            self._playing.stop()


class _Playing:
    """One run through the bursts. ``send`` returns False to end it."""

    def __init__(
        self,
        bursts: Iterator[Burst],
        timers: Timers,
        send: Callable[[tuple[bytes, ...]], bool],
    ) -> None:
        self._bursts = bursts
        self._timers = timers
        self._send = send
        self._next = next(bursts)
        self._zero = timers.time() - self._next.due_s
        self._handle: asyncio.TimerHandle | None = None
        self.active = True
        self._play()

    def stop(self) -> None:
        self.active = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _play(self) -> None:
        """Sends what is due, and comes back when the next burst is.

        Each time is reckoned from the one zero, so that what a timer is late by never adds up.
        """
        now = self._timers.time()
        if now - self._zero - self._next.due_s > MOST_LATE_S:
            self._zero = now - self._next.due_s
        due: list[bytes] = []
        while self._zero + self._next.due_s <= now:
            due.extend(self._next.packets)
            self._next = next(self._bursts)
        if due and not self._send(tuple(due)):
            self.stop()
            return
        self._handle = self._timers.call_at(self._zero + self._next.due_s, self._play)
