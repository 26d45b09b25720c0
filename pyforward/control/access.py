"""Who asks for what, and what is granted: the one hook through which every request is authorised.

Whoever authorises, a list of tokens here, a database or another service elsewhere, is an async
function from :class:`AccessRequest` to :class:`Claims`. It raises ``Unauthorised`` where no
credential came and one is needed, ``Forbidden`` where it does not suffice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

AccessRole = Literal["publish", "watch", "admin"]


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """``stream`` is None for what concerns no single stream. ``peer`` is the client's address, as
    far as trusted proxies tell it; None when it cannot be known."""

    role: AccessRole
    stream: str | None
    token: str | None = field(repr=False)
    peer: IPv4Address | IPv6Address | None


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """What the holder may use at most; None is no limit."""

    viewers: int | None = None
    """Viewers of the stream at one time, counted when another one joins by these claims."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What was granted. ``stream`` None means every stream. A session ends ``expires_in_s`` after
    it was made; None lets it last."""

    role: AccessRole
    stream: str | None = None
    expires_in_s: float | None = None
    limits: ClaimLimits = ClaimLimits()


Authorise = Callable[[AccessRequest], Awaitable[Claims]]
