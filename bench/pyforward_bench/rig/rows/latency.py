"""How long media takes: from the publisher's stamp to its arrival at a probe.

This contains the publisher's send call, both ways over the veth pair, and the server with its frame
window and its turn through all viewers. It ends where the probe's kernel has the packet; only where
the kernel does not tell that, the probe's own reading is in it too. Nothing is subtracted, so the
server's part, which the targets are about, is less than what is told. What of it is the time that
so many trains take, whoever sends them, says the ceiling sender: it plays the same feed to as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyforward_bench.rig.measured import Measured
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_most, joined
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Histogram

QUANTILES = (("p50", 0.5, 1.0), ("p99", 0.99, 5.0), ("p99.9", 0.999, 10.0))
"""With their targets in milliseconds, at half of the viewers per core."""

SHARES = (0.8, 0.5, 0.1)
_TARGET_SHARE = 0.5

# Where r05 has no figure: a frame of nine packets for so many takes about 8 ms of a usual core.
_PRESUMED_VIEWERS = 500.0
_PROBES = 20


async def r06(stand: Stand, spec: Spec) -> Sequence[Figure]:
    figures: list[Figure] = []
    for share in SHARES:
        measured, note = await _at_share(stand, spec, share)
        for by, histograms in (
            ("frame", [window.probes.frame_latency_us for window in measured.windows]),
            ("packet", [window.probes.packet_latency_us for window in measured.windows]),
        ):
            held = share == _TARGET_SHARE and by == "frame"
            part = f"by {by} at {share:.0%} of r05"
            figures += _quantiles(spec, part, histograms, note, held=held)
            if held:
                figures += await _of_the_ceiling_sender(stand, spec, part, measured)
    return figures


async def r07(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The skew at half of the load, and how often the same probe was the last."""
    measured, note = await _at_share(stand, spec, _TARGET_SHARE, skew=True)
    histograms = [window.probes.skew_us for window in measured.windows]
    figures = list(_quantiles(spec, "", histograms, note))
    shares = [w.probes.last_share for w in measured.windows if w.probes.last_share is not None]
    if shares:
        figures.append(
            spec.of(
                [100.0 * share for share in shares],
                part="packets for which one and the same probe was the last",
                unit="%",
                target="no viewer always last",
                met=max(shares) < 1.0,
                note=note,
            )
        )
    return figures


ROWS = (
    Spec("r06", "latency from stamp to arrival", "ms", "1 / 5 / 10 ms at 50 %", r06, ceiling=True),
    Spec("r07", "first to last probe of one packet", "ms", None, r07),
)


# Private -----------------------------------------------------------------------------------------


async def _at_share(
    stand: Stand, spec: Spec, share: float, *, skew: bool = False
) -> tuple[Measured, str | None]:
    """Rounds at this share of r05, and what is to be said of them."""
    capacity = stand.in_time or _PRESUMED_VIEWERS
    viewers = max(2, round(share * capacity))
    feed = Feed(paced=True)
    if stand.scale.quick:
        crowd = stand.crowd(skew=skew)
        feed = Feed(paced=True, rate=round(viewers / crowd.viewers, 4))
        note = f"{crowd.viewers} viewers at {feed.rate:g} times the rate"
    else:
        probes = min(_PROBES, viewers // 2)
        crowd = stand.crowd(viewers - probes, probes, skew=skew)
        note = f"{viewers} viewers"
    presumed = None
    if stand.in_time is None:
        presumed = f"r05 has no figure, so that {capacity:g} viewers per core were presumed"
    await stand.set_up(SetUp(crowd, feed))
    measured = await stand.rounds(count=stand.scale.few, seconds=stand.scale.tail_s)
    return measured, joined(note, presumed, stand.doubt(spec.row, measured.wrong))


async def _of_the_ceiling_sender(
    stand: Stand, spec: Spec, part: str, measured: Measured
) -> list[Figure]:
    """The same where it serves those who are there: from when a frame's last packet was there to
    when it had left."""
    if stand.why_no_ceiling is not None:
        return []
    window = measured.windows[-1]
    played = [
        await stand.play(stand.publisher.feed, window.crowd.viewers, window.load)
        for _ in measured.windows
    ]
    lost = sum(each.lost for each in played)
    note = f"{lost} packets of the ceiling sender's were lost" if lost else None
    figures = []
    for label, _, _ in QUANTILES:
        known = [us / 1e3 for each in played if (us := each.latency_us[label]) is not None]
        if known:
            name = f"{part}, the ceiling sender's {label}"
            figures.append(spec.of(known, part=name, note=note))
    return figures


def _quantiles(
    spec: Spec,
    part: str,
    histograms: Sequence[Histogram],
    note: str | None,
    *,
    held: bool = False,
) -> Iterator[Figure]:
    """A value a round of each quantile, in milliseconds; ``held`` against its target."""
    for label, q, target_ms in QUANTILES:
        name = f"{part}, {label}" if part else label
        known = [value / 1e3 for each in histograms if (value := each.quantile(q)) is not None]
        if not known:
            yield spec.could_not("no probe received an intact stamp of this machine's clock", name)
        elif held:
            target, met = f"≤ {target_ms:g} ms", is_most(known, target_ms)
            yield spec.of(known, part=name, target=target, met=met, note=note)
        else:
            yield spec.of(known, part=name, note=note)
