"""What a description says of ICE and DTLS: the peer's side read, our side written.

Transport belongs to the bundle, not to an m-line (RFC 8843 §7), so it is read once for an offer.
Candidates are handed on as text: an ICE-lite server needs none of them, and :mod:`pyforward.ice`
judges those that come to be used.
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

    def connection(self) -> tuple[int, Field]:
        """Port and ``c=`` line of the default candidate."""
        if not self.candidates:
            return 9, Field("c", "IN IP4 0.0.0.0")
        default = self.candidates[0]
        family = "IP6" if ":" in default.host else "IP4"
        return default.port, Field("c", f"IN {family} {default.host}")

    def attributes(self, *, with_candidates: bool) -> Iterator[Attribute]:
        """The transport lines of one m-line. All candidates are known, so the list is closed; it
        stands once in a bundle, because some peers read only the first 8 KiB of an answer."""
        if with_candidates:
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
    sections = _sections(description)
    if "ice-lite" in description.attributes:
        raise Unprocessable(
            "Both sides would be ICE-lite (a=ice-lite), so neither would send a check."
        )
    ufrag, pwd = _credentials(sections)
    return PeerTransport(
        ufrag,
        pwd,
        _fingerprints(sections),
        _setup(sections),
        tuple(_candidates(sections)),
        any(
            "trickle" in (item.value or "").split()
            for section in sections
            for item in section.every("ice-options")
        ),
    )


# Private -----------------------------------------------------------------------------------------

_UFRAG = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")  # RFC 8839 §5.4, and base64url as some write it
_PWD = re.compile(r"[A-Za-z0-9+/=_-]{22,256}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")


def _sections(description: SessionDescription) -> list[Attributes]:
    """Where to look, in this order: the m-lines that can be accepted, then the session, then what
    else there is (a rejected m-line may be the one that carries the bundle's transport)."""
    usable = [media.attributes for media in description.media if is_media_over_dtls(media)]
    others = [media.attributes for media in description.media if not is_media_over_dtls(media)]
    return [*usable, description.attributes, *others]


def _credentials(sections: Sequence[Attributes]) -> tuple[str, str]:
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
    raise Unprocessable("The offer has no ICE credentials (a=ice-ufrag and a=ice-pwd).")


def _fingerprints(sections: Sequence[Attributes]) -> tuple[tuple[str, bytes], ...]:
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
        "The offer has no certificate fingerprint (a=fingerprint) by "
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


def _setup(sections: Sequence[Attributes]) -> Literal["actpass", "active", "passive"]:
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
                    f"a=setup:{other[:20]} in an offer; actpass, active or passive can be answered",
                    attribute.line,
                )
    return "actpass"  # RFC 8842 §5.2 wants it in offers; who leaves it out takes either role


def _candidates(sections: Sequence[Attributes]) -> Iterator[str]:
    for section in sections:
        lines = section.every("candidate")
        if lines:
            yield from (line.value or "" for line in lines[:MAX_PEER_CANDIDATES])
            return
