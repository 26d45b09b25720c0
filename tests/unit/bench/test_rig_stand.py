"""The ceiling sender in the server's place."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyforward.config import Config
from pyforward.config.models import Engine
from pyforward.errors import HostError, RunError
from pyforward_bench.rig import ceiling, stand
from pyforward_bench.rig.audience import FIRST_PORT, Audience, Crowd
from pyforward_bench.rig.ceiling import CM, TRAINS, VARIANTS, Due, Load, Played, Sent
from pyforward_bench.rig.counter import Count, Counter, Ports
from pyforward_bench.rig.measured import Window
from pyforward_bench.rig.network import Network
from pyforward_bench.rig.publisher import Feed, Publisher
from pyforward_bench.rig.scale import QUICK
from pyforward_bench.rig.server import Server, Serving
from pyforward_bench.rig.stand import SetUp, Stand
from tests.unit.bench import rounds
from tests.unit.bench.test_host import WELL

SCALE = replace(QUICK, tail_s=5.0)
VIEWERS = 600
THERE = Ports(FIRST_PORT, FIRST_PORT + 200)


class Ground:
    """Counts, publishes and watches; everything in it happens in the order of ``log``."""

    def __init__(self, backlog: Sequence[int] = (), arrive: int = 1_000) -> None:
        self.log: list[Any] = []
        self.there = Crowd(200, 8)
        self.ports = THERE
        self.counted = 0
        self._backlog = list(backlog)
        self._arrive = arrive

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        self.log.append("paused")
        yield
        self.log.append("resumed")

    async def cover(self, ports: Ports) -> None:
        self.log.append(ports)

    async def read(self) -> Count:
        if self._backlog:
            self.counted += self._backlog.pop(0)
        return Count(self.counted, 0)

    async def play(self, *where: object, seconds: float, core: int) -> Played:
        schedule = cast("Sequence[Due]", where[3])
        self.log.append((len(schedule), where[4], seconds, core, len(self._backlog)))
        self.counted += self._arrive
        return Played(1_000, 3, {"p99": 9_000.0}, 50.0, 1e6)


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand, "_ARRIVE_S", 0.0)
    monkeypatch.setattr(stand, "_RESUME_S", 0.0)


WHOLE_FRAMES = Config(engine=Engine(frame_window_ms=15.0))
"""Where a shard is busy."""


def stand_on(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(ceiling, "play", ground.play)
    monkeypatch.setattr(Stand, "audience", cast("Audience", ground))
    monkeypatch.setattr(Stand, "publisher", cast("Publisher", ground))
    return Stand(
        WHOLE_FRAMES,
        cast("Network", None),
        Path(),
        SCALE,
        counter=cast("Counter", ground),
        program=Path("ceiling"),
    )


async def test_it_plays_to_ports_that_nobody_has_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground()
    played = await stand_on(ground, monkeypatch).play(Feed(paced=True), VIEWERS, 0.5)
    trains, ports, seconds, core, _ = ground.log[2]
    assert ground.log == ["paused", Ports(FIRST_PORT, ports.stop), ground.log[2], THERE, "resumed"]
    assert ports == range(FIRST_PORT, FIRST_PORT + VIEWERS)
    assert trains > 30 * seconds
    assert (seconds, core) == (SCALE.tail_s, 0)
    assert played == Played(1_000, 3, {"p99": 9_000.0}, 50.0, 1e6)


async def test_it_gathers_as_the_server_does_at_that_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts where the server is idle, in whole frames where it is busy."""
    trains = []
    for load in (0.49, 0.5):
        ground = Ground()
        await stand_on(ground, monkeypatch).play(Feed(paced=True), VIEWERS, load)
        trains.append(ground.log[2][0])
    idle, busy = trains
    assert idle > 1.5 * busy


class Arriving:
    """An audience that joins whenever it is asked to; so many receive nothing."""

    def __init__(self, log: list[Any], without_packets: int) -> None:
        self.there = Crowd()
        self._log, self._without = log, without_packets

    async def become(self, crowd: Crowd) -> None:
        self._log.append(crowd)
        self.there = crowd

    async def cover(self) -> int:
        self._log.append("covered")
        return self._without


def arriving(monkeypatch: pytest.MonkeyPatch, without_packets: int = 0) -> tuple[Stand, list[Any]]:
    """Feeds, joins and the counter in their order."""
    log: list[Any] = []
    ground = stand_on(Ground(), monkeypatch)

    async def feed(_: Stand, wanted: Feed | None) -> None:
        log.append(None if wanted is None else wanted.rate)

    monkeypatch.setattr(Stand, "_feed", feed)
    monkeypatch.setattr(Stand, "audience", cast("Audience", Arriving(log, without_packets)))
    return ground, log


async def test_everybody_gets_a_keyframe_before_the_counter_takes_what_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ground, log = arriving(monkeypatch)
    crowd = Crowd(1_000, 20)
    await ground._join(SetUp(crowd, Feed()))
    assert log == [0.1, crowd, None, 0.1, "covered"]
    log.clear()
    # A harness that is busy with what comes to ten thousand has no time for handshakes.
    await ground._join(SetUp(Crowd(10_000, 20), Feed()))
    assert 10_000 * log[0] * Feed().packets_per_s == pytest.approx(50_000, rel=0.01)


async def test_viewers_who_got_nothing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, _ = arriving(monkeypatch, without_packets=7)
    with pytest.raises(RunError, match="7 of 1000 viewers have received nothing"):
        await ground._join(SetUp(Crowd(1_000, 20), Feed()))


async def test_other_forwarders_are_joined_at_their_own_rate_and_keep_their_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ground, log = arriving(monkeypatch, without_packets=7)
    crowd, peer = Crowd(192, 8), cast("Any", object())
    await ground._join(SetUp(crowd, Feed(), Serving(peer=peer)))
    assert log == [1.0, crowd, "covered"]


async def test_ports_of_sinks_stay_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground()
    await stand_on(ground, monkeypatch).play(Feed(paced=True), 10, 0.5)
    assert ground.log[1] == ground.log[3] == THERE


async def test_what_the_counter_did_not_see_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    played = await stand_on(Ground(arrive=990), monkeypatch).play(Feed(), VIEWERS, 0.5)
    assert played.lost == 10


async def test_it_waits_until_nothing_of_the_feed_comes_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ground = Ground(backlog=[500, 400, 300])
    played = await stand_on(ground, monkeypatch).play(Feed(), VIEWERS, 0.5)
    assert ground.log[2][-1] == 0
    assert played.lost == 3


async def test_without_a_ceiling_sender_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    without = stand_on(Ground(), monkeypatch)
    without.program = "no cargo"
    with pytest.raises(HostError, match="no cargo"):
        await without.play(Feed(), VIEWERS, 0.5)


async def test_each_window_has_the_ceiling_round_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine becomes faster with each thing that is measured."""
    ground = stand_on(Ground(), monkeypatch)
    speeds = iter(range(100, 300, 10))
    asked: list[bool] = []

    async def warm_up(_: Stand) -> None: ...

    async def one_window(*_: object) -> Window:
        return rounds.window(next(speeds))

    async def one_round(*_: object, asks_gain: bool) -> Sent:
        asked.append(asks_gain)
        return rounds.sent(next(speeds))

    for name, fake in (("warm_up", warm_up), ("window", one_window), ("ceiling_round", one_round)):
        monkeypatch.setattr(Stand, name, fake)
    found = await ground.rounds(Load(()), count=3)
    assert found.rates == pytest.approx([100, 120, 140])
    assert found.ceilings == [110, 130, 150]
    assert found.shares == pytest.approx([100 / 110, 120 / 130, 140 / 150])
    assert (await ground.rounds(count=2)).ceilings == []
    assert asked == [True, False, False], "what trains gain is asked once"
    await ground.rounds(Load((), CM), count=2)
    assert asked[3:] == [False, False], "and never of the other suite"


async def test_each_window_has_a_play_of_its_feed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = stand_on(Ground(), monkeypatch)
    feed = Feed(paced=True)
    monkeypatch.setattr(Stand, "publisher", SimpleNamespace(feed=feed))
    windows = [replace(rounds.window(1_000), crowd=Crowd(viewers)) for viewers in (10, 20, 30)]
    order: list[object] = []

    async def warm_up(_: Stand) -> None: ...

    async def one_window(*_: object) -> Window:
        order.append("window")
        return windows[len(order) // 2]

    async def one_play(_: Stand, *asked: object) -> Played:
        order.append(asked)
        return Played(1_000, 0, {}, float(len(order)), 1e6)

    for name, fake in (("warm_up", warm_up), ("window", one_window), ("play", one_play)):
        monkeypatch.setattr(Stand, name, fake)
    found = await ground.rounds(count=2, plays=True)
    load = windows[0].load
    assert order == ["window", (feed, 10, load), "window", (feed, 20, load)]
    assert [played.behind_us for played in found.played] == [2.0, 4.0]
    assert found.beside == []
    assert (await ground.rounds(count=1)).played == []


def disturbed(monkeypatch: pytest.MonkeyPatch, *wrong: tuple[str, ...]) -> list[float]:
    """Windows have these wrong with them, one after the other; how long each was is told."""
    lengths: list[float] = []
    remaining: Iterator[tuple[str, ...]] = iter(wrong)

    async def one_window(_: Stand, seconds: float) -> Window:
        lengths.append(seconds)
        return rounds.window(100.0 * len(lengths), wrong=next(remaining))

    monkeypatch.setattr(Stand, "_window", one_window)
    return lengths


async def test_a_disturbed_window_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = disturbed(monkeypatch, ("The counter was late.",), ("The harness was.",), ())
    found = await stand_on(Ground(), monkeypatch).window()
    assert lengths == [SCALE.seconds] * 3
    assert found.wrong == ()
    assert found.packets_per_cpu_s == pytest.approx(300)


async def test_what_is_always_disturbed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = disturbed(monkeypatch, *[("It was late.",)] * stand.TRIES)
    found = await stand_on(Ground(), monkeypatch).window(9.0)
    assert lengths == [9.0] * stand.TRIES
    assert found.wrong == ("It was late.",)


async def test_a_window_may_have_one_try_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = disturbed(monkeypatch, ("It was late.",))
    assert (await stand_on(Ground(), monkeypatch).window(tries=1)).wrong == ("It was late.",)
    assert len(lengths) == 1


@dataclass
class OnCores:
    """A server."""

    serving: Serving
    pid: int = 7


def sending(ground: Ground, monkeypatch: pytest.MonkeyPatch, *busy_s: float) -> Stand:
    """A stand whose ceiling sender's core is so busy in each of its runs, of 3 s of CPU."""
    remaining = iter(busy_s)

    async def run(*where: object, cores: Sequence[int], **_: object) -> Sent:
        ground.log.append((where[4], cores))
        return replace(rounds.sent(100.0), busy_s=next(remaining))

    there = stand_on(ground, monkeypatch)
    monkeypatch.setattr(Stand, "server", cast("Server", OnCores(Serving(cores=(0, 1)))))
    monkeypatch.setattr(ceiling, "run", run)
    monkeypatch.setattr(stand, "tree_time_s", lambda _: 0.0)
    return there


async def test_a_ceiling_round_is_to_as_many_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground()
    await sending(ground, monkeypatch, 3.0).ceiling_round(Load(()))
    to = range(FIRST_PORT, FIRST_PORT + ground.there.sinks)
    assert ground.log == ["paused", (to, (0, 1)), "resumed"]


@pytest.mark.parametrize("busy_s", [(9.0, 3.0), (9.0, 9.0, 9.0)])
async def test_a_ceiling_round_on_a_core_that_others_used_is_run_again(
    monkeypatch: pytest.MonkeyPatch, busy_s: tuple[float, ...]
) -> None:
    ground = Ground()
    sent = await sending(ground, monkeypatch, *busy_s).ceiling_round(Load(()))
    assert sent.busy_s == busy_s[-1]
    assert len(ground.log) == 2 + len(busy_s)


@pytest.mark.parametrize(
    ("gains", "doubts"),
    [((3.0, 1.5, 2.3), 0), ((3.0, 1.5, 2.1), 1), ((3.0, None, None), 0), ((None,), 0), ((), 0)],
)
async def test_the_gain_of_trains_is_judged_once_over_all_rows(
    monkeypatch: pytest.MonkeyPatch, gains: tuple[float | None, ...], doubts: int
) -> None:
    there = sending(Ground(), monkeypatch)
    for gain in gains:

        async def run(
            *_: object, gain: float | None = gain, variants: Sequence[str], **__: object
        ) -> Sent:
            assert variants == (VARIANTS if gain else (TRAINS,))
            asked = rounds.sent(100.0, gain or 0.0)
            return asked if gain else replace(asked, rates={TRAINS: 100.0})

        monkeypatch.setattr(ceiling, "run", run)
        await there.ceiling_round(Load(()), asks_gain=gain is not None)
    assert there.doubts == []
    told = there.judge_gain()
    assert len(told) == any(gains)
    assert len(there.doubts) == doubts


async def test_each_verdict_keeps_what_the_harness_did(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, slow = stand_on(Ground(), monkeypatch), replace(WELL, lag_p99_ms=70.0)
    used = [[WELL, WELL], [slow, slow]]
    audience = SimpleNamespace(usages=lambda: used[len(ground.usages) // 2])
    monkeypatch.setattr(Stand, "audience", audience)
    assert ground.verdict() == []
    (why,) = ground.verdict()
    assert "event loop was 70 ms late" in why
    assert ground.usages == [WELL, WELL, slow, slow]
    monkeypatch.setattr(Stand, "server", SimpleNamespace(burden=lambda *, on: None))
    async with ground.burdened():
        ground.usages.append(slow)
    assert len(ground.usages) == 4, "and not what it did beside what disturbed it by intent"
