"""``pyforward-bench`` as processes of their own, and the results that they leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyforward_bench import results
from pyforward_bench.results import Results
from tests.e2e.commands import LONGEST_S
from tests.e2e.server import ROOT, Server, wait_for

PREFIX = "pyforward-bench: "

INVALID = 4


@dataclass(frozen=True)
class Measured:
    """What a command left: its exit code, what it said on stderr, and its results, if it got so
    far. Whether it was the bottleneck itself is never held against it: tests run side by side."""

    command: str
    code: int
    lines: tuple[str, ...]
    results: Results | None

    def is_well(self) -> bool:
        """It did what it was asked, and has nothing to say of the server."""
        return self._code() == 0 and not self.problems

    def has_failed(self) -> bool:
        """By its exit code, and with a line that says what it was."""
        return self._code() == 1 and bool(self.problems)

    @property
    def problems(self) -> list[str]:
        """What it says of the server."""
        said = self.results.invalid_because if self.results is not None else []
        harmless = ("publishing to ", "results in ")
        return [x for x in self.lines if not x.startswith(harmless) and x not in said]

    def _code(self) -> int:
        is_valid = self.results is None or self.results.valid
        assert is_valid == (self.code != INVALID), self
        return self.code if is_valid else int(bool(self.problems))

    def value(self, name: str) -> float:
        """Of the row ``<command>.<name>``, which has one."""
        found = self.values()
        assert name in found, found
        return found[name]

    def values(self) -> dict[str, float]:
        """Of all rows that have one, by their names without the command's."""
        assert self.results is not None, self.lines
        rows = [row for row in self.results.rows if row.value is not None]
        return {row.name.removeprefix(f"{self.command}."): row.value or 0.0 for row in rows}

    def says(self, words: str) -> bool:
        """Whether one of its lines does."""
        return any(words in line for line in self.lines)


class Bench:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[str], directory: Path, name: str) -> None:
        self.process = process
        self._directory = directory
        self._name = name

    async def wait_for(self, words: str) -> None:
        """These words on stderr."""

        def look() -> bool:
            said = words in self._err()
            assert said or self.process.poll() is None, self._err()
            return said

        await asyncio.to_thread(wait_for, words, look)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    async def ended(self) -> Measured:
        """At its own end; nothing that it says may be a stack trace."""
        code = await asyncio.to_thread(self.process.wait, LONGEST_S)
        said = self._err()
        for trace in ("Traceback", "never awaited", "never retrieved", "most recent call first"):
            assert trace not in said, said
        lines = [line for line in said.splitlines() if line.startswith(PREFIX)]
        written = self._directory / "results.json"
        return Measured(
            self._name,
            code,
            tuple(line.removeprefix(PREFIX) for line in lines),
            results.read(written) if written.exists() else None,
        )

    def out(self) -> str:
        """What it printed."""
        return (self._directory / "out").read_text()

    def _err(self) -> str:
        return (self._directory / "err").read_text()


@contextlib.contextmanager
def bench(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Bench]:
    """The command of this name, begun now and killed at the end if it still runs. Its results go
    to a directory that is gone afterwards."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYFORWARD_")}
    path = os.pathsep.join((str(ROOT), str(ROOT / "bench")))
    with tempfile.TemporaryDirectory() as text:
        directory = Path(text)
        with (directory / "out").open("w") as stdout, (directory / "err").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "pyforward_bench", name, *arguments, *_output(directory)],
                cwd=ROOT,
                env=kept | {"PYTHONPATH": path} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
            )
        try:
            yield Bench(process, directory, name)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


async def measured(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Measured:
    """The same, to its own end."""
    with bench(name, *arguments, environment=environment) as running:
        return await running.ended()


@contextlib.asynccontextmanager
async def published(server: Server, *arguments: str, profile: str = "720p30") -> AsyncIterator[str]:
    """The WHEP address of a stream that the harness publishes at a server of ours."""
    with bench("publish", f"{server.url}/whip/bench", f"--profile={profile}", *arguments) as it:
        await it.wait_for("publishing to")
        yield f"{server.url}/whep/bench"
        it.interrupt()
        told = await it.ended()
        assert told.is_well(), told


def _output(directory: Path) -> tuple[str, str]:
    return "--output", str(directory / "results.json")
