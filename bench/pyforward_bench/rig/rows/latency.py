"""How long media takes: from the publisher's stamp to its arrival at a probe.

This contains the publisher's send call, both ways over the veth pair, the server with its frame
window and its turn through all viewers, and the probe's own reading. Nothing is subtracted, so the
server's part, which the targets are about, is less than what is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyforward_bench.results import Row
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.spec import Spec
from pyforward_bench.rig.stand import Measured, SetUp, Stand
from pyforward_bench.statistics import Histogram

QUANTILES = (("p50", 0.5, 1.0), ("p99", 0.99, 5.0), ("p99.9", 0.999, 10.0))
"""With their targets in milliseconds, at half of the viewers per core."""

SHARES = (0.8, 0.5, 0.1)
_TARGET_SHARE = 0.5

# Where r05 was not run: what two thirds of the usual ceiling serve.
_PRESUMED_VIEWERS = 1_200.0
_PROBES = 20


async def r06(stand: Stand, spec: Spec) -> Sequence[Row]:
    rows: list[Row] = []
    for share in SHARES:
        measured, whys = await _at_share(stand, spec, share)
        stand.kept[f"r06 {share}"] = measured.windows
        for by, histograms in (
            ("frame", [window.probes.frame_latency_us for window in measured.windows]),
            ("packet", [window.probes.packet_latency_us for window in measured.windows]),
        ):
            for label, q, target_ms in QUANTILES:
                has_target = share == _TARGET_SHARE and by == "frame"
                rows.append(
                    _quantile(
                        spec,
                        f"{spec.name} by {by} at {share:.0%} of r05, {label}",
                        histograms,
                        q,
                        target_ms if has_target else None,
                        whys,
                    )
                )
    return rows


async def r07(stand: Stand, spec: Spec) -> Sequence[Row]:
    """The skew at half of the load, and how often the same probe was the last."""
    measured, whys = await _at_share(stand, spec, _TARGET_SHARE, skew=True)
    histograms = [window.probes.skew_us for window in measured.windows]
    rows = [
        _quantile(spec, f"{spec.name}, {label}", histograms, q, None, whys)
        for label, q, _ in QUANTILES
    ]
    shares = [w.probes.last_share for w in measured.windows if w.probes.last_share is not None]
    name = "share of packets for which one and the same viewer was last"
    if shares:
        row = spec.of(
            [100.0 * share for share in shares],
            name=name,
            unit="%",
            target="no viewer always last",
            met=max(shares) < 1.0,
            why=whys,
        )
        rows.append(row)
    return rows


ROWS = (
    Spec("r06", "latency from stamp to arrival", "ms", "1 / 5 / 10 ms at 50 %", r06),
    Spec("r07", "first to last probe of one packet", "ms", None, r07),
)


# Private -----------------------------------------------------------------------------------------


async def _at_share(
    stand: Stand, spec: Spec, share: float, *, skew: bool = False
) -> tuple[Measured, str]:
    """Rounds at this share of r05, and what is to be said of them."""
    capacity = stand.capacity or _PRESUMED_VIEWERS
    viewers = max(2, round(share * capacity))
    feed = Feed(paced=True)
    if stand.scale.quick:
        crowd = stand.crowd(skew=skew)
        feed = Feed(paced=True, rate=round(viewers / crowd.viewers, 4))
        whys = [f"{crowd.viewers} viewers at {feed.rate:g} times the rate"]
    else:
        probes = min(_PROBES, viewers // 2)
        crowd = stand.crowd(viewers - probes, probes, skew=skew)
        whys = [f"{viewers} viewers"]
    if stand.capacity is None:
        whys.append(f"r05 was not run, so that {capacity:g} viewers per core were presumed")
    await stand.set_up(SetUp(crowd, feed))
    measured = await stand.rounds()
    doubt = stand.doubt(spec.row, measured.wrong)
    return measured, "; ".join([*whys, *([doubt] if doubt else [])])


def _quantile(
    spec: Spec,
    name: str,
    histograms: Sequence[Histogram],
    q: float,
    target_ms: float | None,
    why: str,
) -> Row:
    """A value a round, in milliseconds."""
    known = [value for each in histograms if (value := each.quantile(q)) is not None]
    if not known:
        row = spec.could_not("no probe received an intact stamp of this machine's clock")
        return row.model_copy(update={"name": name})
    row = spec.of([value / 1e3 for value in known], name=name, why=why)
    if target_ms is None or row.value is None:
        return row
    update = {"target": f"≤ {target_ms:g} ms", "met": row.value <= target_ms}
    return row.model_copy(update=update)
