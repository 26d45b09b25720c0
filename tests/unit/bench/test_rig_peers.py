"""The row that holds other forwarders against this one, at a stand where every figure is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, cast

import pytest

from pyforward.errors import RunError
from pyforward_bench.rig.audience import Crowd
from pyforward_bench.rig.ceiling import Load
from pyforward_bench.rig.clocks import Usage
from pyforward_bench.rig.counter import Count
from pyforward_bench.rig.measured import Measured, Window
from pyforward_bench.rig.peers.table import Peer
from pyforward_bench.rig.rows import peers
from pyforward_bench.rig.rows.peers import ROWS
from pyforward_bench.rig.rows.spec import Figure
from pyforward_bench.rig.scale import FULL, QUICK, Scale
from pyforward_bench.rig.server import Begin, Serving
from pyforward_bench.rig.stand import SetUp, Stand
from pyforward_bench.statistics import Figures, Tally
from tests.unit.bench import rounds

(SPEC,) = ROWS
GCM, CM = "SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"

# Packets per CPU-second.
OURS, OURS_CM = 400_000.0, 200_000.0
CEILINGS = {"gcm": 500_000.0, "cm": 250_000.0}


@dataclass(frozen=True)
class Known:
    """A peer: what a packet costs it, and the fastest rate at which it keeps up."""

    packets_per_cpu_s: float
    most_rate: float = 100.0
    suite: str = GCM
    fails: tuple[int, ...] = ()
    """Which of its beginnings."""


@dataclass
class StubAudience:
    suites: frozenset[str] = frozenset({GCM})


@dataclass
class StubStand:
    """Measures what it was told to find."""

    known: dict[str, Known]
    scale: Scale = QUICK
    found: dict[str, float] = field(default_factory=dict)
    server_core: int = 0
    peers: Sequence[Peer] = ()
    audience: StubAudience = field(default_factory=StubAudience)
    done: list[tuple[str, float]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    wrong: tuple[str, ...] = ()
    why_no_ceiling: str | None = None
    speed: float = 1.0
    """Of the machine, which is a tenth less with each server that is begun."""
    set_up_for: SetUp | None = None

    def as_stand(self) -> Stand:
        return cast("Stand", self)

    def say(self, text: str) -> None:
        pass

    def crowd(self, sinks: int, probes: int) -> Crowd:
        return Crowd(sinks, probes)

    def serving(self, *settings: tuple[str, str]) -> Serving:
        return Serving(settings=settings)

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        self.doubts += why
        return "in doubt" if why else None

    async def close(self) -> None:
        self.set_up_for = None

    async def set_up(self, wanted: SetUp) -> None:
        assert self.set_up_for is None, "each window has a server of its own"
        assert wanted.feed is not None
        name = named(wanted.serving)
        self.done.append((name, wanted.feed.rate))
        if name:
            known = self.known[name]
            if sum(done == name for done, _ in self.done) in known.fails:
                raise RunError("it died")
            self.audience.suites = frozenset({known.suite})
        self.set_up_for = wanted

    async def rounds(self, load: Load | None, *, count: int) -> Measured:
        assert count == 1
        assert self.set_up_for is not None
        wrong = self.wrong if named(self.set_up_for.serving) else ()
        measured = Measured([self.window()], wrong=list(wrong))
        if load is not None and self.why_no_ceiling is None:
            measured.beside.append(rounds.sent(self.speed * CEILINGS[load.suite]))
        self.speed *= 0.9
        return measured

    def window(self) -> Window:
        assert self.set_up_for is not None
        assert self.set_up_for.feed is not None
        serving, rate = self.set_up_for.serving, self.set_up_for.feed.rate
        if name := named(serving):
            known = self.known[name]
            return window(self.speed * known.packets_per_cpu_s, lost=rate > known.most_rate)
        is_cm = ("dtls.srtp_profiles", CM) in serving.settings
        return window(self.speed * (OURS_CM if is_cm else OURS))


def window(
    packets_per_cpu_s: float,
    *,
    lost: bool = False,
    late_us: int = 4_000,
    came: int = 2_000,
    counted: float = 1.0,
) -> Window:
    """Of two probes and 98 sinks."""
    figures = Tally().figures()
    figures.frame_latency_us.record(late_us, 3)
    figures.frame_latency_us.record(2_000_000, 2)  # a few may be as late as they like
    found: Figures = type(figures)(
        **{name: getattr(figures, name) for name in figures.__dataclass_fields__}
        | {"packets": came, "expected": came, "missing": int(lost)}
    )
    sinks = Count(round(counted * 49 * came), 1_000)
    usage = Usage(10.0, 50 * came / packets_per_cpu_s, 0.0, None)
    return Window(Crowd(98, 2), usage, sinks, found, {}, ())


def beginning(name: str) -> Begin:
    """What the stub knows a peer by; nothing is begun."""

    async def begin(*_: object) -> NoReturn:
        raise AssertionError

    begin.__name__ = name
    return begin


def named(serving: Serving) -> str:
    """The peer, or empty for this server."""
    return "" if serving.peer is None else serving.peer.__name__


def peer(name: str, why: str | None = None) -> Peer:
    """One, and why it is missing."""
    return Peer(name, f"what {name} is", lambda: why, beginning(name))


Fill = Callable[[dict[str, str | None]], None]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Makes a table of these peers, with why each is missing."""

    def fill(missing: dict[str, str | None]) -> None:
        monkeypatch.setattr(peers, "TABLE", tuple(peer(*each) for each in missing.items()))

    return fill


async def measured(stand: StubStand) -> dict[str, Figure]:
    """By what stands behind the row's name."""
    figures = await peers.peers(stand.as_stand(), SPEC)
    prefix = f"{SPEC.name}: "
    assert all(figure.row.name.startswith(prefix) for figure in figures)
    found = {figure.row.name.removeprefix(prefix): figure for figure in figures}
    assert len(found) == len(figures)
    return found


async def test_a_peer_and_this_server_at_the_same_load(there: Fill) -> None:
    there({"one": None})
    stand = StubStand({"one": Known(50_000.0)}, scale=FULL)
    found = await measured(stand)
    times = found["this server to one"].row
    assert times.value == pytest.approx(8)
    assert (times.unit, times.target, times.met) == ("times", "≥ 5", True)
    assert times.rounds == FULL.few
    assert GCM in (found["one"].note or "")
    assert "nothing lost" in (found["one"].note or "")
    # A trial, and then rounds in turns: ours, the peer's, and ours at half of its own load.
    half = stand.done[3][1]
    assert half > 1
    assert stand.done == [("one", 1.0), *[("", 1.0), ("one", 1.0), ("", half)] * FULL.few]


async def test_the_machine_s_speed_is_not_in_the_ratio(there: Fill) -> None:
    there({"one": None, "old": None})
    known = {"one": Known(50_000.0), "old": Known(50_000.0, suite=CM)}
    found = await measured(StubStand(known, scale=FULL))
    for name, suite, ours in (("one", "gcm", OURS), ("old", "cm", OURS_CM)):
        row = found[name].row
        assert row.low is not None
        assert row.high is not None
        assert row.high > 2 * row.low
        assert (row.share_low, row.share_high) == pytest.approx((50_000 / CEILINGS[suite],) * 2)
        times = found[f"this server to {name}"]
        assert (times.row.low, times.row.high) == pytest.approx((ours / 50_000,) * 2)
        assert "the machine's speed is out" in (times.note or "")
    assert found["this server at half of its own load"].row.share_of_ceiling == pytest.approx(0.8)


async def test_without_a_ceiling_rates_are_compared(there: Fill) -> None:
    there({"one": None})
    stand = StubStand({"one": Known(50_000.0)}, why_no_ceiling="no ceiling: no cargo")
    times = (await measured(stand))["this server to one"]
    # The peer's turn comes after ours, on a machine that is a tenth slower.
    assert times.row.value == pytest.approx(8 / 0.9)
    assert "no ceiling: no cargo" in (times.note or "")
    assert "the machine's speed is out" not in (times.note or "")


async def test_the_target_is_missed_below_five_times(there: Fill) -> None:
    there({"one": None})
    found = await measured(StubStand({"one": Known(100_000.0)}))
    assert found["this server to one"].row.value == pytest.approx(4)
    assert found["this server to one"].row.met is False


async def test_a_slow_one_is_measured_where_it_loses_nothing(there: Fill) -> None:
    there({"fast": None, "slow": None})
    stand = StubStand({"fast": Known(60_000.0), "slow": Known(20_000.0, most_rate=0.3)}, FULL)
    found = await measured(stand)
    assert [rate for name, rate in stand.done if name == "slow"] == [
        1.0,
        0.5,
        *[0.25] * (1 + FULL.few),
    ]
    assert "at 0.25 times the rate" in (found["slow"].note or "")
    # And this server at the same rate, once for all who have it.
    assert {"this server at 1 times the rate", "this server at 0.25 times the rate"} <= set(found)
    assert sum(done == ("", 0.25) for done in stand.done) == FULL.few
    assert found["this server to slow"].row.value == pytest.approx(20)


async def test_a_quick_run_has_fewer_viewers_at_a_faster_rate(there: Fill) -> None:
    there({"one": None})
    stand = StubStand({"one": Known(50_000.0, most_rate=4.0)}, QUICK)
    await measured(stand)
    assert stand.done[0] == ("one", 4.0)


async def test_both_have_the_suite_that_the_peer_can(there: Fill) -> None:
    there({"old": None})
    found = await measured(StubStand({"old": Known(50_000.0, suite=CM)}))
    assert CM in (found["old"].note or "")
    assert found["this server to old"].row.value == pytest.approx(OURS_CM / 50_000)


async def test_what_is_not_installed_has_no_value_and_says_how(there: Fill) -> None:
    there({"here": None, "gone": "gone is not installed; install it with: get gone"})
    stand = StubStand({"here": Known(50_000.0)})
    found = await measured(stand)
    for name in ("gone", "this server to gone"):
        assert found[name].row.value is None
        assert "get gone" in (found[name].row.why or "")
        assert found[name].lacking
    assert found["this server to here"].row.value is not None
    assert not any(name == "gone" for name, _ in stand.done)


async def test_ones_own_stands_beside_them(there: Fill) -> None:
    there({"one": None})
    known = {"one": Known(50_000.0), "mine": Known(40_000.0)}
    found = await measured(StubStand(known, peers=[peer("mine")]))
    assert found["this server to mine"].row.value == pytest.approx(10)
    assert found["this server to one"].row.value == pytest.approx(8)


async def test_where_there_is_no_peer_nothing_is_measured(there: Fill) -> None:
    there({"gone": "gone is not installed"})
    stand = StubStand({})
    found = await measured(stand)
    assert set(found) == {"gone", "this server to gone"}
    assert stand.done == []


async def test_one_that_never_keeps_up_has_no_value(there: Fill) -> None:
    there({"lame": None, "one": None})
    found = await measured(StubStand({"lame": Known(1.0, most_rate=0.0), "one": Known(50_000.0)}))
    assert "does not keep up" in (found["lame"].row.why or "")
    assert "the probes missed 1" in (found["lame"].row.why or "")
    assert not found["lame"].lacking
    assert found["this server to one"].row.value == pytest.approx(8)


async def test_one_that_cannot_be_joined_is_tried_slower(there: Fill) -> None:
    there({"one": None})
    stand = StubStand({"one": Known(50_000.0, fails=(1,))}, FULL)
    found = await measured(stand)
    assert "at 0.5 times the rate" in (found["one"].note or "")


async def test_one_that_dies_in_a_round_takes_nobody_along(there: Fill) -> None:
    there({"mortal": None, "one": None})
    known = {"mortal": Known(50_000.0, fails=(2,)), "one": Known(50_000.0)}
    stand = StubStand(known, FULL)
    found = await measured(stand)
    assert found["mortal"].row.why == "it died"
    assert found["this server to mortal"].row.value is None
    assert found["this server to one"].row.rounds == FULL.few
    assert sum(name == "mortal" for name, _ in stand.done) == 2


async def test_what_makes_a_window_doubtful_is_handed_on(there: Fill) -> None:
    there({"one": None})
    stand = StubStand({"one": Known(50_000.0)}, wrong=("the clocks disagree",))
    found = await measured(stand)
    assert set(stand.doubts) == {"the clocks disagree"}
    assert "in doubt" in (found["one"].note or "")
    assert "in doubt" not in (found["this server at half of its own load"].note or "")


def test_what_is_behind() -> None:
    # A window's ends fall into frames, of which the largest is a keyframe.
    assert peers.behind(window(1.0, counted=0.97)) is None
    assert peers.behind(window(1.0, counted=0.9)) == "900 packets a sink were counted, of 1000"
    assert peers.behind(window(1.0)) is None
    assert peers.behind(window(1.0, lost=True)) == "the probes missed 1 packets"
    assert peers.behind(window(1.0, came=0)) == "nothing reached the probes"
    late = peers.behind(window(1.0, late_us=150_000))
    assert late == "the median of the frame latency was 150 ms"
