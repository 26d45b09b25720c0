"""The ceiling sender in the place of the server: what any forwarder could reach here and now.

``pyforward-ceiling`` (bench/ceiling) seals and sends the same trains to the same sinks, from the
server's namespace and core, in turns with the server's own rounds, so that a noisy minute of the
machine falls on both.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
nothing made trains of them, or the machine was busy. Where sealing takes most of the time, as with
AES-CM, this can only be asked of what is left without it."""

TRAINS, SINGLES, EIGHT, SEAL = "trains", "singles", "trains of 8", "seal"

_BUILD_LIMIT_S = 1_200.0
_SPARE_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: trains as lists of payload sizes in bytes, by this suite (``gcm`` or
    ``cm``)."""

    trains: tuple[tuple[int, ...], ...]
    suite: str = "gcm"

    @property
    def variants(self) -> tuple[str, ...]:
        """What a round sends: the trains themselves, their packets one by one, trains of 8; and
        nothing, where it matters how long sealing alone takes."""
        return (TRAINS, SINGLES, EIGHT) if self.suite == "gcm" else (TRAINS, SINGLES, EIGHT, SEAL)


@dataclass(frozen=True, slots=True)
class Sent:
    """One round: packets per CPU-second by what was sent, and seconds of all of it: of CPU by the
    sender's own clock, and of its core that was not idle."""

    rates: Mapping[str, float]
    cpu_s: float
    busy_s: float

    @property
    def gain(self) -> float:
        """Of trains of 8 over singles, without sealing where it is known."""
        sealing = 1 / self.rates[SEAL] if SEAL in self.rates else 0.0
        eight, singles = 1 / self.rates[EIGHT] - sealing, 1 / self.rates[SINGLES] - sealing
        return singles / eight if eight > 0 else 0.0

    @property
    def usage(self) -> Usage:
        """For the clocks' agreement."""
        return Usage(self.busy_s, self.cpu_s, self.cpu_s, self.busy_s)


@dataclass(slots=True)
class Ceiling:
    """The rounds of one row."""

    rounds: list[Sent] = field(default_factory=list)

    @property
    def value(self) -> float | None:
        """Packets per CPU-second of the trains: the median."""
        return (
            statistics.median(sent.rates[TRAINS] for sent in self.rounds) if self.rounds else None
        )

    @property
    def wrong(self) -> list[str]:
        """Why this is no ceiling, a sentence each."""
        found = []
        if (
            self.rounds
            and (gain := statistics.median(sent.gain for sent in self.rounds)) < LEAST_GAIN
        ):
            found.append(
                f"The ceiling sender's trains of 8 were only {gain:.2f} times its singles, and "
                f"{LEAST_GAIN} is the least for a run that counts."
            )
        worst = max(self.rounds, key=lambda sent: sent.usage.apart or 0.0, default=None)
        if worst is not None and worst.usage.disagreement is not None:
            found.append(
                f"The ceiling sender used {worst.cpu_s:.2f} s of CPU and its core was busy for "
                f"{worst.busy_s:.2f} s."
            )
        return found


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
) -> Sent:
    """One round, ``seconds`` for all of it together. With several cores, a sender on each at the
    same time, each with its part of the sinks; rates are their mean. Raises RunError."""
    senders = []
    try:
        for number, core in enumerate(cores):
            words = _words(program, network, folder, load, ports[number :: len(cores)], core)
            words += ["--seconds", f"{seconds / len(load.variants):g}"]
            name = f"ceiling-{core}"
            senders.append(Child.begin(name, words, folder, netns=network.server_pid, cores=[core]))
        codes = [await sender.ended(seconds + _SPARE_S) for sender in senders]
    finally:
        for sender in senders:
            await sender.stop()
    parts = [read(sender, code) for sender, code in zip(senders, codes, strict=True)]
    return Sent(
        {name: statistics.fmean(part.rates[name] for part in parts) for name in parts[0].rates},
        sum(part.cpu_s for part in parts),
        sum(part.busy_s for part in parts),
    )


def read(sender: Child, code: int) -> Sent:
    """What it printed. Raises RunError."""
    if code != 0:
        raise RunError(f"{PROGRAM} failed: {sender.last_words}.")
    try:
        told = json.loads(sender.printed)
        rates = {str(row["name"]): float(row["packets_per_cpu_second"]) for row in told["rows"]}
        return Sent(rates, float(told["cpu_s"]), float(told["busy_s"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{PROGRAM} printed what cannot be read: {error!r}.") from None


# The trains --------------------------------------------------------------------------------------


def trains_of(trace: Trace) -> tuple[tuple[int, ...], ...]:
    """The frames of a trace as the forwarder forms trains of them: all of a burst's packets, at
    most :data:`LONGEST_TRAIN`, made equal by padding where they differ by a few bytes."""
    trains = []
    for frame in trace.frames:
        for at in range(0, len(frame.sizes), LONGEST_TRAIN):
            part = frame.sizes[at : at + LONGEST_TRAIN]
            trains.append(_equal(part))
    return tuple(trains)


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


def _words(
    program: Path, network: Network, folder: Path, load: Load, ports: Sequence[int], core: int
) -> list[str]:
    """The command, but for how long; what it sends and where is in files."""
    sinks = network.addresses.sinks
    host = f"[{sinks}]" if ":" in sinks else sinks
    to, trains = folder / f"ceiling-{core}.to", folder / f"ceiling-{core}.trains"
    to.write_text("".join(f"{host}:{port}\n" for port in ports))
    trains.write_text("".join(f"{','.join(map(str, train))}\n" for train in load.trains))
    return [
        str(program),
        *("--here", "--to", str(to), "--trains", str(trains), "--suite", load.suite),
        *("--core", str(core), "--variants", ",".join(load.variants), "--rounds", "1", "--json"),
    ]


_MOST_TRAINS = 120
_BOUNDS = (0, 1, 2, 3, 4, 6, 8, 12, 16)  # of pyforward_train_packets


def _below(bound: int) -> int:
    return max((known for known in _BOUNDS if known < bound), default=bound - 1)


def _equal(sizes: Sequence[int]) -> tuple[int, ...]:
    """All but the last of one size, and the last no larger, as UDP_SEGMENT wants it: the forwarder
    evens them out by padding."""
    return (max(sizes),) * (len(sizes) - 1) + (sizes[-1],)


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
