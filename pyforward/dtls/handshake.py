"""One DTLS handshake: datagrams in, datagrams out, a timeout, and at the end SRTP keys.

Bytes to bytes over OpenSSL's memory BIOs: no socket, no thread, no loop. The library keeps its own
clock for retransmission. An object costs 93 KiB while it lives, so it is kept no longer than the
peer may ask for our last flight again; its close_notify outlives it as 39 sealed bytes.
"""

from __future__ import annotations

import hmac
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.x509 import Certificate as X509Certificate
from OpenSSL import SSL, crypto

from pyforward.commands import SrtpProfile
from pyforward.dtls import records
from pyforward.dtls.certificate import Certificate
from pyforward.dtls.context import make_context
from pyforward.srtp import SRTP_PROFILES

Role = Literal["server", "client"]
Failure = Literal["fingerprint", "closed", "no_srtp_profile", "protocol"]
"""``closed``: the peer said close_notify. ``protocol``: everything else that OpenSSL ends a
handshake for, the peer's authenticated alerts among them."""

Fingerprints = Sequence[tuple[str, bytes]]

MTU_BYTES: Final = 1200


@dataclass(frozen=True, slots=True)
class Keys:
    """What the handshake gives: SRTP master keys and salts of both directions."""

    profile: SrtpProfile
    local_key: bytes = field(repr=False)
    local_salt: bytes = field(repr=False)
    remote_key: bytes = field(repr=False)
    remote_salt: bytes = field(repr=False)


def new_context(
    certificate: Certificate, *, srtp_profiles: tuple[str, ...] = SRTP_PROFILES
) -> SSL.Context:
    """The context that every :class:`Handshake` of the process shares."""
    return make_context(certificate, _verify, srtp_profiles=srtp_profiles)


class Handshake:
    """Synchronous, for one thread at a time.

    After every call that may write (the constructor of a client, :meth:`receive`,
    :meth:`handle_timeout`) send what :meth:`take_flight` gives and look at :attr:`result` and
    :attr:`failure`. ``fingerprints`` are the peer's, as (algorithm, digest); one has to match.
    """

    def __init__(self, context: SSL.Context, role: Role, fingerprints: Fingerprints) -> None:
        self.failure: Failure | None = None
        self.result: Keys | None = None
        self._role: Role = role
        self._fingerprints = tuple(fingerprints)
        self._farewell = b""
        self._flight: list[bytes] = []
        self._verified = False
        self._connection = SSL.Connection(context, None)
        # Weakly: a cycle would keep 93 KiB until the collector happens to come by.
        self._connection.set_app_data(weakref.ref(self))
        self._connection.set_ciphertext_mtu(MTU_BYTES)
        if role == "client":
            self._connection.set_connect_state()
            self._advance()
        else:
            self._connection.set_accept_state()

    @property
    def is_verified(self) -> bool:
        """Whether the peer has shown the certificate that its SDP named. With it comes the proof,
        in the same flight, that the key is its own; before :attr:`result` that is not judged."""
        return self._verified

    def receive(self, datagram_untrusted: bytes) -> None:
        """A datagram from the peer. Garbage is ignored, as DTLS wants it."""
        admissible = records.admissible(datagram_untrusted)
        if not admissible or self.failure is not None:
            return
        # One datagram at a time: a memory BIO would glue two together.
        self._connection.bio_write(admissible)
        self._advance()

    def take_flight(self) -> list[bytes]:
        """The datagrams to send, each under :data:`MTU_BYTES`, once."""
        out, self._flight = self._flight, []
        return out

    def timeout_s(self) -> float | None:
        """Seconds until :meth:`handle_timeout` is due; None when nothing is to be repeated."""
        if self.failure is not None or self.result is not None:
            return None
        return self._connection.DTLSv1_get_timeout()

    def handle_timeout(self) -> None:
        """Repeats the last flight if it is time to; otherwise does nothing."""
        if self.failure is not None:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._fail("protocol")
        self._collect()

    def farewell(self) -> bytes:
        """The sealed close_notify record; empty before :attr:`result` is there."""
        return self._farewell

    def judge(self, certificate: X509Certificate) -> bool:
        """Called inside the library's verification with the peer's own certificate: whether it is
        the one whose fingerprint the peer's SDP named. No ends the handshake by an alert."""
        matches = False
        for algorithm, digest in self._fingerprints:
            hash_ = _HASHES.get(algorithm)
            if hash_ is not None:
                # Every one is compared, each in constant time: nothing is told by the duration.
                matches |= hmac.compare_digest(certificate.fingerprint(hash_), digest)
        self._verified = matches
        if not matches:
            self._fail("fingerprint")
        return matches

    # Private

    def _advance(self) -> None:
        try:
            if self.result is None:
                self._connection.do_handshake()
                self._finish()
            else:
                # The peer's repeated flight makes the library repeat ours.
                self._connection.recv(records.MAX_DATAGRAM_BYTES)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._fail("closed")
        except SSL.Error:
            # With keys only an authenticated alert can end it: the peer is done with us.
            self._fail("protocol" if self.result is None else "closed")
        self._collect()

    def _finish(self) -> None:
        if not self._verified:  # the library was not asked, whatever its reason: never trusted
            self._fail("fingerprint")
            return
        keys = self._export()
        if keys is None:
            self._fail("no_srtp_profile")
            return
        self._collect()
        self.result = keys
        self._farewell = self._seal_farewell()

    def _export(self) -> Keys | None:
        """RFC 5764 §4.2: client key, server key, client salt, server salt."""
        name = self._connection.get_selected_srtp_profile().decode("ascii", "replace")
        known = _PROFILES.get(name)
        if known is None:
            return None
        profile, key_bytes, salt_bytes = known
        material = self._connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes), None
        )
        salts = 2 * key_bytes
        client = (material[:key_bytes], material[salts : salts + salt_bytes])
        server = (material[key_bytes:salts], material[salts + salt_bytes :])
        local, remote = (client, server) if self._role == "client" else (server, client)
        return Keys(profile, *local, *remote)

    def _seal_farewell(self) -> bytes:
        """The close_notify of the end, sealed now. Taking the mark of the shutdown off again lets
        the library still repeat our last flight; its records take later sequence numbers, so that
        none is sealed twice."""
        self._connection.shutdown()
        record = self._read_out()
        self._connection.set_shutdown(0)
        return record

    def _fail(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure

    def _collect(self) -> None:
        flight = self._read_out()
        if flight:
            self._flight.extend(records.datagrams(flight, MTU_BYTES))

    def _read_out(self) -> bytes:
        parts = []
        while True:
            try:
                parts.append(self._connection.bio_read(_READ_BYTES))
            except SSL.Error:
                return b"".join(parts)


# Private -----------------------------------------------------------------------------------------

_READ_BYTES = 16 * 1024

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}

# Key and salt lengths: RFC 5764 §4.1.2, RFC 7714 §12.
_PROFILES: dict[str, tuple[SrtpProfile, int, int]] = {
    "SRTP_AEAD_AES_128_GCM": ("SRTP_AEAD_AES_128_GCM", 16, 12),
    "SRTP_AEAD_AES_256_GCM": ("SRTP_AEAD_AES_256_GCM", 32, 12),
    "SRTP_AES128_CM_SHA1_80": ("SRTP_AES128_CM_SHA1_80", 16, 14),
}


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int
) -> bool:
    """Only the peer's own certificate counts; what else stands in its chain proves nothing.

    It must not raise: pyOpenSSL keeps a callback's exception in the context, and would throw it
    at whichever connection comes next.
    """
    if depth > 0:
        return True
    handshake = connection.get_app_data()()
    try:
        return handshake is not None and bool(handshake.judge(certificate.to_cryptography()))
    except ValueError:  # OpenSSL read it, cryptography's stricter parser does not
        return False
