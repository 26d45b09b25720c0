"""What control counts for metrics: how sessions and handshakes ended, how long answers took.

Counting only: nothing here decides anything. Reasons are closed sets, so that every one of them is
told from the start, as zero.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import get_args

from pyforward import dtls
from pyforward.commands import CloseReason
from pyforward.engine import Histogram
from pyforward.state import Role, Session

ICE_FAILURES: tuple[CloseReason, ...] = (
    "never_connected",
    "silent",
    "consent_expired",
    "no_socket",
)
"""Ends of a session without keys for which connectivity is to blame."""

CONSENT_ENDS = frozenset({"silent", "consent_expired"})
"""Ends of a session with keys whose peer was heard no more (RFC 7675 §5.1)."""

STAGE_BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""As ``native/core/src/stages.rs`` has them: all stages of a join are one metric."""


class Buckets:
    """A histogram of fixed buckets, for what only Python can measure."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one under the first bound that holds it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def snapshot(self) -> Histogram:
        """As it stands."""
        *buckets, above = self._counts
        return Histogram(self._bounds, tuple(buckets), above, self._sum)


class Tally:
    """See the top of the file."""

    def __init__(self) -> None:
        self.closed: Counter[tuple[str, str]] = Counter(
            dict.fromkeys(product(get_args(Role), get_args(CloseReason)), 0)
        )
        self.ice_failures: Counter[str] = Counter(dict.fromkeys(ICE_FAILURES, 0))
        self.dtls_failures: Counter[str] = Counter(dict.fromkeys(dtls.POOL_FAILURES, 0))
        self.consent_expiries: Counter[str] = Counter(dict.fromkeys(get_args(Role), 0))
        self.answers = Buckets(STAGE_BOUNDS_S)

    def count_closed(self, session: Session, reason: CloseReason) -> None:
        """A session has ended."""
        self.closed[session.role, reason] += 1
        if session.is_keyed:
            self.consent_expiries[session.role] += reason in CONSENT_ENDS
        elif reason in ICE_FAILURES:
            self.ice_failures[reason] += 1

    def count_handshake(self, session: Session, failure: dtls.PoolFailure) -> None:
        """A handshake has ended; with keys before, its peer has only said goodbye."""
        if not session.is_keyed:
            self.dtls_failures[failure] += 1
