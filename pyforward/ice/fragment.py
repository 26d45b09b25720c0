"""Trickle fragments (RFC 8840 §9), read and written: the ``application/trickle-ice-sdpfrag`` of a
PATCH, and what answers one that restarts ICE (RFC 9725 §4.3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aioice import Candidate

from pyforward.errors import BadOffer
from pyforward.ice.candidates import parse_candidate

MAX_FRAGMENT_BYTES = 16 * 1024
MAX_FRAGMENT_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Fragment:
    """``ufrag`` and ``pwd`` are None where the fragment leaves them out; changed ones ask for a
    restart. A candidate may name a host that only its own network can resolve. ``kind`` and ``mid``
    are those of the first media section, the one that carries the bundle's transport."""

    ufrag: str | None
    pwd: str | None
    candidates: tuple[Candidate, ...]
    end_of_candidates: bool
    kind: str | None = None
    mid: str | None = None

    def write(self) -> str:
        """The text, with CRLF line ends; the media section is written where there is a ``mid``."""
        lines = []
        if self.mid is not None:
            # Protocol and format say nothing in a fragment (RFC 8840 §9).
            lines += [f"m={self.kind or 'audio'} 9 UDP/TLS/RTP/SAVPF 0", f"a=mid:{self.mid}"]
        if self.ufrag is not None:
            lines.append(f"a=ice-ufrag:{self.ufrag}")
        if self.pwd is not None:
            lines.append(f"a=ice-pwd:{self.pwd}")
        lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in self.candidates]
        if self.end_of_candidates:
            lines.append("a=end-of-candidates")
        return "".join(f"{line}\r\n" for line in lines)


def parse_fragment(text: str) -> Fragment:
    """The fragment; raises :class:`~pyforward.errors.BadOffer` with a line number."""
    if len(text) > MAX_FRAGMENT_BYTES or len(text.encode("utf-8", "replace")) > MAX_FRAGMENT_BYTES:
        raise BadOffer(f"a trickle fragment may have at most {MAX_FRAGMENT_BYTES} bytes")
    credentials: dict[str, str] = {}
    candidates: list[Candidate] = []
    end_of_candidates = False
    kind: str | None = None
    mid: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not line.isprintable():
            raise BadOffer("not a line of the form <letter>=<value>", number)
        if kind is None and (section := _SECTION.match(line)):
            kind = section[1]
        if line[0] != "a":
            continue  # m= names the section that the next lines belong to; we have one transport
        name, _, value = line[2:].partition(":")
        if name in ("ice-ufrag", "ice-pwd"):
            _keep_credential(credentials, name, value, number)
        elif name == "candidate":
            if len(candidates) == MAX_FRAGMENT_CANDIDATES:
                raise BadOffer(f"more than {MAX_FRAGMENT_CANDIDATES} candidates", number)
            candidates.append(_candidate(value, number))
        elif name == "end-of-candidates":
            end_of_candidates = True
        elif name == "mid" and mid is None and _MID.fullmatch(value):
            mid = value
    return Fragment(
        credentials.get("ice-ufrag"),
        credentials.get("ice-pwd"),
        tuple(candidates),
        end_of_candidates,
        kind,
        mid,
    )


def answer_fragment(asked: Fragment, ufrag: str, pwd: str, candidates: Sequence[Candidate]) -> str:
    """Our side of a restart: an ICE-lite agent with these credentials and all of its candidates, in
    the section that the peer's fragment speaks of."""
    ours = Fragment(ufrag, pwd, tuple(candidates), True, asked.kind, asked.mid)
    return "a=ice-lite\r\n" + ours.write()


# Private -----------------------------------------------------------------------------------------

_SHORTEST = {"ice-ufrag": 4, "ice-pwd": 22}  # RFC 8839 §5.4
_LONGEST = 256
_SECTION = re.compile(r"m=(audio|video|application) ")
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}")  # a token (RFC 8866 §9)


def _keep_credential(credentials: dict[str, str], name: str, value: str, number: int) -> None:
    if not _SHORTEST[name] <= len(value) <= _LONGEST or " " in value or not value.isascii():
        raise BadOffer(
            f"a={name} has not between {_SHORTEST[name]} and {_LONGEST} characters", number
        )
    # Every section of a bundle repeats the same pair; two pairs would be two transports.
    if credentials.setdefault(name, value) != value:
        raise BadOffer(f"a second, different a={name}", number)


def _candidate(value: str, number: int) -> Candidate:
    try:
        return parse_candidate(value.strip())
    except ValueError as error:
        raise BadOffer(str(error), number) from None
