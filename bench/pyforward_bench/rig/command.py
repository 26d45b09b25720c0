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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from pyforward.client.running import Say
from pyforward.config import Config
from pyforward.errors import ConfigError, HostError
from pyforward_bench.rig import ceiling, launch
from pyforward_bench.rig.child import python_environment
from pyforward_bench.rig.rows import chosen

RESULTS = Path("bench/results")
"""Where results go when nothing else is said, and this is there."""

# What puts a program into a network namespace of its own: as root, or as root of a user namespace.
_WAYS: Sequence[tuple[str, ...]] = (
    ("unshare", "--net", "--"),
    ("unshare", "--map-root-user", "--net", "--"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. ``rows`` by their names, none meaning all; ``output`` is where the JSON
    goes; ``ceiling`` is the program, where it is not to be built; ``loopback`` tries for no
    namespaces; ``argv`` is what stands in the results."""

    rows: tuple[str, ...] = ()
    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    output: Path | None = None
    ceiling: Path | None = None
    loopback: bool = False
    ipv6: bool = False
    argv: tuple[str, ...] = ()


def run(config: Config, options: Options, say: Say) -> int:
    """Measures the rows and writes the results as they come. The exit code is 0 when something
    could be run and nothing makes the run invalid. Raises ConfigError for a row that does not
    exist, HostError where the machine has too few cores."""
    specs = chosen(options.rows)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise HostError(
            "The rig needs two cores, one for the server and one for the harness; this process may "
            f"use {len(cores)}."
        )
    way = None if options.loopback else permitted()
    if way is None and not options.loopback:
        say("network namespaces are not permitted here: the run takes place on loopback")
    job = {
        "config": config.model_dump(mode="json", include={"ice", "dtls", "engine", "log"}),
        "rows": [spec.row for spec in specs],
        "quick": options.quick,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "output": str(_output(options.output)),
        "isolated": way is not None,
        "ipv6": options.ipv6,
        "cores": cores[:2],
        "argv": options.argv,
        "ceiling": _ceiling(options, say) if any(spec.ceiling for spec in specs) else "",
    }
    return _begin(way or (), cores[1], job, say)


def permitted() -> Sequence[str] | None:
    """What puts a program into a namespace of its own here; None where that is not permitted."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    # A namespace that cannot have devices is of no use.
    for way in _WAYS:
        words = [*way, "ip", "link", "add", "rig0", "type", "veth", "peer", "name", "rig1"]
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return way
    return None


# Private -----------------------------------------------------------------------------------------


def _ceiling(options: Options, say: Say) -> dict[str, str]:
    """The program, or why there is none: rows then have no ceiling, and say so."""
    try:
        return {"program": str(ceiling.find(options.ceiling, say))}
    except HostError as error:
        if options.ceiling is not None:
            raise
        say(f"no ceiling: {error}")
        return {"missing": str(error)}


def _output(asked: Path | None) -> Path:
    if asked is None:
        name = f"rig-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        asked = RESULTS / name if RESULTS.is_dir() else Path(name)
    if not asked.parent.is_dir():
        raise ConfigError(f"--output {asked}: there is no directory {asked.parent}.")
    return asked.resolve()


def _begin(way: Sequence[str], core: int, job: object, say: Say) -> int:
    """The run, to its end; its lines are said as they come."""
    program = [sys.executable, "-m", "pyforward_bench.rig"]
    process = subprocess.Popen(
        [*way, *launch.words(program, cores=[core])],
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
        return process.wait()


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
