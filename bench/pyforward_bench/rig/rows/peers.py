"""Other forwarders beside this one: the same viewers, trace, suite and core, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyforward.errors import PyforwardError, RunError
from pyforward_bench.rig.ceiling import CM, GCM, Load, trains_of
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.peers.table import TABLE, Peer
from pyforward_bench.rig.publisher import Feed
from pyforward_bench.rig.rows.capacity import ServerStep
from pyforward_bench.rig.rows.spec import Figure, Spec, is_least, joined
from pyforward_bench.rig.rows.throughput import PROFILE_CM, RATE
from pyforward_bench.rig.server import Serving
from pyforward_bench.rig.stand import PRESUMED_CEILING, SetUp, Stand

VIEWERS = 200
LEAST_TIMES = 5.0

PROFILE_GCM = "SRTP_AEAD_AES_128_GCM"

_PROBES = 8
_QUICK_VIEWERS = 50
_MOST_RATE = 20.0

_STEPS = (1.0, 0.5, 0.25, 0.125)
"""Of the trace's own rate at 200 viewers: a peer is measured at the first at which it loses
nothing."""

_SHARES = (
    "of the shares of the ceiling beside each, round by round, so that the machine's speed is out"
)

_BEHIND_MS = 100.0
"""Three frames late on the median: packets come faster than they leave."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which two are held against each other: what the trace is played at, and the suite."""

    rate: float
    suite: str

    @property
    def load(self) -> Load:
        """Of the ceiling sender beside both."""
        return _load(CM if self.suite == PROFILE_CM else GCM)

    @property
    def told(self) -> str:
        """In words; the suite where it is not the usual one."""
        suite = "" if self.suite == PROFILE_GCM else f", {self.suite}"
        return f"at {self.rate:g} times the rate{suite}"


@dataclass(slots=True)
class Pair:
    """A peer and this server, round by round on the same terms; ``why`` there are no more."""

    peer: Peer
    terms: Terms
    theirs: Measured = field(default_factory=Measured)
    ours: Measured = field(default_factory=Measured)
    why: str | None = None

    @property
    def times(self) -> list[float]:
        """How many times as many packets a CPU-second is worth here, round by round."""
        pairs = zip(self.ours.merits, self.theirs.merits, strict=True)
        return [ours / theirs for ours, theirs in pairs]


async def peers(stand: Stand, spec: Spec) -> Sequence[Figure]:
    """What is compared is the price of a packet where both deliver the same packets: a core that
    rests between frames pays for its rest, which a slow peer at its limit does not. What this
    server reaches at half of its own load is told beside it."""
    pairs, figures = await _pairs(stand, spec)
    own: dict[Terms, Measured] = {}
    half = Measured()
    for _ in range(stand.scale.few if pairs else 0):
        for terms in dict.fromkeys(pair.terms for pair in pairs):
            ours = await _round(stand, _ours(stand, terms), terms.rate, terms.load)
            own.setdefault(terms, Measured()).add(ours)
            for pair in pairs:
                if pair.terms == terms and pair.why is None:
                    await _turn(stand, pair, ours)
        half.add(await _round(stand, stand.serving(), _half_rate(stand), _load(GCM)))
    await stand.close()
    for terms, measured in own.items():
        figures.append(_own(stand, spec, measured, f"this server {terms.told}"))
    if half.windows:
        figures.append(_own(stand, spec, half, "this server at half of its own load"))
    for pair in pairs:
        figures += _figures(stand, spec, pair, half)
    return figures


def behind(window: Window) -> str | None:
    """Why this was more than it could forward."""
    if not window.probes.packets:
        return "nothing reached the probes"
    p50_us = window.probes.frame_latency_us.quantile(0.5)
    step = ServerStep(window.crowd.viewers, window, Feed().largest_frame)
    if (lost := step.lost) is not None:
        return lost
    if p50_us is None or p50_us > 1e3 * _BEHIND_MS:
        told = "unknown" if p50_us is None else f"{p50_us / 1e3:.0f} ms"
        return f"the median of the frame latency was {told}"
    return None


ROWS = (
    Spec(
        "peers",
        f"packets per CPU-second at {VIEWERS} viewers",
        RATE,
        None,
        peers,
        counted=True,
        ceiling=True,
    ),
)


# Private -----------------------------------------------------------------------------------------


async def _pairs(stand: Stand, spec: Spec) -> tuple[list[Pair], list[Figure]]:
    """Those that can be run, and what is to be said of the others."""
    pairs: list[Pair] = []
    figures: list[Figure] = []
    for peer in (*TABLE, *stand.peers):
        if (why := peer.missing()) is not None:
            figures += _could_not(spec, peer, why, lacking=True)
            continue
        try:
            pairs.append(Pair(peer, await _terms(stand, peer)))
        except PyforwardError as error:
            figures += _could_not(spec, peer, str(error))
    return pairs, figures


async def _terms(stand: Stand, peer: Peer) -> Terms:
    """The fastest that it keeps up with. Raises RunError where it keeps up with none."""
    for step in _STEPS:
        rate = round(step * VIEWERS / _crowd_size(stand), 4)
        try:
            measured = await _round(stand, _theirs(stand, peer), rate)
            why = behind(measured.windows[0])
        except RunError as error:
            why = str(error)
            await stand.close()
        stand.say(f"  {peer.name} at {rate:g} times the rate: {why or 'well'}")
        if why is None:
            return Terms(rate, " and ".join(sorted(stand.audience.suites)))
    raise RunError(f"At {rate:g} times the rate it does not keep up either: {why}")


async def _turn(stand: Stand, pair: Pair, ours: Measured) -> None:
    """One round of a peer, beside one of ours. One that fails is not asked again."""
    try:
        theirs = await _round(stand, _theirs(stand, pair.peer), pair.terms.rate, pair.terms.load)
    except RunError as error:
        pair.why = str(error)
        await stand.close()
        return
    pair.theirs.add(theirs)
    pair.ours.add(ours)


async def _round(stand: Stand, serving: Serving, rate: float, load: Load | None = None) -> Measured:
    """One of a server that has just been begun: who keeps viewers longer than their publisher, and
    who does not, are then alike."""
    await stand.close()
    size = _crowd_size(stand)
    probes = min(_PROBES, stand.scale.probes)
    await stand.set_up(SetUp(stand.crowd(size - probes, probes), Feed(rate=rate), serving))
    return await stand.rounds(load, count=1)


def _crowd_size(stand: Stand) -> int:
    """Fewer in a quick run, at so much more of the rate."""
    return _QUICK_VIEWERS if stand.scale.quick else VIEWERS


def _theirs(stand: Stand, peer: Peer) -> Serving:
    return Serving(cores=(stand.server_core,), peer=peer.begin)


def _ours(stand: Stand, terms: Terms) -> Serving:
    if terms.suite == PROFILE_GCM:
        return stand.serving()
    return stand.serving(("dtls.srtp_profiles", terms.suite))


def _half_rate(stand: Stand) -> float:
    half = stand.found.get("ceiling gcm", PRESUMED_CEILING) / 2
    return round(min(half / (_crowd_size(stand) * Feed().packets_per_s), _MOST_RATE), 4)


def _load(suite: str) -> Load:
    return Load(trains_of(Feed().trace), suite)


def _own(stand: Stand, spec: Spec, measured: Measured, part: str) -> Figure:
    doubt = stand.doubt(spec.row, measured.wrong)
    note = joined(_told(measured.windows), stand.why_no_ceiling, doubt)
    return spec.of(measured.rates, ceilings=measured.ceilings, part=part, note=note)


def _figures(stand: Stand, spec: Spec, pair: Pair, half: Measured) -> Sequence[Figure]:
    """A peer's own, and this server's as a multiple of it."""
    peer, theirs = pair.peer, pair.theirs
    if pair.why is not None or not theirs.windows:
        return _could_not(spec, peer, pair.why or "no round was measured")
    lost = [why for window in theirs.windows if (why := behind(window)) is not None]
    doubt = stand.doubt(spec.row, theirs.wrong)
    told = f"{peer.what}; {pair.terms.suite}, at {pair.terms.rate:g} times the rate"
    note = joined(told, _told(theirs.windows), lost[0] if lost else "nothing lost", doubt)
    times = statistics.median(half.rates) / statistics.median(theirs.rates)
    beside = joined(
        "at the same delivered load",
        _SHARES if theirs.beside else stand.why_no_ceiling,
        f"at half of its own load this server is {times:.1f} times",
    )
    return [
        spec.of(theirs.rates, ceilings=theirs.ceilings, part=peer.name, note=note),
        spec.of(
            pair.times,
            part=f"this server to {peer.name}",
            unit="times",
            target=f"≥ {LEAST_TIMES:g}",
            met=is_least(pair.times, LEAST_TIMES),
            note=beside,
        ),
    ]


def _could_not(spec: Spec, peer: Peer, why: str, *, lacking: bool = False) -> list[Figure]:
    parts = (peer.name, f"this server to {peer.name}")
    return [spec.could_not(why, part, lacking=lacking) for part in parts]


def _told(windows: Sequence[Window]) -> str:
    viewers = windows[0].crowd.viewers
    packets = statistics.median(window.packets / window.usage.wall_s for window in windows)
    cores = statistics.median(window.load for window in windows)
    return f"{viewers} viewers, {packets:,.0f} packets/s, {cores:.2f} of a core"
