"""Results of a run that nobody has made, for what reads and compares them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyforward_bench.results import Machine, Results, Row

MACHINE = Machine(
    kernel="6.18.1", cpu="A | B", cores=2, memory_mib=8_192, versions={"python": "3.11.7"}
)
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run(*rows: Row, **changed: Any) -> Results:
    """A valid one of all rows, with these; fields may be given."""
    made = {
        "schema": "pyforward-bench/1",
        "command": "rig",
        "argv": ["rig"],
        "started": STARTED,
        "duration_s": 12.5,
        "commit": "0123456789ab",
        "machine": MACHINE,
        "valid": True,
        "invalid_because": [],
        "notes": [],
        "rows": list(rows),
    }
    return Results.model_validate(made | changed)
