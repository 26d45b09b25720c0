"""Every handshake of the server, on a few threads.

The books are kept in the loop's thread; a thread of the pool only ever works on one
:class:`~pyforward.dtls.handshake.Handshake` with the datagrams it was given, so datagrams stay in
order and nothing is locked. What a session costs grows with what its peer has shown:

- known: an entry here, without a timer of its own;
- a part of a ClientHello: its bytes, at most ``records.MAX_HELLO_BYTES``, and of all of them
  together :data:`HELLO_BYTES`;
- a whole one: a connection object (93 KiB), of which there are at most ``max_handshakes``; who
  finds no place waits with its ClientHello;
- its certificate: a place that a crowd which only says hello cannot take. Those are at most a half.

While places are short, who was heard of last waits the shortest, because the oldest has most likely
given up, and who has been silent longest makes room. This file never touches a socket and never
decides what becomes of a session: the four callbacks tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol, get_args

from OpenSSL import SSL

from pyforward.commands import SrtpProfile
from pyforward.dtls import records
from pyforward.dtls.certificate import Certificate
from pyforward.dtls.handshake import Failure, Handshake, Keys, Role, new_context
from pyforward.ids import SessionId

_OwnFailure = Literal["timeout", "overload"]

PoolFailure = Failure | _OwnFailure

POOL_FAILURES: tuple[PoolFailure, ...] = (*get_args(Failure), *get_args(_OwnFailure))

LINGER_S: Final = 5.0
"""How long a peer that is silent in SRTP may ask for our last flight again."""

STALLED_S: Final = 0.5
"""A handshake that nothing was heard of for so long makes room when others wait. libwebrtc repeats
its flights after 50 ms; and somebody new gets in within this time, however many have stalled."""

PATIENCE_WHEN_BEHIND: Final = 4
"""So many times longer while datagrams that have come are yet to be read: the peer's answer may be
among them. Not for ever, because a flood could keep us behind."""

ROOM_EVERY_S: Final = 0.02
"""Room is made so often at most."""

LINGER_UNDER_PRESSURE_S: Final = 0.5
"""The same for a connection that has its keys already."""

MAX_INBOX_DATAGRAMS: Final = 32
"""Datagrams of one session that wait for a thread."""

JOBS_PER_THREAD: Final = 16
"""Steps that are handed to the threads before the next ClientHello is. What waits there is served
in turn; what waits here is served by who was heard of last, or in turn as well."""

HELLO_BYTES: Final = 4 * 1024 * 1024
"""What is kept of ClientHellos, whole or in parts, of all sessions together: 3,000 of Chromium's,
or two seconds of work. Beyond, the oldest is forgotten and has to be repeated."""

_log = logging.getLogger(__name__)


class Limits(Protocol):
    """The section ``dtls`` of the configuration."""

    @property
    def max_handshakes(self) -> int:
        """Connection objects at a time."""

    @property
    def handshake_timeout_s(self) -> float:
        """From ``start`` to the keys."""

    @property
    def srtp_profiles(self) -> tuple[SrtpProfile, ...]:
        """What is offered and taken, the best first."""

    @property
    def threads(self) -> int:
        """Threads that compute handshakes."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot. ``sessions`` are all that are known: from ``start`` to ``on_failed``,
    ``on_farewell`` or ``drop``; ``handshaking`` and ``lingering`` have a place, the latter with
    keys; ``waiting`` have their whole ClientHello here and no place yet. ``hello_bytes`` is what is
    kept of ClientHellos, of :data:`HELLO_BYTES` at most."""

    sessions: int
    handshaking: int
    lingering: int
    waiting: int
    hello_bytes: int
    completed: int
    failed: int


class Pool:
    """The DTLS side of all sessions. Make and use it in the loop's thread; the callbacks run there.

    - ``on_flight(session, datagrams)``: to be sent, each as one datagram.
    - ``on_keys(session, keys)``: once; the last flight was handed to ``on_flight`` just before.
    - ``on_failed(session, reason)``: the session is forgotten here.
    - ``on_farewell(session, record)``: the connection is freed and the session forgotten;
      ``record`` is the sealed close_notify to send when the session ends.

    ``is_behind`` says whether there are datagrams that :meth:`receive` has not been given yet.
    ``in_turn``: who has waited longest for a place gets it. Right for who begins all sessions
    itself; otherwise the newest does, because strangers may leave a crowd waiting that never
    answers, and who means it says hello again.
    """

    def __init__(
        self,
        certificate: Certificate,
        limits: Limits,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, Keys], None],
        on_failed: Callable[[SessionId, PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
        is_behind: Callable[[], bool],
        in_turn: bool = False,
    ) -> None:
        self._in_turn = in_turn
        self._context = new_context(certificate, srtp_profiles=limits.srtp_profiles)
        self._limits = limits
        self._on_flight = on_flight
        self._on_keys = on_keys
        self._on_failed = on_failed
        self._on_farewell = on_farewell
        self._is_behind = is_behind
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="dtls")
        self._jobs: set[asyncio.Future[_Outcome]] = set()
        self._associations: dict[SessionId, _Association] = {}
        # Without keys, in order of their start: one timer serves the deadlines of all.
        self._unfinished: OrderedDict[SessionId, _Association] = OrderedDict()
        self._deadline_timer: asyncio.TimerHandle | None = None
        # Each in order of the last sign of life, the longest silent first. Who has a place is in
        # one of the three: it has said hello, has shown its certificate, or has keys.
        self._greeting: OrderedDict[SessionId, _Association] = OrderedDict()
        self._proven: OrderedDict[SessionId, _Association] = OrderedDict()
        self._lingering: OrderedDict[SessionId, _Association] = OrderedDict()
        self._waiting: OrderedDict[SessionId, _Association] = OrderedDict()
        self._hellos: OrderedDict[SessionId, _Association] = OrderedDict()
        self._hello_bytes = 0
        self._room_timer: asyncio.TimerHandle | None = None
        self._completed = 0
        self._failed = 0
        self._closed = False

    def start(
        self, session: SessionId, role: Role, fingerprints: Sequence[tuple[str, bytes]]
    ) -> None:
        """The session may shake hands from now on; call it when ``Claimed`` was told. As a client
        we begin at once, as a server nothing is held until a ClientHello is here."""
        if self._closed or session in self._associations:
            return
        association = _Association(session, role, tuple(fingerprints), self._loop.time())
        self._associations[session] = association
        self._unfinished[session] = association
        if self._deadline_timer is None:
            self._end_overdue()
        if role == "client":
            self._admit(association)

    def receive(self, session: SessionId, datagram: bytes) -> None:
        """A datagram of the session's peer; those of unknown sessions are ignored."""
        association = self._associations.get(session)
        if association is None:
            return
        admissible = records.admissible(datagram)
        if not admissible:
            return
        if association.placed:
            self._touch(association)
            if len(association.inbox) < MAX_INBOX_DATAGRAMS:
                association.inbox.append(admissible)
                self._work(association)
        elif session in self._waiting:
            # It still wants to come in: a crowd that said hello once is not served before it.
            self._waiting.move_to_end(session)
            if session in self._hellos:
                self._hellos.move_to_end(session)
        elif association.role == "server":
            self._keep_hello(association, admissible)
            if association.hello.is_complete():
                self._admit(association)

    def secured(self, session: SessionId) -> None:
        """The peer's first SRTP packet proved that it has our last flight: the connection is freed
        and ``on_farewell`` called."""
        association = self._lingering.get(session)
        if association is not None:
            self._free(association)
            self._fill_places()

    def drop(self, session: SessionId) -> bytes | None:
        """The session ends: forget it. Where keys were told and ``on_farewell`` was not, its
        close_notify record comes back, to be kept or sent before the session is removed."""
        association = self._associations.get(session)
        if association is None:
            return None
        self._forget(association)
        self._fill_places()
        return association.farewell or None

    def stats(self) -> PoolStats:
        """A snapshot."""
        return PoolStats(
            sessions=len(self._associations),
            handshaking=len(self._greeting) + len(self._proven),
            lingering=len(self._lingering),
            waiting=len(self._waiting),
            hello_bytes=self._hello_bytes,
            completed=self._completed,
            failed=self._failed,
        )

    async def close(self) -> None:
        """Ends the threads. Lingering sessions get their ``on_farewell`` first; the others are
        forgotten without a word."""
        self._closed = True
        for association in list(self._associations.values()):
            if association.session in self._lingering:
                self._free(association)
            else:
                self._forget(association)
        for timer in (self._room_timer, self._deadline_timer):
            if timer is not None:
                timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._jobs:
            await asyncio.wait(self._jobs)

    # Places: who has a connection object, who waits for one, who makes room.

    def _is_crowded(self) -> bool:
        """Whether those who have only said hello have all of their half. A place is theirs for our
        answer's way there and back: half of them are as good as all for who means it, and a crowd
        that stalls costs half the memory."""
        return len(self._greeting) >= (self._limits.max_handshakes + 1) // 2

    def _is_full(self) -> bool:
        placed = len(self._greeting) + len(self._proven) + len(self._lingering)
        return placed >= self._limits.max_handshakes

    def _may_admit(self) -> bool:
        busy = len(self._jobs) >= JOBS_PER_THREAD * self._limits.threads
        return not (busy or self._is_crowded() or self._is_full())

    def _admit(self, association: _Association) -> None:
        self._waiting[association.session] = association
        self._fill_places()

    def _fill_places(self) -> None:
        while self._waiting and self._may_admit():
            _, next_one = self._waiting.popitem(last=not self._in_turn)
            next_one.placed = True
            next_one.inbox.extend(self._take_hello(next_one))
            self._greeting[next_one.session] = next_one
            self._touch(next_one)
            self._work(next_one)
        if self._waiting and self._room_timer is None and not self._closed:
            due = [
                next(iter(order.values())).heard_at + patience
                for order, patience in self._who_makes_room()
                if order
            ]
            if due:  # otherwise the threads are what is short, and they come back by themselves
                soon = self._loop.time() + ROOM_EVERY_S
                self._room_timer = self._loop.call_at(max(soon, min(due)), self._make_room)

    def _who_makes_room(self) -> list[tuple[OrderedDict[SessionId, _Association], float]]:
        """In whose places others may come, and after what silence."""
        if self._is_crowded():
            return [(self._greeting, STALLED_S)]
        if not self._is_full():
            return []
        return [
            (self._lingering, LINGER_UNDER_PRESSURE_S),
            (self._greeting, STALLED_S),
            (self._proven, STALLED_S),
        ]

    def _make_room(self) -> None:
        """Frees who has been silent too long while others wait."""
        self._room_timer = None
        now = self._loop.time()
        places_wanted = len(self._waiting)
        times = PATIENCE_WHEN_BEHIND if self._is_behind() else 1
        for order, patience in self._who_makes_room():
            while order and places_wanted > 0:
                longest_silent = next(iter(order.values()))
                if longest_silent.heard_at + times * patience > now:
                    break
                if longest_silent.busy:
                    self._touch(longest_silent)  # it waits for our threads, not we for it
                    continue
                places_wanted -= 1
                if order is self._lingering:
                    self._free(longest_silent)
                else:
                    self._fail(longest_silent, "overload", refill=False)
        self._fill_places()

    def _touch(self, association: _Association) -> None:
        association.heard_at = self._loop.time()
        for order in (self._greeting, self._proven, self._lingering):
            if association.session in order:
                order.move_to_end(association.session)

    def _keep_hello(self, association: _Association, datagram: bytes) -> None:
        self._hello_bytes -= association.hello.held_bytes
        association.hello.add(datagram)
        self._hello_bytes += association.hello.held_bytes
        self._hellos[association.session] = association
        self._hellos.move_to_end(association.session)
        while self._hello_bytes > HELLO_BYTES:
            oldest = next(iter(self._hellos.values()))
            self._take_hello(oldest)
            self._waiting.pop(oldest.session, None)

    def _take_hello(self, association: _Association) -> list[bytes]:
        self._hello_bytes -= association.hello.held_bytes
        self._hellos.pop(association.session, None)
        return association.hello.take()

    # Work: from the loop's thread to a thread of the pool and back.

    def _work(self, association: _Association, *, timeout_due: bool = False) -> None:
        if association.busy or self._closed:
            return  # what is in the inbox by then is taken up when the thread is done
        association.busy = True
        association.cancel_retransmission()
        datagrams = list(association.inbox)
        association.inbox.clear()
        job = self._loop.run_in_executor(
            self._threads, _compute, self._context, association, datagrams, timeout_due
        )
        self._jobs.add(job)
        job.add_done_callback(partial(self._worked, association, not timeout_due))

    def _worked(
        self, association: _Association, answered: bool, job: asyncio.Future[_Outcome]
    ) -> None:
        self._jobs.discard(job)
        association.busy = False
        self._fill_places()
        if job.cancelled() or self._associations.get(association.session) is not association:
            association.handshake = None
            return
        error = job.exception()
        if error is not None:
            _log.error("handshake_broke", exc_info=error)
            self._fail(association, "protocol")
            return
        if answered:
            self._touch(association)  # the peer's patience begins with our answer
        self._take_outcome(association, job.result())

    def _take_outcome(self, association: _Association, outcome: _Outcome) -> None:
        if outcome.flight:
            self._on_flight(association.session, outcome.flight)
        if outcome.is_proven and self._greeting.pop(association.session, None) is not None:
            self._proven[association.session] = association
            self._fill_places()
        if outcome.keys is not None:
            self._completed += 1
            self._linger(association, outcome.farewell)
            self._on_keys(association.session, outcome.keys)
        if self._associations.get(association.session) is not association:
            return  # a callback dropped it
        if outcome.failure is not None:
            self._fail(association, outcome.failure)
        elif association.farewell and association.role == "client":
            # The server sends the last flight of a handshake: nobody asks for ours again.
            self._free(association)
            self._fill_places()
        elif association.inbox:
            self._work(association)
        elif outcome.timeout_s is not None:
            association.retransmission = self._loop.call_later(
                outcome.timeout_s, self._retransmit, association
            )

    def _retransmit(self, association: _Association) -> None:
        association.retransmission = None
        self._work(association, timeout_due=True)

    # Ends: linger, then one of free, fail or forget.

    def _linger(self, association: _Association, farewell: bytes) -> None:
        association.farewell = farewell
        del self._unfinished[association.session]
        del self._proven[association.session]
        self._lingering[association.session] = association
        self._touch(association)
        association.lingering = self._loop.call_later(LINGER_S, self.secured, association.session)

    def _end_overdue(self) -> None:
        """Fails who has come to its deadline, and comes again at that of the next."""
        self._deadline_timer = None
        while self._unfinished and not self._closed:
            oldest = next(iter(self._unfinished.values()))
            due_at = oldest.started_at + self._limits.handshake_timeout_s
            if due_at > self._loop.time():
                self._deadline_timer = self._loop.call_at(due_at, self._end_overdue)
                return
            self._fail(oldest, "timeout")

    def _free(self, association: _Association) -> None:
        self._forget(association)
        self._on_farewell(association.session, association.farewell)

    def _fail(self, association: _Association, reason: PoolFailure, *, refill: bool = True) -> None:
        self._forget(association)
        self._failed += 1
        self._on_failed(association.session, reason)
        if refill:
            self._fill_places()

    def _forget(self, association: _Association) -> None:
        association.cancel_timers()
        association.inbox.clear()
        self._take_hello(association)
        if not association.busy:
            association.handshake = None  # else the thread is in it; `_worked` lets it go
        for book in (
            self._associations,
            self._unfinished,
            self._greeting,
            self._proven,
            self._lingering,
            self._waiting,
        ):
            book.pop(association.session, None)


# Private -----------------------------------------------------------------------------------------


class _Association:
    """A session in the books. A thread touches ``handshake`` alone, and only while ``busy``."""

    __slots__ = (
        "busy",
        "farewell",
        "fingerprints",
        "handshake",
        "heard_at",
        "hello",
        "inbox",
        "lingering",
        "placed",
        "retransmission",
        "role",
        "session",
        "started_at",
    )

    def __init__(
        self,
        session: SessionId,
        role: Role,
        fingerprints: tuple[tuple[str, bytes], ...],
        started_at: float,
    ) -> None:
        self.session = session
        self.role: Role = role
        self.fingerprints = fingerprints
        self.hello = records.HelloAssembly()
        self.inbox: list[bytes] = []  # an empty deque is 0.6 KiB, and most of these stay empty
        self.handshake: Handshake | None = None
        self.placed = False
        self.busy = False
        self.farewell = b""
        self.started_at = started_at
        self.heard_at = 0.0
        self.lingering: asyncio.TimerHandle | None = None
        self.retransmission: asyncio.TimerHandle | None = None

    def cancel_timers(self) -> None:
        """Both."""
        self.cancel_retransmission()
        if self.lingering is not None:
            self.lingering.cancel()
            self.lingering = None

    def cancel_retransmission(self) -> None:
        """The library's timer."""
        if self.retransmission is not None:
            self.retransmission.cancel()
            self.retransmission = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a thread found out. ``keys`` are told once."""

    flight: list[bytes]
    is_proven: bool
    keys: Keys | None
    farewell: bytes
    failure: Failure | None
    timeout_s: float | None


def _compute(
    context: SSL.Context, association: _Association, datagrams: list[bytes], timeout_due: bool
) -> _Outcome:
    """Runs in a thread of the pool."""
    handshake = association.handshake
    if handshake is None:
        handshake = Handshake(context, association.role, association.fingerprints)
        association.handshake = handshake
    had_keys = handshake.result is not None
    if timeout_due:
        handshake.handle_timeout()
    for datagram in datagrams:
        handshake.receive(datagram)
    return _Outcome(
        flight=handshake.take_flight(),
        is_proven=handshake.is_verified,
        keys=None if had_keys else handshake.result,
        farewell=handshake.farewell(),
        failure=handshake.failure,
        timeout_s=handshake.timeout_s(),
    )
