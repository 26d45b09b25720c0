"""What each technique is worth, and each policy of departure: the same load without it and with it.

A server keeps its switches for life, so that each turn begins one with viewers of its own. Turns
of all variants alternate, and a gain is told of neighbours, so that a noisy minute of the machine
falls on both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyforward.commands import Trial
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows import joining, loss
from pyforward_bench.rig.rows.latency import PRESUMED_VIEWERS
from pyforward_bench.rig.rows.overload import overloaded
from pyforward_bench.rig.rows.spec import Figure, Spec, joined
from pyforward_bench.rig.rows.throughput import RATE
from pyforward_bench.rig.server import Serving, mean_train
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures, Histogram


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the server: settings by their names, as text."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What loads a server, and the techniques that are switched off one by one under it."""

    name: str
    variants: tuple[Variant, ...]
    set_up: Callable[[Stand], Awaitable[SetUp]]


ALL_ON = Variant("everything on")


async def _bursty(stand: Stand) -> SetUp:
    """At a quarter of the load that a ceiling sender reaches: singles take several times as long as
    trains."""
    return _halved(await stand.half_loaded(Feed()))


async def _paced(stand: Stand) -> SetUp:
    return await stand.half_loaded(Feed(paced=True))


async def _with_opus(stand: Stand) -> SetUp:
    """At a quarter as well: without a train to ride on, audio is singles."""
    return _halved(await stand.half_loaded(Feed(opus=True)))


async def _with_feedback(stand: Stand) -> SetUp:
    """Ten reports a second from each viewer."""
    half = await stand.half_loaded(Feed())
    return replace(half, crowd=replace(half.crowd, trial=Trial(report_interval_ms=100)))


async def _on_two_cores(stand: Stand) -> SetUp:
    """One shard on the server's core, and everything else of the process beside the harness."""
    settings = (("engine.shards", "1"), ("engine.cores", str(stand.server_core)))
    serving = stand.serving(*settings, cores=stand.cores)
    return await stand.half_loaded(Feed(), serving)


async def _overloaded(stand: Stand) -> SetUp:
    return overloaded(stand)


SCENES = (
    Scene(
        "bursty",
        (
            Variant("engine.gso", (("engine.gso", "false"),)),
            Variant("engine.padding", (("engine.padding", "false"),)),
            Variant("engine.sendmmsg", (("engine.sendmmsg", "false"),)),
            Variant("engine.pace_mbps", (("engine.pace_mbps", "0"),)),
        ),
        _bursty,
    ),
    Scene(
        "paced",
        (
            Variant("engine.frame_window_ms", (("engine.frame_window_ms", "0"),)),
            Variant("engine.slice_us", (("engine.slice_us", "0"),)),
        ),
        _paced,
    ),
    Scene("with Opus", (Variant("engine.riders", (("engine.riders", "false"),)),), _with_opus),
    Scene(
        "10 reports/s from each viewer",
        (Variant("engine.recvmmsg", (("engine.recvmmsg", "false"),)),),
        _with_feedback,
    ),
    Scene(
        "at 150 % of r05",
        (Variant("engine.shed_after_ms", (("engine.shed_after_ms", "0"),)),),
        _overloaded,
    ),
    Scene("on two cores", (Variant("engine.cores", (("engine.cores", ""),)),), _on_two_cores),
)

SHORT_TURNS = Variant("engine.short_turns", (("engine.short_turns", "false"),))
"""Switched off in a storm of joins."""

REPEATS = Variant("engine.repeats", (("engine.repeats", "false"),))
"""The same on a lossy way."""


def window(milliseconds: int) -> Variant:
    """A frame's packets wait so long for its last one, whatever the load."""
    settings = (f"engine.{which}_window_ms" for which in ("frame", "idle"))
    name = f"window {milliseconds} ms" if milliseconds else "as they come"
    return Variant(name, tuple((setting, str(milliseconds)) for setting in settings))


BY_LOAD = Variant("1 ms, or 15 ms where busy", (("engine.frame_window_ms", "15"),))


def train(packets: int) -> Variant:
    """Of the usual window, in messages of so many packets at most."""
    return Variant(f"1 ms, trains of {packets}", (("engine.train_packets", str(packets)),))


POLICIES = (*map(window, (0, 1, 2, 5, 10, 15)), BY_LOAD, *map(train, (4, 8)))


async def techniques(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Each under the load that it is for."""
    figures: list[Figure] = []
    for scene in SCENES:
        found = await _alternate(stand, (ALL_ON, *scene.variants), await scene.set_up(stand))
        figures += _gains(stand, spec, scene.name, found)
    figures += await _repeats(stand, spec)
    return figures + await _short_turns(stand, spec)


async def policies(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """Throughput and latency of each, with a paced publisher at its own rate, since at another one
    its pacer would spread frames over another time; to half as many viewers as r05 serves in time,
    where latency has its targets."""
    wanted = SetUp(stand.crowd(), Feed(paced=True))
    if not stand.scale.quick:
        half = round((stand.in_time or PRESUMED_VIEWERS) / 2)
        wanted = SetUp(stand.crowd(half - stand.scale.probes), Feed(paced=True))
    figures: list[Figure] = []
    for policy, windows in (await _alternate(stand, POLICIES, wanted)).items():
        doubt = stand.doubt(spec.row, [why for each in windows for why in each.wrong])
        viewers = windows[0].crowd.viewers
        loads = " ".join(f"{each.load:.2f}" for each in windows)
        note = joined(f"{viewers} viewers, {loads} of a core", doubt)
        rates = [each.packets_per_cpu_s for each in windows]
        trains = [mean_train(each.metrics) for each in windows]
        figures += [
            spec.of(rates, part=policy.name, note=note),
            spec.of(trains, part=f"{policy.name}, mean train", unit="packets"),
        ]
        for by, histograms in (
            ("frame", [each.probes.frame_latency_us for each in windows]),
            ("packet", [each.probes.packet_latency_us for each in windows]),
        ):
            for label, q in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
                part = f"{policy.name}, by {by}, {label}"
                figures.append(_quantile(spec, part, histograms, q))
    return figures


ROWS = (
    Spec(
        "techniques",
        "with one technique switched off",
        RATE,
        None,
        techniques,
        counted=True,
        ceiling=True,
    ),
    Spec("policies", "when a frame leaves", RATE, None, policies, counted=True, ceiling=True),
)


# Private -----------------------------------------------------------------------------------------


async def _alternate(
    stand: Stand, variants: Sequence[Variant], wanted: SetUp
) -> dict[Variant, list[Window]]:
    """A window of each in turn, several times over."""
    found: dict[Variant, list[Window]] = {variant: [] for variant in variants}
    for _ in range(stand.scale.few):
        for variant, windows in found.items():
            await stand.set_up(replace(wanted, serving=_serving(stand, wanted, variant)))
            await stand.warm_up()
            windows.append(await stand.window())
            stand.say(f"  {variant.name}: {windows[-1].packets_per_cpu_s:,.0f} {RATE}")
    return found


def _serving(stand: Stand, wanted: SetUp, variant: Variant) -> Serving:
    """As a variant wants it where the load wants nothing else."""
    if wanted.serving == Serving():
        return stand.serving(*variant.settings)
    settings = dict(wanted.serving.settings) | dict(variant.settings)
    return replace(wanted.serving, settings=tuple(settings.items()))


def _halved(wanted: SetUp) -> SetUp:
    """Half of the viewers, or, where these are few and the trace is faster, half of its rate."""
    assert wanted.feed is not None
    if wanted.feed.rate != 1.0:
        return replace(wanted, feed=replace(wanted.feed, rate=round(wanted.feed.rate / 2, 4)))
    return replace(wanted, crowd=replace(wanted.crowd, sinks=wanted.crowd.sinks // 2))


def _gains(
    stand: Stand, spec: Spec, feed: str, found: Mapping[Variant, Sequence[Window]]
) -> list[Figure]:
    """Of each but the first, which has everything on."""
    figures: list[Figure] = []
    whole = found[ALL_ON]
    for variant, windows in found.items():
        doubt = stand.doubt(spec.row, [why for each in windows for why in each.wrong])
        note = joined(_told(windows), doubt)
        rates = [each.packets_per_cpu_s for each in windows]
        off = "" if variant is ALL_ON else " off"
        figures.append(spec.of(rates, part=f"{feed}, {variant.name}{off}", note=note))
        if variant is ALL_ON:
            continue
        gains = [
            with_it.packets_per_cpu_s / without.packets_per_cpu_s
            for with_it, without in zip(whole, windows, strict=True)
        ]
        part = f"{feed}, gain of {variant.name}"
        figures.append(spec.of(gains, part=part, unit="times"))
    return figures


def _told(windows: Sequence[Window]) -> str:
    """How long its trains were and how late its frames."""
    trains = " ".join(f"{mean_train(each.metrics):.1f}" for each in windows)
    late = [each.probes.frame_latency_us.quantile(0.99) for each in windows]
    p99 = " ".join(f"{us / 1e3:.1f}" for us in late if us is not None)
    return f"mean train {trains}, p99 of the frame latency {p99} ms"


async def _repeats(stand: Stand, spec: Spec) -> list[Figure]:
    """What repeats bring in time, and what they cost."""
    found: dict[Variant, list[tuple[Window, Figures]]] = {ALL_ON: [], REPEATS: []}
    for _ in range(stand.scale.few):
        for variant, windows in found.items():
            await stand.set_up(loss.set_up(stand, loss.LOSS, stand.serving(*variant.settings)))
            await stand.warm_up()
            windows.append(await loss.window(stand))
    wrong = [why for windows in found.values() for each, _ in windows for why in each.wrong]
    note = joined("5 % loss both ways, 40 ms round trip", stand.doubt(spec.row, wrong))
    figures = [
        spec.of(
            [100 * loss.in_time(each) for _, each in windows],
            part=f"lossy, {told}: there within two round trips",
            unit="%",
            note=note,
        )
        for told, windows in (
            (ALL_ON.name, found[ALL_ON]),
            (f"{REPEATS.name} off", found[REPEATS]),
        )
    ]
    dearer = [
        100 * (loss.cpu_us(with_it) / loss.cpu_us(without) - 1)
        for (with_it, _), (without, _) in zip(found[ALL_ON], found[REPEATS], strict=True)
    ]
    part = f"lossy, more CPU per packet by {REPEATS.name}"
    return [*figures, spec.of(dearer, part=part, unit="%", note=note)]


async def _short_turns(stand: Stand, spec: Spec) -> list[Figure]:
    """What joins cost those who are in, where both share a core."""
    found: dict[Variant, list[joining.Storm]] = {ALL_ON: [], SHORT_TURNS: []}
    for _ in range(stand.scale.few):
        for variant, storms in found.items():
            await stand.set_up(joining.set_up(stand, stand.serving(*variant.settings)))
            await stand.warm_up()
            storms.append(await joining.storm(stand))
    wrong = [why for storms in found.values() for each in storms for why in each.wrong]
    note = stand.doubt(spec.row, wrong)
    figures: list[Figure] = []
    for variant, storms in found.items():
        told = f"joins, {variant.name}{'' if variant is ALL_ON else ' off'}"
        late = [each.p99_us / 1e3 for each in storms if each.p99_us is not None]
        part = f"{told}: p99 of the packet latency meanwhile"
        if late:
            figures.append(spec.of(late, part=part, unit="ms", note=note))
        else:
            figures.append(spec.could_not("no probe received an intact stamp", part))
        rates = [each.joins_per_s for each in storms]
        figures.append(spec.of(rates, part=told, unit="joins/s", note=note))
    return figures


def _quantile(spec: Spec, part: str, histograms: Sequence[Histogram], q: float) -> Figure:
    """A value a turn, in milliseconds."""
    known = [us / 1e3 for each in histograms if (us := each.quantile(q)) is not None]
    if not known:
        return spec.could_not("no probe received an intact stamp of this machine's clock", part)
    return spec.of(known, part=part, unit="ms")
