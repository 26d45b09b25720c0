"""A watch that measures nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pyforward_bench.host import Usage, Watch
from tests.unit.bench.test_host import WELL


class StubWatch:
    """Says that all is well, and counts how often everything began anew. The mark is at 0 s."""

    def __init__(self) -> None:
        self.marks = 0

    def as_watch(self) -> Watch:
        return cast("Watch", self)

    def mark(self) -> None:
        self.marks += 1

    def usage(self, until_s: float | None = None) -> Usage:
        return WELL if until_s is None else replace(WELL, passed_s=until_s)
