"""Trickle fragments (RFC 8840 §9): what a PATCH of ``application/trickle-ice-sdpfrag`` carries."""

from __future__ import annotations

from dataclasses import dataclass

from aioice import Candidate

from pyforward.errors import BadOffer
from pyforward.ice.candidates import parse_candidate

MAX_FRAGMENT_BYTES = 16 * 1024
MAX_FRAGMENT_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Fragment:
    """``ufrag`` and ``pwd`` are None where the fragment leaves them out; changed ones ask for a
    restart. A candidate may name a host that only its own network can resolve."""

    ufrag: str | None
    pwd: str | None
    candidates: tuple[Candidate, ...]
    end_of_candidates: bool


def parse_fragment(text: str) -> Fragment:
    """The fragment; raises :class:`~pyforward.errors.BadOffer` with a line number."""
    if len(text) > MAX_FRAGMENT_BYTES or len(text.encode("utf-8", "replace")) > MAX_FRAGMENT_BYTES:
        raise BadOffer(f"a trickle fragment may have at most {MAX_FRAGMENT_BYTES} bytes")
    credentials: dict[str, str] = {}
    candidates: list[Candidate] = []
    end_of_candidates = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not line.isprintable():
            raise BadOffer("not a line of the form <letter>=<value>", number)
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
    return Fragment(
        credentials.get("ice-ufrag"),
        credentials.get("ice-pwd"),
        tuple(candidates),
        end_of_candidates,
    )


# Private -----------------------------------------------------------------------------------------

_SHORTEST = {"ice-ufrag": 4, "ice-pwd": 22}  # RFC 8839 §5.4
_LONGEST = 256


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
