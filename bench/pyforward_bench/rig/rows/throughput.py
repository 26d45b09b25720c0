"""Packets per second of the server's CPU, each beside the ceiling sender in the same rounds."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import replace

from pyforward_bench.rig.ceiling import CM, Load, trains_of, trains_reached
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_least, joined
from pyforward_bench.rig.rows.turns import in_turns
from pyforward_bench.rig.server import mean_train, train_lengths
from pyforward_bench.rig.stand import SetUp, Stand

RATE = "packets per CPU-second"
GBIT = "Gbit/s per core"

PROFILE_CM = "SRTP_AES128_CM_SHA1_80"

_LEAST_SHARE = 0.85
_LEAST_OF_BURSTY = 0.7
_SLOWED = 0.2
_QUIETER = 0.6


async def r01(stand: Stand, spec: Spec) -> Sequence[Figure]:
    wanted = await stand.half_loaded(Feed())
    await stand.set_up(wanted)
    measured = await stand.rounds(Load(trains_of(Feed().trace)), plays=True)
    stand.kept[spec.row] = measured
    figure = _beside_ceiling(stand, spec, measured, note=await _census(stand, measured))
    return [figure, *_at_the_same_pace(spec, measured)]


async def r01s(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The harness's own proof: a server that is slower by a known share, in turns with itself."""
    half = await stand.half_loaded(Feed(), stand.serving(slowed=_SLOWED))
    assert half.feed is not None
    # What wastes the server's CPU holds Python's lock meanwhile: where the core is full in a slow
    # minute, nothing of Python gets on any more, its answers among it.
    await stand.set_up(replace(half, feed=replace(half.feed, rate=_QUIETER * half.feed.rate)))
    rounds = await in_turns(stand, (contextlib.nullcontext, stand.burdened))
    doubt = stand.doubt(spec.row, [why for both in rounds for each in both for why in each.wrong])
    changes = [
        100 * (slowed.packets_per_cpu_s / usual.packets_per_cpu_s - 1) for usual, slowed in rounds
    ]
    least, most = (-100 * _SLOWED * times for times in (1.25, 0.75))
    met = least <= statistics.median(changes) <= most
    return [spec.of(changes, met=met, note=doubt)]


async def r02(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Against trains of the lengths that the server's own histogram shows in a first window; and
    against r01, where that was measured in this run."""
    wanted = await stand.half_loaded(Feed(paced=True))
    await stand.set_up(wanted)
    await stand.warm_up()
    reached = await stand.window(tries=1)
    mean = mean_train(reached.metrics)
    trains = trains_reached(train_lengths(reached.metrics), mean, Feed().payload_bytes)
    measured = await stand.rounds(Load(trains) if trains else None, plays=True)
    value = statistics.median(measured.rates)
    bursty = stand.found.get("r01")
    share = None if bursty is None else value / bursty
    told = "not held against r01, which was not measured in this run"
    note = f"mean train {mean:.1f}; {told if share is None else f'{share:.2f} of r01'}"
    and_met = share is None or share >= _LEAST_OF_BURSTY
    figure = _beside_ceiling(stand, spec, measured, note=note, and_met=and_met)
    return [figure, *_at_the_same_pace(spec, measured)]


async def r03(stand: Stand, spec: Spec) -> Sequence[Figure]:
    serving = stand.serving(("dtls.srtp_profiles", PROFILE_CM))
    await stand.set_up(await stand.half_loaded(Feed(), serving, suite=CM))
    measured = await stand.rounds(Load(trains_of(Feed().trace), suite=CM))
    return [_beside_ceiling(stand, spec, measured)]


async def r04(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Of r01's rounds, where that was measured in this run, with its ceiling."""
    measured, doubt = stand.kept.get("r01"), None
    if measured is None:
        await stand.set_up(await stand.half_loaded(Feed()))
        measured = await stand.rounds()
        doubt = stand.doubt(spec.row, measured.wrong)
    values = [_gbit_per_core(window) for window in measured.windows]
    # The ceiling sender's packets are as large.
    ceilings = [value / share for value, share in zip(values, measured.shares, strict=False)]
    return [spec.of(values, ceilings=ceilings, note=doubt)]


async def r04u(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """What a NIC that segments would take off the CPU. The counter sees whole trains, so that only
    bytes say how much it was."""
    await stand.set_up(await stand.half_loaded(Feed()))
    stand.network.set_segmentation_offload(on=True)
    try:
        measured = await stand.rounds()
        offloads = stand.network.offloads()
    finally:
        stand.network.set_segmentation_offload(on=False)
    doubt = stand.doubt(spec.row, measured.wrong)
    set_to = ", ".join(f"{name} {state}" for name, state in offloads.items() if "udp" in name)
    values = [_gbit_per_core(window) for window in measured.windows]
    return [spec.of(values, note=joined(f"counted by bytes, with {set_to}", doubt))]


async def r16(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The harness shares the second core; only the server's own CPU counts, as only the ceiling
    senders' own does."""
    half = await stand.half_loaded(Feed())
    assert half.feed is not None
    feed = replace(half.feed, rate=2 * half.feed.rate)
    serving = stand.serving(("engine.shards", "2"), cores=stand.cores)
    await stand.set_up(SetUp(half.crowd, feed, serving))
    return [_beside_ceiling(stand, spec, await stand.rounds(Load(trains_of(feed.trace))))]


ROWS = (
    Spec(
        "r01",
        "forwarded packets per CPU-second, GCM, bursty",
        RATE,
        "≥ 0.85 of the ceiling",
        r01,
        ceiling=True,
    ),
    Spec(
        "r01s",
        "what r01 loses when the server is slowed by 20 %",
        "%",
        "-25 to -15 %",
        r01s,
        counted=True,
    ),
    Spec("r04", "Gbit/s per core (r01 × size)", GBIT, None, r04),
    Spec("r04u", "Gbit/s per core, unsegmented", GBIT, None, r04u, counted=True),
    Spec(
        "r02",
        "forwarded packets per CPU-second, GCM, paced",
        RATE,
        "≥ 0.85 of the ceiling at the train lengths reached, ≥ 0.7 of r01",
        r02,
        ceiling=True,
    ),
    Spec(
        "r03",
        "forwarded packets per CPU-second, AES-CM + SHA1-80, bursty",
        RATE,
        "≥ 0.85 of its own ceiling",
        r03,
        ceiling=True,
    ),
)

ON_TWO_CORES = (
    Spec(
        "r16",
        "forwarded packets per CPU-second, two shards on two cores",
        RATE,
        "≥ 0.85 of two ceiling senders",
        r16,
        counted=True,
        ceiling=True,
    ),
)


# Private -----------------------------------------------------------------------------------------


def _beside_ceiling(
    stand: Stand,
    spec: Spec,
    measured: Measured,
    *,
    note: str | None = None,
    and_met: bool = True,
) -> Figure:
    """The median over the rounds, and of their shares of the ceiling beside them."""
    doubt = stand.doubt(spec.row, measured.wrong)
    stand.found[spec.row] = statistics.median(measured.rates)
    met = is_least(measured.shares, _LEAST_SHARE) and and_met if measured.shares else None
    notes = joined(note, doubt, stand.why_no_ceiling)
    return spec.of(measured.rates, ceilings=measured.ceilings, met=met, note=notes)


def _at_the_same_pace(spec: Spec, measured: Measured) -> list[Figure]:
    """The same beside the ceiling sender where it plays the feed in real time, to as many: it rests
    as often and as long as the server, so that what a core is slower by after a rest, its caches
    cold and its clock low, is in both."""
    if not measured.played:
        return []
    ceilings = [played.packets_per_cpu_s for played in measured.played]
    part = "beside the ceiling sender at the same pace"
    return [spec.of(measured.rates, part=part, ceilings=ceilings)]


async def _census(stand: Stand, measured: Measured) -> str | None:
    """Whether each sink gets everything: an untimed round by viewer."""
    if stand.counter is None:
        return None
    counts = await stand.census(stand.scale.seconds / 2)
    if min(counts) == max(counts):
        return f"in an untimed round each of {len(counts)} sinks got {counts[0]} packets"
    told = f"sinks got {min(counts)} to {max(counts)} packets"
    measured.wrong.append(f"In an untimed round {len(counts)} {told}.")
    return None


def _gbit_per_core(window: Window) -> float:
    return 8e-9 * window.bytes / window.usage.process_s
