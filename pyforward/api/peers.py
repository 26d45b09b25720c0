"""Where a request comes from and by which URL the client knows us, when proxies stand between.

Forwarding headers are believed only of the proxies in ``http.trusted_proxies`` (RFC 7239 §8.1).
Everything here is about addresses and URLs; who may do what is decided in ``auth``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp import web

Address = IPv4Address | IPv6Address

# Not read, because neither names a chain of proxies; who sends them is one.
_SIGNS_OF_A_PROXY = ("X-Real-IP", "Via")

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Peers:
    """Answers both questions for one configuration."""

    def __init__(self, trusted_proxies: Sequence[str], public_url: str) -> None:
        self._trusted: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(network, strict=False) for network in trusted_proxies
        )
        self._public_url = public_url.rstrip("/")

    def address(self, request: web.Request) -> Address | None:
        """The client's address, or None when it cannot be known.

        It cannot be known of a request that says it was forwarded but comes from no trusted proxy:
        a proxy on this machine would otherwise make every client a loopback peer.
        """
        nearest = _parse_address(request.remote or "")
        if nearest is None:
            return None
        chains = [chain for chain in (_forwarded(request), _x_forwarded_for(request)) if chain]
        proxied = bool(chains) or any(name in request.headers for name in _SIGNS_OF_A_PROXY)
        if not self._is_trusted(nearest):
            return None if nearest.is_loopback and proxied else nearest
        if not chains:
            return None if proxied else nearest
        # A proxy sets one of the two headers and may pass the other one on as the client sent it,
        # so that a disagreement means that one of them is made up.
        found = {self._furthest(nearest, chain) for chain in chains}
        return found.pop() if len(found) == 1 else None

    def base_url(self, request: web.Request) -> str:
        """What goes before an absolute path in Location; empty where the path alone is right."""
        if self._public_url:
            return self._public_url
        nearest = _parse_address(request.remote or "")
        if nearest is None or not self._is_trusted(nearest):
            return ""
        if request.forwarded:
            last = request.forwarded[-1]
            scheme, host = last.get("proto", ""), last.get("host", "")
        else:
            scheme = request.headers.get("X-Forwarded-Proto", "")
            host = request.headers.get("X-Forwarded-Host", "")
        scheme = scheme.lower()
        if scheme not in {"http", "https"} or not _HOST.fullmatch(host):
            return ""
        return f"{scheme}://{host}"

    def _furthest(self, nearest: Address, chain: Sequence[str]) -> Address | None:
        """Walks from us towards the client; the first address that is no proxy of ours is it."""
        address: Address | None = nearest
        for hop in reversed(chain):
            if address is None or not self._is_trusted(address):
                break
            address = _parse_hop(hop)
        return address

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(request: web.Request) -> list[str]:
    return [element.get("for", "") for element in request.forwarded]


def _x_forwarded_for(request: web.Request) -> list[str]:
    return [
        hop.strip()
        for header in request.headers.getall("X-Forwarded-For", [])
        for hop in header.split(",")
    ]


def _parse_hop(text_untrusted: str) -> Address | None:
    """``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1``, ``[2001:db8::1]:80`` (RFC 7239 §6)."""
    text = text_untrusted
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _parse_address(text)


def _parse_address(text_untrusted: str) -> Address | None:
    try:
        address = ip_address(text_untrusted)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
