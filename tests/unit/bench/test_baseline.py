"""The baseline forwarder without its socket: what it seals for whom, and what it refuses."""

from __future__ import annotations

import sys

import pytest
from pylibsrtp import Policy, Session

from pyforward.errors import ConfigError, HostError
from pyforward_bench import baseline
from pyforward_bench.baseline import Address, Baseline, Suite

PROFILES: dict[Suite, int] = {
    "gcm": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "cm": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


def packet(sequence: int = 1) -> bytes:
    return bytes((0x80, 96)) + sequence.to_bytes(2, "big") + bytes(8) + b"payload"


def session(key: bytes, suite: Suite = "gcm", *, seals: bool = False) -> Session:
    direction = Policy.SSRC_ANY_OUTBOUND if seals else Policy.SSRC_ANY_INBOUND
    return Session(Policy(key, direction, srtp_profile=PROFILES[suite]))


class Wire:
    """What was sent, to whom; for the addresses in ``full`` there is no room."""

    def __init__(self, full: tuple[Address, ...] = ()) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self._full = full

    def send(self, datagram: bytes, address: Address) -> None:
        if address in self._full:
            raise BlockingIOError
        self.sent.append((datagram, address))


@pytest.mark.parametrize("suite", ["gcm", "cm"])
def test_each_destination_has_its_own_key(suite: Suite) -> None:
    wire = Wire()
    to = baseline.addresses(("127.0.0.2", 40000), 3)
    forwarder = Baseline(to, wire.send, suite=suite)
    forwarder.handle_datagram(packet())
    assert [address for _, address in wire.sent] == to
    assert len({datagram for datagram, _ in wire.sent}) == 3
    for number, (datagram, _) in enumerate(wire.sent):
        opener = session(baseline.key_of(number, suite), suite)
        assert opener.unprotect(datagram) == packet()
    assert (forwarder.counts.received, forwarder.counts.sent) == (1, 3)


def test_sealed_packets_are_opened_first() -> None:
    wire = Wire()
    key = baseline.key_of(99)
    forwarder = Baseline([("127.0.0.2", 40000)], wire.send, inbound_key=key)
    sealed = session(key, seals=True).protect(packet())
    forwarder.handle_datagram(sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    assert (forwarder.counts.refused, wire.sent) == (1, [])
    forwarder.handle_datagram(sealed)
    ((datagram, _),) = wire.sent
    assert session(baseline.key_of(0)).unprotect(datagram) == packet()


@pytest.mark.parametrize("key", [None, baseline.key_of(99)])
@pytest.mark.parametrize("datagram", [b"", b"\x80", b"\x00" * 20, b"\x80" * 1400, b"\x80" * 2048])
def test_what_is_no_packet_is_counted_and_stops_nothing(datagram: bytes, key: bytes | None) -> None:
    wire = Wire()
    forwarder = Baseline([("127.0.0.2", 40000)], wire.send, inbound_key=key)
    forwarder.handle_datagram(datagram)
    assert (forwarder.counts.refused, wire.sent) == (1, [])


def test_a_trace_may_begin_anew() -> None:
    wire = Wire()
    forwarder = Baseline([("127.0.0.2", 40000)], wire.send)
    for sequence in (1, 2, 1, 2):
        forwarder.handle_datagram(packet(sequence))
    assert len(wire.sent) == 4


def test_what_finds_no_room_is_counted_and_stops_nobody() -> None:
    full = ("127.0.0.2", 40000)
    wire = Wire((full,))
    forwarder = Baseline([full, ("127.0.0.3", 40000)], wire.send)
    forwarder.handle_datagram(packet())
    assert [address for _, address in wire.sent] == [("127.0.0.3", 40000)]
    assert (forwarder.counts.sent, forwarder.counts.dropped) == (1, 1)


def test_destinations_are_apart_by_address_or_by_port() -> None:
    assert baseline.addresses(("10.0.0.255", 5), 2) == [("10.0.0.255", 5), ("10.0.1.0", 5)]
    assert baseline.addresses(("::1", 5), 2, "port") == [("::1", 5), ("::1", 6)]


@pytest.mark.parametrize(
    ("first", "count", "apart"),
    [
        (("localhost", 5), 1, "address"),
        (("255.255.255.255", 5), 2, "address"),
        (("127.0.0.1", 65535), 2, "port"),
    ],
)
def test_destinations_that_there_are_not(first: Address, count: int, apart: baseline.Apart) -> None:
    with pytest.raises(ConfigError, match="--to"):
        baseline.addresses(first, count, apart)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to", "nowhere"),
        ("--to", "127.0.0.1:1", "--listen", "127.0.0.1:99999"),
        ("--to", "127.0.0.1:1", "--inbound-key", "00"),
        ("--to", "127.0.0.1:1", "--inbound-key", "no hex"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert baseline.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pyforward-bench: {arguments[-2]}")


def test_without_pylibsrtp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibsrtp", None)
    with pytest.raises(HostError, match=r"pip install 'pyforward\[bench\]'"):
        Baseline([("127.0.0.1", 1)], Wire().send)
