"""Holds what must not outlive a run: its folder, and the server's network namespace.

``python holding.py [FOLDER]`` is a process that waits for the end of its input, which is a pipe of
the run's and so ends with it, whatever ends it. Then it removes the folder, if it was given one; a
namespace that it was begun in (:mod:`.launch`) goes with it. It is run as a file, as
:mod:`.launch` is, and imports nothing but the standard library.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TRIES = 20
"""Whoever ended with the run may still have been writing, for a moment."""


def words(*folders: str) -> list[str]:
    """The command line that begins it."""
    return [sys.executable, "-I", "-S", __file__, *folders]


@contextmanager
def held(line: Sequence[str]) -> Iterator[int]:
    """While inside there is a process of this command line; gives its pid. Raises OSError with what
    it said where it does not begin."""
    process = subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Signals of a terminal are for the run, which may still need what is held.
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        if not process.stdout.readline():
            raise OSError(process.stderr.read())
        yield process.pid


@contextmanager
def folder() -> Iterator[Path]:
    """A new one for the files of a run."""
    with tempfile.TemporaryDirectory(prefix="pyforward-rig-") as made, held(words(made)):
        yield Path(made)


def main(folders: Sequence[str]) -> None:
    """Returns when everything is gone."""
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
    for each in folders:
        for _ in range(_TRIES):
            shutil.rmtree(each, ignore_errors=True)
            if not Path(each).exists():
                break
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1:])
