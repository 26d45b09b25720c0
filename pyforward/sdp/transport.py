"""What a description says of ICE and DTLS: the peer's side read, our side written.

Transport belongs to the bundle, not to an m-line (RFC 8843 §7), so it is read once for an offer.
Candidates are handed on as text: an ICE-lite server needs none of them, and :mod:`pyforward.ice`
judges those that come to be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aioice import Candidate

from pyforward.sdp.grammar import SessionDescription


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """The peer's ICE credentials, certificate fingerprints as (algorithm, digest), DTLS setup, and
    the values of its ``a=candidate`` lines, unjudged."""

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, bytes], ...]
    setup: Literal["actpass", "active", "passive"]
    candidates: tuple[str, ...]
    trickle: bool

    @property
    def our_setup(self) -> Literal["active", "passive"]:
        """Passive wherever we may, because then our order of SRTP profiles wins."""
        return "active" if self.setup == "passive" else "passive"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our side: credentials, one fingerprint as (algorithm, digest), setup, and candidates in their
    order; the first is the default one of RFC 8839 §4.2.1.2."""

    ufrag: str
    pwd: str
    fingerprint: tuple[str, bytes]
    setup: Literal["active", "passive"]
    candidates: Sequence[Candidate]


def offer_transport(description: SessionDescription) -> PeerTransport:
    """The one transport of an offer.

    Raises BadOffer for what cannot be read and Unprocessable for what is missing or not done here.
    """
    raise NotImplementedError
