"""What a row measures with: a server, who publishes to it, who watches, a counter, the clocks, and
the ceiling sender in turns with the server.

A row says what it needs with :meth:`Stand.set_up`; what is there already and fits is kept, so that
rows in a sensible order share a server and its viewers. Then it measures: :meth:`Stand.window` one
interval, :meth:`Stand.rounds` several, interleaved with the ceiling. For example::

    await stand.set_up(SetUp(Crowd(sinks=1000, probes=20), Feed()))
    measured = await stand.rounds(Load(trains_of(Feed().trace)))
    values = [window.packets_per_cpu_s for window in measured.windows]

Whatever makes a figure doubtful is told in ``wrong``; a row hands that on with
:meth:`Stand.doubt`, and the run is invalid.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyforward.commands import Trial
from pyforward.config import Config
from pyforward.errors import HostError, RunError
from pyforward_bench import host
from pyforward_bench.rig import ceiling, publisher, server
from pyforward_bench.rig.audience import FIRST_PORT, SILENCE_S, Audience, Crowd
from pyforward_bench.rig.ceiling import GCM, TRAINS, VARIANTS, Load, Played, Sent, trains_of
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.clocks import tree_time_s, usage_between
from pyforward_bench.rig.counter import NO_PORTS, Count, Counter, Ports
from pyforward_bench.rig.measured import Measured, Reading, Window, unlike
from pyforward_bench.rig.network import Network
from pyforward_bench.rig.peers.table import Peer
from pyforward_bench.rig.publisher import Feed, Publisher
from pyforward_bench.rig.scale import Scale
from pyforward_bench.rig.schedule import schedule
from pyforward_bench.rig.server import Server, Serving

TRIES = 3
"""What was disturbed, a window or a round of the ceiling sender, is measured so often at most: of a
hundred in a run some are, and none of these need cost the run."""

PRESUMED_CEILING = 500_000.0
"""Packets per CPU-second of a ceiling sender on a core of 2.4 GHz, where none was measured."""

_LEAST_SINKS, _MOST_SINKS = 100, 4_000
_LEAST_RATE, _MOST_RATE = 0.01, 20.0
"""A viewer of 20 times 2.5 Mbit/s is still under the pace at which the server spreads keyframes."""

_QUIET_RATE = 0.1
_QUIET_PACKETS_PER_S = 50_000
"""To everybody while some still join: the harness receives them all, and handshakes wait for it."""

_READING_SHARE = 0.02
_ARRIVE_S = 0.3
"""By then everything that was on its way has arrived."""

_RESUME_S = 0.5
"""By then a feed that was paused has got going again."""

_DRAIN_LIMIT_S = 10.0

_BUSY = 0.5
"""From this load on the frame window of a busy shard counts (docs/decisions/0022)."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What must be there: who watches, what is published (None: nobody does), and the server."""

    crowd: Crowd
    feed: Feed | None = field(default_factory=Feed)
    serving: Serving = field(default_factory=Serving)


class Stand:
    """One of a run. ``program`` is the ceiling sender, or the sentence why there is none."""

    def __init__(
        self,
        config: Config,
        network: Network,
        folder: Path,
        scale: Scale,
        *,
        counter: Counter | None,
        program: Path | str,
        server_core: int = 0,
        harness_core: int = 1,
        peers: Sequence[Peer] = (),
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.network = network
        self.scale = scale
        self.counter = counter
        self.program = program
        self.server_core = server_core
        self.harness_core = harness_core
        self.peers = peers
        """Somebody's own, beside those that are always asked for."""
        self.say = say
        """Tells people how far it is."""
        self.in_time: float | None = None
        """Viewers per core, once r05 has found out."""
        self.capacity: float | None = None
        """The same before the server falls behind."""
        self.found: dict[str, float] = {}
        """Values of rows that others are held against."""
        self.kept: dict[str, Measured] = {}
        """What they measured, for rows that only look at it in another way."""
        self.doubts: list[str] = []
        """Why the run is invalid."""
        self.usages: list[host.Usage] = []
        """What this process did in each interval since a row began."""
        self._rounds: list[Sent] = []
        """Of the ceiling sender in all rows, those that asked what trains gain."""
        self._config = config
        self._folder = folder
        self._server: Server | None = None
        self._publisher: Publisher | None = None
        self._audience: Audience | None = None
        self._now: SetUp | None = None

    # What is there -------------------------------------------------------------------------------

    @property
    def server(self) -> Server:
        assert self._server is not None, "no server is set up"
        return self._server

    @property
    def audience(self) -> Audience:
        assert self._audience is not None, "no viewers are set up"
        return self._audience

    @property
    def publisher(self) -> Publisher:
        assert self._publisher is not None, "nobody publishes"
        return self._publisher

    def crowd(
        self,
        sinks: int | None = None,
        probes: int | None = None,
        *,
        trial: Trial | None = None,
        skew: bool = False,
    ) -> Crowd:
        """As many as the scale has, or these."""
        return Crowd(
            self.scale.sinks if sinks is None else sinks,
            self.scale.probes if probes is None else probes,
            trial,
            skew,
        )

    @property
    def cores(self) -> tuple[int, ...]:
        """The server's and the harness's."""
        return (self.server_core, self.harness_core)

    @property
    def why_no_ceiling(self) -> str | None:
        """Why rounds have no ceiling here; None where they have."""
        if isinstance(self.program, str):
            return f"no ceiling: {self.program}"
        return None if self.counter is not None else "no ceiling: nothing counts what it sends"

    def serving(self, *settings: tuple[str, str], **more: object) -> Serving:
        """A server with these settings beside the run's own, on the server's core unless ``cores``
        says otherwise."""
        options = {"cores": (self.server_core,), **more}
        own = (("ice.silence_s", f"{SILENCE_S:g}"), *_engine_settings(self._config))
        return Serving(settings=own + settings, **options)  # type: ignore[arg-type]

    async def set_up(self, wanted: SetUp) -> None:
        """Brings about what a row needs and keeps what fits; returns when everybody has joined and
        the feed is playing. Raises RunError, HostError or ConfigError."""
        if wanted.serving == Serving():
            wanted = replace(wanted, serving=self.serving())
        try:
            await self._set_up(wanted)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Nothing is left of it; another :meth:`set_up` begins anew."""
        audience, self._audience = self._audience, None
        publishing, self._publisher = self._publisher, None
        serving, self._server = self._server, None
        try:
            # A server that stops says farewell to everybody, which is quicker than a thousand
            # requests to leave.
            if publishing is not None:
                self._judge(publishing.feed, await publishing.stop())
            if serving is not None:
                await serving.stop()
        finally:
            self._now = None
            if audience is not None:
                await audience.close()

    # Measuring -----------------------------------------------------------------------------------

    async def warm_up(self) -> None:
        """Everything that is set up runs in."""
        await asyncio.sleep(self.scale.warm_up_s)

    async def window(self, seconds: float | None = None, *, tries: int = TRIES) -> Window:
        """One interval. Where something was wrong with it, as with CPU clocks that disagree, it is
        measured again; ``wrong`` is that of the last try when no try was better. Raises RunError
        when a process has ended."""
        length_s = self.scale.seconds if seconds is None else seconds
        while True:
            found = await self._window(length_s)
            tries -= 1
            if not found.wrong or tries <= 0:
                return found

    def verdict(self) -> list[str]:
        """Why this process was the bottleneck since the audience's mark; none if it was not. What
        it did is kept, to be told at the end of the run."""
        usages = self.audience.usages()
        self.usages += usages
        return list(dict.fromkeys(why for usage in usages for why in host.verdict(usage)))

    async def rounds(
        self,
        load: Load | None = None,
        *,
        count: int | None = None,
        seconds: float | None = None,
        plays: bool = False,
    ) -> Measured:
        """Several windows after a warm-up; with a ``load``, the ceiling sender after each, while
        nobody publishes, where there is one; or, where it ``plays``, the same feed to as many."""
        measured = Measured()
        await self.warm_up()
        for number in range(self.scale.rounds if count is None else count):
            window = await self.window(seconds)
            measured.windows.append(window)
            measured.wrong += window.wrong
            if self.why_no_ceiling is not None:
                continue
            if load is not None:
                asks = number == 0 and load.suite == GCM
                measured.beside.append(await self.ceiling_round(load, asks_gain=asks))
            if plays:
                play = self.play(self.publisher.feed, window.crowd.viewers, window.load)
                measured.played.append(await play)
        measured.wrong += ceiling.disturbance(measured.beside)
        return measured

    async def census(self, seconds: float) -> list[int]:
        """What each sink got, by a dynamic set and so not for timing: the feed pauses before and
        after, so that everybody should have the same. In no order; whoever got nothing has 0."""
        assert self.counter is not None, "nothing counts"
        async with self.publisher.paused():
            await asyncio.sleep(_ARRIVE_S)
            await self.counter.open(self.audience.ports, by_viewer=True)
        await asyncio.sleep(seconds)
        async with self.publisher.paused():
            await asyncio.sleep(_ARRIVE_S)
            found = await self.counter.read_by_viewer()
            await self.counter.open(self.audience.ports)
        counts = [count.packets for count in found.values()]
        return counts + [0] * (self.audience.there.sinks - len(counts))

    @asynccontextmanager
    async def neighbour(self) -> AsyncIterator[None]:
        """A process beside the server's on the harness's core that never rests."""
        words = [sys.executable, "-c", server.BUSY]
        child = Child.begin("neighbour", words, self._folder, cores=[self.harness_core])
        try:
            with self._disturbed():
                yield
        finally:
            await child.stop()

    @asynccontextmanager
    async def burdened(self) -> AsyncIterator[None]:
        """The thread beside the server works (:class:`.Serving`)."""
        self.server.burden(on=True)
        try:
            with self._disturbed():
                yield
        finally:
            self.server.burden(on=False)

    async def half_loaded(
        self, feed: Feed, serving: Serving | None = None, *, suite: str = GCM
    ) -> SetUp:
        """What loads the server by about half of what a ceiling sender reaches on one core: with
        more viewers, or in a quick run with a faster trace.

        With much less, what is done once a second or at each wake-up, and caches that have gone
        cold meanwhile, would count as the price of a packet; the ceiling sender never rests. With
        much more a noisy minute would have it fall behind.
        """
        packets_per_s = await self._ceiling_of(suite, feed, serving) / 2
        if self.scale.quick:
            rate = packets_per_s / (self.scale.sinks * feed.packets_per_s)
            feed = replace(feed, rate=round(min(max(rate, _LEAST_RATE), _MOST_RATE), 4))
            crowd = self.crowd()
        else:
            viewers = round(packets_per_s / feed.packets_per_s, -2)
            crowd = self.crowd(int(min(max(viewers, _LEAST_SINKS), _MOST_SINKS)))
        return SetUp(crowd, feed, Serving() if serving is None else serving)

    async def ceiling_round(self, load: Load, *, asks_gain: bool = False) -> Sent:
        """What the ceiling sender reaches, to as many as there are sinks, at ports of theirs
        (:meth:`play` says why it need not be these); a sender on each core that the server has.
        Once in each row it ``asks_gain``, what trains gain. Where something else used its core it
        is asked again. Raises RunError, or HostError where there is none."""
        if isinstance(self.program, str):
            raise HostError(self.program)
        ports = range(FIRST_PORT, FIRST_PORT + self.audience.there.sinks)
        async with self._silent():
            for _ in range(TRIES):
                begun_s, used_s = time.monotonic(), tree_time_s(self.server.pid)
                sent = await ceiling.run(
                    self.program,
                    self.network,
                    self._folder,
                    load,
                    ports,
                    seconds=self.scale.ceiling_s,
                    cores=self.server.serving.cores,
                    variants=VARIANTS if asks_gain else (TRAINS,),
                )
                used = (tree_time_s(self.server.pid) - used_s) / (time.monotonic() - begun_s)
                # The sender's seconds are those of all cores together.
                cores = len(self.server.serving.cores)
                sent = replace(sent, server_s=used * sent.busy_s / cores)
                if sent.usage.disagreement is None:
                    break
        if asks_gain:
            self._rounds.append(sent)
        return sent

    async def play(self, feed: Feed, viewers: int, load: float) -> Played:
        """The ceiling sender in the server's place for as long as a window whose latency counts:
        the same feed to so many, at its pace, gathered as the server does at this load, a share of
        a core. What the counter did not see counts as lost.

        They are ports of the sinks' address, whether somebody has joined at them or not: the device
        drops what comes before any socket, so that the sender cannot tell. Raises RunError, or
        HostError where there is none.
        """
        if isinstance(self.program, str):
            raise HostError(self.program)
        engine = self._config.engine
        window_ms = engine.frame_window_ms
        if load < _BUSY:
            window_ms = min(engine.idle_window_ms, window_ms)
        trains = schedule(feed, self.scale.tail_s, window_ms / 1e3)
        ports = range(FIRST_PORT, FIRST_PORT + viewers)
        async with self._silent(), self._covered(ports.stop) as counter:
            before = await counter.read()
            played = await ceiling.play(
                self.program,
                self.network,
                self._folder,
                trains,
                ports,
                seconds=self.scale.tail_s,
                core=self.server_core,
            )
            came = await counter.read() - before
        return replace(played, lost=max(played.lost, played.sent - came.packets))

    def doubt(self, row: str, why: Sequence[str]) -> str | None:
        """The run is invalid for these reasons, of which those that differ only in their figures
        are told once; what is to be said of the row's own figure, if there are any."""
        self.doubts += [f"{row}: {each}" for each in unlike(why)]
        return "in doubt: see why the run is invalid" if why else None

    def judge_gain(self) -> list[str]:
        """At the end of a run: whether trains gained in it what they should, and what is to be
        told of it. That is a property of the machine and its hour, and no row's."""
        self.doubts += ceiling.missing_gain(self._rounds)
        return ceiling.told_gain(self._rounds)

    # Private -------------------------------------------------------------------------------------

    @contextmanager
    def _disturbed(self) -> Iterator[None]:
        """What is busy beside the harness by intent says nothing of what the harness needs."""
        before = len(self.usages)
        yield
        del self.usages[before:]

    @asynccontextmanager
    async def _silent(self) -> AsyncIterator[None]:
        """Nothing is published, and nothing of it is on its way any more: a server that is seconds
        late has to come to an end first."""
        loop = asyncio.get_running_loop()
        async with self.publisher.paused():
            until_s = loop.time() + _DRAIN_LIMIT_S
            before, now = None, await self._reached()
            while now != before and loop.time() < until_s:
                await asyncio.sleep(_ARRIVE_S)
                before, now = now, await self._reached()
            yield
        await asyncio.sleep(_RESUME_S)

    @asynccontextmanager
    async def _covered(self, end: int) -> AsyncIterator[Counter]:
        """The counter also takes what goes to ports that nobody has yet, up to ``end``."""
        assert self.counter is not None, "nothing counts"
        there = self.audience.ports
        await self.counter.cover(Ports(FIRST_PORT, max(there.end, end)))
        try:
            yield self.counter
        finally:
            await self.counter.cover(there)

    async def _ceiling_of(self, suite: str, feed: Feed, serving: Serving | None) -> float:
        """Packets per CPU-second of a ceiling sender with this suite, measured once in a run."""
        if isinstance(self.program, str) or self.counter is None:
            return PRESUMED_CEILING
        known = f"ceiling {suite}"
        if known not in self.found:
            await self.set_up(SetUp(self.crowd(), feed, Serving() if serving is None else serving))
            sent = await self.ceiling_round(Load(trains_of(feed.trace), suite))
            self.found[known] = sent.rates[TRAINS]
        return self.found[known]

    async def _set_up(self, wanted: SetUp) -> None:
        if self._server is not None and self.server.serving != wanted.serving:
            await self.close()
        if self._audience is not None and not self.audience.can_become(wanted.crowd):
            audience, self._audience = self._audience, None
            await audience.close()
        if self._server is None:
            begin = wanted.serving.peer or server.begin
            self._server = await begin(self.network, self._folder, wanted.serving)
        if self._audience is None:
            if self.counter is not None:
                await self.counter.open(NO_PORTS)
            self._audience = await Audience.open(
                self._config, self.network, self.counter, self.server.whep, wanted.crowd
            )
        if wanted.crowd.viewers > self.audience.there.viewers:
            await self._join(wanted)
        else:
            await self.audience.become(wanted.crowd)
        await self._feed(wanted.feed)
        self._now = wanted

    async def _join(self, wanted: SetUp) -> None:
        """Who forwards at full rate, or receives at it, joins slowly; and there has to be something
        to join, with the same tracks. A trace gives no keyframe when it is asked, but begins with
        one: begun anew, it gives everybody something to receive, and so to report."""
        feed = wanted.feed or Feed()
        is_peer = wanted.serving.peer is not None
        quiet = feed if is_peer else _quiet(feed, wanted.crowd.viewers)
        await self._feed(quiet)
        await self.audience.become(wanted.crowd)
        if not is_peer:
            await self._feed(None)
            await self._feed(quiet)
        if (waiting := await self.audience.cover()) and not is_peer:
            there = self.audience.there.sinks
            raise RunError(f"{waiting} of {there} viewers have received nothing.")

    async def _feed(self, feed: Feed | None) -> None:
        if self._publisher is not None:
            if self._publisher.feed == feed:
                self._publisher.check()
                return
            ended, self._publisher = self._publisher, None
            self._judge(ended.feed, await ended.stop())
        if feed is not None:
            self._publisher = await publisher.begin(
                self.server, self._folder, feed, (self.harness_core,)
            )

    def _judge(self, feed: Feed, why: Sequence[str]) -> None:
        """Whether a feed that has ended was the trace, where that was of consequence."""
        beside = self._now is None or self._now.serving.busy_thread
        if feed.rate > _QUIET_RATE and not beside:
            self.doubts += [f"{feed.told}: {each}" for each in unlike(why)]

    async def _window(self, length_s: float) -> Window:
        before = await self.server.metrics()
        await asyncio.sleep(0.1)  # the server has answered, and that is paid for
        self.audience.mark()
        first = await self._reading()
        await asyncio.sleep(length_s)
        last = await self._reading()
        usage = usage_between(first.after, last.after)
        probes = self.audience.probes.tally.figures()
        wrong = self.verdict()
        if (disagreement := usage.disagreement) is not None:
            wrong.append(f"The CPU clocks disagree: {disagreement}.")
        # What is counted and what the clocks say belong together, but for the time between.
        if abs(last.took_s - first.took_s) > _READING_SHARE * usage.wall_s:
            wrong.append(f"The counter was read {max(last.took_s, first.took_s):.2f} s late.")
        reached = last.sinks - first.sinks
        metrics = server.change(before, await self.server.metrics())
        if self._publisher is not None:
            self._publisher.check()
        return Window(self.audience.there, usage, reached, probes, metrics, tuple(wrong))

    async def _reading(self) -> Reading:
        try:
            before = self.server.clock.now()
            sinks = await self._reached()
            return Reading(before, sinks, self.server.clock.now())
        except ProcessLookupError:
            raise RunError(f"The server ended: {self.server.child.last_words}") from None

    async def _reached(self) -> Count:
        if self.counter is not None:
            return await self.counter.read()
        return Count(*await self.audience.received())


def _quiet(feed: Feed, viewers: int) -> Feed:
    """The same tracks, slowly."""
    usual = replace(feed, rate=1.0).packets_per_s * viewers
    rate = min(_QUIET_RATE, _QUIET_PACKETS_PER_S / usual)
    return replace(feed, rate=round(max(rate, _LEAST_RATE), 4))


def _engine_settings(config: Config) -> tuple[tuple[str, str], ...]:
    """The run's own settings of the engine, as far as they are not the usual ones: each technique
    has a switch, so that a run can show what it is worth."""
    usual = type(config.engine)()
    return tuple(
        (f"engine.{key}", str(value).lower())
        for key, value in config.engine.model_dump().items()
        if value != getattr(usual, key) and key not in ("shards", "cores")
    )
