"""Begins a program of a run: in a namespace, on its cores, and never for longer than its parent.

``python launch.py --parent PID [--netns PID] [--cores LIST] -- PROGRAM ARGUMENT…`` becomes the
program. It is run as a file, without the package and without site-packages, so that it costs
milliseconds; nothing but the standard library may be imported here. What it arranges outlives the
``exec``: who is killed, by whatever, takes its children along, and with the last process of a
namespace the namespace goes, and with that every device in it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000
_PR_SET_PDEATHSIG = 1


def enter_namespace(pid: int) -> None:
    """The calling thread goes into the network namespace of this process. Raises OSError."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if _libc().setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise _error("setns")


def die_with(parent: int) -> None:
    """SIGKILL when the thread that made this process ends, also where it has ended by now. Raises
    OSError."""
    if _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise _error("prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def words(
    program: Sequence[str], *, netns: int | None = None, cores: Sequence[int] = ()
) -> list[str]:
    """The command line that begins ``program`` so, as a child of this process."""
    line = [sys.executable, "-I", "-S", __file__, "--parent", str(os.getpid())]
    line += ["--netns", str(netns)] if netns is not None else []
    line += ["--cores", ",".join(map(str, cores))] if cores else []
    return [*line, "--", *program]


def main(arguments: Sequence[str]) -> None:
    """Does not return; what is not permitted ends it with a line and exit code 3."""
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--netns", type=int)
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")])
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args(arguments)
    try:
        die_with(asked.parent)
        if asked.netns is not None:
            enter_namespace(asked.netns)
        if asked.cores:
            os.sched_setaffinity(0, asked.cores)
        os.execvp(asked.program[0], asked.program)
    except OSError as error:
        sys.stderr.write(f"{asked.program[0]} does not start: {error}\n")
        raise SystemExit(3) from None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
