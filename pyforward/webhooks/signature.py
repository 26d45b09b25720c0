"""How a delivery is signed: HMAC-SHA256 over its id, its time and its body, in the headers of the
Standard Webhooks specification (https://www.standardwebhooks.com), so that receivers find
libraries.

The time keeps a delivery from being replayed later, the id from being taken twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

ID_HEADER = "webhook-id"
TIME_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_PREFIX = "whsec_"


def key_of(secret: str) -> bytes:
    """The key in ``webhooks.secret``: base64 behind ``whsec_``, or else the text itself."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass  # somebody's text that happens to begin so
    return secret.encode()


def sign(key: bytes, identity: str, time_s: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = b".".join((identity.encode(), str(time_s).encode(), body))
    mac = hmac.digest(key, signed, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


def headers(key: bytes, identity: str, time_s: int, body: bytes) -> dict[str, str]:
    """What a delivery carries beside its body."""
    return {
        ID_HEADER: identity,
        TIME_HEADER: str(time_s),
        SIGNATURE_HEADER: sign(key, identity, time_s, body),
    }
