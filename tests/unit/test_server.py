"""The composition root, as far as it can be judged without a process; e2e runs the process."""

from __future__ import annotations

from pyforward import server
from pyforward.api.app import STOP_PATIENCE_S
from pyforward.control.control import STOP_TIME_LIMIT_S


def test_what_a_stop_may_wait_for_fits_into_the_time_it_has() -> None:
    # First control says its farewells, then HTTP waits for requests to end, and to be cancelled.
    assert STOP_TIME_LIMIT_S + 2 * STOP_PATIENCE_S < server.STOP_LIMIT_S < 2.0
