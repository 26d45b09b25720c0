"""The pool: order, limits, who waits and who makes room, and what is told at each end."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import get_args

import pytest

from pyforward.commands import SrtpProfile
from pyforward.dtls import Handshake, Keys, Pool, PoolFailure, records
from pyforward.dtls import pool as pool_module
from pyforward.ids import SessionId
from tests.unit.dtls_peers import (
    client_certificate,
    new_client,
    server_certificate,
    server_context,
    split_hello,
)

PATIENCE_S = 20.0  # for a machine that does much else; nothing waits so long


@dataclass(frozen=True)
class Limits:
    max_handshakes: int = 1000
    handshake_timeout_s: float = 10.0
    threads: int = 2
    srtp_profiles: tuple[SrtpProfile, ...] = get_args(SrtpProfile)


class Network:
    """A pool, its peers, and all that it told."""

    def __init__(self, limits: Limits, *, in_turn: bool = False) -> None:
        self.peers: dict[int, Handshake] = {}
        self.keys: dict[int, Keys] = {}
        self.failures: dict[int, PoolFailure] = {}
        self.farewells: dict[int, bytes] = {}
        self.flights: dict[int, int] = {}
        self.told: list[tuple[str, int]] = []
        self.is_behind = False
        self.lost: set[int] = set()  # which of our flights to each peer are lost, from 1
        self._news = asyncio.Event()
        self.pool = Pool(
            server_certificate(),
            limits,
            self._on_flight,
            self._on_keys,
            self._on_failed,
            self._on_farewell,
            lambda: self.is_behind,
            in_turn=in_turn,
        )

    def start(self, number: int) -> Handshake:
        """A session and its peer, whose ClientHello is in its flight."""
        self.peers[number] = new_client()
        self.pool.start(SessionId(number), "server", [client_certificate().fingerprint])
        return self.peers[number]

    def send(self, number: int) -> None:
        """What the peer has to say reaches the pool."""
        for datagram in self.peers[number].take_flight():
            self.pool.receive(SessionId(number), datagram)

    def join(self, number: int) -> None:
        """A session whose peer behaves."""
        self.start(number)
        self.send(number)

    def stall(self, number: int) -> None:
        """A session whose peer sends a whole ClientHello and no more."""
        self.start(number)
        self.send(number)
        del self.peers[number]

    async def until(self, *told: tuple[str, int]) -> None:
        """Waits until all of this was told."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(told) <= set(self.told):
                self._news.clear()
                await self._news.wait()

    async def until_flights(self, number: int, count: int) -> None:
        """Waits until a session had so many flights of us."""
        async with asyncio.timeout(PATIENCE_S):
            while self.flights.get(number, 0) < count:
                self._news.clear()
                await self._news.wait()

    def _tell(self, what: str, session: int) -> None:
        self.told.append((what, session))
        self._news.set()

    def _on_flight(self, session: SessionId, datagrams: list[bytes]) -> None:
        assert all(len(datagram) <= 1200 for datagram in datagrams)
        self.flights[session] = self.flights.get(session, 0) + 1
        self._tell("flight", session)
        peer = self.peers.get(session)
        if peer is not None and self.flights[session] not in self.lost:
            for datagram in datagrams:
                peer.receive(datagram)
            self.send(session)

    def _on_keys(self, session: SessionId, keys: Keys) -> None:
        assert session not in self.keys
        self.keys[session] = keys
        self._tell("keys", session)

    def _on_failed(self, session: SessionId, reason: PoolFailure) -> None:
        assert session not in self.failures
        self.failures[session] = reason
        self._tell("failed", session)

    def _on_farewell(self, session: SessionId, record: bytes) -> None:
        assert session not in self.farewells
        self.farewells[session] = record
        self._tell("farewell", session)


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    made = Network(Limits())
    yield made
    await made.pool.close()


# A session's way ---------------------------------------------------------------------------------


async def test_keys_then_secured_then_the_farewell(network: Network) -> None:
    network.join(1)
    await network.until(("keys", 1))
    assert network.told == [("flight", 1), ("flight", 1), ("keys", 1)]
    peer = network.peers[1]
    assert peer.result is not None
    assert network.keys[1].local_key == peer.result.remote_key
    assert network.pool.stats().lingering == 1
    network.pool.secured(SessionId(1))
    assert network.told[-1] == ("farewell", 1)
    peer.receive(network.farewells[1])
    assert peer.failure == "closed"
    stats = network.pool.stats()
    assert (stats.sessions, stats.lingering, stats.completed, stats.failed) == (0, 0, 1, 0)
    network.pool.receive(SessionId(1), b"\x16" * 60)  # late records are ignored
    network.pool.secured(SessionId(1))
    assert network.pool.drop(SessionId(1)) is None


async def test_as_client_the_connection_is_freed_with_the_keys() -> None:
    network = Network(Limits())
    # The same certificate at both ends: whose it is plays no part here.
    network.peers[1] = Handshake(server_context(), "server", [server_certificate().fingerprint])
    network.pool.start(SessionId(1), "client", [server_certificate().fingerprint])
    await network.until(("keys", 1), ("farewell", 1))
    assert network.peers[1].result is not None
    assert network.pool.stats().sessions == 0
    await network.pool.close()


async def test_who_is_never_secured_is_freed_after_a_while(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "LINGER_S", 0.05)
    network.join(1)
    await network.until(("keys", 1), ("farewell", 1))


async def test_a_lost_flight_is_repeated_by_the_librarys_timer(network: Network) -> None:
    network.lost = {1}
    network.join(1)
    await network.until(("keys", 1))
    assert network.flights[1] == 3


async def test_the_last_flight_is_repeated_while_lingering(network: Network) -> None:
    network.lost = {2}
    network.join(1)
    await network.until(("keys", 1))
    assert network.peers[1].result is None
    peer = network.peers[1]
    await asyncio.sleep(peer.timeout_s() or 0)  # the peer's clock is the library's: not ours
    peer.handle_timeout()
    network.send(1)
    await network.until_flights(1, 3)
    assert peer.result is not None
    assert network.keys[1].local_key == peer.result.remote_key


async def test_a_wrong_fingerprint(network: Network) -> None:
    network.peers[1] = new_client()
    network.pool.start(SessionId(1), "server", [("sha-256", bytes(32))])
    network.send(1)
    await network.until(("failed", 1))
    assert network.failures == {1: "fingerprint"}
    assert network.keys == {}
    stats = network.pool.stats()
    assert (stats.sessions, stats.handshaking, stats.failed) == (0, 0, 1)


async def test_a_clienthello_in_two_datagrams(network: Network) -> None:
    peer = network.start(1)
    (hello,) = peer.take_flight()
    first, second = split_hello(hello, 100)
    network.pool.receive(SessionId(1), second)
    assert network.pool.stats().handshaking == 0
    network.pool.receive(SessionId(1), first)
    assert network.pool.stats().handshaking == 1
    await network.until(("keys", 1))


async def test_datagrams_of_a_session_stay_in_order(network: Network) -> None:
    """A hundred sessions at once, each datagram handed over as soon as it is there."""
    numbers = range(1, 101)
    for number in numbers:
        network.join(number)
    await network.until(*(("keys", number) for number in numbers))
    assert network.failures == {}
    assert all(count == 2 for count in network.flights.values())  # nothing had to be repeated


# Ends --------------------------------------------------------------------------------------------


async def test_the_deadline_ends_every_half_way() -> None:
    network = Network(Limits(max_handshakes=1, handshake_timeout_s=0.1))
    network.start(1)  # says nothing
    (hello,) = network.start(2).take_flight()
    network.pool.receive(SessionId(2), split_hello(hello, 50)[0])  # never completed
    network.stall(3)
    network.stall(4)  # waits for a place
    assert network.pool.stats().waiting == 1
    await network.until(*(("failed", number) for number in (1, 2, 3, 4)))
    assert set(network.failures.values()) == {"timeout"}
    assert network.pool.stats().sessions == network.pool.stats().waiting == 0
    await network.pool.close()


async def test_drop_gives_the_farewell_that_was_not_told(network: Network) -> None:
    network.join(1)
    await network.until(("keys", 1))
    record = network.pool.drop(SessionId(1))
    assert record is not None
    network.peers[1].receive(record)
    assert network.peers[1].failure == "closed"
    assert network.farewells == {}
    network.start(2)
    assert network.pool.drop(SessionId(2)) is None
    assert network.pool.stats().sessions == 0


async def test_drop_while_a_thread_works(network: Network) -> None:
    network.stall(1)
    assert network.pool.drop(SessionId(1)) is None
    network.join(1)  # the same id again is another session
    await network.until(("keys", 1))
    assert network.failures == {}


async def test_a_callback_may_drop_its_session(network: Network) -> None:
    peer = network.start(1)
    tell_keys = network.pool._on_keys

    def drop_at_once(session: SessionId, keys: Keys) -> None:
        tell_keys(session, keys)
        assert network.pool.drop(session)

    network.pool._on_keys = drop_at_once
    network.send(1)
    await network.until(("keys", 1))
    assert peer.result is not None
    assert network.pool.stats().sessions == 0


async def test_closing_says_farewell_to_who_lingers() -> None:
    network = Network(Limits())
    network.join(1)
    network.stall(2)
    await network.until(("keys", 1), ("flight", 2))
    await network.pool.close()
    assert set(network.farewells) == {1}
    assert network.failures == {}
    network.pool.start(SessionId(3), "server", [])
    assert network.pool.stats().sessions == 0


async def test_the_peers_close_notify_is_told(network: Network) -> None:
    network.join(1)
    await network.until(("keys", 1))
    network.pool.receive(SessionId(1), network.peers[1].farewell())
    await network.until(("failed", 1))
    assert network.failures == {1: "closed"}


# Limits ------------------------------------------------------------------------------------------


async def test_no_more_connections_than_places_and_all_get_one() -> None:
    network = Network(Limits(max_handshakes=5))
    most = 0
    secured = network.pool.secured
    numbers = range(1, 56)
    for number in numbers:
        network.join(number)
    assert network.pool.stats().waiting == 52  # three of the five for who has only said hello
    async with asyncio.timeout(PATIENCE_S):
        while len(network.farewells) < len(numbers):
            stats = network.pool.stats()
            most = max(most, stats.handshaking + stats.lingering)
            for number in list(network.keys):
                secured(SessionId(number))
            network._news.clear()
            if len(network.farewells) < len(numbers):
                await network._news.wait()
    assert most == 5
    assert network.failures == {}
    await network.pool.close()


async def test_more_than_a_thousand_half_open_sessions_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newest is served first, and who stalls makes room: a good viewer need not wait for the
    deadlines of a crowd."""
    # Long enough for the good viewer on a busy machine: who is slower than this stalls as well.
    monkeypatch.setattr(pool_module, "STALLED_S", 0.6)
    network = Network(Limits(max_handshakes=50, handshake_timeout_s=60.0))
    hello = new_client().take_flight()
    crowd = range(1, 1201)
    for number in crowd:
        network.pool.start(SessionId(number), "server", [client_certificate().fingerprint])
        for datagram in hello:
            network.pool.receive(SessionId(number), datagram)
    stats = network.pool.stats()
    assert stats.handshaking == 25
    assert stats.handshaking + stats.waiting == len(crowd)
    network.join(5000)
    await network.until(("keys", 5000))
    assert set(network.failures.values()) <= {"overload"}
    # Nearly all of the crowd is still there: they did not have to go first.
    assert network.pool.stats().sessions > 900
    await network.pool.close()


@pytest.mark.parametrize("in_turn", [True, False])
async def test_who_waits_for_a_place_gets_it_in_turn_or_last_come_first(in_turn: bool) -> None:
    network = Network(Limits(max_handshakes=2), in_turn=in_turn)
    for number in range(1, 21):
        network.pool.start(SessionId(number), "client", [client_certificate().fingerprint])
    assert network.pool.stats().waiting == 19
    network.pool.drop(SessionId(1))
    await network.until_flights(2 if in_turn else 20, 1)
    assert set(network.flights) <= {1, 2 if in_turn else 20}
    await network.pool.close()


async def test_a_crowd_that_only_says_hello_gets_half_of_the_places() -> None:
    network = Network(Limits(max_handshakes=10))
    for number in range(1, 5):
        network.join(number)
    await network.until(*(("keys", number) for number in range(1, 5)))
    crowd = range(11, 41)
    for number in crowd:
        network.stall(number)
    async with asyncio.timeout(PATIENCE_S):
        while sum(number in network.flights for number in crowd) < 5:
            network._news.clear()
            await network._news.wait()
    stats = network.pool.stats()
    assert (stats.handshaking, stats.lingering, stats.waiting) == (5, 4, 25)
    await network.pool.close()


async def test_who_repeats_its_clienthello_is_served_before_who_came_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "STALLED_S", 0.05)
    network = Network(Limits(max_handshakes=1))
    network.stall(1)
    (hello,) = network.start(2).take_flight()
    network.pool.receive(SessionId(2), hello)
    for number in range(3, 10):
        network.stall(number)
    network.pool.receive(SessionId(2), hello)
    await network.until(("keys", 2))
    assert set(network.flights) == {1, 2}
    await network.pool.close()


async def test_a_handshake_under_way_is_not_pushed_out() -> None:
    network = Network(Limits(max_handshakes=1))
    network.stall(1)
    network.stall(2)
    await network.until(("flight", 1))
    assert network.failures == {}  # heard of within the last second
    await network.pool.close()


async def test_who_waits_for_our_threads_is_not_silent() -> None:
    network = Network(Limits(max_handshakes=1))
    hello = new_client().take_flight()
    for number in (1, 2):
        network.pool.start(SessionId(number), "server", [client_certificate().fingerprint])
        for datagram in hello:
            network.pool.receive(SessionId(number), datagram)
    network.pool._associations[SessionId(1)].heard_at -= 10 * pool_module.STALLED_S
    network.pool._make_room()
    assert network.failures == {}
    await network.until(("flight", 1))
    await network.pool.close()


async def test_who_may_have_answered_is_not_silent() -> None:
    """While we are behind with reading, we wait longer, but not for ever."""
    network = Network(Limits(max_handshakes=1))
    network.stall(1)
    await network.until(("flight", 1))
    network.stall(2)
    network.is_behind = True
    network.pool._associations[SessionId(1)].heard_at -= 2 * pool_module.STALLED_S
    network.pool._make_room()
    assert network.failures == {}
    network.pool._associations[SessionId(1)].heard_at -= 2 * pool_module.STALLED_S
    network.pool._make_room()
    assert network.failures == {1: "overload"}
    await network.pool.close()


async def test_lingering_makes_room_under_pressure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LINGER_UNDER_PRESSURE_S", 0.05)
    network = Network(Limits(max_handshakes=1))
    network.join(1)
    await network.until(("keys", 1))
    network.join(2)
    await network.until(("farewell", 1), ("keys", 2))
    assert network.failures == {}
    await network.pool.close()


async def test_half_a_clienthello_holds_no_connection(network: Network) -> None:
    (hello,) = new_client().take_flight()
    first = split_hello(hello, 50)[0]
    for number in range(1, 3001):
        network.pool.start(SessionId(number), "server", [])
        for _ in range(20):
            network.pool.receive(SessionId(number), first)
    assert network.pool.stats().handshaking == 0
    held = [a.hello.held_bytes for a in network.pool._associations.values()]
    assert max(held) == len(first)


async def test_clienthellos_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole or in parts; the oldest have to be repeated."""
    monkeypatch.setattr(pool_module, "HELLO_BYTES", 5000)
    monkeypatch.setattr(pool_module, "STALLED_S", 0.05)
    network = Network(Limits(max_handshakes=1))
    (hello,) = new_client().take_flight()
    whole, (part, _) = 100, split_hello(hello, 100)
    for number in range(1, 1001):
        network.pool.start(SessionId(number), "server", [])
        network.pool.receive(SessionId(number), hello if number % whole == 0 else part)
        held = [a.hello.held_bytes for a in network.pool._associations.values()]
        assert sum(held) == network.pool.stats().hello_bytes <= 5000
    assert held[0] == 0 < held[-1]
    peer = network.start(2001)
    (hello,) = peer.take_flight()
    for datagram in split_hello(hello, 100):
        network.pool.receive(SessionId(2001), datagram)
    await network.until(("keys", 2001))
    for number in range(1, 1001):
        network.pool.drop(SessionId(number))
    assert network.pool.stats().hello_bytes == 0
    await network.pool.close()


async def test_a_flood_for_one_session_is_bounded(network: Network) -> None:
    network.stall(1)
    (hello,) = new_client().take_flight()
    for _ in range(10_000):
        network.pool.receive(SessionId(1), hello)
    (association,) = network.pool._associations.values()
    assert len(association.inbox) <= pool_module.MAX_INBOX_DATAGRAMS
    assert association.hello.held_bytes <= records.MAX_HELLO_BYTES


async def test_connections_are_freed_at_once(network: Network) -> None:
    network.join(1)
    await network.until(("keys", 1))
    (association,) = network.pool._associations.values()
    assert association.handshake is not None
    handshake = weakref.ref(association.handshake)
    gc.disable()
    try:
        network.pool.secured(SessionId(1))
        assert handshake() is None
    finally:
        gc.enable()
