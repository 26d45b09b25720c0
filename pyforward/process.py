"""What belongs to the process as a whole, whatever runs in it: signals, limits and cores."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import resource
import signal
from collections.abc import Collection


def stop_on_signals(limit_s: float) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process at once, and so
    does the time limit."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()
        # Not even a thread that hangs keeps the process: its stack is told and the exit code is 1.
        faulthandler.dump_traceback_later(limit_s, exit=True)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    return stop


def raise_descriptor_limit() -> None:
    """Peers keep connections and sockets; the usual soft limit of 1,024 is for programs that
    select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_off(cores: Collection[int]) -> None:
    """The calling thread, and those that it begins from now on, run on none of these cores, if
    others are left to them: whoever is pinned there shares them with nobody of this process."""
    if others := os.sched_getaffinity(0).difference(cores):
        os.sched_setaffinity(0, others)
