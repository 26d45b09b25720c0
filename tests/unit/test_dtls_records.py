"""What may reach the library, where flights are cut, and when a ClientHello is whole."""

from __future__ import annotations

import pytest

from pyforward.dtls import records
from pyforward.dtls.records import HelloAssembly
from tests.unit.dtls_peers import new_client, new_server, split_hello
from tests.unit.mutation import corpus, mutations

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23


def _record(content_type: int, body: bytes, epoch: int = 0, version: bytes = b"\xfe\xfd") -> bytes:
    header = bytes([content_type]) + version + epoch.to_bytes(2, "big") + bytes(6)
    return header + len(body).to_bytes(2, "big") + body


def _message(type_: int, length: int, offset: int, piece: bytes, sequence: int = 0) -> bytes:
    return (
        bytes([type_])
        + length.to_bytes(3, "big")
        + sequence.to_bytes(2, "big")
        + offset.to_bytes(3, "big")
        + len(piece).to_bytes(3, "big")
        + piece
    )


def _fragment(length: int, offset: int, size: int, sequence: int = 0, fill: bytes = b"h") -> bytes:
    return _record(HANDSHAKE, _message(1, length, offset, fill * size, sequence))


def _hello() -> bytes:
    (datagram,) = new_client().take_flight()
    return datagram


# Records -----------------------------------------------------------------------------------------


def test_a_clienthello_is_admissible() -> None:
    datagram = _hello()
    assert records.admissible(datagram) == datagram


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x16\xfe\xfd", id="no header"),
        pytest.param(_record(HANDSHAKE, b"")[:-1] + b"\x05", id="longer than the datagram"),
        pytest.param(_record(ALERT, b"\x02\x28"), id="alert outside the encryption"),
        pytest.param(_record(APPLICATION_DATA, b"x"), id="data outside the encryption"),
        pytest.param(_record(26, b"x", epoch=1), id="unknown type"),
        pytest.param(_record(HANDSHAKE, b"short"), id="no message header"),
        pytest.param(_record(HANDSHAKE, b"x" * 40, version=b"\x03\x03"), id="TLS"),
        pytest.param(_fragment(1 << 20, 0, 10), id="a message of a mebibyte"),
        pytest.param(_fragment(100, 0, 10, sequence=1000), id="far ahead"),
        pytest.param(_fragment(100, 95, 10), id="beyond its message"),
        pytest.param(_fragment(100, 0, 100) * 20, id="a huge datagram"),
    ],
)
def test_what_never_reaches_the_library(datagram: bytes) -> None:
    assert records.admissible(datagram) == b""


def test_bad_records_do_not_take_good_ones_with_them() -> None:
    hello = _hello()
    assert records.admissible(_record(ALERT, b"\x02\x28") + hello + b"rubbish") == hello


def test_encrypted_alerts_and_messages_pass() -> None:
    datagram = _record(ALERT, b"sealed", epoch=1) + _record(HANDSHAKE, b"sealed", epoch=1)
    assert records.admissible(datagram) == datagram


def test_flights_are_cut_at_records() -> None:
    flight = [_record(HANDSHAKE, bytes([n]) * size) for n, size in enumerate((500, 500, 100, 1100))]
    cut = records.datagrams(b"".join(flight), 1200)
    assert cut == [b"".join(flight[:3]), flight[3]]


def test_a_servers_flight_stays_under_the_mtu() -> None:
    server = new_server()
    server.receive(_hello())
    flight = server.take_flight()
    assert flight
    assert all(0 < len(datagram) <= 1200 for datagram in flight)
    assert b"".join(flight) == b"".join(r.data for d in flight for r in records.records(d))


# Assembly ----------------------------------------------------------------------------------------


def test_a_hello_in_one_datagram() -> None:
    assembly = HelloAssembly()
    hello = _hello()
    assembly.add(hello)
    assert assembly.is_complete()
    assert assembly.take() == [hello]
    assert not assembly.is_complete()
    assert assembly.held_bytes == 0


def test_a_hello_in_crumbs_is_dropped() -> None:
    # 150 fragments of one byte with a hole behind each: 16 ms of sorting a datagram, 60 at a time.
    crumbs = b"".join(_fragment(8000, 2 * n, 1) for n in range(records.MAX_HELLO_PARTS + 1))
    assembly = HelloAssembly()
    assembly.add(crumbs)
    assert assembly.held_bytes == 0
    assembly.add(_hello())
    assert assembly.is_complete()


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1), (1, 1, 0)])
def test_a_hello_in_two_datagrams_in_any_order(order: tuple[int, ...]) -> None:
    pieces = split_hello(_hello(), 120)
    assembly = HelloAssembly()
    for index in order[:-1]:
        assembly.add(pieces[index])
        assert not assembly.is_complete()
    assembly.add(pieces[order[-1]])
    assert assembly.is_complete()
    assert sorted(assembly.take()) == sorted(pieces)  # each once


def test_a_new_hello_replaces_the_old() -> None:
    assembly = HelloAssembly()
    assembly.add(_fragment(100, 0, 50))
    assembly.add(_fragment(120, 60, 60))
    assert not assembly.is_complete()
    assembly.add(_fragment(120, 0, 60))
    assert assembly.is_complete()
    assert len(assembly.take()) == 2


def test_other_messages_and_empty_fragments_are_not_kept() -> None:
    assembly = HelloAssembly()
    assembly.add(_record(HANDSHAKE, _message(16, 40, 0, b"x" * 40)))
    assembly.add(_fragment(100, 0, 0))
    assembly.add(_fragment(0, 0, 0))
    assert assembly.held_bytes == 0
    assert not assembly.is_complete()


def test_fragments_that_are_never_completed_are_bounded() -> None:
    assembly = HelloAssembly()
    most = 0
    for offset in range(0, 8000, 2):  # every second byte: never whole
        assembly.add(_fragment(8000, offset, 1))
        most = max(most, assembly.held_bytes)
    assert not assembly.is_complete()
    assert 0 < most <= records.MAX_HELLO_BYTES


def test_mutated_datagrams() -> None:
    seeds = [*corpus("dtls"), _hello(), b"".join(split_hello(_hello(), 60)), _fragment(300, 0, 100)]
    server = new_server()
    assembly = HelloAssembly()
    passed = 0
    for data in mutations(seeds):
        admissible = records.admissible(data)
        assert len(admissible) <= len(data)
        assembly.add(admissible)
        assert assembly.held_bytes <= records.MAX_HELLO_BYTES
        server.receive(data)
        if server.failure is not None or server.take_flight():
            passed += 1
            server = new_server()
    assert passed > 5
