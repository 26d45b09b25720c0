"""``pyforward-bench loss``: viewers on a bad way, and how a server repairs what it loses.

Each viewer's own socket loses, delays and reorders, in both directions: whatever it receives, and
its checks, reports and NACKs. The round trip is split in half, one each way. Every viewer is
a probe. Viewers ask for video alone unless ``--audio`` says otherwise, because nobody asks again
for a packet of audio: what is lost of it stays lost, and would count here.

Repaired within two round trips of its first transmission: by the publisher's stamp where there is
one, so that what the server itself takes counts against it. Without stamps the first transmission
is not known; then it is one and a half round trips from the arrival that showed the gap, which
came half a round trip after its own. What was never lost counts as repaired at once, and what never
came as never.

Rows, each with ``loss.`` before it:

- ``viewers``, ``joined``, ``failed.<reason>``, ``ended.<reason>``, ``silent``, and ``seconds``, as
  ``load`` has them;
- ``asked.loss``, ``asked.burst``, ``asked.rtt``, ``asked.jitter``, ``asked.reorder``: the way;
- ``expected`` (packets), ``missed`` (those that did not come at first), ``repaired``, ``lost``;
- ``within_two_round_trips``, ``finally``: shares of all expected packets;
  ``of_missed``: the share of the missed that was repaired;
- ``repair.*``: milliseconds from the arrival that showed a gap to the repair, as ``p50``, ``p99``,
  ``p99.9``, ``max``; ``latency.packet.*``, ``latency.frame.*``;
- what it cost: ``retransmissions`` (a packet expected), ``unneeded`` (the share of these that
  brought nothing), ``retransmitted_bytes`` (of those that brought something, a byte received),
  ``asked_again`` (packets named in NACKs, a packet expected);
- ``frames``, ``broken``, ``corrupted``, ``repeated``, ``missing``, ``reordered_content``,
  ``unstamped``, ``loss_runs``, ``loss_runs.mean``, ``loss_runs.max`` and ``harness.*`` as ``load``
  has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pyforward.client import Target
from pyforward.commands import Link, Trial
from pyforward.config import Config
from pyforward_bench.measuring import (
    LOOK_EVERY_S,
    Bench,
    Output,
    conduct,
    packet_problems,
    probe_rows,
    quantile_rows,
    viewer_rows,
)
from pyforward_bench.results import Row, could_not, row_of
from pyforward_bench.statistics import Figures, Histogram

COMMAND: Final = "loss"

DEFAULT_VIEWERS: Final = 10
DEFAULT_DURATION_S: Final = 20.0
SETTLE_S: Final = 2.0
"""From the last join until figures count: round trips are known to the server by then."""

LAST_REPAIRS_S: Final = 1.0
"""After the end of the time, so that what was lost at its end can be repaired."""


@dataclass(frozen=True, slots=True)
class Options:
    """``loss`` and ``reorder`` are shares, ``burst`` the mean length of a run of losses; ``rtt_ms``
    and ``jitter_ms`` are what is added to the way as it is."""

    loss: float
    burst: float = 1.0
    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    viewers: int = DEFAULT_VIEWERS
    duration_s: float = DEFAULT_DURATION_S
    audio: bool = False
    seed: int = 1
    allowed: bool = False

    def trial(self) -> Trial:
        """The same each way, each with luck of its own."""
        link = Link(
            loss=self.loss,
            burst=self.burst,
            delay_us=round(self.rtt_ms * 500),
            jitter_us=round(self.jitter_ms * 1_000),
            reorder=self.reorder,
            seed=self.seed,
        )
        return Trial(inbound=link, outbound=link)


def run(config: Config, target: Target, options: Options, output: Output) -> int:
    """The command; gives its exit code."""
    return conduct(
        Loss(options),
        config,
        target,
        output,
        viewers=options.viewers,
        allowed=options.allowed,
        trial=options.trial(),
        audio=options.audio,
    )


class Loss:
    """The measurement."""

    command = COMMAND

    def __init__(self, options: Options) -> None:
        self._options = options
        self._before: Mapping[str, int] = {}
        self._after: Mapping[str, int] | None = None

    async def run(self, bench: Bench) -> None:
        """Everybody joins over the bad way, and watches."""
        count = self._options.viewers
        joining = asyncio.ensure_future(bench.swarm.join(count, probes=count))
        await bench.look_until(joining, "joining")
        if bench.swarm.figures().there == 0:
            return
        await asyncio.sleep(SETTLE_S)
        loop = asyncio.get_running_loop()
        bench.mark()
        self._before = _counted(bench)
        until = loop.time() + self._options.duration_s
        while (left_s := until - loop.time()) > 0:
            await asyncio.sleep(min(LOOK_EVERY_S, left_s))
            if (await bench.look("watching")).there == 0:
                break
        await asyncio.sleep(LAST_REPAIRS_S)
        self._after = _counted(bench)

    def rows(self, bench: Bench) -> Iterator[Row]:
        """See the top of this file."""
        options, probes = self._options, bench.swarm.tally.figures()
        yield from viewer_rows(COMMAND, bench.swarm.figures(), options.viewers)
        if self._before:
            yield _one("seconds", "s", bench.usage().passed_s)
        for name, unit in _ASKED.items():
            yield _one(f"asked.{name.removesuffix('_ms')}", unit, getattr(options, name))
        missed = probes.repaired + probes.lost
        for name, count in (
            ("expected", probes.expected),
            ("missed", missed),
            ("repaired", probes.repaired),
            ("lost", probes.lost),
        ):
            yield _one(name, "packets", count)
        yield from self._shares(probes, missed)
        yield from quantile_rows(COMMAND, "repair", probes.repair_us, "nothing was repaired")
        yield from self._costs(bench, probes)
        yield from probe_rows(COMMAND, probes)

    def problems(self, bench: Bench) -> Iterator[str]:
        """What the way does not do: it loses, and leaves a gap in the numbers."""
        yield from packet_problems(bench.swarm.figures().probes)

    def _shares(self, probes: Figures, missed: int) -> Iterator[Row]:
        name = "loss.within_two_round_trips"
        if not probes.expected:
            yield could_not(COMMAND, name, "share", "no packet came")
            yield could_not(COMMAND, "loss.finally", "share", "no packet came")
        else:
            if self._options.rtt_ms:
                share = within_two_round_trips(probes, self._options.rtt_ms)
                yield row_of(COMMAND, name, "share", [share])
            else:
                yield could_not(COMMAND, name, "share", "no --rtt was given")
            yield _one("finally", "share", 1 - probes.lost / probes.expected)
        if missed:
            yield _one("of_missed", "share", probes.repaired / missed)
        else:
            yield could_not(COMMAND, "loss.of_missed", "share", "no packet was missed")

    def _costs(self, bench: Bench, probes: Figures) -> Iterator[Row]:
        after = self._after or _counted(bench)
        gained = {name: after[name] - self._before.get(name, 0) for name in after}
        came = gained["packets_in_retransmission"] + gained["rtp_rtx"]
        for name, unit, value, of in (
            ("retransmissions", "share", came, probes.expected),
            (
                "retransmitted_bytes",
                "share",
                gained["bytes_in_retransmission"],
                gained["bytes_in"] + gained["bytes_in_retransmission"],
            ),
            ("unneeded", "share", gained["rtp_rtx"], came),
            ("asked_again", "share", gained["nacks_out"], probes.expected),
        ):
            if of:
                yield _one(name, unit, value / of)
            else:
                yield could_not(COMMAND, f"loss.{name}", unit, "there was none")


def within_two_round_trips(probes: Figures, rtt_ms: float) -> float:
    """The share of all expected packets; the top of this file says how it is reckoned."""
    rtt_us = rtt_ms * 1e3
    if probes.packet_latency_us.count:
        in_time = share_within(probes.packet_latency_us, 2 * rtt_us)
        return in_time * (1 - probes.lost / probes.expected)
    repaired_in_time = share_within(probes.repair_us, 1.5 * rtt_us) * probes.repaired
    at_once = probes.expected - probes.repaired - probes.lost
    return (at_once + repaired_in_time) / probes.expected


def share_within(histogram: Histogram, limit: float) -> float:
    """The largest share whose quantile is not above the limit, within 1e-6."""
    if not histogram.count or histogram.least > limit:
        return 0.0
    if histogram.most <= limit:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        value = histogram.quantile(middle)
        if value is not None and value <= limit:
            low = middle
        else:
            high = middle
    return low


# Private -----------------------------------------------------------------------------------------

_ASKED: Final = {
    "loss": "share",
    "burst": "packets",
    "rtt_ms": "ms",
    "jitter_ms": "ms",
    "reorder": "share",
}

_COUNTERS: Final = (
    "bytes_in",
    "packets_in_retransmission",
    "bytes_in_retransmission",
    "nacks_out",
)


def _counted(bench: Bench) -> dict[str, int]:
    """What the engine has counted of all viewers."""
    shards = bench.swarm.engine.stats().shards
    found = {name: sum(shard.counters[name] for shard in shards) for name in _COUNTERS}
    return found | {"rtp_rtx": sum(shard.discards["rtp_rtx"] for shard in shards)}


def _one(name: str, unit: str, value: float) -> Row:
    return row_of(COMMAND, f"{COMMAND}.{name}", unit, [float(value)])
