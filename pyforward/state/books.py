"""Streams and sessions, and the deadlines of both.

What it never does: I/O, reading a clock, deciding policy. Its methods are called by control in one
thread, change the books at once, and return the commands that make the engine agree.

Two rules hold everything together:

- ``Closed`` alone frees the entry of a session. Until then it stays, so that late events find it.
- A stream ends in two steps. First it loses its name and its sessions are told to end; the engine
  hears ``RemoveStream`` when the last of them is closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pyforward.commands import (
    AddSession,
    AddStream,
    CloseReason,
    Codec,
    Command,
    IceCredentials,
    Publish,
    PublishTrack,
    RemoveSession,
    RemoveStream,
    RestartIce,
    Subscribe,
    SubscribeTrack,
)
from pyforward.ids import SessionId, StreamId
from pyforward.sdp import LiveTrack
from pyforward.state.deadlines import Deadlines
from pyforward.state.sessions import HALF_OPEN, Peer, Phase, Role, Session
from pyforward.state.streams import Stream

Due = tuple[Literal["phase", "expiry", "stream"], int]
"""What is due: a session's present phase took too long, its claims ran out, a stream's wait is
over."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each state may last, in seconds."""

    connect_s: float
    """From the answer to the first authenticated check."""
    handshake_s: float
    """From there to the keys."""
    wait_s: float
    """How long a stream without a publisher keeps its viewers."""


class Books:
    """All streams and all sessions."""

    def __init__(self, timing: Timing, *, declared: Iterable[str] = (), now: float) -> None:
        self._timing = timing
        self._deadlines: Deadlines[Due] = Deadlines()
        self._streams: dict[StreamId, Stream] = {}
        self._by_name: dict[str, Stream] = {}
        self._sessions: dict[SessionId, Session] = {}
        self._by_secret: dict[str, Session] = {}
        self._ufrags: set[str] = set()
        self._streams_counted = 0
        self._sessions_counted = 0
        self._half_open = 0
        self._viewers = 0
        self._keyed: Counter[str] = Counter()
        self.reconnects = 0
        """Times that media came back to a stream whose publisher had gone."""
        self.gaps_s = 0.0
        """How long it had been away, added up."""
        for name in declared:
            self._new_stream(name, declared=True, now=now)

    # Looking up ----------------------------------------------------------------------------------

    def opening(self) -> list[Command]:
        """What the engine must hear first: the declared streams."""
        return [AddStream(stream.id) for stream in self._streams.values()]

    def stream(self, name: str) -> Stream | None:
        """The stream of this name, live or waiting."""
        return self._by_name.get(name)

    def streams(self) -> list[Stream]:
        """Those that have a name, sorted by it."""
        return sorted(self._by_name.values(), key=lambda stream: stream.name)

    def streams_in_order(self) -> list[Stream]:
        """Those that have a name, in the order in which they were made."""
        return [stream for stream in self._streams.values() if not stream.ended]

    def session(self, session: SessionId) -> Session | None:
        """The entry, closing ones too."""
        return self._sessions.get(session)

    def by_secret(self, secret: str) -> Session | None:
        """The session of this URL, unless it is closing."""
        return self._by_secret.get(secret)

    def is_ufrag_taken(self, ufrag: str) -> bool:
        """Whether an open session listens to this ICE username fragment."""
        return ufrag in self._ufrags

    @property
    def stream_count(self) -> int:
        """Streams that have a name."""
        return len(self._by_name)

    @property
    def viewer_count(self) -> int:
        """Viewers that are not closing."""
        return self._viewers

    @property
    def half_open_count(self) -> int:
        """Sessions that have no keys yet."""
        return self._half_open

    @property
    def live_count(self) -> int:
        """Streams that have a publisher."""
        return sum(stream.publisher is not None for stream in self._by_name.values())

    @property
    def session_count(self) -> int:
        """Entries, closing ones too."""
        return len(self._sessions)

    @property
    def publisher_count(self) -> int:
        """Publishers that are not closing, newcomers included."""
        streams = self._by_name.values()
        return sum((s.publisher is not None) + len(s.newcomers) for s in streams)

    @property
    def keyed_counts(self) -> dict[str, int]:
        """Sessions with keys that are not closing, by SRTP profile."""
        return dict(self._keyed)

    # Joining -------------------------------------------------------------------------------------

    def publish(
        self,
        name: str,
        peer: Peer,
        tracks: tuple[PublishTrack, ...],
        live: tuple[LiveTrack, ...],
        now: float,
    ) -> list[Command]:
        """The peer publishes the stream, which is made if there is none. Where there is a publisher
        it waits as a newcomer; see :meth:`overtake`."""
        commands: list[Command] = []
        stream = self._by_name.get(name)
        if stream is None:
            stream = self._new_stream(name, declared=False, now=now)
            commands.append(AddStream(stream.id))
        codecs: tuple[Codec, ...] = tuple(track.codec for track in live)
        session = self._open("publish", stream, peer, codecs, now)
        session.live = live
        if stream.publisher is None:
            self._give(stream, session)
        else:
            stream.newcomers[session.id] = session
        commands.append(AddSession(peer.session, peer.ice, Publish(stream.id, tracks)))
        return commands

    def watch(
        self,
        stream: Stream,
        peer: Peer,
        tracks: tuple[SubscribeTrack, ...],
        cname: str,
        now: float,
    ) -> list[Command]:
        """The peer watches the stream."""
        codecs: tuple[Codec, ...] = tuple(
            dict.fromkeys(accepted.codec for track in tracks for accepted in track.formats)
        )
        session = self._open("watch", stream, peer, codecs, now)
        stream.viewers[session.id] = session
        stream.demand.update(codecs)
        self._viewers += 1
        return [AddSession(peer.session, peer.ice, Subscribe(stream.id, tracks, cname))]

    def restart_ice(self, session_id: SessionId, ice: IceCredentials, etag: str) -> list[Command]:
        """The peer goes on with these credentials under a new entity tag. The ones before them stay
        taken: checks with them are good until the first one with the new ones."""
        session = self._sessions.get(session_id)
        if session is None or session.phase is Phase.CLOSING or session.peer.ice is None:
            return []
        if session.replaced_ice is not None:
            self._ufrags.discard(session.replaced_ice.local_ufrag)
        session.replaced_ice = session.peer.ice
        session.peer = replace(session.peer, ice=ice, etag=etag)
        self._ufrags.add(ice.local_ufrag)
        return [RestartIce(session_id, ice)]

    # What the engine tells -----------------------------------------------------------------------

    def claimed(
        self, session_id: SessionId, shard: int, address: tuple[str, int], now: float
    ) -> Session | None:
        """A shard owns the session. None if it is gone, closing or claimed already."""
        session = self._sessions.get(session_id)
        if session is None or session.phase is not Phase.OFFERED:
            return None
        session.shard, session.address = shard, address
        self._enter(session, Phase.CLAIMED)
        self._deadlines.set(("phase", session_id), now + self._timing.handshake_s)
        return session

    def keyed(self, session_id: SessionId, srtp_profile: str) -> Session | None:
        """The handshake gave keys. None if the session is gone or closing, or has keys."""
        session = self._sessions.get(session_id)
        if session is None or session.phase not in HALF_OPEN:
            return None
        session.srtp_profile = srtp_profile
        self._keyed[srtp_profile] += 1
        self._enter(session, Phase.KEYED)
        self._deadlines.cancel(("phase", session_id))
        return session

    def flowing(self, session_id: SessionId, now: float) -> Session | None:
        """Media flows. None if the session is gone or closing."""
        session = self._sessions.get(session_id)
        if session is None or session.phase is Phase.CLOSING:
            return None
        self._enter(session, Phase.FLOWING)
        session.flowed_at = now
        if session.role == "publish":
            stream = session.stream
            stream.flowed = True
            if stream.silent_since is not None:
                self.reconnects += 1
                self.gaps_s += now - stream.silent_since
                stream.silent_since = None
        return session

    def overtake(self, session: Session) -> list[Command]:
        """To be called when a session has got further, to keys or to media: publishers of its
        stream that came before it and got no further are replaced. So the present publisher is
        left alone until a newcomer's media flows, and of the newcomers one at most has keys."""
        if session.role != "publish":
            return []
        stream = session.stream
        present = [stream.publisher, *stream.newcomers.values()]
        overtaken = [one for one in present if one is not None and one.is_overtaken_by(session)]
        if stream.publisher in overtaken:
            self._give(stream, stream.newcomers.pop(session.id))
        return [self._end(one, "replaced") for one in overtaken]

    def closed(self, session_id: SessionId, reason: CloseReason, now: float) -> list[Command]:
        """The engine has let go of the session: its entry is freed here and nowhere else."""
        session = self._sessions.get(session_id)
        if session is None:
            return []
        commands: list[Command] = []
        if session.phase is not Phase.CLOSING:
            # The engine's own decision (silence, BYE, no common codec); otherwise it was ours.
            commands += self._leave(session, reason, now)
        del self._sessions[session_id]
        stream = session.stream
        stream.unclosed.discard(session_id)
        if stream.ended:
            commands += self._forget_when_empty(stream)
        return commands

    # Ending --------------------------------------------------------------------------------------

    def end_session(self, session_id: SessionId, reason: CloseReason, now: float) -> list[Command]:
        """Ends one session; nothing if it is gone or closing. A stream whose publisher ends waits
        for another one."""
        session = self._sessions.get(session_id)
        if session is None or session.phase is Phase.CLOSING:
            return []
        commands: list[Command] = [RemoveSession(session_id, reason)]
        return commands + self._leave(session, reason, now)

    def end_stream(self, stream: Stream, reason: CloseReason, now: float) -> list[Command]:
        """Ends its publishers with ``reason`` and every viewer. A declared stream stays, waiting;
        another one loses its name now and is removed when its sessions are closed."""
        if stream.ended:
            return []
        commands: list[Command] = []
        publishers = [stream.publisher, *stream.newcomers.values()]
        commands += [self._end(one, reason) for one in publishers if one is not None]
        commands += [self._end(viewer, "stream_ended") for viewer in list(stream.viewers.values())]
        self._deadlines.cancel(("stream", stream.id))
        stream.waiting_since = now
        if not stream.declared:
            stream.ended = True
            del self._by_name[stream.name]
            commands += self._forget_when_empty(stream)
        return commands

    # Deadlines -----------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When :meth:`take_due` has something; None if nothing is due ever."""
        return self._deadlines.next_at()

    def take_due(self, now: float) -> Iterator[tuple[Due, Session | Stream]]:
        """What is due, with the entry it concerns; each is told once."""
        for due in self._deadlines.take_due(now):
            what, number = due
            entry: Session | Stream | None
            if what == "stream":
                entry = self._streams.get(StreamId(number))
            else:
                entry = self._sessions.get(SessionId(number))
            if entry is not None:
                yield due, entry

    # Private -------------------------------------------------------------------------------------

    def _new_stream(self, name: str, *, declared: bool, now: float) -> Stream:
        self._streams_counted += 1
        stream = Stream(StreamId(self._streams_counted), name, declared, now, waiting_since=now)
        self._streams[stream.id] = stream
        self._by_name[name] = stream
        return stream

    def _open(
        self, role: Role, stream: Stream, peer: Peer, codecs: tuple[Codec, ...], now: float
    ) -> Session:
        self._sessions_counted += 1
        session = Session(peer, role, stream, self._sessions_counted, now, codecs)
        self._sessions[session.id] = session
        self._by_secret[peer.secret] = session
        stream.unclosed.add(session.id)
        if peer.ice is None:
            session.phase = Phase.KEYED
        else:
            self._half_open += 1
            self._ufrags.add(peer.ice.local_ufrag)
            self._deadlines.set(("phase", session.id), now + self._timing.connect_s)
        if peer.expires_at is not None:
            self._deadlines.set(("expiry", session.id), peer.expires_at)
        return session

    def _give(self, stream: Stream, publisher: Session) -> None:
        """The stream has this publisher from now on, and waits for none."""
        stream.publisher = publisher
        stream.waiting_since = None
        self._deadlines.cancel(("stream", stream.id))

    def _enter(self, session: Session, phase: Phase) -> None:
        self._half_open += (phase in HALF_OPEN) - (session.phase in HALF_OPEN)
        session.phase = phase

    def _end(self, session: Session, reason: CloseReason) -> Command:
        self._detach(session)
        return RemoveSession(session.id, reason)

    def _leave(self, session: Session, reason: CloseReason, now: float) -> list[Command]:
        """The session goes by itself, which may leave its stream without a publisher."""
        stream = session.stream
        was_publisher = stream.publisher is session
        self._detach(session)
        if not was_publisher:
            return []
        if stream.flowed and stream.silent_since is None:
            stream.silent_since = now
        if stream.newcomers:
            furthest = max(stream.newcomers.values(), key=Session.rank)
            self._give(stream, stream.newcomers.pop(furthest.id))
            return []
        stream.waiting_since = now
        never_began = reason in ("never_connected", "handshake") and not stream.flowed
        if never_began and not stream.viewers:
            # A publisher that never arrived leaves nothing to wait for.
            return self.end_stream(stream, reason, now)
        self._deadlines.set(("stream", stream.id), now + self._timing.wait_s)
        return []

    def _detach(self, session: Session) -> None:
        """Takes the session out of every index but the one that ``Closed`` empties."""
        stream = session.stream
        self._enter(session, Phase.CLOSING)
        if session.srtp_profile:
            self._keyed[session.srtp_profile] -= 1
        self._by_secret.pop(session.peer.secret, None)
        for ice in (session.peer.ice, session.replaced_ice):
            if ice is not None:
                self._ufrags.discard(ice.local_ufrag)
        self._deadlines.cancel(("phase", session.id))
        self._deadlines.cancel(("expiry", session.id))
        stream.newcomers.pop(session.id, None)
        if stream.publisher is session:
            stream.publisher = None
        elif stream.viewers.pop(session.id, None) is not None:
            stream.demand.subtract(session.codecs)
            self._viewers -= 1

    def _forget_when_empty(self, stream: Stream) -> list[Command]:
        if stream.unclosed:
            return []
        del self._streams[stream.id]
        return [RemoveStream(stream.id)]
