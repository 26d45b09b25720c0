"""One DTLS handshake: datagrams in, datagrams out, a timeout, and at the end SRTP keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from OpenSSL import SSL

from pyforward.commands import SrtpProfile

Role = Literal["server", "client"]
Failure = Literal["fingerprint", "alert", "closed", "no_srtp_profile", "protocol"]


@dataclass(frozen=True, slots=True)
class Keys:
    """What the handshake gives: SRTP master keys and salts of both directions."""

    profile: SrtpProfile
    local_key: bytes = field(repr=False)
    local_salt: bytes = field(repr=False)
    remote_key: bytes = field(repr=False)
    remote_salt: bytes = field(repr=False)


class Handshake:
    """Synchronous, for one thread at a time."""

    def __init__(
        self, context: SSL.Context, role: Role, fingerprints: Sequence[tuple[str, bytes]]
    ) -> None:
        raise NotImplementedError
