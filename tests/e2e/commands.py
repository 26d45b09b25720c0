"""``pyforward watch`` and ``pyforward publish`` as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.server import ROOT, wait_for

LONGEST_S = 60.0
"""How long a busy machine may take over anything that must end."""


@dataclass(frozen=True)
class Ended:
    """What is left of a process."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> Any:
        """What ``watch --json`` printed, which is all of its output."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line that says what is wrong."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("pyforward: ")]
        return line.removeprefix("pyforward: ")


class Command:
    """A process that runs; nothing in what it says may be a stack trace."""

    def __init__(self, process: subprocess.Popen[str], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C."""
        self.process.send_signal(number)

    def says(self, words: str) -> None:
        """Waits for these words on stderr."""

        def look() -> bool:
            said = words in self._err.read_text()
            assert said or self.process.poll() is None, self._err.read_text()
            return said

        wait_for(words, look)

    def ended(self) -> Ended:
        """Waits for its end."""
        code = self.process.wait(LONGEST_S)
        ended = Ended(code, self._out.read_text(), self._err.read_text())
        assert "Traceback" not in ended.err, ended.err
        assert "never awaited" not in ended.err, ended.err
        assert "never retrieved" not in ended.err, ended.err
        assert "most recent call first" not in ended.err, ended.err  # the time limit's own
        return ended


@contextlib.contextmanager
def command(
    *arguments: str, environment: Mapping[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[Command]:
    """``pyforward`` with these arguments, begun now and killed at the end if it still runs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "pyforward", *arguments],
                cwd=ROOT,
                env=kept | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
            )
        try:
            yield Command(process, out, err)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
    """The same, to its own end."""
    with command(*arguments, environment=environment) as running:
        return running.ended()
