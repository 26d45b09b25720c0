"""What all tests share: at the end they say the seconds by part, and which tools were missing."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

# The prefix of a reason to skip that stands for a tool of this machine, not for a test's own case.
MISSING_TOOL = "this machine has no "

_seconds: defaultdict[str, float] = defaultdict(float)
_missing: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    part = report.nodeid.split("/")[1] if "/" in report.nodeid else report.nodeid
    _seconds[part] += report.duration
    if report.skipped and isinstance(report.longrepr, tuple) and MISSING_TOOL in report.longrepr[2]:
        _missing[report.longrepr[2].partition(MISSING_TOOL)[2]] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for part, seconds in sorted(_seconds.items()):
        terminalreporter.write_line(f"tests/{part}: {seconds:.0f} s")
    for tool, count in sorted(_missing.items()):
        terminalreporter.write_line(f"{count} tests skipped: {MISSING_TOOL}{tool}")
