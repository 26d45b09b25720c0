"""Begins a program of a run: in a namespace, on its cores, and never for longer than its parent.

``python launch.py --parent PID [--fresh WAY] [--netns PID] [--cores LIST] -- PROGRAM ARGUMENT…``
becomes the program. It is run as a file, without the package and without site-packages, so that it
costs milliseconds; nothing but the standard library may be imported here. What it arranges outlives
the ``exec``: who is killed, by whatever, takes its children along, and with the last process of a
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
from typing import Literal, get_args

Way = Literal["net", "user-net"]
"""What a program gets for its own: a network namespace; or, where that takes root, a user namespace
of which it is root, and a network namespace in that."""

WAYS: Sequence[Way] = get_args(Way)

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_PR_SET_PDEATHSIG = 1


def make_namespace(way: Way) -> None:
    """The calling process, of one thread, goes into a namespace that is new. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNET | (_CLONE_NEWUSER if way == "user-net" else 0)
    if _libc().unshare(flags) != 0:
        raise _error("unshare")
    if way == "user-net":
        # A group is mapped by those alone who cannot leave groups any more (user_namespaces(7)).
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {user} 1"),
            ("gid_map", f"0 {group} 1"),
        ):
            Path("/proc/self", name).write_text(text)


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
    program: Sequence[str],
    *,
    fresh: Way | None = None,
    netns: int | None = None,
    cores: Sequence[int] = (),
) -> list[str]:
    """The command line that begins ``program`` so, as a child of this process."""
    line = [sys.executable, "-I", "-S", __file__, "--parent", str(os.getpid())]
    line += ["--fresh", fresh] if fresh is not None else []
    line += ["--netns", str(netns)] if netns is not None else []
    line += ["--cores", ",".join(map(str, cores))] if cores else []
    return [*line, "--", *program]


def main(arguments: Sequence[str]) -> None:
    """Does not return; what is not permitted ends it with a line and exit code 3, as everywhere."""
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--fresh", choices=WAYS)
    parser.add_argument("--netns", type=int)
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")])
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args(arguments)
    what = ""
    try:
        if asked.fresh is not None:
            make_namespace(asked.fresh)
        if asked.netns is not None:
            enter_namespace(asked.netns)
        what = f"{asked.program[0]} does not start: "
        die_with(asked.parent)
        if asked.cores:
            os.sched_setaffinity(0, asked.cores)
        os.execvp(asked.program[0], asked.program)
    except OSError as error:
        sys.stderr.write(f"pyforward-bench: {what}{error.strerror}\n")
        raise SystemExit(3) from None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
