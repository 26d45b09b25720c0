"""Answers that wait for whoever asked for them: how many bytes, for how long, and who gives way.

A client may ask for much and read nothing; its answer then waits in this process, and a thousand
such clients would take its memory. So the bytes that wait altogether have a limit, and each answer
has a time within which it is to be taken.

Not to be locked out meanwhile by those who read nothing, whoever comes gets their room: a reader
that has had :data:`GRACE_S` is cut off as soon as the room is needed, the one that has had longest
first. Where nobody has, a large answer is refused for the moment. Small ones never are: a join that
is answered has happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyforward.errors import Overloaded

GRACE_S = 1.0
"""So long every reader has its answer for itself."""

TAKE_LIMIT_S = 30.0
"""A reader that has not taken its whole answer by then is cut off, whether there is room or not."""

SMALL_BYTES = 16 * 1024
FULL_RETRY_S = 2.0


class Unread:
    """See the top of the file. ``clock`` gives seconds of a monotonic clock."""

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_bytes = limit_bytes
        """Up to this one more may wait; so it is passed by one answer, of whatever size."""
        self.waiting_bytes = 0
        self.dropped = 0
        """Readers that were cut off."""
        self.refused = 0
        """Answers for which there was no room."""
        self._clock = clock
        self._answers: dict[_Answer, None] = {}
        """The one that waits longest first."""

    def admit(self, size_bytes: int) -> None:
        """Makes room for an answer of this size. Raises Overloaded where there is none."""
        self._make_room()
        if size_bytes > SMALL_BYTES and self.waiting_bytes >= self.limit_bytes:
            self.refused += 1
            raise Overloaded(
                FULL_RETRY_S,
                "Too much waits to be read by others; ask again later.",
                limit="limits.unread_bytes",
                value=self.limit_bytes,
            )

    @contextmanager
    def waiting(self, size_bytes: int, on_dropped: Callable[[str], None]) -> Iterator[None]:
        """While inside, an answer of this size waits. ``on_dropped`` is told why its reader has to
        be cut off."""
        answer = _Answer(size_bytes, self._clock(), on_dropped)
        self._answers[answer] = None
        self.waiting_bytes += size_bytes
        overdue = asyncio.get_running_loop().call_later(
            TAKE_LIMIT_S, self._drop, answer, "it takes too long to read"
        )
        try:
            yield
        finally:
            overdue.cancel()
            self._forget(answer)

    # Private -------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        before = self._clock() - GRACE_S
        while self.waiting_bytes >= self.limit_bytes:
            longest = next(iter(self._answers))
            if longest.began_at > before:
                return
            self._drop(longest, "it does not read, and others need the room")

    def _drop(self, answer: _Answer, reason: str) -> None:
        self._forget(answer)
        self.dropped += 1
        answer.on_dropped(reason)

    def _forget(self, answer: _Answer) -> None:
        if answer in self._answers:
            del self._answers[answer]
            self.waiting_bytes -= answer.size_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    size_bytes: int
    began_at: float
    on_dropped: Callable[[str], None]
