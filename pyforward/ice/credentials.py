"""Our ICE credentials (RFC 8839 §5.4). The ufrag starts with the node's two characters, so that a
balancer can route a check by its USERNAME without a table."""

from __future__ import annotations

import secrets
import string

NODE_CHARS = 2
UFRAG_RANDOM_CHARS = 10  # 60 bits: the server finds the session by the ufrag alone
PWD_CHARS = 24  # 144 bits; RFC 8445 §5.3 asks for 128

ICE_CHARS = string.ascii_letters + string.digits + "+/"


def new_credentials(node: str) -> tuple[str, str]:
    """A fresh (ufrag, pwd); ``node`` is two ice-chars."""
    if len(node) != NODE_CHARS or any(c not in ICE_CHARS for c in node):
        raise ValueError(f"a node is {NODE_CHARS} letters, digits, '+' or '/': {node!r}")
    return node + _random(UFRAG_RANDOM_CHARS), _random(PWD_CHARS)


def _random(length: int) -> str:
    """The ice-chars are 64, so that six bits of a byte choose each of them as often, and one draw
    of the system's randomness is enough."""
    return secrets.token_bytes(length).translate(_CHARS_OF_BYTES).decode()


_CHARS_OF_BYTES = (ICE_CHARS * 4).encode()
