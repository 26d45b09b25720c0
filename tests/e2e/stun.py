"""STUN as a test writes it: right, or wrong in one chosen place (RFC 8489, RFC 8445)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
import zlib

COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS, ERROR = 0x0001, 0x0011, 0x0101, 0x0111

USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, UNKNOWN = 0x0006, 0x0008, 0x0009, 0x000A
XOR_MAPPED, PRIORITY, USE_CANDIDATE = 0x0020, 0x0024, 0x0025
FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING = 0x8028, 0x8029, 0x802A

Attributes = list[tuple[int, bytes]]


def message(
    kind: int,
    attributes: Attributes,
    key: str | None,
    *,
    transaction: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """A message; MESSAGE-INTEGRITY by ``key``, FINGERPRINT last."""
    transaction = transaction or secrets.token_bytes(12)
    body = b"".join(_attribute(name, value) for name, value in attributes)

    def head(more: int) -> bytes:
        return struct.pack("!HHI", kind, len(body) + more, COOKIE) + transaction

    if key is not None:
        tag = hmac.digest(key.encode(), head(24) + body, hashlib.sha1)
        body += _attribute(MESSAGE_INTEGRITY, tag)
    if fingerprint:
        crc = zlib.crc32(head(8) + body) ^ 0x5354554E
        body += _attribute(FINGERPRINT, struct.pack("!I", crc))
    return head(0) + body


def check(
    username: str,
    key: str | None,
    *,
    nominate: bool = True,
    priority: int = 0x6E_00_1E_FF,
    transaction: bytes | None = None,
    fingerprint: bool = True,
) -> bytes:
    """A connectivity check of a controlling agent."""
    attributes: Attributes = [
        (USERNAME, username.encode()),
        (PRIORITY, struct.pack("!I", priority)),
        (ICE_CONTROLLING, secrets.token_bytes(8)),
    ]
    if nominate:
        attributes.append((USE_CANDIDATE, b""))
    return message(REQUEST, attributes, key, transaction=transaction, fingerprint=fingerprint)


def parse(datagram: bytes) -> tuple[int, bytes, dict[int, bytes]]:
    """Kind, transaction and attributes of a message that must be right."""
    kind, length, cookie = struct.unpack_from("!HHI", datagram)
    assert cookie == COOKIE
    assert length == len(datagram) - 20
    attributes, at = {}, 20
    while at < len(datagram):
        name, size = struct.unpack_from("!HH", datagram, at)
        attributes[name] = datagram[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return kind, datagram[8:20], attributes


def is_authentic(datagram: bytes, key: str) -> bool:
    """MESSAGE-INTEGRITY, followed by FINGERPRINT alone, is by this key."""
    body, tag = datagram[:-32], datagram[-28:-8]
    head = datagram[:2] + struct.pack("!H", len(body) - 20 + 24) + body[4:20]
    return hmac.compare_digest(tag, hmac.digest(key.encode(), head + body[20:], hashlib.sha1))


def _attribute(name: int, value: bytes) -> bytes:
    return struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4)
