"""The command line of the harness; its commands follow."""

from __future__ import annotations


def main() -> None:
    """The command ``pyforward-bench``; ends the process."""
    raise SystemExit("pyforward-bench: no command yet")
