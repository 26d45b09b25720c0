"""A process of a run: begun in its place, told to pause or to end, and its last words kept."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyforward.errors import RunError
from pyforward_bench.rig import launch

END_LIMIT_S = 10.0
"""From the signal to SIGKILL."""

_LOOK_EVERY_S = 0.01
_NAMED = re.compile(r"^pyforward(-bench)?: ")


class Child:
    """It never outlives this process, whatever ends either (:mod:`.launch`). Signals of the
    terminal do not reach it: it is in a session of its own."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    def begin(
        cls,
        name: str,
        program: Sequence[str],
        folder: Path,
        *,
        netns: int | None = None,
        cores: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """To be called in the main thread: with the thread that began it, it ends. What it prints
        goes to files in ``folder``."""
        log = folder / f"{name}.log"
        with log.open("wb") as said, log.with_suffix(".out").open("wb") as printed:
            process = subprocess.Popen(
                launch.words(program, netns=netns, cores=cores),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                env={**python_environment(), **(environment or {})},
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.with_suffix(".out").read_text(errors="replace")

    @property
    def last_words(self) -> str:
        """For a sentence about its end: the signal that killed it, or the last line that it said
        on stderr."""
        if self.code is not None and self.code < 0:
            return f"it was killed by {signal.Signals(-self.code).name}"
        return last_words(self.log.read_text(errors="replace"))

    def tell(self, number: signal.Signals) -> None:
        """Unless it has ended."""
        self._process.send_signal(number)

    async def ended(self, limit_s: float) -> int:
        """Waits for its end and gives the exit code. Raises RunError after the limit."""
        until = asyncio.get_running_loop().time() + limit_s
        while (code := self.code) is None:
            if asyncio.get_running_loop().time() > until:
                raise RunError(f"{self.name} did not end within {limit_s:g} s.")
            await asyncio.sleep(_LOOK_EVERY_S)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end, and kills it if it does not."""
        if self.code is None:
            self.tell(number)
            self.tell(signal.SIGCONT)
        try:
            await self.ended(END_LIMIT_S)
        except RunError:
            pass
        finally:
            if self.code is None:
                self._process.kill()
                self._process.wait()


def last_words(said: str) -> str:
    """The last line of these, for a sentence: without the program's name before it and the full
    stop behind it."""
    lines = said.strip().splitlines() or ["it said nothing"]
    return _NAMED.sub("", lines[-1].strip()).rstrip(".")


def python_environment() -> dict[str, str]:
    """Ours without settings, and with the modules that we found."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYFORWARD_") or name == "PYFORWARD_PURE"
    }
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
