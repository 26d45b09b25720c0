"""The run, from inside: the process that the network namespace and the core belong to.

It builds the stand, measures row after row, and writes the results after each, so that whatever
ends it keeps what there is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyforward.client.running import run_command, unless_stopped
from pyforward.config import Config
from pyforward.errors import HostError, PyforwardError
from pyforward_bench.results import STOPPED, beside_ceiling, number, share
from pyforward_bench.rig import counter, holding, network
from pyforward_bench.rig.counter import Counter
from pyforward_bench.rig.network import Network
from pyforward_bench.rig.peers.table import Peer, given
from pyforward_bench.rig.report import Report
from pyforward_bench.rig.rows import Figure, Spec, chosen
from pyforward_bench.rig.scale import FULL, QUICK, Scale
from pyforward_bench.rig.stand import Stand

NOTHING_COUNTS = "nothing counts outside the server here: see the notes"

_TRAIN = 8


@dataclass(frozen=True, slots=True)
class Job:
    """What the outer process hands over (:func:`pyforward_bench.rig.command.run`)."""

    config: Config
    specs: Sequence[Spec]
    named: bool
    scale: Scale
    output: Path
    isolated: bool
    refused: bool
    """Namespaces were asked for, and there are none."""
    ipv6: bool
    server_core: int
    harness_core: int
    peers: Sequence[Peer]
    ceiling: Path | str
    argv: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Job:
        told: dict[str, Any] = json.loads(text)
        scale = QUICK if told["quick"] else FULL
        program = told["ceiling"] or {"missing": "No row asked for it."}
        return cls(
            config=Config.model_validate(told["config"]),
            specs=chosen(told["rows"]),
            named=told["named"],
            scale=scale.with_options(told["rounds"], told["seconds"]),
            output=Path(told["output"]),
            isolated=told["isolated"],
            refused=told["refused"],
            ipv6=told["ipv6"],
            server_core=told["cores"][0],
            harness_core=told["cores"][1],
            peers=[given(text) for text in told["peers"]],
            ceiling=Path(program["program"]) if "program" in program else program["missing"],
            argv=tuple(told["argv"]),
        )


def main(text: str) -> int:
    """The job to its end; the exit code is that of the command."""
    job = Job.read(text)
    report = Report(job.output, job.argv, named=job.named)

    async def work(stop: asyncio.Event) -> int:
        try:
            with (
                holding.folder() as folder,
                network.opened(isolated=job.isolated, ipv6=job.ipv6) as ground,
            ):
                await _measure(job, ground, folder, report, stop)
        except HostError as error:
            sys.stderr.write(f"pyforward-bench: {error}\n")
            report.could_not_all(job.specs, str(error), lacking=True)
        except Exception as error:
            traceback.print_exc()
            report.could_not_all(job.specs, f"the harness failed: {error!r}")
        report.write()
        _say(report.told())
        return report.exit_code

    try:
        return run_command(job.config, work)
    except HostError as error:  # such as a disk that is full; what was measured has been said
        sys.stderr.write(f"pyforward-bench: {error}\n")
        return error.exit_code


# Private -----------------------------------------------------------------------------------------


async def _measure(
    job: Job, ground: Network, folder: Path, report: Report, stop: asyncio.Event
) -> None:
    report.note(*ground.notes)
    if job.refused:
        report.fall_short()
    report.offloads(ground.offloads())
    counting = await _counter(ground, report)
    stand = Stand(
        job.config,
        ground,
        folder,
        job.scale if counting is not None else job.scale.read_by_viewers(),
        counter=counting,
        program=job.ceiling,
        server_core=job.server_core,
        harness_core=job.harness_core,
        peers=job.peers,
        say=_say,
    )
    try:
        for spec in job.specs:
            row = asyncio.ensure_future(_row(stand, spec, report))
            if not await unless_stopped(row, stop):
                report.could_not_all(job.specs, STOPPED)
                break
            row.result()
    finally:
        try:
            await stand.close()
        finally:
            # A publisher is judged at its end, and the last one has its end only now; so has the
            # run.
            report.note(*stand.judge_gain())
            report.doubt(stand.doubts)


async def _row(stand: Stand, spec: Spec, report: Report) -> None:
    """One row; what goes wrong in it is its own affair."""
    begun_s = time.monotonic()
    stand.usages.clear()
    if spec.counted and stand.counter is None:
        figures: Sequence[Figure] = [spec.could_not(NOTHING_COUNTS, lacking=True)]
    else:
        try:
            figures = await spec.measure(stand, spec)
        except PyforwardError as error:
            figures = [spec.could_not(str(error), lacking=isinstance(error, HostError))]
            await stand.close()
        except Exception as error:
            traceback.print_exc()
            figures = [spec.could_not(f"the harness failed: {error!r}")]
            await stand.close()
    report.doubt(stand.doubts)
    report.strained(spec.row, stand.usages)
    report.add(figures)
    for figure in figures:
        _say(line(figure))
    _say(f"  {spec.row} took {time.monotonic() - begun_s:.0f} s")


async def _counter(ground: Network, report: Report) -> Counter | None:
    """The counter, if there can be one and it is right about trains."""
    if not ground.isolated:
        return None
    if (why := counter.missing()) is not None:
        told = f"sinks read their media themselves: {why}"
        sys.stderr.write(f"pyforward-bench: {told}\n")
        report.note(told)
        report.fall_short()
        return None
    counting = Counter(ground.addresses.sinks)
    await counting.open()
    ground.send_train(_TRAIN, 1_000)
    found = await counting.read()
    if found.packets != _TRAIN or found.bytes != _TRAIN * 1_000:
        report.doubt(
            [f"a train of {_TRAIN} packets was counted as {found.packets}: it is not segmented"]
        )
    return counting


def line(figure: Figure) -> str:
    """One figure for the terminal."""
    row = figure.row
    if row.value is None or row.low is None or row.high is None:
        return f"{row.row:5} {row.name}: {'not run' if figure.lacking else 'failed'}: {row.why}"
    told = [f"{number(row.value, row.target)} {row.unit}".rstrip()]
    if row.low < row.high:
        told.append(f"({number(row.low)} to {number(row.high)})")
    if row.share_of_ceiling is not None:
        told.append(f"{share(row)} {beside_ceiling(row)}")
    if row.target is not None:
        told.append(f"target {row.target}{ {True: ': met', False: ': missed', None: ''}[row.met] }")
    return f"{row.row:5} {row.name}: {', '.join(told)}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
