"""DTLS-SRTP handshakes (RFC 5764) over pyOpenSSL: bytes to bytes, on a few threads."""

from pyforward.dtls.certificate import Certificate
from pyforward.dtls.handshake import Handshake, Keys, Role
from pyforward.dtls.pool import HELLO_BYTES, POOL_FAILURES, Pool, PoolFailure, PoolStats

__all__ = [
    "HELLO_BYTES",
    "POOL_FAILURES",
    "Certificate",
    "Handshake",
    "Keys",
    "Pool",
    "PoolFailure",
    "PoolStats",
    "Role",
]
