"""Handshakes of both roles, bytes to bytes: keys, loss, garbage, wrong certificates, farewells."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
import weakref
from pathlib import Path

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES as AIORTC_PROFILES
from aiortc.rtcdtlstransport import RTCCertificate
from cryptography.hazmat.primitives import hashes, serialization
from OpenSSL import SSL

from pyforward.dtls import Certificate, Handshake
from pyforward.dtls.records import records
from pyforward.errors import ConfigError
from pyforward.srtp import SRTP_PROFILES
from tests.unit.dtls_peers import (
    client_certificate,
    client_context,
    exchange,
    new_client,
    new_server,
    server_certificate,
    server_context,
    split_hello,
)

GCM_128, GCM_256, CM = SRTP_PROFILES
LENGTHS = {GCM_128: (16, 12), GCM_256: (32, 12), CM: (16, 14)}


def _assert_same_keys(client: Handshake, server: Handshake, profile: str = GCM_128) -> None:
    ours, theirs = server.result, client.result
    assert ours is not None
    assert theirs is not None
    assert ours.profile == theirs.profile == profile
    assert (ours.local_key, ours.local_salt) == (theirs.remote_key, theirs.remote_salt)
    assert (ours.remote_key, ours.remote_salt) == (theirs.local_key, theirs.local_salt)
    assert ours.local_key != ours.remote_key
    assert (len(ours.local_key), len(ours.local_salt)) == LENGTHS[profile]
    assert (len(ours.remote_key), len(ours.remote_salt)) == LENGTHS[profile]


def test_both_sides_have_the_same_keys() -> None:
    client, server = new_client(), new_server()
    exchange(client, server)
    _assert_same_keys(client, server)
    assert server.timeout_s() is None
    assert "key=" not in repr(server.result)


@pytest.mark.parametrize("offered", list(itertools.permutations(SRTP_PROFILES)))
def test_our_order_of_profiles_wins(offered: tuple[str, ...]) -> None:
    """Chromium offers CM first; as the server we still get GCM."""
    client, server = new_client(offered), new_server()
    exchange(client, server)
    _assert_same_keys(client, server, GCM_128)


@pytest.mark.parametrize("profile", SRTP_PROFILES)
def test_every_profile(profile: str) -> None:
    client, server = new_client((profile,)), new_server()
    exchange(client, server)
    _assert_same_keys(client, server, profile)


def test_without_a_common_profile() -> None:
    client, server = new_client(("SRTP_AES128_CM_SHA1_32",)), new_server()
    exchange(client, server)
    assert server.failure == "no_srtp_profile"
    assert server.result is None


@pytest.mark.parametrize("at", [1, 30, 100])
def test_a_clienthello_in_two_datagrams(at: int) -> None:
    """Chromium's has 1,413 bytes."""
    client, server = new_client(), new_server()
    (hello,) = client.take_flight()
    first, second = split_hello(hello, at)
    server.receive(second)
    assert server.take_flight() == []
    server.receive(first)
    exchange(client, server)
    _assert_same_keys(client, server)


def test_every_single_datagram_may_be_lost() -> None:
    """The library's timer repeats; it cannot be driven, so all pairs wait for it together."""
    pairs = []
    for lost in range(4):
        client, server = new_client(), new_server()
        count = itertools.count()

        def carry(
            datagram: bytes, count: itertools.count[int] = count, lost: int = lost
        ) -> list[bytes]:
            return [] if next(count) == lost else [datagram]

        exchange(client, server, carry)
        assert client.result is None
        pairs.append((client, server, carry))
    waits = [side.timeout_s() for client, server, _ in pairs for side in (client, server)]
    time.sleep(max(wait for wait in waits if wait is not None) + 0.01)
    for client, server, carry in pairs:
        client.handle_timeout()
        server.handle_timeout()
        exchange(client, server, carry)
        _assert_same_keys(client, server)


def test_the_last_flight_is_repeated_after_the_farewell_was_sealed() -> None:
    client, server = new_client(), new_server()
    sealed: list[bytes] = []

    def lose_the_last(datagram: bytes) -> list[bytes]:
        return [] if server.result is not None else [datagram]

    exchange(client, server, lose_the_last)
    assert server.result is not None
    assert client.result is None
    farewell = server.farewell()
    time.sleep((client.timeout_s() or 0) + 0.01)
    client.handle_timeout()
    for datagram in client.take_flight():
        server.receive(datagram)
    for datagram in server.take_flight():
        sealed += [record.data for record in records(datagram) if record.epoch == 1]
        client.receive(datagram)
    _assert_same_keys(client, server)
    # What is repeated is sealed anew: no sequence number has two texts, the farewell's included.
    assert sealed
    assert farewell[3:11] not in [record[3:11] for record in sealed]
    client.receive(farewell)
    assert client.failure == "closed"


def test_the_farewell_outlives_the_connection() -> None:
    client, server = new_client(), new_server()
    exchange(client, server)
    farewell = server.farewell()
    assert len(farewell) == 39
    alive = weakref.ref(server)
    gc.disable()
    try:
        del server
        assert alive() is None, "a cycle keeps 93 KiB until the collector comes"
    finally:
        gc.enable()
    client.receive(farewell)
    assert client.failure == "closed"


def test_a_forged_farewell_is_ignored() -> None:
    client, server = new_client(), new_server()
    exchange(client, server)
    forged = bytearray(server.farewell())
    forged[-1] ^= 1
    client.receive(bytes(forged))
    client.receive(b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00")  # in the clear
    assert client.failure is None


def test_there_is_no_farewell_before_the_keys() -> None:
    assert new_server().farewell() == b""


def test_garbage_between_the_datagrams() -> None:
    client, server = new_client(), new_server()

    def noisy(datagram: bytes) -> list[bytes]:
        cut = datagram[: len(datagram) // 2]
        alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
        return [b"", b"\x16", alert, cut, bytes(200), datagram, datagram]

    exchange(client, server, noisy)
    _assert_same_keys(client, server)


def test_a_wrong_fingerprint_ends_it_without_keys() -> None:
    wrong = ("sha-256", bytes(32))
    for fingerprints in ([wrong], [], [("md5", b""), ("sha-512", bytes(64))]):
        client = new_client()
        server = Handshake(server_context(), "server", fingerprints)
        exchange(client, server)
        assert (server.failure, server.result) == ("fingerprint", None)
        assert client.result is None
        assert server.farewell() == b""
    client = Handshake(client_context(), "client", [wrong])
    server = new_server()
    exchange(client, server)
    assert (client.failure, client.result, server.result) == ("fingerprint", None, None)


def test_any_of_the_fingerprints_may_match() -> None:
    digest = client_certificate().certificate.fingerprint(hashes.SHA512())
    client = new_client()
    server = Handshake(
        server_context(), "server", [("sha-256", bytes(32)), ("sha-1", b""), ("sha-512", digest)]
    )
    exchange(client, server)
    _assert_same_keys(client, server)


def test_a_peer_without_a_certificate() -> None:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(GCM_128.encode())
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    server = new_server()
    for _ in range(4):
        with contextlib.suppress(SSL.Error):
            connection.do_handshake()
        try:
            server.receive(connection.bio_read(4096))
        except SSL.WantReadError:
            break
        for datagram in server.take_flight():
            connection.bio_write(datagram)
    assert server.failure == "protocol"
    assert server.result is None


@pytest.mark.parametrize("profiles", [AIORTC_PROFILES, AIORTC_PROFILES[-1:]])
def test_aiortc_as_the_peer(profiles: list[object]) -> None:
    certificate = RTCCertificate.generateCertificate()
    context = certificate._create_ssl_context(profiles)  # type: ignore[arg-type]
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    (fingerprint,) = (
        bytes.fromhex(item.value.replace(":", ""))
        for item in certificate.getFingerprints()
        if item.algorithm == "sha-256"
    )
    server = Handshake(server_context(), "server", [("sha-256", fingerprint)])
    done = False
    for _ in range(4):
        try:
            connection.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        with contextlib.suppress(SSL.WantReadError):
            server.receive(connection.bio_read(4096))
        for datagram in server.take_flight():
            connection.bio_write(datagram)
    assert done
    assert server.result is not None
    keys = server.result
    assert keys.profile.encode() == connection.get_selected_srtp_profile()
    # Whose is which, by aiortc's own arithmetic: the client's key and salt come first.
    (profile,) = (item for item in AIORTC_PROFILES if item.openssl_profile == keys.profile.encode())
    length = 2 * (profile.key_length + profile.salt_length)
    material = connection.export_keying_material(b"EXTRACTOR-dtls_srtp", length)
    assert profile.get_key_and_salt(material, 0) == keys.remote_key + keys.remote_salt
    assert profile.get_key_and_salt(material, 1) == keys.local_key + keys.local_salt
    connection.bio_write(server.farewell())
    with pytest.raises(SSL.ZeroReturnError):
        connection.recv(100)


# Certificates ------------------------------------------------------------------------------------


def _write(path: Path, certificate: Certificate) -> tuple[Path, Path]:
    cert_file, key_file = path / "cert.pem", path / "key.pem"
    cert_file.write_bytes(certificate.certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        certificate.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def test_a_certificate_from_files(tmp_path: Path) -> None:
    loaded = Certificate.load(*_write(tmp_path, server_certificate()))
    assert loaded.fingerprint == server_certificate().fingerprint
    algorithm, digest = loaded.fingerprint
    assert (algorithm, len(digest)) == ("sha-256", 32)


def test_files_that_do_not_do(tmp_path: Path) -> None:
    cert_file, key_file = _write(tmp_path, server_certificate())
    other = tmp_path / "other"
    other.mkdir()
    _, other_key = _write(other, client_certificate())
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_bytes(b"rubbish")
    for cert, key, reason in (
        (tmp_path / "absent", key_file, "dtls.cert_file"),
        (rubbish, key_file, "dtls.cert_file"),
        (cert_file, tmp_path / "absent", "dtls.key_file"),
        (cert_file, rubbish, "dtls.key_file"),
        (cert_file, other_key, "not the key of"),
    ):
        with pytest.raises(ConfigError, match=reason):
            Certificate.load(cert, key)
