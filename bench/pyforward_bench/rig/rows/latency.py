"""How long media takes: from the publisher's stamp to its arrival at a probe.

This contains the publisher's send call, both ways over the veth pair, and the server with its frame
window and its turn through all viewers. It ends where the probe's kernel has the packet; only where
the kernel does not tell that, the probe's own reading is in it too. Nothing is subtracted, so the
server's part, which the targets are about, is less than what is told. What of it is the time that
so many trains take, whoever sends them, says the ceiling sender: it plays the same feed to as many,
right after each window, and tells how late frames leave. Of single packets it does not know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyforward_bench.rig.ceiling import Played
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Figure, Spec, is_most, joined
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Histogram

QUANTILES = (("p50", 0.5, 1.0), ("p99", 0.99, 5.0), ("p99.9", 0.999, 10.0))
"""With their targets in milliseconds, at half of the viewers per core."""

SHARES = (0.8, 0.5, 0.1)
_TARGET_SHARE = 0.5

TIMES_AS_MANY = {0.1: 2}
"""Windows at this share: what is late at so little load are a few frames, each for its own reason,
so that one window says little of the next."""

_LEAST_FRAMES = 1_000
"""In a window of fewer its p99.9 is what its worst frame took."""

# Where r05 has no figure: a frame of nine packets for so many takes about 8 ms of a usual core.
PRESUMED_VIEWERS = 500.0
_PROBES = 20


async def r06(stand: Stand, spec: Spec) -> Sequence[Figure]:
    figures: list[Figure] = []
    for share in SHARES:
        count = stand.scale.few * TIMES_AS_MANY.get(share, 1)
        measured, note = await _at_share(stand, spec, share, count=count, plays=True)
        lost = sum(each.lost for each in measured.played)
        figures += _quantiles(
            spec,
            f"by frame at {share:.0%} of r05",
            [window.probes.frame_latency_us for window in measured.windows],
            joined(note, f"{lost} packets of the ceiling sender's were lost" if lost else None),
            played=measured.played,
            held=share == _TARGET_SHARE,
            worst=_told_by_the_worst(measured.windows),
        )
        packets = [window.probes.packet_latency_us for window in measured.windows]
        figures += _quantiles(spec, f"by packet at {share:.0%} of r05", packets, note)
    return figures


async def r07(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """The skew at half of the load, and how often the same probe was the last."""
    measured, note = await _at_share(stand, spec, _TARGET_SHARE, count=stand.scale.few, skew=True)
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
    stand: Stand, spec: Spec, share: float, *, count: int, skew: bool = False, plays: bool = False
) -> tuple[Measured, str | None]:
    """So many rounds at this share of r05, beside the ceiling sender where it ``plays``, and what
    is to be said of them."""
    capacity = stand.in_time or PRESUMED_VIEWERS
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
    measured = await stand.rounds(count=count, seconds=stand.scale.tail_s, plays=plays)
    without = stand.why_no_ceiling if plays else None
    return measured, joined(note, presumed, stand.doubt(spec.row, measured.wrong), without)


def _told_by_the_worst(windows: Sequence[Window]) -> str | None:
    """What a p99.9 by frame is where windows are short."""
    frames = min(window.probes.frames / max(1, window.probes.viewers) for window in windows)
    if frames >= _LEAST_FRAMES:
        return None
    return f"of each window's {frames:.0f} frames it is the worst one's"


def _quantiles(
    spec: Spec,
    part: str,
    histograms: Sequence[Histogram],
    note: str | None,
    *,
    played: Sequence[Played] = (),
    held: bool = False,
    worst: str | None = None,
) -> Iterator[Figure]:
    """A value a round of each quantile, in milliseconds, beside the ceiling sender's where each has
    one; ``held`` against its target. ``worst`` is to be said of p99.9."""
    for label, q, target_ms in QUANTILES:
        name = f"{part}, {label}" if part else label
        known = [us / 1e3 for each in histograms if (us := each.quantile(q)) is not None]
        beside = [us / 1e3 for each in played if (us := each.latency_us[label])]
        if not known:
            yield spec.could_not("no probe received an intact stamp of this machine's clock", name)
            continue
        yield spec.of(
            known,
            part=name,
            ceilings=beside if len(beside) == len(known) == len(histograms) else (),
            target=f"≤ {target_ms:g} ms" if held else None,
            met=is_most(known, target_ms) if held else None,
            note=joined(note, worst if label == "p99.9" else None),
        )
