"""How many joins are worked on at one time, and how each of them ended.

A join is one POST of an offer, from its first byte to its answer. Results: ``accepted`` (it has its
answer) or ``refused`` with the reason; of the accepted ones later ``connected`` (keys are
installed) or ``failed`` with the reason why they never were.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from pyforward.commands import CloseReason
from pyforward.errors import Overloaded, RequestError
from pyforward.state import Role

JoinResult = Literal["accepted", "refused", "connected", "failed"]
JoinKey = tuple[Role, JoinResult, str]


_REASONS: dict[JoinResult, tuple[str, ...]] = {
    "accepted": ("",),
    "connected": ("",),
    "refused": ("overloaded", "internal", "client_gone"),
    "failed": get_args(CloseReason),
}
_FORESEEN: tuple[JoinKey, ...] = tuple(
    (role, result, reason)
    for role in get_args(Role)
    for result, reasons in _REASONS.items()
    for reason in reasons
)
"""What is told from the start, as zero; refusals of what clients do wrong come as they happen."""


FAULTS: tuple[str, ...] = (
    "overloaded",
    "internal",
    "silent",
    "handshake",
    "never_connected",
    "consent_expired",
    "no_socket",
)
"""Reasons that tell of this server or of the way to it. All others are a client's: what it asked
for cannot be had or is wrong, or it left."""


class Joins:
    """The counters, and the limit of ``limits.concurrent_joins``. ``on_refused`` hears of every
    join that is refused with a reason of ours."""

    def __init__(
        self,
        limit: int,
        rng: random.Random,
        on_refused: Callable[[Role, RequestError], None] = lambda _role, _error: None,
    ) -> None:
        self._limit = limit
        self._rng = rng
        self._on_refused = on_refused
        self._running = 0
        # A counter that appears with its first event hides that event from a rate over it.
        self._counts: Counter[JoinKey] = Counter(dict.fromkeys(_FORESEEN, 0))

    @property
    def running(self) -> int:
        """Joins that are worked on now."""
        return self._running

    @property
    def counts(self) -> dict[JoinKey, int]:
        """(kind, result, reason) to how often; the reason is empty where there is none."""
        return dict(self._counts)

    def count(self, role: Role, result: JoinResult, reason: str = "") -> None:
        """One more of these."""
        self._counts[role, result, reason] += 1

    @contextmanager
    def slot(self, role: Role) -> Iterator[None]:
        """Holds one of the limited places while the block runs, and counts how it ended."""
        self._running += 1
        try:
            if self._running > self._limit:
                raise Overloaded(
                    jittered(self._rng, 1.0), limit="limits.concurrent_joins", value=self._limit
                )
            yield
        except RequestError as error:
            self.count(role, "refused", reason_of(error))
            self._on_refused(role, error)
            raise
        except asyncio.CancelledError:
            self.count(role, "refused", "client_gone")
            raise
        except Exception:
            self.count(role, "refused", "internal")
            raise
        else:
            self.count(role, "accepted")
        finally:
            self._running -= 1


def reason_of(error: RequestError) -> str:
    """The error's name as a label: ``StreamNotFound`` becomes ``stream_not_found``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def jittered(rng: random.Random, least_s: float) -> float:
    """Seconds for Retry-After, spread over four times the least so that peers that were sent away
    together do not come back together."""
    return least_s * (1.0 + 3.0 * rng.random())
