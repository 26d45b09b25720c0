"""The ceiling sender in the place of the server: what any forwarder could reach here and now.

``pyforward-ceiling`` (bench/ceiling) seals and sends the same trains to the same sinks, from the
server's namespace and core, in turns with the server's own rounds, so that a noisy minute of the
machine falls on both: as fast as it can (:func:`run`), or each train when it is due, so that it is
held to the same latency as the server (:func:`play`).
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyforward.errors import HostError, RunError
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.network import Network
from pyforward_bench.traces import Trace

PROGRAM = "pyforward-ceiling"

LONGEST_TRAIN = 16
"""As the forwarder forms them."""

LEAST_GAIN = 2.2
"""Trains of 8 reach this many times the singles of the same run, or something was wrong with it:
nothing made trains of them, or the machine was busy. It is asked of what is left without sealing,
which trains do not make cheaper (docs/decisions/0018), and where sealing is cheap (``GCM``): with
AES-CM it is most of the time, and what is left after subtracting it is noise."""

TRAINS, SINGLES, EIGHT, SEAL = "trains", "singles", "trains of 8", "seal"
VARIANTS = (TRAINS, SINGLES, EIGHT, SEAL)
"""What a round sends: the trains themselves, and, where what they gain is asked for, their packets
one by one, trains of 8, and nothing."""

GCM, CM = "gcm", "cm"
"""Suites, as the program calls them."""

_BUILD_LIMIT_S = 1_200.0
_SPARE_S = 30.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: trains as lists of payload sizes in bytes, by this suite."""

    trains: tuple[tuple[int, ...], ...]
    suite: str = GCM


@dataclass(frozen=True, slots=True)
class Sent:
    """One round: packets per CPU-second by what was sent, and seconds of all of it: of CPU by the
    sender's own clock, and of its core that was not idle; and of that what the server took, whose
    viewers go on with their checks and reports."""

    rates: Mapping[str, float]
    cpu_s: float
    busy_s: float
    server_s: float = 0.0

    @property
    def gain(self) -> float | None:
        """Of trains of 8 over singles, without header and sealing; None where it was not asked
        for."""
        if SEAL not in self.rates:
            return None
        sealing = 1 / self.rates[SEAL]
        eight, singles = 1 / self.rates[EIGHT] - sealing, 1 / self.rates[SINGLES] - sealing
        return singles / eight if eight > 0 else 0.0

    @property
    def usage(self) -> Usage:
        """For the clocks' agreement."""
        return Usage(self.busy_s, self.cpu_s + self.server_s, self.cpu_s, self.busy_s)


@dataclass(frozen=True, slots=True)
class Due:
    """A train of a schedule: the sizes of its payloads in bytes, and when the last of them is
    there, in microseconds from the start."""

    due_us: int
    sizes: tuple[int, ...]
    ends_frame: bool

    @property
    def line(self) -> str:
        """As the program reads it."""
        sizes = ",".join(map(str, self.sizes))
        return f"{self.due_us} {sizes}{' m' if self.ends_frame else ''}\n"


@dataclass(frozen=True, slots=True)
class Played:
    """A schedule, played: packets that were sent, those of its warm-up among them, and those that
    were lost. ``latency_us`` is over all frames and destinations, from when a frame's last packet
    was there to when it had left, by ``p50``, ``p99`` and ``p99.9``; None without a whole frame.
    The last train began ``behind_us`` late. ``packets_per_cpu_s`` is what it made of its CPU at
    this pace, which rests in between."""

    sent: int
    lost: int
    latency_us: Mapping[str, float | None]
    behind_us: float
    packets_per_cpu_s: float


def missing_gain(rounds: Sequence[Sent]) -> list[str]:
    """Why a run with these rounds does not count: their median gain is too small. A single one is
    of seconds, in which anything may have happened."""
    asked = _asked(rounds)
    if not asked or (gain := _median_gain(asked)) >= LEAST_GAIN:
        return []
    told = (
        f"The ceiling sender's trains of 8 were only {gain:.2f} times its singles, the median of "
        f"{len(asked)} rounds, and {LEAST_GAIN} is the least for a run that counts."
    )
    return [told]


def told_gain(rounds: Sequence[Sent]) -> list[str]:
    """What was reached one by one and in trains of 8 where that was asked for, as medians."""
    asked = _asked(rounds)
    if not asked:
        return []
    singles, eight = (
        statistics.median(sent.rates[name] for sent in asked) for name in (SINGLES, EIGHT)
    )
    told = (
        f"The ceiling sender reached {singles:,.0f} packets per CPU-second one by one and "
        f"{eight:,.0f} in trains of 8, which is {eight / singles:.2f} times as many as measured, "
        f"and {_median_gain(asked):.2f} times without sealing; medians of {len(asked)} rounds."
    )
    return [told]


def disturbance(rounds: Sequence[Sent]) -> list[str]:
    """Why these are no ceiling: something else used the core."""
    worst = max(rounds, key=lambda sent: sent.usage.apart or 0.0, default=None)
    if worst is None or worst.usage.disagreement is None:
        return []
    told = f"{worst.cpu_s:.2f} s of CPU, the server beside it {worst.server_s:.2f} s"
    return [f"The ceiling sender used {told}, and their core was busy for {worst.busy_s:.2f} s."]


def find(given: Path | None, say: Callable[[str], object]) -> Path:
    """The program: as given, on the PATH, or built from the checkout that this package is in.
    Raises HostError that says why there is none."""
    if given is not None:
        if shutil.which(given) is None:
            raise HostError(f"--ceiling {given}: no program that can be run.")
        return given.resolve()
    if (found := shutil.which(PROGRAM)) is not None:
        return Path(found)
    native = Path(__file__).resolve().parents[3] / "native"
    if not (native / "Cargo.toml").is_file():
        raise HostError(
            f"{PROGRAM} is neither on the PATH nor is there a checkout to build it from; "
            "build it with `cargo build --release -p pyforward-ceiling` and give its path."
        )
    if shutil.which("cargo") is None:
        raise HostError(f"{PROGRAM} is not built, and there is no cargo to build it with.")
    say(f"building {PROGRAM} (once)")
    return _built(native)


async def run(
    program: Path,
    network: Network,
    folder: Path,
    load: Load,
    ports: Sequence[int],
    *,
    seconds: float,
    cores: Sequence[int],
    variants: Sequence[str] = (TRAINS,),
) -> Sent:
    """One round, ``seconds`` for each of the variants. With several cores, a sender on each at the
    same time, each with its part of the sinks; rates are their mean. Raises RunError."""
    senders = []
    try:
        for number, core in enumerate(cores):
            trains = folder / f"ceiling-{core}.trains"
            trains.write_text("".join(f"{','.join(map(str, train))}\n" for train in load.trains))
            words = [
                *_words(program, network, folder, ports[number :: len(cores)], core),
                *("--trains", str(trains), "--suite", load.suite, "--rounds", "1"),
                *("--variants", ",".join(variants), "--seconds", f"{seconds:g}"),
            ]
            name = f"ceiling-{core}"
            senders.append(Child.begin(name, words, folder, netns=network.server_pid, cores=[core]))
        limit_s = len(variants) * seconds + _SPARE_S
        codes = [await sender.ended(limit_s) for sender in senders]
    finally:
        for sender in senders:
            await sender.stop()
    parts = [read(sender, code) for sender, code in zip(senders, codes, strict=True)]
    return Sent(
        {name: statistics.fmean(part.rates[name] for part in parts) for name in parts[0].rates},
        sum(part.cpu_s for part in parts),
        sum(part.busy_s for part in parts),
    )


async def play(
    program: Path,
    network: Network,
    folder: Path,
    schedule: Sequence[Due],
    ports: Sequence[int],
    *,
    seconds: float,
    core: int,
) -> Played:
    """The schedule in real time to these ports of the sinks' address, for so long at most however
    late it is. Raises RunError."""
    file = folder / "ceiling.schedule"
    file.write_text("".join(due.line for due in schedule))
    words = [
        *_words(program, network, folder, ports, core),
        *("--play", str(file), "--seconds", f"{seconds:g}"),
    ]
    sender = Child.begin(f"ceiling-{core}", words, folder, netns=network.server_pid, cores=[core])
    try:
        code = await sender.ended(seconds + _SPARE_S)
    finally:
        await sender.stop()
    return read_played(sender, code)


def read(sender: Child, code: int) -> Sent:
    """What it printed of its rows. Raises RunError."""

    def sent(told: dict[str, Any]) -> Sent:
        rates = {str(row["name"]): float(row["packets_per_cpu_second"]) for row in told["rows"]}
        return Sent(rates, float(told["cpu_s"]), float(told["busy_s"]))

    return _read(sender, code, sent)


def read_played(sender: Child, code: int) -> Played:
    """What it printed of a schedule. Raises RunError."""

    def played(told: dict[str, Any]) -> Played:
        latency_us = told["latency_us"]
        return Played(
            sent=int(told["sent"]),
            lost=int(told["lost"]),
            latency_us={
                label: None if (us := latency_us[key]) is None else float(us)
                for label, key in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"))
            },
            behind_us=float(told["behind_us"]),
            packets_per_cpu_s=float(told["packets"]) / float(told["cpu_s"]),
        )

    return _read(sender, code, played)


# The trains --------------------------------------------------------------------------------------


def trains_of(trace: Trace) -> tuple[tuple[int, ...], ...]:
    """The frames of a trace as the forwarder forms trains of them: all of a burst's packets, at
    most :data:`LONGEST_TRAIN`, made equal by padding where they differ by a few bytes."""
    trains = []
    for frame in trace.frames:
        for at in range(0, len(frame.sizes), LONGEST_TRAIN):
            trains += even_trains(frame.sizes[at : at + LONGEST_TRAIN])
    return tuple(trains)


def even_trains(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Packets that leave together, in as few trains as they can be: all of a train of one size, but
    for a last one that may be smaller, where padding makes up for a hundredth of a packet."""
    trains = []
    rest = tuple(sizes)
    while rest:
        length = 1
        while length < len(rest) and _can_be_even(rest[: length + 1]):
            length += 1
        train, rest = rest[:length], rest[length:]
        trains.append((max(train),) * (length - 1) + train[-1:])
    return trains


def trains_reached(
    lengths: Mapping[int, int], mean: float, size: int
) -> tuple[tuple[int, ...], ...]:
    """A hundred or so trains of equal packets in the proportions that a histogram shows: how many
    by the upper bound of a bucket. ``mean`` is the exact mean length, which decides where in the
    wide buckets the lengths lie."""
    count = sum(lengths.values())
    if not count:
        return ()
    bounds = sorted(lengths)
    low = {bound: _below(bound) + 1 for bound in bounds}
    most = sum(bound * lengths[bound] for bound in bounds) / count
    least = sum(low[bound] * lengths[bound] for bound in bounds) / count
    high_share = 1.0 if most == least else min(1.0, max(0.0, (mean - least) / (most - least)))
    trains: list[tuple[int, ...]] = []
    for bound in bounds:
        share = max(1, round(_MOST_TRAINS * lengths[bound] / count))
        high = round(share * high_share)
        trains += [(size,) * bound] * high + [(size,) * low[bound]] * (share - high)
    # Mixed, as they come: a stride that has no divisor in common with the count reaches all.
    stride = next(step for step in itertools.count(37) if math.gcd(step, len(trains)) == 1)
    return tuple(trains[at * stride % len(trains)] for at in range(len(trains)))


# Private -----------------------------------------------------------------------------------------


def _asked(rounds: Sequence[Sent]) -> list[Sent]:
    """Those that were asked what trains gain."""
    return [sent for sent in rounds if sent.gain is not None]


def _median_gain(asked: Sequence[Sent]) -> float:
    return statistics.median(gain for sent in asked if (gain := sent.gain) is not None)


def _words(
    program: Path, network: Network, folder: Path, ports: Sequence[int], core: int
) -> list[str]:
    """The command, but for what it sends and for how long."""
    sinks = network.addresses.sinks
    host = f"[{sinks}]" if ":" in sinks else sinks
    to = folder / f"ceiling-{core}.to"
    to.write_text("".join(f"{host}:{port}\n" for port in ports))
    return [str(program), "--here", "--to", str(to), "--core", str(core), "--json"]


def _read(sender: Child, code: int, of: Callable[[dict[str, Any]], _T]) -> _T:
    if code != 0:
        raise RunError(f"{PROGRAM} failed: {sender.last_words}.")
    try:
        return of(json.loads(sender.printed))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise RunError(f"{PROGRAM} printed what cannot be read: {error!r}.") from None


_MOST_TRAINS = 120
_BOUNDS = (0, 1, 2, 3, 4, 6, 8, 12, 16)  # of pyforward_train_packets


def _below(bound: int) -> int:
    return max((known for known in _BOUNDS if known < bound), default=bound - 1)


def _can_be_even(sizes: Sequence[int]) -> bool:
    """Whether padding makes all but the last as large as the largest, as UDP_SEGMENT wants it."""
    largest = max(sizes)
    return all(largest - size <= size // 100 for size in sizes[:-1])


def _built(native: Path) -> Path:
    try:
        done = subprocess.run(
            ["cargo", "build", "--release", "-p", PROGRAM, "--message-format=json"],
            cwd=native,
            capture_output=True,
            text=True,
            timeout=_BUILD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{PROGRAM} was not built within {_BUILD_LIMIT_S:g} s.") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
        raise HostError(f"{PROGRAM} cannot be built: {(lines or ['cargo failed'])[0]}")
    for line in done.stdout.splitlines():
        told = json.loads(line)
        if told.get("executable") and told.get("target", {}).get("name") == PROGRAM:
            return Path(told["executable"])
    raise HostError(f"cargo built {PROGRAM} and did not say where.")
