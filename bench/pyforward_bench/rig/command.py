"""The command, from outside: it looks at what the machine permits and begins the run there.

This process stays where it was called. The run itself (:mod:`.inside`) is a second process, in a
network namespace of its own and on its own core, which ends with this one, whatever ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from pyforward.client.running import Say
from pyforward.config import Config
from pyforward.errors import ConfigError, HostError
from pyforward_bench import results
from pyforward_bench.rig import ceiling, launch
from pyforward_bench.rig.child import last_words, python_environment
from pyforward_bench.rig.peers.table import given
from pyforward_bench.rig.rows import chosen

RESULTS = Path("bench/results")
"""Where results go when nothing else is said, and this is there."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. ``rows`` by their names, none meaning all; ``output`` is where the JSON
    goes; ``ceiling`` is the program, where it is not to be built; ``loopback`` tries for no
    namespaces; ``peers`` are forwarders of one's own, ``NAME=PROGRAM``; ``argv`` is what stands in
    the results."""

    rows: tuple[str, ...] = ()
    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    output: Path | None = None
    ceiling: Path | None = None
    loopback: bool = False
    ipv6: bool = False
    peers: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


def run(config: Config, options: Options, say: Say) -> int:
    """Measures the rows and writes the results as they come; the exit code is that of
    :class:`~pyforward_bench.rig.report.Report`. Raises ConfigError for a row that does not exist,
    HostError where the machine has too few cores."""
    specs = chosen(options.rows)
    for peer in options.peers:
        given(peer)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise HostError(
            "The rig needs two cores, one for the server and one for the harness; this process may "
            f"use {len(cores)}."
        )
    way = None if options.loopback else _way(say)
    job = {
        "config": config.model_dump(mode="json", include={"ice", "dtls", "engine", "log"}),
        "rows": [spec.row for spec in specs],
        "named": bool(options.rows),
        "quick": options.quick,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "output": str(_output(options.output)),
        "isolated": way is not None,
        "refused": way is None and not options.loopback,
        "ipv6": options.ipv6,
        "cores": cores[:2],
        "peers": options.peers,
        "argv": options.argv,
        "ceiling": _ceiling(options, say) if any(spec.ceiling for spec in specs) else "",
    }
    return _begin(way, cores[1], job, say)


def permitted() -> launch.Way:
    """How a program gets a network namespace of its own here. Raises HostError that says why it
    does not."""
    if shutil.which("ip") is None:
        raise HostError("No network namespaces: ip is not installed (Debian: iproute2).")
    refused = ""
    for way in launch.WAYS:
        refused = _refusal(way)
        if not refused:
            return way
    raise HostError(
        f"No network namespaces: {refused}. Be root, or allow them to users (sysctl "
        "user.max_user_namespaces, user.max_net_namespaces, "
        "kernel.apparmor_restrict_unprivileged_userns)."
    )


# Private -----------------------------------------------------------------------------------------

# A namespace that cannot have devices is of no use, nor one in which this program is not read.
_NEEDED = (
    ("ip", "link", "add", "rig0", "type", "veth", "peer", "name", "rig1"),
    (sys.executable, "-c", ""),
)


def _refusal(way: launch.Way) -> str:
    """Why programs of a run do not start this way; empty where they do."""
    for program in _NEEDED:
        words = launch.words(program, fresh=way)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return last_words(done.stderr)
    return ""


def _way(say: Say) -> launch.Way | None:
    """The way into namespaces; None where the run takes place on loopback, which is said."""
    try:
        return permitted()
    except HostError as error:
        say(f"pyforward-bench: {error} The run takes place on loopback.", err=True)
        return None


def _ceiling(options: Options, say: Say) -> dict[str, str]:
    """The program, or why there is none: rows then have no ceiling, and say so."""
    try:
        return {"program": str(ceiling.find(options.ceiling, say))}
    except HostError as error:
        if options.ceiling is not None:
            raise
        say(f"pyforward-bench: no ceiling: {error}", err=True)
        return {"missing": str(error)}


def _output(asked: Path | None) -> Path:
    if asked is None:
        name = f"rig-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        asked = RESULTS / name if RESULTS.is_dir() else Path(name)
    if not asked.parent.is_dir():
        raise ConfigError(f"--output {asked}: there is no directory {asked.parent}.")
    results.check(asked)
    return asked.resolve()


def _begin(way: launch.Way | None, core: int, job: object, say: Say) -> int:
    """The run, to its end; its lines are said as they come."""
    program = [sys.executable, "-m", "pyforward_bench.rig"]
    process = subprocess.Popen(
        launch.words(program, fresh=way, cores=[core]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=python_environment(),
        # Signals of a terminal come once, by us.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, _forwarded(process):
        try:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has said why it ended
        for line in process.stdout:
            say(line.rstrip("\n"))
        code = process.wait()
    if code < 0:
        say(f"pyforward-bench: the run was ended by {signal.Signals(-code).name}.", err=True)
        return 1
    return code


@contextmanager
def _forwarded(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whoever interrupts this process means the run."""

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
