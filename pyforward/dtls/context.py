"""The one OpenSSL context of the process. It is frozen after its first connection."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL, crypto

from pyforward.dtls.certificate import Certificate
from pyforward.srtp import SRTP_PROFILES

# 1.3 waits until a connection can be freed early there as well: its close_notify and the peer's
# post-handshake messages need other care.
_DTLS_1_2 = 0xFEFD

_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)

Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


def make_context(
    certificate: Certificate,
    verify: Verify,
    *,
    srtp_profiles: tuple[str, ...] = SRTP_PROFILES,
) -> SSL.Context:
    """A context for both roles. ``verify`` judges the peer's certificate by its fingerprint; no
    chain and no name is ever checked (RFC 8122 §5)."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_options(
        # A memory BIO has no MTU to ask for; without this the library forgets the one we set.
        SSL.OP_NO_QUERY_MTU
        # No resumption: a ticket is 200 bytes more in a flight, and nobody comes back.
        | SSL.OP_NO_TICKET
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(":".join(_CIPHERS).encode())
    context.set_tlsext_use_srtp(":".join(srtp_profiles).encode())
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    context.use_certificate(certificate.certificate)
    context.use_privatekey(certificate.key)
    context.check_privatekey()
    return context
