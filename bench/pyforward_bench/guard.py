"""Whom the harness may load: this machine, or whoever was named as meant.

A load test of somebody else's server is an attack. A URL has to lead to loopback; whatever the
server then names, by a redirect or in its candidates, has to be on loopback or an address of this
machine. One option lifts both. An unspecified address, 0.0.0.0 or [::], counts as loopback: what
Linux sends there never leaves the machine.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

import ifaddr
from yarl import URL

from pyforward.errors import ConfigError

OPTION: Final = "--i-may-load-this-host"

Permit = Callable[[str], None]
"""Raises ConfigError for a host, or an address, that may not be asked."""


def check(url: str, allowed: bool) -> None:
    """Raises ConfigError where an address of the URL's host is not loopback and that was not
    ``allowed``. A URL that is none, and a host that is not known, are left to whoever asks it."""
    host = _host(url)
    if allowed or host is None:
        return
    for address in resolved(host):
        if not _is_loopback(address):
            raise ConfigError(_sentence(host, address))


def gate(allowed: bool, *, own: Callable[[], Iterable[str]] | None = None) -> Permit:
    """What judges the hosts and addresses that a server names. ``own`` are this machine's."""
    own = own if own is not None else _own_addresses

    @cache
    def permit(host: str) -> None:
        if allowed:
            return
        machine = set(own())
        for address in resolved(host):
            if not _is_loopback(address) and address not in machine:
                raise ConfigError(f"The server leads elsewhere. {_sentence(host, address)}")

    return permit


def resolved(host: str) -> list[str]:
    """The addresses of a host, without scopes; none where it is not known."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    texts = (str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found)
    return list(dict.fromkeys(_plain(text) for text in texts))


# Private -----------------------------------------------------------------------------------------


def _host(text: str) -> str | None:
    try:
        return URL(text).host
    except ValueError:
        return None


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.is_loopback or address.is_unspecified


def _plain(text: str) -> str:
    """An IPv4 address that is written as IPv6 is the IPv4 address."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _own_addresses() -> Iterable[str]:
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            yield entry.ip if isinstance(entry.ip, str) else entry.ip[0]


def _sentence(host: str, address: str) -> str:
    named = host if host == address else f"{host} ({address})"
    return f"{named} is not this machine: say {OPTION} if you may load it."
