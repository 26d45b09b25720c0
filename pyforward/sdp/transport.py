"""What a description says of ICE and DTLS: the peer's side read, our side written.

Transport belongs to the bundle, not to an m-line (RFC 8843 §7), so it is read once for an offer or
an answer. Candidates are handed on as text: an ICE-lite server needs none of them, and
``pyforward.ice.usable_candidates`` judges those that come to be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aioice import Candidate

from pyforward.errors import BadOffer, Unprocessable
from pyforward.sdp.grammar import Attribute, Attributes, Field, SessionDescription
from pyforward.sdp.sections import is_media_over_dtls

MAX_FINGERPRINTS: Final = 8
MAX_PEER_CANDIDATES: Final = 64

DIGEST_BYTES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""The hash functions that we compare certificates by; weaker ones count as absent."""

Setup = Literal["actpass", "active", "passive"]


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """The peer's ICE credentials, certificate fingerprints as (algorithm, digest), DTLS setup, and
    the values of its ``a=candidate`` lines, unjudged. The setup of an answer is never actpass."""

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, bytes], ...]
    setup: Setup
    candidates: tuple[str, ...]
    trickle: bool
    ice_lite: bool = False

    @property
    def our_setup(self) -> Literal["active", "passive"]:
        """Passive wherever we may, because then our order of SRTP profiles wins."""
        return "active" if self.setup == "passive" else "passive"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our side: credentials, one fingerprint as (algorithm, digest), setup (actpass in offers
    alone), and candidates in their order; the first is the default one of RFC 8839 §4.2.1.2. An
    offer may have none yet."""

    ufrag: str
    pwd: str
    fingerprint: tuple[str, bytes]
    setup: Setup
    candidates: Sequence[Candidate]

    def connection(self) -> tuple[int, Field]:
        """Port and ``c=`` line of the default candidate."""
        if not self.candidates:
            return 9, Field("c", "IN IP4 0.0.0.0")
        default = self.candidates[0]
        family = "IP6" if ":" in default.host else "IP4"
        return default.port, Field("c", f"IN {family} {default.host}")

    def attributes(self, *, with_candidates: bool) -> Iterator[Attribute]:
        """The transport lines of one m-line. Where there are candidates, they are all, so the list
        is closed. In an answer it stands once in a bundle, because some peers read only 8 KiB."""
        if with_candidates and self.candidates:
            for candidate in self.candidates:
                yield Attribute("candidate", candidate.to_sdp())
            yield Attribute("end-of-candidates")
        algorithm, digest = self.fingerprint
        yield Attribute("ice-ufrag", self.ufrag)
        yield Attribute("ice-pwd", self.pwd)
        yield Attribute("fingerprint", f"{algorithm} {digest.hex(':').upper()}")
        yield Attribute("setup", self.setup)


def offer_transport(description: SessionDescription) -> PeerTransport:
    """The one transport of an offer.

    Raises BadOffer for what cannot be read and Unprocessable for what is missing or not done here.
    """
    peer = _transport(description, "offer")
    if peer.ice_lite:
        raise Unprocessable(
            "Both sides would be ICE-lite (a=ice-lite), so neither would send a check."
        )
    return peer


def answer_transport(description: SessionDescription, our_setup: Setup) -> PeerTransport:
    """The one transport of an answer to an offer that said ``a=setup:`` ``our_setup``.

    Raises BadOffer and Unprocessable as :func:`offer_transport` does. An answer takes one of the
    two DTLS roles, and not the one that the offer took (RFC 8842 §5.3).
    """
    peer = _transport(description, "answer")
    if peer.setup == "actpass" or peer.setup == our_setup:
        raise Unprocessable(
            "The answer takes no DTLS role that the offer left to it "
            "(a=setup:active or a=setup:passive)."
        )
    return peer


# Private -----------------------------------------------------------------------------------------

_Which = Literal["offer", "answer"]

_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")  # RFC 8839 §5.4, and base64url as some write it
_PWD = re.compile(r"[A-Za-z0-9+/=_-]{22,256}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")


def _sections(description: SessionDescription) -> list[Attributes]:
    """Where to look, in this order: the m-lines that can be accepted, then the session, then what
    else there is (a rejected m-line may be the one that carries the bundle's transport)."""
    usable = [media.attributes for media in description.media if is_media_over_dtls(media)]
    others = [media.attributes for media in description.media if not is_media_over_dtls(media)]
    return [*usable, description.attributes, *others]


def _transport(description: SessionDescription, which: _Which) -> PeerTransport:
    sections = _sections(description)
    ufrag, pwd = _credentials(sections, which)
    return PeerTransport(
        ufrag,
        pwd,
        _fingerprints(sections, which),
        _setup(sections),
        tuple(_candidates(sections)),
        any(
            "trickle" in (item.value or "").split()
            for section in sections
            for item in section.every("ice-options")
        ),
        "ice-lite" in description.attributes,
    )


def _credentials(sections: Sequence[Attributes], which: _Which) -> tuple[str, str]:
    for section in sections:
        ufrag, pwd = section.first("ice-ufrag"), section.first("ice-pwd")
        if ufrag is None and pwd is None:
            continue
        if ufrag is None or pwd is None:
            break
        if not _UFRAG.fullmatch(ufrag.value or ""):
            raise BadOffer("a=ice-ufrag is not 4 to 256 ice-chars", ufrag.line)
        if not _PWD.fullmatch(pwd.value or ""):
            raise BadOffer("a=ice-pwd is not 22 to 256 ice-chars", pwd.line)
        return ufrag.value or "", pwd.value or ""
    raise Unprocessable(f"The {which} has no ICE credentials (a=ice-ufrag and a=ice-pwd).")


def _fingerprints(sections: Sequence[Attributes], which: _Which) -> tuple[tuple[str, bytes], ...]:
    for section in sections:
        lines = section.every("fingerprint")
        if not lines:
            continue
        read = [_fingerprint(line) for line in lines[:MAX_FINGERPRINTS]]
        known = tuple(item for item in read if item is not None)
        if not known:
            break
        return known
    raise Unprocessable(
        f"The {which} has no certificate fingerprint (a=fingerprint) by "
        + ", ".join(DIGEST_BYTES)
        + "."
    )


def _fingerprint(attribute: Attribute) -> tuple[str, bytes] | None:
    """None for a hash function that we do not trust."""
    algorithm, _, text = (attribute.value or "").strip().partition(" ")
    algorithm, text = algorithm.lower(), text.strip()
    if algorithm not in DIGEST_BYTES:
        return None
    if not _DIGEST.fullmatch(text) or len(text) != 3 * DIGEST_BYTES[algorithm] - 1:
        raise BadOffer(f"not a {algorithm} fingerprint", attribute.line)
    return algorithm, bytes.fromhex(text.replace(":", ""))


def _setup(sections: Sequence[Attributes]) -> Setup:
    for section in sections:
        attribute = section.first("setup")
        if attribute is None:
            continue
        match (attribute.value or "").strip().lower():
            case "actpass":
                return "actpass"
            case "active":
                return "active"
            case "passive":
                return "passive"
            case other:
                raise BadOffer(
                    f"a=setup:{other[:20]} is none of actpass, active and passive",
                    attribute.line,
                )
    return "actpass"  # RFC 8842 §5.2 wants it; an offer that leaves it out takes either role


def _candidates(sections: Sequence[Attributes]) -> Iterator[str]:
    for section in sections:
        lines = section.every("candidate")
        if lines:
            yield from (line.value or "" for line in lines[:MAX_PEER_CANDIDATES])
            return
