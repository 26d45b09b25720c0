"""Candidates: ours made from the bound addresses, the peer's read with distrust.

The grammar is aioice's; what it would let through too easily is refused before it sees the text.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence

import ifaddr
from aioice import Candidate

MAX_CANDIDATES = 16
MAX_CANDIDATE_CHARS = 512

_HOST_TYPE_PREFERENCE = 126  # RFC 8445 §5.1.2.2
_COMPONENT = 1  # RTP and RTCP share it (rtcp-mux)
_LARGEST_PRIORITY = 2**31 - 1  # RFC 8445 §5.1.2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_candidates(
    addresses: Sequence[tuple[str, int]],
    advertise: Sequence[str] = (),
    *,
    machine_addresses: Callable[[], Iterable[str]] | None = None,
) -> list[Candidate]:
    """Host candidates for the bound (address, port) pairs, best first, at most
    :data:`MAX_CANDIDATES`.

    Where ``advertise`` names addresses, these stand in the candidates in place of the bound ones
    (a host behind 1:1 NAT). IPv4 stands before IPv6, loopback last. An unspecified address means
    every address of the machine; ``[::]`` is taken as dual-stack.
    """
    machine = _machine_addresses if machine_addresses is None else machine_addresses
    ports = {port: None for _, port in addresses}
    if advertise:
        pairs = [(ipaddress.ip_address(text), port) for text in advertise for port in ports]
    else:
        pairs = [pair for bound in addresses for pair in _expand(*bound, machine)]
    usable = [pair for pair in dict.fromkeys(pairs) if _usable(pair[0])]
    # sorted() is stable: within one rank the operator's order stays.
    usable.sort(key=lambda pair: (pair[0].is_loopback, pair[0].version))
    return [
        _host_candidate(address, port, position)
        for position, (address, port) in enumerate(usable[:MAX_CANDIDATES])
    ]


def parse_candidate(value: str) -> Candidate:
    """The candidate of an ``a=candidate`` value (RFC 8839 §5.1). Its host may be a name: browsers
    hide addresses behind mDNS names. Raises ValueError."""
    if len(value) > MAX_CANDIDATE_CHARS:
        raise ValueError("the candidate is too long")
    if not _CANDIDATE.fullmatch(value):
        raise ValueError("not a candidate as RFC 8839 §5.1 writes it")
    candidate = Candidate.from_sdp(value)
    if not 1 <= candidate.component <= 256:
        raise ValueError("the component is not between 1 and 256")
    if candidate.port > 65535 or (candidate.related_port or 0) > 65535:
        raise ValueError("the port is above 65535")
    return candidate


def usable_candidates(values_untrusted: Iterable[str]) -> tuple[Candidate, ...]:
    """Of a peer's ``a=candidate`` values those that a UDP socket can send checks to, the highest
    priority first, each address once, at most :data:`MAX_CANDIDATES`.

    Left out is what cannot be read, TCP, names (mDNS), a component of its own for RTCP, and
    addresses that are nobody's.
    """
    found: dict[tuple[str, int], Candidate] = {}
    for value in values_untrusted:
        with contextlib.suppress(ValueError):
            candidate = parse_candidate(value.strip())
            address = ipaddress.ip_address(candidate.host)
            if _checkable(candidate) and _usable(address):
                found.setdefault((str(address), candidate.port), candidate)
    ranked = sorted(found.values(), key=lambda candidate: -candidate.priority)
    return tuple(ranked[:MAX_CANDIDATES])


# Private -----------------------------------------------------------------------------------------

_CANDIDATE = re.compile(
    r"[A-Za-z0-9+/]{1,32} [0-9]{1,3} [A-Za-z]{1,10} [0-9]{1,10} [A-Za-z0-9.:_%-]{1,253} [0-9]{1,5}"
    r" typ (?:host|srflx|prflx|relay)"
    r"(?: raddr [A-Za-z0-9.:_%-]{1,253})?(?: rport [0-9]{1,5})?"
    r"(?: (?!raddr |rport |generation )[!-~]{1,64} [!-~]{1,256}| generation [0-9]{1,9})*",
    re.ASCII,
)


def _expand(
    text: str, port: int, machine: Callable[[], Iterable[str]]
) -> list[tuple[Address, int]]:
    address = ipaddress.ip_address(text)
    if not address.is_unspecified:
        return [(address, port)]
    found = [ipaddress.ip_address(item) for item in machine()]
    return [(item, port) for item in found if address.version == 6 or item.version == 4]


def _machine_addresses() -> list[str]:
    """Every address of every adapter, scope ids left out."""
    texts = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            texts.append(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
    return texts


def _checkable(candidate: Candidate) -> bool:
    return (
        candidate.transport.lower() == "udp"
        and candidate.component == _COMPONENT
        and candidate.port > 0
        and 0 < candidate.priority <= _LARGEST_PRIORITY
        and candidate.type in ("host", "srflx", "relay")
    )


def _usable(address: Address) -> bool:
    """Link-local IPv6 needs a scope that SDP cannot carry; the others are nobody's address."""
    if address.is_unspecified or address.is_multicast:
        return False
    return not (address.version == 6 and address.is_link_local)


def _host_candidate(address: Address, port: int, position: int) -> Candidate:
    local_preference = 65535 - position
    return Candidate(
        # One base address, one foundation (RFC 8445 §5.1.1.3).
        foundation=str(position + 1),
        component=_COMPONENT,
        transport="udp",
        priority=(_HOST_TYPE_PREFERENCE << 24) | (local_preference << 8) | (256 - _COMPONENT),
        host=str(address),
        port=port,
        type="host",
    )
