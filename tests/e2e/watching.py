"""A viewer that watches in the background while a test does something terrible to somebody else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from tests.e2e.peer import Peer, joined
from tests.e2e.sdp import Track, video
from tests.e2e.server import Server, wait_for


class Watching:
    """Pumps its peer until the end. What goes wrong there is raised in the test."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def more(self, count: int = 10, within_s: float = 20.0) -> None:
        """So many more packets come in."""
        wanted = len(self.peer.rtp) + count
        wait_for(f"{count} more packets", lambda: self._has(wanted), within_s)

    def is_closed(self) -> bool:
        """The server's close_notify has come."""
        return self.peer.closed

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _has(self, wanted: int) -> bool:
        if self._error is not None:
            raise self._error
        return len(self.peer.rtp) >= wanted

    def _run(self) -> None:
        try:
            self.peer.pumped(self._ended.is_set, 3600)
        except BaseException as error:
            self._error = error


@contextlib.contextmanager
def watching(
    server: Server, name: str = "demo", tracks: Iterable[Track] = (video("H264"),)
) -> Iterator[Watching]:
    """A viewer to whom packets come, before and still at the end."""
    viewer = Watching(joined(server, f"/whep/{name}", tracks).connect())
    try:
        viewer.more(5)
        yield viewer
        viewer.more(5)
    finally:
        viewer.end()
        viewer.peer.drop()
