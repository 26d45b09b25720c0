"""One run of a command: a swarm, what it costs this process, a screen, signals, and at the end the
results, whatever came in between.

A measurement does something with the swarm and then tells its rows. It may be given up at any
moment; the rows are then of what has come so far. Exit codes: 0, 1 where viewers failed or were
lost, 2 and 3 as everywhere, 4 where the harness was what was measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pyforward.client import Target
from pyforward.client.running import Say, run_command, unless_stopped
from pyforward.commands import Trial
from pyforward.config import Config
from pyforward.errors import PyforwardError
from pyforward_bench import guard, host, results
from pyforward_bench.exposed import Bind, Exposed
from pyforward_bench.host import Usage, Watch
from pyforward_bench.results import Results, Row, could_not, row_of
from pyforward_bench.screen import Screen
from pyforward_bench.statistics import Figures, Histogram
from pyforward_bench.swarm import Swarm, SwarmFigures

PROGRAM: Final = "pyforward-bench"
EXIT_INVALID: Final = 4
STOP_LIMIT_S: Final = 30.0
"""From Ctrl-C to the end: thousands of viewers have to say farewell."""

LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Output:
    """Where the results go: a file, by default under ``bench/results``, and with ``as_json`` to
    stdout too. ``argv`` is what was asked for, as it stands in them, after the program's name;
    ``commit`` is that of the checkout as the run begins."""

    argv: tuple[str, ...]
    say: Say
    path: Path | None = None
    as_json: bool = False
    commit: str = ""

    def checked(self, command: str) -> Output:
        """The same with its file and its commit, before there is anything to write. Raises
        HostError where it cannot be written."""
        path = self.path
        if path is None:
            # Runs that begin together keep their results apart.
            name = f"{command}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.json"
            path = Path("bench", "results", name)
        results.check(path)
        return replace(self, path=path, commit=results.commit_now())


@dataclass(slots=True)
class Bench:
    """What a measurement works with. ``notes`` are kept with the results."""

    swarm: Swarm
    watch: Watch
    screen: Screen
    notes: list[str] = field(default_factory=list)
    exposed: Exposed = field(default_factory=Exposed)
    clock: Callable[[], float] = time.monotonic
    _packets: int = field(default=0, init=False)
    _heard_s: float | None = field(default=None, init=False)
    """When a look last found that media had come since the one before."""

    async def look(self, doing: str = "") -> SwarmFigures:
        """The newest figures of everybody, shown."""
        await self.swarm.look()
        figures = self.swarm.figures()
        if figures.packets != self._packets:
            self._packets, self._heard_s = figures.packets, self.clock()
        self.screen.show(figures, doing)
        self.exposed.show(figures)
        return figures

    def mark(self) -> None:
        """The measurement begins here: what the probes' records said so far is not of it, and of
        this process everything counts anew."""
        figures = self.swarm.figures()
        self.exposed.keep(figures)
        self.swarm.tally.clear()
        self._packets, self._heard_s = figures.packets, None
        self.watch.mark()

    def usage(self) -> Usage:
        """What this process did since the mark. ``passed_s`` is how long media came since: that a
        server has died is noticed much later, and nothing was measured in between."""
        return self.watch.usage(self._heard_s)

    async def look_until(self, work: asyncio.Future[Any], doing: str) -> None:
        """Looks again and again until the work is done, which is given up with us."""
        try:
            while not work.done():
                await asyncio.wait([work], timeout=LOOK_EVERY_S)
                await self.look(doing)
            work.result()
        finally:
            work.cancel()
            await asyncio.wait([work])


class Measurement(Protocol):
    """What one command does."""

    @property
    def command(self) -> str:
        """Its name, with which the names of its rows begin."""

    async def run(self, bench: Bench) -> None:
        """To its end, or until it is cancelled."""

    def rows(self, bench: Bench) -> Iterator[Row]:
        """What has come so far."""

    def problems(self, bench: Bench) -> Iterator[str]:
        """What was not as it should be, beside viewers that failed or were lost."""


def conduct(
    measurement: Measurement,
    config: Config,
    target: Target,
    output: Output,
    *,
    viewers: int,
    allowed: bool,
    trial: Trial | None = None,
    audio: bool = True,
    metrics: Bind | None = None,
) -> int:
    """Runs it against the target with room for so many viewers, which ask for ``audio`` beside
    video and are put to the ``trial``; at ``metrics`` it tells Prometheus meanwhile. Gives the exit
    code. Raises ConfigError and HostError for what keeps it from beginning."""
    guard.check(target.url, allowed)
    target = replace(target, permit=guard.gate(allowed))
    place = target.place
    output = output.checked(measurement.command)
    exposed = Exposed()
    host.need_descriptors(viewers)
    host.need_memory(viewers)

    async def run(stop: asyncio.Event) -> int:
        started, began_s = datetime.now(UTC), asyncio.get_running_loop().time()
        error: PyforwardError | None = None
        made = Swarm(config, target, trial=trial, audio=audio)
        async with made as swarm, Watch(swarm.engine) as watch:
            with Screen(place, quiet=output.as_json) as screen:
                bench = Bench(swarm, watch, screen, exposed=exposed)
                working = asyncio.ensure_future(measurement.run(bench))
                try:
                    if await unless_stopped(working, stop):
                        working.result()
                except PyforwardError as raised:
                    error = raised
                figures = await bench.look()
                usage = bench.usage()
            problems = [*problems_of(figures), *measurement.problems(bench)]
            rows = [*measurement.rows(bench), *discard_rows(measurement.command, usage)]
            rows += harness_rows(measurement.command, usage)
        because = host.verdict(usage)
        written = results.begin(
            command=measurement.command,
            argv=output.argv,
            started=started,
            duration_s=asyncio.get_running_loop().time() - began_s,
            commit=output.commit,
            rows=rows,
            notes=[*bench.notes, *notes_of(usage)],
            invalid_because=because,
        )
        problems += str(error).splitlines() if error is not None else []
        deliver(written, problems, output)
        if because:
            return EXIT_INVALID
        return error.exit_code if error is not None else int(bool(problems))

    def say(what: str) -> None:
        output.say(f"{PROGRAM}: {what}", err=True)

    with exposed.served(metrics, say):
        return run_command(config, run, stop_limit_s=STOP_LIMIT_S)


def deliver(written: Results, problems: Iterable[str], output: Output) -> None:
    """Writes the file, and tells people what is in it and what was wrong."""
    path = output.path
    assert path is not None, "it was not checked"
    # Said before it is written: a full disk must not take the figures along.
    plain = written.model_dump(mode="json")
    output.say(json.dumps(plain, indent=2) if output.as_json else told(written.rows))
    for line in [*problems, *written.invalid_because]:
        output.say(f"{PROGRAM}: {line}", err=True)
    results.write(written, path)
    output.say(f"{PROGRAM}: results in {path}", err=True)


def told(rows: Sequence[Row]) -> str:
    """For people, a line each."""
    width = max((len(row.name) for row in rows), default=0)
    return "\n".join(
        f"{row.name:<{width}}  {_number(row.value)} {row.unit}".rstrip()
        if row.value is not None
        else f"{row.name:<{width}}  - ({row.why})"
        for row in rows
    )


# Rows that several commands have -----------------------------------------------------------------


def viewer_rows(command: str, figures: SwarmFigures, asked: int) -> Iterator[Row]:
    """``viewers``, ``joined``, ``failed.<reason>``, ``ended.<reason>``, ``silent``, and
    ``silent.<kind>`` where there were any."""
    yield _one(command, "viewers", "viewers", asked)
    yield _one(command, "joined", "viewers", figures.joined)
    for reason, count in sorted(figures.failed.items()):
        yield _one(command, f"failed.{reason}", "viewers", count)
    for reason, count in sorted(figures.ended.items()):
        yield _one(command, f"ended.{reason}", "viewers", count)
    yield _one(command, "silent", "viewers", figures.silent)
    for kind, count in sorted(figures.half_silent.items()):
        yield _one(command, f"silent.{kind}", "viewers", count)


def probe_rows(command: str, probes: Figures) -> Iterator[Row]:
    """``latency.packet.*``, ``latency.frame.*``, and what the probes found in it all."""
    yield from latency_rows(command, "latency", probes)
    for name in ("frames", "broken"):
        yield _one(command, name, "frames", getattr(probes, name))
    yield from packet_rows(command, probes)
    yield from loss_run_rows(command, probes)


def packet_rows(command: str, *probes: Figures) -> Iterator[Row]:
    """``corrupted`` and so on, of all of these together."""
    for name in ("corrupted", "repeated", "missing", "reordered_content", "unstamped"):
        yield _one(command, name, "packets", sum(getattr(each, name) for each in probes))


def loss_run_rows(command: str, probes: Figures) -> Iterator[Row]:
    """``loss_runs``, how often packets were lost, one or several in a row, and never came; and in
    ``loss_runs.mean`` and ``loss_runs.max`` how many of them."""
    runs = probes.loss_runs
    count = sum(runs.values())
    yield _one(command, "loss_runs", "times", count)
    if not count:
        for name in ("mean", "max"):
            why_not = "the probes lost no packet"
            yield could_not(command, f"{command}.loss_runs.{name}", "packets", why_not)
        return
    lost = sum(length * times for length, times in runs.items())
    yield _one(command, "loss_runs.mean", "packets", lost / count)
    yield _one(command, "loss_runs.max", "packets", max(runs))


def latency_rows(command: str, name: str, probes: Figures) -> Iterator[Row]:
    """By packet and by frame, in milliseconds."""
    for what, histogram in (
        ("packet", probes.packet_latency_us),
        ("frame", probes.frame_latency_us),
    ):
        kind = "picture" if what == "frame" else what
        why_not = f"no probe received a {kind} with an intact stamp of this machine's clock"
        yield from quantile_rows(command, f"{name}.{what}", histogram, why_not)


def harness_rows(command: str, usage: Usage) -> Iterator[Row]:
    """``harness.*``: what this process itself did."""
    for name, unit, value in (
        ("cpu", "cores", usage.cores),
        ("shard_busy", "share", usage.busy),
        ("lag.p50", "ms", usage.lag_p50_ms),
        ("lag.p99", "ms", usage.lag_p99_ms),
        ("lag.max", "ms", usage.lag_most_ms),
        ("receive_drops", "datagrams", usage.receive_drops),
        ("kernel_drops", "datagrams", usage.kernel_drops),
        ("records_dropped", "events", usage.events_dropped),
        ("memory", "MiB", usage.memory_bytes / 2**20),
    ):
        yield _one(command, f"harness.{name}", unit, value)


def discard_rows(command: str, usage: Usage) -> Iterator[Row]:
    """``discards.<reason>``: what came and was no packet of the session's, where there was any:
    ``srtp_auth`` was changed after it had been sealed, ``srtp_replay`` came before."""
    for reason, count in sorted(usage.discards.items()):
        yield _one(command, f"discards.{reason}", "packets", count)


QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def quantile_rows(command: str, name: str, histogram: Histogram, why_not: str) -> Iterator[Row]:
    """``<name>.p50`` and so on of microseconds, in milliseconds; where nothing was recorded they
    say why not."""
    for label, q in QUANTILES.items():
        value = histogram.quantile(q)
        if value is None:
            yield could_not(command, f"{command}.{name}.{label}", "ms", why_not)
        else:
            yield _one(command, f"{name}.{label}", "ms", value / 1e3)


def sample_rows(
    command: str, name: str, samples: Iterable[float | None], quantiles: Mapping[str, float]
) -> Iterator[Row]:
    """The same of samples in milliseconds, each the smallest at or below which its share lies."""
    known = sorted(sample for sample in samples if sample is not None)
    for label, q in quantiles.items():
        if known:
            rank = max(0, -(-q * len(known) // 1) - 1)
            yield _one(command, f"{name}.{label}", "ms", known[int(rank)])
        else:
            yield could_not(command, f"{command}.{name}.{label}", "ms", "no viewer got so far")


# What is told beside rows ------------------------------------------------------------------------


def problems_of(figures: SwarmFigures) -> Iterator[str]:
    """A line for each kind of viewer that was not served."""
    for reason, count in figures.failed.items():
        yield f"{_viewers(count)} failed ({reason}): {figures.sentences[reason]}"
    for reason, count in figures.ended.items():
        if reason == "bye":
            yield f"{_viewers(count)} sent away (bye): the server ended their sessions."
        else:
            yield f"{_viewers(count)} lost ({reason}): the server went away without a word."
    if figures.silent:
        yield f"{_viewers(figures.silent)} joined and received nothing."
    for kind, count in sorted(figures.half_silent.items()):
        yield f"{_viewers(count)} received no {kind}, which the server had agreed to send."
    if not figures.joined and not figures.failed:
        yield "Stopped before any viewer had joined."


def packet_problems(*probes: Figures) -> Iterator[str]:
    """A line for each fault that no network has, of all of these together: these are the
    server's."""
    for name, what in (
        ("corrupted", "were corrupted"),
        ("repeated", "came twice, under two numbers"),
        ("hidden", "never came, and no gap in the numbers showed it"),
    ):
        if count := sum(getattr(each, name) for each in probes):
            yield f"{count} packets of the probes {what}."


def notes_of(usage: Usage) -> Iterator[str]:
    """What is known of others."""
    others = usage.kernel_drops - usage.receive_drops
    if others > 0:
        yield (
            f"{others} datagrams were dropped by sockets of other processes of this network "
            "namespace, the server's perhaps."
        )


# Private -----------------------------------------------------------------------------------------


def _one(command: str, name: str, unit: str, value: float) -> Row:
    return row_of(command, f"{command}.{name}", unit, [float(value)])


def _viewers(count: int) -> str:
    return f"{count} viewer{'' if count == 1 else 's'}"


def _number(value: float) -> str:
    """Counts as they are, and enough digits for a share that is almost one."""
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.5g}"
