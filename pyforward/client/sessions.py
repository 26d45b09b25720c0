"""Sessions in the client role: one engine turned round, its handshakes, and what becomes of each.

A session goes through the same stages as a browser's: an offer is posted and answered, the engine
checks the answer's candidates, DTLS is done where one of them works, media flows. Everything runs
in the thread of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from pyforward import dtls, ice, sdp
from pyforward.client.exchange import Permit
from pyforward.client.signalling import Resource, Signalling
from pyforward.commands import (
    AddSession,
    AddStream,
    Claimed,
    Closed,
    CloseReason,
    Command,
    DtlsReceived,
    Event,
    Flowing,
    IceCredentials,
    InjectRtp,
    InstallKeys,
    KeepFarewell,
    Kind,
    Opened,
    Publish,
    PublishTrack,
    Records,
    RemoteCandidate,
    RemoveSession,
    RemoveStream,
    Report,
    Secured,
    SendDtls,
    SessionReport,
    SrtpProfile,
    Stopped,
    Subscribe,
    Trial,
)
from pyforward.config import Config
from pyforward.errors import BadAnswer, RemoteError, SessionFailed
from pyforward.ids import NOWHERE, SessionId, StreamId, format_session, new_session_id
from pyforward.reports import Reports

# The peer of ours is another server, so that our ufrags need not tell nodes apart.
_NODE = "00"

CLOSE_LIMIT_S = 3.0
"""How long all sessions together may take to say farewell."""

_log = structlog.get_logger("pyforward.client")


class EngineStatsPort(Protocol):
    """The part of the engine's statistics that is read here."""

    @property
    def shards(self) -> Sequence[object]:
        """One entry a shard; each answers every question."""


class EnginePort(Protocol):
    """The part of :class:`pyforward.engine.Engine` that is used here."""

    def submit(self, *commands: Command) -> None:
        """Hands commands over in order; never blocks."""

    def events(self) -> AsyncIterator[Event]:
        """Everything that the engine tells, in order."""

    def stats(self) -> EngineStatsPort:
        """Counters by shard."""

    @property
    def is_behind(self) -> bool:
        """Whether events that were told are not read yet."""


class Session:
    """One session. ``connected`` has the SRTP profile once media may flow, or
    :class:`~pyforward.errors.SessionFailed`; ``closed`` has the reason once it is over.

    ``begun_s`` is when the offer that was taken was posted and ``added_s`` when the engine heard of
    it, which reports count from; ``claimed_s`` is when the first check was answered and
    ``connected_s`` when the keys were there. All by the loop's clock.
    """

    def __init__(self, session: SessionId, begun_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.id = session
        self.begun_s = begun_s
        self.added_s = begun_s
        self.claimed_s: float | None = None
        self.connected_s: float | None = None
        self.port: int | None = None
        """The local port of its socket, once it has one."""
        self.connected: asyncio.Future[SrtpProfile] = loop.create_future()
        self.closed: asyncio.Future[CloseReason] = loop.create_future()
        # Whoever does not look need not be told that nobody looked.
        self.connected.add_done_callback(lambda done: done.cancelled() or done.exception())

    @property
    def is_over(self) -> bool:
        """The engine knows it no more."""
        return self.closed.done()


@dataclass(slots=True)
class _Entry:
    session: Session
    resource: Resource
    transport: sdp.PeerTransport
    local: sdp.LocalTransport
    section: tuple[Kind, str]
    """Kind and mid of the m-line that stands for the bundle."""
    deadline: asyncio.TimerHandle
    failure: str = ""


class Sessions:
    """All of them. ``close`` it before the engine; :meth:`run_events` runs until that ends."""

    def __init__(
        self,
        config: Config,
        engine: EnginePort,
        certificate: dtls.Certificate,
        *,
        permit: Permit | None = None,
    ) -> None:
        """``permit`` judges the address of each candidate before it is checked."""
        self._config = config
        self._engine = engine
        self._certificate = certificate
        self._permit = permit
        self._loop = asyncio.get_running_loop()
        self._pool = dtls.Pool(
            certificate,
            config.dtls,
            self._on_flight,
            self._on_keys,
            self._on_failed,
            self._on_farewell,
            is_behind=lambda: engine.is_behind,
            in_turn=True,
        )
        self._reports = Reports(engine.submit, len(engine.stats().shards))
        self._entries: dict[SessionId, _Entry] = {}
        self.on_records: Callable[[bytes], object] = lambda records: None
        """Gets what sessions on trial received, as :class:`~pyforward.commands.Records` has it."""
        self._tasks: set[asyncio.Task[object]] = set()

    # Joining -------------------------------------------------------------------------------------

    async def watch(
        self,
        signalling: Signalling,
        url: str,
        *,
        audio: bool = True,
        video: bool = True,
        trial: Trial | None = None,
    ) -> Session:
        """Joins a stream by WHEP. What comes is received and counted, and recorded if the ``trial``
        asks for it. Raises as :meth:`~pyforward.client.Signalling.join` does."""
        local = self._local_transport()
        offer = sdp.offer_watch(local, audio=audio, video=video)
        resource = await signalling.join(url, offer.text)
        async with _deleted_if_useless(resource):
            accepted = sdp.accept_watch(offer, resource.answer)
            candidates = self._candidates(accepted.transport)
        media = Publish(NOWHERE, accepted.tracks)
        return self._begin(resource, local, accepted.transport, candidates, media, trial)

    async def publish(
        self,
        signalling: Signalling,
        url: str,
        stream: StreamId,
        live: Sequence[sdp.LiveTrack],
        *,
        also: Sequence[tuple[str, int]] = (),
    ) -> Session:
        """Publishes a stream of :meth:`add_film` by WHIP. ``also`` are addresses of the peer's that
        its answer need not name. Raises as :meth:`~pyforward.client.Signalling.join` does, and
        BadAnswer when the server takes only a part of the tracks."""
        local = self._local_transport()
        offer = sdp.offer_publish(local, live, msid_stream="pyforward")
        resource = await signalling.join(url, offer.text)
        async with _deleted_if_useless(resource):
            accepted = sdp.accept_publish(offer, resource.answer)
            _check_whole(live, [track.kind for track in accepted.tracks])
            candidates = self._candidates(accepted.transport, also)
        media = Subscribe(stream, accepted.tracks, accepted.cname)
        return self._begin(resource, local, accepted.transport, candidates, media)

    def add_film(self, stream: StreamId, tracks: Sequence[PublishTrack]) -> SessionId:
        """A stream of this process, whose packets come by :meth:`play`; sessions may publish it."""
        session = new_session_id()
        media = Publish(stream, tuple(tracks))
        self._engine.submit(AddStream(stream), AddSession(session, None, media))
        return session

    def play(self, film: SessionId, packets: Sequence[bytes], *, stamped: bool = False) -> None:
        """Whole RTP packets of the film, in order; stamps in them are completed if asked for."""
        self._engine.submit(InjectRtp(film, tuple(packets), stamped))

    def remove_film(self, stream: StreamId, film: SessionId) -> None:
        """After the sessions that publish it."""
        self._engine.submit(RemoveSession(film, "deleted"), RemoveStream(stream))

    # Looking and leaving -------------------------------------------------------------------------

    async def report(self, sessions: Iterable[Session]) -> dict[SessionId, SessionReport]:
        """The figures of those that the engine still has."""
        return await self._reports.ask(session.id for session in sessions)

    async def leave(self, session: Session) -> None:
        """Ends it on both sides; returns when the engine and the server have heard of it."""
        entry = self._entries.get(session.id)
        if entry is None:
            return
        self._end(entry, "deleted")
        await asyncio.wait([session.closed], timeout=CLOSE_LIMIT_S)
        await entry.resource.delete()

    async def close(self) -> None:
        """Leaves all of them, within a bounded time."""
        entries = list(self._entries.values())
        await asyncio.gather(*(self.leave(entry.session) for entry in entries))
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_LIMIT_S)
        await self._pool.close()

    # What the engine tells -----------------------------------------------------------------------

    async def run_events(self) -> None:
        """Until the engine is closed."""
        async for event in self._engine.events():
            try:
                self.handle(event)
            except Exception:
                # One event that goes wrong must not leave every other session alone.
                _log.exception("event_failed", told=type(event).__name__)

    def handle(self, event: Event) -> None:
        """One event of the engine."""
        match event:
            case Opened():
                self._opened(event)
            case Claimed():
                self._claimed(event.session)
            case DtlsReceived():
                self._pool.receive(event.session, event.datagram)
            case Secured():
                self._pool.secured(event.session)
            case Closed():
                self._closed(event)
            case Report():
                self._reports.answered(event)
            case Records():
                self.on_records(event.records)
            case Flowing() | Stopped():
                pass

    def _opened(self, event: Opened) -> None:
        entry = self._entries.get(event.session)
        if entry is None:
            return
        entry.session.port = event.port
        if entry.transport.ice_lite or not entry.transport.trickle:
            return  # it does not check, or learns by our checks where we are (RFC 8445 §7.3.1.3)
        candidates = ice.host_candidates([(self._config.ice.source_address or "::", event.port)])
        fragment = ice.Fragment(
            ufrag=entry.local.ufrag,
            pwd=entry.local.pwd,
            candidates=tuple(candidates),
            end_of_candidates=True,
            kind=entry.section[0],
            mid=entry.section[1],
        )
        self._in_background(self._trickle(entry, fragment.write()))

    async def _trickle(self, entry: _Entry, fragment: str) -> None:
        try:
            await entry.resource.patch(fragment)
        except RemoteError as error:
            # Our checks tell it the same.
            _log.info("trickle_refused", reason=str(error))

    def _claimed(self, session: SessionId) -> None:
        entry = self._entries.get(session)
        if entry is None:
            return
        entry.deadline.cancel()  # the pool has its own
        entry.session.claimed_s = self._loop.time()
        role: dtls.Role = "client" if entry.transport.our_setup == "active" else "server"
        self._pool.start(session, role, entry.transport.fingerprints)

    def _closed(self, event: Closed) -> None:
        self._pool.drop(event.session)
        entry = self._entries.pop(event.session, None)
        if entry is None:
            return
        session = entry.session
        entry.deadline.cancel()
        _log.debug("session_closed", session=format_session(session.id), reason=event.reason)
        session.closed.set_result(event.reason)
        if not session.connected.done():
            session.connected.set_exception(SessionFailed(event.reason, entry.failure))
        # The server may know already; it costs one request to be sure.
        self._in_background(entry.resource.delete())

    # The handshakes ------------------------------------------------------------------------------

    def _on_flight(self, session: SessionId, datagrams: list[bytes]) -> None:
        if session in self._entries:
            self._engine.submit(SendDtls(session, tuple(datagrams)))

    def _on_keys(self, session: SessionId, keys: dtls.Keys) -> None:
        entry = self._entries.get(session)
        if entry is None:
            return
        self._engine.submit(
            InstallKeys(
                session,
                keys.profile,
                keys.local_key,
                keys.local_salt,
                keys.remote_key,
                keys.remote_salt,
            )
        )
        if not entry.session.connected.done():
            entry.session.connected_s = self._loop.time()
            entry.session.connected.set_result(keys.profile)

    def _on_failed(self, session: SessionId, failure: dtls.PoolFailure) -> None:
        entry = self._entries.get(session)
        if entry is None:
            return
        entry.failure = failure
        # With keys it is the peer's authenticated farewell.
        self._end(entry, "bye" if entry.session.connected.done() else "handshake")

    def _on_farewell(self, session: SessionId, close_notify: bytes) -> None:
        if session in self._entries:
            self._engine.submit(KeepFarewell(session, close_notify))

    # Private -------------------------------------------------------------------------------------

    def _begin(
        self,
        resource: Resource,
        local: sdp.LocalTransport,
        transport: sdp.PeerTransport,
        candidates: tuple[RemoteCandidate, ...],
        media: Publish | Subscribe,
        trial: Trial | None = None,
    ) -> Session:
        session = Session(new_session_id(), resource.posted_s)
        session.added_s = self._loop.time()
        deadline = self._loop.call_later(
            self._config.ice.connect_timeout_s, self._too_late, session.id
        )
        section = (media.tracks[0].kind, media.tracks[0].mid)
        self._entries[session.id] = _Entry(session, resource, transport, local, section, deadline)
        credentials = IceCredentials(local.ufrag, local.pwd, transport.ufrag, transport.pwd)
        self._engine.submit(AddSession(session.id, credentials, media, candidates, trial))
        return session

    def _local_transport(self) -> sdp.LocalTransport:
        """Credentials of a new session. It has no candidates yet: its port is not known before the
        answer is here, and the peer learns it by our checks."""
        ufrag, pwd = ice.new_credentials(_NODE)
        return sdp.LocalTransport(ufrag, pwd, self._certificate.fingerprint, "actpass", ())

    def _candidates(
        self, transport: sdp.PeerTransport, also: Sequence[tuple[str, int]] = ()
    ) -> tuple[RemoteCandidate, ...]:
        found = _candidates(transport, also)
        if self._permit is not None:
            for candidate in found:
                self._permit(candidate.address)
        return found

    def _too_late(self, session: SessionId) -> None:
        entry = self._entries.get(session)
        if entry is not None:
            self._end(entry, "never_connected")

    def _end(self, entry: _Entry, reason: CloseReason) -> None:
        """What it would say at the end goes first."""
        session = entry.session.id
        close_notify = self._pool.drop(session)
        if close_notify:
            self._engine.submit(KeepFarewell(session, close_notify))
        self._engine.submit(RemoveSession(session, reason))

    def _in_background(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _deleted_if_useless:  # noqa: N801 - reads as what it does
    """Ends the server's side of a session whose answer turned out to be of no use."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self._resource.delete()


def _candidates(
    transport: sdp.PeerTransport, also: Sequence[tuple[str, int]] = ()
) -> tuple[RemoteCandidate, ...]:
    found = [
        RemoteCandidate(candidate.host, candidate.port, candidate.priority)
        for candidate in ice.usable_candidates(transport.candidates)
    ]
    known = {(candidate.address, candidate.port) for candidate in found}
    found += [RemoteCandidate(*pair, priority=1) for pair in also if pair not in known]
    if not found:
        raise BadAnswer("The answer names no UDP candidate that could be checked.")
    return tuple(found)


def _check_whole(live: Sequence[sdp.LiveTrack], kinds: Sequence[str]) -> None:
    missing = [track for track in live if track.kind not in kinds]
    if missing:
        names = " and ".join(f"{track.kind} ({track.codec})" for track in missing)
        raise BadAnswer(f"The server does not take the {names} of this source.")
