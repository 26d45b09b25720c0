"""The baseline forwarder without its socket: what it seals for whom."""

from __future__ import annotations

import sys

import pytest
from pylibsrtp import Policy, Session

from pyforward.dtls import Keys
from pyforward.errors import HostError
from pyforward.srtp import SrtpProfile
from pyforward_bench.rig.peers import baseline
from pyforward_bench.rig.peers.baseline import PROFILES, Address, Fanout

FIRST, SECOND = ("127.0.0.2", 40000), ("127.0.0.3", 40000)


def packet(sequence: int = 1) -> bytes:
    return bytes((0x80, 96)) + sequence.to_bytes(2, "big") + bytes(8) + b"payload"


def keys(profile: SrtpProfile = "SRTP_AEAD_AES_128_GCM", *, fill: int = 0) -> Keys:
    salt = 12 if "GCM" in profile else 14
    local, remote = bytes([fill]) * 16, bytes([fill + 1]) * 16
    return Keys(profile, local, bytes([fill]) * salt, remote, bytes([fill + 1]) * salt)


def viewer(of: Keys) -> Session:
    """Opens what the other end of these keys seals."""
    number = {
        "SRTP_AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        "SRTP_AES128_CM_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    }[of.profile]
    key = of.local_key + of.local_salt
    return Session(Policy(key, Policy.SSRC_ANY_INBOUND, srtp_profile=number))


class Wire:
    """What was sent, to whom; for the addresses in ``full`` there is no room."""

    def __init__(self, full: tuple[Address, ...] = ()) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self._full = full

    def send(self, datagram: bytes, address: Address) -> None:
        if address in self._full:
            raise BlockingIOError
        self.sent.append((datagram, address))


@pytest.mark.parametrize("profile", PROFILES)
def test_each_viewer_has_its_own_key(profile: SrtpProfile) -> None:
    wire = Wire()
    fanout = Fanout(wire.send)
    theirs = {address: keys(profile, fill=2 * n) for n, address in enumerate((FIRST, SECOND))}
    for address, of in theirs.items():
        fanout.add(address, baseline.sealer(of))
    fanout.forward(packet())
    assert [address for _, address in wire.sent] == [FIRST, SECOND]
    assert wire.sent[0][0] != wire.sent[1][0]
    for datagram, address in wire.sent:
        assert viewer(theirs[address]).unprotect(datagram) == packet()


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_publisher_sealed_is_opened_once(profile: SrtpProfile) -> None:
    of = keys(profile)
    sealed = baseline.sealer(Keys(profile, of.remote_key, of.remote_salt, b"", b""))(packet())
    opened = baseline.opener(of)
    assert opened(sealed[:-1] + bytes((sealed[-1] ^ 1,))) is None
    assert opened(sealed) == packet()
    assert opened(sealed) is None
    assert opened(b"\x80") is None
    assert opened(b"\x80" * 2048) is None


def test_what_finds_no_room_is_lost_and_stops_nobody() -> None:
    wire = Wire(full=(FIRST,))
    fanout = Fanout(wire.send)
    for address in (FIRST, SECOND):
        fanout.add(address, baseline.sealer(keys()))
    fanout.forward(packet())
    assert [address for _, address in wire.sent] == [SECOND]


def test_who_has_left_gets_nothing_more() -> None:
    wire = Wire()
    fanout = Fanout(wire.send)
    for address in (FIRST, SECOND):
        fanout.add(address, baseline.sealer(keys()))
    fanout.remove(FIRST)
    fanout.remove(FIRST)
    fanout.forward(packet())
    assert [address for _, address in wire.sent] == [SECOND]


def test_without_pylibsrtp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert baseline.missing() is None
    monkeypatch.setitem(sys.modules, "pylibsrtp", None)
    assert "pip install 'pyforward[bench]'" in (baseline.missing() or "")
    with pytest.raises(HostError, match=r"pip install 'pyforward\[bench\]'"):
        baseline.sealer(keys())
