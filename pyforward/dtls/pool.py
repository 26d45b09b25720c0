"""Every handshake of the server, on a few threads.

The books are kept in the loop's thread; a thread of the pool only ever works on one
:class:`~pyforward.dtls.handshake.Handshake` with the datagrams it was given, so datagrams stay in
order and nothing is locked. What a session costs grows with what its peer has shown:

- known: an entry here;
- a part of a ClientHello: its bytes, at most ``records.MAX_HELLO_BYTES``;
- a whole one: a connection object (93 KiB), of which there are at most ``max_handshakes``; who
  finds no place waits with its ClientHello.

When all places are taken the newest waits the shortest, because the oldest has most likely given
up, and who has been silent longest makes room. This file never touches a socket and never decides
what becomes of a session: the four callbacks tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol

from OpenSSL import SSL

from pyforward.dtls import records
from pyforward.dtls.certificate import Certificate
from pyforward.dtls.handshake import Failure, Handshake, Keys, Role, new_context
from pyforward.ids import SessionId

PoolFailure = Failure | Literal["timeout", "overload"]

LINGER_S: Final = 5.0
"""How long a peer that is silent in SRTP may ask for our last flight again."""

STALLED_S: Final = 0.5
"""A handshake that nothing was heard of for so long makes room when others wait. libwebrtc repeats
its flights after 50 ms; and somebody new gets in within this time, however many have stalled."""

LINGER_UNDER_PRESSURE_S: Final = 0.5
"""The same for a connection that has its keys already."""

MAX_INBOX_DATAGRAMS: Final = 32
"""Datagrams of one session that wait for a thread."""

WAITING_PER_PLACE: Final = 10
"""Sessions that may wait with their ClientHello, for each place; beyond, the oldest is forgotten
and has to repeat its ClientHello."""

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
    def threads(self) -> int:
        """Threads that compute handshakes."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot. ``sessions`` are all that are known: from ``start`` to ``on_failed``,
    ``on_farewell`` or ``drop``; ``handshaking`` and ``lingering`` have a connection object, the
    latter with keys; ``waiting`` have their whole ClientHello here and no place yet."""

    sessions: int
    handshaking: int
    lingering: int
    waiting: int
    completed: int
    failed: int


class Pool:
    """The DTLS side of all sessions. Make and use it in the loop's thread; the callbacks run there.

    - ``on_flight(session, datagrams)``: to be sent, each as one datagram.
    - ``on_keys(session, keys)``: once; the last flight was handed to ``on_flight`` just before.
    - ``on_failed(session, reason)``: the session is forgotten here.
    - ``on_farewell(session, record)``: the connection is freed and the session forgotten;
      ``record`` is the sealed close_notify to send when the session ends.
    """

    def __init__(
        self,
        certificate: Certificate,
        limits: Limits,
        on_flight: Callable[[SessionId, list[bytes]], None],
        on_keys: Callable[[SessionId, Keys], None],
        on_failed: Callable[[SessionId, PoolFailure], None],
        on_farewell: Callable[[SessionId, bytes], None],
    ) -> None:
        self._context = new_context(certificate)
        self._limits = limits
        self._on_flight = on_flight
        self._on_keys = on_keys
        self._on_failed = on_failed
        self._on_farewell = on_farewell
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="dtls")
        self._jobs: set[asyncio.Future[_Outcome]] = set()
        self._associations: dict[SessionId, _Association] = {}
        # Each in order of the last sign of life, the longest silent first.
        self._handshaking: OrderedDict[SessionId, _Association] = OrderedDict()
        self._lingering: OrderedDict[SessionId, _Association] = OrderedDict()
        self._waiting: OrderedDict[SessionId, _Association] = OrderedDict()
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
        association = _Association(session, role, tuple(fingerprints))
        self._associations[session] = association
        association.deadline = self._loop.call_later(
            self._limits.handshake_timeout_s, self._fail, association, "timeout"
        )
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
        elif association.role == "server" and session not in self._waiting:
            association.hello.add(admissible)
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
            handshaking=len(self._handshaking),
            lingering=len(self._lingering),
            waiting=len(self._waiting),
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
        if self._room_timer is not None:
            self._room_timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._jobs:
            await asyncio.wait(self._jobs)

    # Places: who has a connection object, who waits for one, who makes room.

    def _admit(self, association: _Association) -> None:
        if len(self._handshaking) + len(self._lingering) >= self._limits.max_handshakes:
            self._waiting[association.session] = association
            if len(self._waiting) > WAITING_PER_PLACE * self._limits.max_handshakes:
                _, oldest = self._waiting.popitem(last=False)
                oldest.hello.take()
                if oldest.role == "client":  # it has nobody who would repeat anything
                    self._fail(oldest, "overload")
            self._make_room()
            return
        association.placed = True
        association.inbox.extend(association.hello.take())
        self._handshaking[association.session] = association
        self._touch(association)
        self._work(association)

    def _fill_places(self) -> None:
        while self._waiting and (
            len(self._handshaking) + len(self._lingering) < self._limits.max_handshakes
        ):
            _, newest = self._waiting.popitem()
            self._admit(newest)

    def _make_room(self) -> None:
        """Frees who has been silent too long while others wait, and comes again when the next one
        will have been."""
        if self._room_timer is not None:
            self._room_timer.cancel()
            self._room_timer = None
        now = self._loop.time()
        places_wanted = len(self._waiting)
        due = [now + STALLED_S]
        for order, patience in (
            (self._lingering, LINGER_UNDER_PRESSURE_S),
            (self._handshaking, STALLED_S),
        ):
            while order and places_wanted > 0:
                longest_silent = next(iter(order.values()))
                if longest_silent.heard_at + patience > now:
                    due.append(longest_silent.heard_at + patience)
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
        if self._waiting and not self._closed:
            self._room_timer = self._loop.call_at(min(due), self._make_room)

    def _touch(self, association: _Association) -> None:
        association.heard_at = self._loop.time()
        for order in (self._handshaking, self._lingering):
            if association.session in order:
                order.move_to_end(association.session)

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
        if job.cancelled() or self._associations.get(association.session) is not association:
            association.handshake = None
            return
        error = job.exception()
        if error is not None:
            _log.error("a handshake broke", exc_info=error)
            self._fail(association, "protocol")
            return
        if answered:
            self._touch(association)  # the peer's patience begins with our answer
        self._take_outcome(association, job.result())

    def _take_outcome(self, association: _Association, outcome: _Outcome) -> None:
        if outcome.flight:
            self._on_flight(association.session, outcome.flight)
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
        association.cancel_deadline()
        del self._handshaking[association.session]
        self._lingering[association.session] = association
        self._touch(association)
        association.deadline = self._loop.call_later(LINGER_S, self.secured, association.session)

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
        association.cancel_deadline()
        association.cancel_retransmission()
        association.inbox.clear()
        association.hello.take()
        if not association.busy:
            association.handshake = None  # else the thread is in it; `_worked` lets it go
        for book in (self._associations, self._handshaking, self._lingering, self._waiting):
            book.pop(association.session, None)


# Private -----------------------------------------------------------------------------------------


class _Association:
    """A session in the books. A thread touches ``handshake`` alone, and only while ``busy``."""

    __slots__ = (
        "busy",
        "deadline",
        "farewell",
        "fingerprints",
        "handshake",
        "heard_at",
        "hello",
        "inbox",
        "placed",
        "retransmission",
        "role",
        "session",
    )

    def __init__(
        self, session: SessionId, role: Role, fingerprints: tuple[tuple[str, bytes], ...]
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
        self.heard_at = 0.0
        self.deadline: asyncio.TimerHandle | None = None
        self.retransmission: asyncio.TimerHandle | None = None

    def cancel_deadline(self) -> None:
        """The handshake's deadline, later the end of lingering."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def cancel_retransmission(self) -> None:
        """The library's timer."""
        if self.retransmission is not None:
            self.retransmission.cancel()
            self.retransmission = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a thread found out. ``keys`` are told once."""

    flight: list[bytes]
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
        keys=None if had_keys else handshake.result,
        farewell=handshake.farewell(),
        failure=handshake.failure,
        timeout_s=handshake.timeout_s(),
    )
