"""A source published to a server: played from the moment that the server can take it, until the
source or the session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyforward import sdp
from pyforward.client.playing import Playing
from pyforward.client.sessions import Session, Sessions
from pyforward.client.signalling import Signalling
from pyforward.commands import SessionReport
from pyforward.ids import StreamId
from pyforward.media.source import Burst, Source

# What was sent last may still be asked for again.
REPAIR_S = 0.5

_STREAM = StreamId(1)  # of the engine that publishes: it has no other


class Publication:
    """One source on its way to one server; use it once."""

    def __init__(
        self,
        sessions: Sessions,
        source: Source,
        *,
        pace: Callable[[Iterator[Burst]], Iterator[Burst]] | None = None,
        stamped: bool = False,
    ) -> None:
        """``pace`` spreads its bursts; of a source whose payloads end with stamps, ``stamped`` has
        them completed as they leave."""
        self._sessions = sessions
        self._source = source
        self._pace = pace
        self._stamped = stamped
        self._playing: Playing | None = None
        self._session: Session | None = None
        self._played: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def begin(
        self, signalling: Signalling, url: str, *, also: Sequence[tuple[str, int]] = ()
    ) -> Session:
        """Joins by WHIP, waits until media may flow, and plays. ``also`` as in
        :meth:`~pyforward.client.Sessions.publish`. Raises RemoteError."""
        tracks = self._source.tracks()
        live = [
            sdp.LiveTrack(track.kind, track.codec, self._source.fmtp(track.kind))
            for track in tracks
        ]
        film = self._sessions.add_film(_STREAM, tracks)
        session = await self._sessions.publish(signalling, url, _STREAM, live, also=also)
        self._session = session
        await session.connected
        bursts = self._source.bursts()
        self._playing = Playing(
            self._pace(bursts) if self._pace is not None else bursts,
            asyncio.get_running_loop(),
            lambda packets: self._sessions.play(film, packets, stamped=self._stamped),
            self._on_end,
        )
        return session

    async def wait(self) -> None:
        """Until the source has been played to its end, or the session is over. Raises what the
        source raised."""
        if self._session is not None:
            ends: list[asyncio.Future[Any]] = [self._played, self._session.closed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._played.done():
                self._played.result()
                await asyncio.sleep(REPAIR_S)

    async def report(self) -> SessionReport | None:
        """What was sent so far; None when the session is over."""
        if self._session is None:
            return None
        return (await self._sessions.report([self._session])).get(self._session.id)

    async def end(self) -> None:
        """Stops playing and leaves."""
        if self._playing is not None:
            self._playing.stop()
        if self._session is not None:
            await self._sessions.leave(self._session)

    def _on_end(self, error: Exception | None) -> None:
        if self._played.done():
            return
        if error is None:
            self._played.set_result(None)
        else:
            self._played.set_exception(error)
