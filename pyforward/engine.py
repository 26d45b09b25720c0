"""The one door to ``pyforward._native``: commands in, events and figures out.

Nothing else imports the native module. The engine's threads never wait for Python and Python never
waits for them, except in :meth:`Engine.close`, which joins them off the loop. Decisions are made in
``pyforward.control``; this file translates.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast, get_args

from pyforward import commands
from pyforward.commands import Command, Event
from pyforward.config import MAX_SHARDS, Config, media_addresses
from pyforward.errors import HostError
from pyforward.ids import SessionId, StreamId

EVENTS_PER_TURN = 128
"""After so many events in a row the loop's other work gets its turn."""


# What the engine counts --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Histogram:
    """Fixed buckets, not cumulative; ``above`` counts what is over the last bound."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    above: int
    sum: float


@dataclass(frozen=True, slots=True)
class ShardStats:
    """The figures of one shard since its start. Times are in seconds: ``turns``, how long each turn
    of its loop was busy; ``fan_out``, how long packets that came together took to go round all
    viewers; ``stages``, how long viewers took to join. ``viewer_*`` are by each report of each
    viewer.

    The names in ``counters`` and ``discards`` are those of ``native/core/src/stats.rs`` and
    ``discard.rs``.
    """

    counters: Mapping[str, int]
    discards: Mapping[str, int]
    train_packets: Histogram
    forward_latency: Histogram
    turns: Histogram
    fan_out: Histogram
    viewer_loss: Histogram
    viewer_jitter: Histogram
    viewer_round_trip: Histogram
    stages: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot of every shard, in their order."""

    shards: tuple[ShardStats, ...]


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One stream on one shard; ``native/core/src/figures.rs`` says what each word is. The fields
    from ``publisher`` on are those of the shard where it lives, elsewhere zero."""

    stream: StreamId
    viewers: int
    waiting: int
    packets_out: int
    bytes_out: int
    nacks_in: int
    packets_resent: int
    send_drops: int
    reports: int
    reported_loss: int
    round_trips: int
    round_trips_us: int
    cache_bytes: int
    publisher: int
    packets_in: int
    bytes_in: int
    packets_lost: int
    nacks_out: int
    packets_repaired: int
    keyframes: int
    keyframe_interval_us: int
    keyframe_age_us: int
    packet_age_us: int
    publisher_round_trip_us: int
    publisher_jitter_us: int


NEVER_US = 2**64 - 1
"""The age of what has not come yet."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A viewer who took ``seconds`` over a stage of joining; ``bucket`` is the stage's histogram's,
    counted from 0, one beyond the last bound for what is above."""

    stage: str
    bucket: int
    session: SessionId
    seconds: float


# What the native module looks like from here -----------------------------------------------------


class NativeEngine(Protocol):
    """``_native.Engine``; ``_native.pyi`` is the law."""

    def submit(self, commands: Sequence[object], /) -> None: ...

    def event_fd(self) -> int: ...

    def take_events(self, limit: int, /) -> list[tuple[str, tuple[Any, ...]]]: ...

    def stats(self) -> list[list[int]]: ...

    def streams(self) -> list[list[int]]: ...

    def exemplars(self) -> list[tuple[int, int, int, int]]: ...

    def queues(self) -> list[tuple[str, int, int | None]]: ...

    def addresses(self) -> list[tuple[str, int]]: ...

    def notes(self) -> list[str]: ...

    def stop(self) -> None: ...


class NativeModule(Protocol):
    """``pyforward._native`` as far as it is used here."""

    @property
    def COMMANDS(self) -> Mapping[str, Sequence[str]]: ...  # noqa: N802 - the module's names

    @property
    def EVENTS(self) -> Mapping[str, Sequence[str]]: ...  # noqa: N802

    @property
    def COUNTERS(self) -> Sequence[str]: ...  # noqa: N802

    @property
    def DISCARDS(self) -> Sequence[str]: ...  # noqa: N802

    @property
    def TRAIN_BOUNDS(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def LATENCY_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def TURN_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def FAN_OUT_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def LOSS_BOUNDS_10000THS(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def JITTER_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def ROUND_TRIP_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def STAGE_BOUNDS_US(self) -> Sequence[int]: ...  # noqa: N802

    @property
    def STAGES(self) -> Sequence[str]: ...  # noqa: N802

    @property
    def Engine(self) -> Callable[..., NativeEngine]: ...  # noqa: N802


# The engine --------------------------------------------------------------------------------------


class Engine:
    """The running engine. Its methods belong to the thread of the loop that it was started on."""

    def __init__(
        self, module: NativeModule, native: NativeEngine, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._module = module
        self._native = native
        self._loop = loop
        self._readable = asyncio.Event()
        self._closed = False
        self.is_behind = False
        """Whether more events wait than :meth:`events` could take at the last time."""
        self._event_fd = native.event_fd()
        self.addresses: tuple[tuple[str, int], ...] = tuple(native.addresses())
        """Where media is bound, with the port that was taken; a wildcard stays one."""
        self.notes: tuple[str, ...] = tuple(native.notes())
        """What is worse on this machine than it could be, a sentence each."""
        loop.add_reader(self._event_fd, self._wake)

    @classmethod
    def start(
        cls,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        *,
        module: NativeModule | None = None,
    ) -> Engine:
        """Binds the media port and starts the shards. Raises HostError where the machine refuses.

        ``module`` stands in for ``pyforward._native`` in tests.
        """
        module = module if module is not None else _load()
        _check_vocabulary(module)
        try:
            native = module.Engine(**_arguments(config))
        except OSError as error:
            raise HostError(_refusal(error)) from None
        return cls(module, native, loop)

    def submit(self, *asked: Command) -> None:
        """Hands commands to the shards, in order; never blocks."""
        self._native.submit(asked)

    async def events(self) -> AsyncIterator[Event]:
        """Every event in order, until the engine is closed. There is one reader.

        Events wait in the engine, which bounds them, and not here: a reader that is slow for long
        makes the engine drop and count, and memory does not grow.
        """
        while not self._closed:
            self._readable.clear()
            taken = self._native.take_events(EVENTS_PER_TURN)
            self.is_behind = len(taken) == EVENTS_PER_TURN
            for name, values in taken:
                yield _decoded(name, values)
            if taken:
                # More may be there, and a handler need not have waited for anything.
                await asyncio.sleep(0)
            else:
                await self._readable.wait()

    def stats(self) -> EngineStats:
        """What every shard has counted so far."""
        return EngineStats(
            tuple(_shard_stats(self._module, words) for words in self._native.stats())
        )

    def busy_s(self) -> list[float]:
        """How long each shard was not waiting, in seconds since its start."""
        busy = self._module.COUNTERS.index("busy_micros")
        return [words[busy] / 1e6 for words in self._native.stats()]

    def streams(self) -> list[StreamStats]:
        """Each stream on each shard, as told within the last half second."""
        return [StreamStats(StreamId(number), *rest) for number, *rest in self._native.streams()]

    def exemplars(self) -> list[Exemplar]:
        """A viewer for each bucket of each stage of joining on each shard that has one."""
        stages = self._module.STAGES
        return [
            Exemplar(stages[stage], bucket, SessionId(session), micros / 1e6)
            for stage, bucket, session, micros in self._native.exemplars()
        ]

    def queues(self) -> list[tuple[str, int, int | None]]:
        """What waits between here and the shards: name, how much, and how much may."""
        return self._native.queues()

    async def close(self) -> None:
        """Ends the threads and :meth:`events`. To say farewell to peers, submit Stop before."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._event_fd)
        self._readable.set()
        await self._loop.run_in_executor(None, self._native.stop)

    def _wake(self) -> None:
        # Reading first makes an event that comes while we take them signal again.
        with contextlib.suppress(BlockingIOError):
            os.read(self._event_fd, 8)
        self._readable.set()


# Private -----------------------------------------------------------------------------------------


def _load() -> NativeModule:
    try:
        return cast("NativeModule", importlib.import_module("pyforward._native"))
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "pyforward._native"
        why = "is missing" if missing else f"cannot be loaded ({error})"
        raise HostError(
            f"The native module pyforward._native {why}: build it with `make build` "
            "or `pip install .`."
        ) from None


def _check_vocabulary(module: NativeModule) -> None:
    """A native module of another build would misread every command."""
    ours = (_vocabulary(commands.Command), _vocabulary(commands.Event))
    theirs = tuple(
        {name: tuple(names) for name, names in book.items()}
        for book in (module.COMMANDS, module.EVENTS)
    )
    for mine, its in zip(ours, theirs, strict=True):
        different = sorted(name for name in mine if mine[name] != its.get(name))
        if different:
            raise HostError(
                f"The native module is of another version ({', '.join(different)} differ): "
                "build it again with `make build`."
            )


def _vocabulary(union: object) -> dict[str, tuple[str, ...]]:
    return {cls.__name__: tuple(f.name for f in fields(cls)) for cls in get_args(union)}


_EVENTS: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(commands.Event)}


def _decoded(name: str, values: tuple[Any, ...]) -> Event:
    if name == "Report":
        ticket, shard, rows = values
        values = (ticket, shard, tuple(_row(row) for row in rows))
    return cast("Event", _EVENTS[name](*values))


def _row(values: tuple[Any, ...]) -> commands.SessionReport:
    tracks = tuple(commands.TrackReport(*track) for track in values[-1])
    return commands.SessionReport(*(*values[:-1], tracks))


def _arguments(config: Config) -> dict[str, object]:
    return {
        "addresses": _bindable(media_addresses(config)),
        "port": config.media.port,
        "shards": config.engine.shards or _shard_for_each_core(config.engine.cores),
        "gso": config.engine.gso,
        "train_packets": config.engine.train_packets,
        "padding": config.engine.padding,
        "sendmmsg": config.engine.sendmmsg,
        "recvmmsg": config.engine.recvmmsg,
        "riders": config.engine.riders,
        "slice_us": config.engine.slice_us,
        "short_turns": config.engine.short_turns,
        "frame_window_us": round(config.engine.frame_window_ms * 1000),
        "idle_window_us": round(config.engine.idle_window_ms * 1000),
        "shed_after_us": round(config.engine.shed_after_ms * 1000),
        "keyframe_interval_ms": config.streams.keyframe_interval_ms,
        "silence_ms": round(config.ice.silence_s * 1000),
        "publisher_bitrate_bps": config.streams.publisher_bitrate_kbps * 1000,
        "max_events": config.engine.max_events,
        "source_address": config.ice.source_address or None,
        "pace_bytes_per_second": config.engine.pace_mbps * 125_000,
        "repeats": config.engine.repeats,
        "cores": list(config.engine.cores),
    }


def _shard_for_each_core(cores: Sequence[int]) -> int:
    """A second shard on a core only takes turns with the first."""
    return min(MAX_SHARDS, len(set(cores) or os.sched_getaffinity(0)))


def _bindable(wanted: tuple[str, ...]) -> list[str]:
    """The addresses to bind, none meaning all; ``::1`` comes unasked, and only where IPv6 is."""
    if wanted == ("127.0.0.1", "::1") and not _has_ipv6_loopback():
        return ["127.0.0.1"]
    return list(wanted)


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _refusal(error: OSError) -> str:
    """The engine's sentence, which names address, port and owner, and what to do about it."""
    what = (error.strerror or str(error)).rstrip(".")
    advice = {
        errno.EADDRINUSE: " Stop the other process or set media.port.",
        errno.EACCES: " Set media.port to 1024 or above.",
        errno.EPERM: " Set media.port to 1024 or above.",
        errno.EADDRNOTAVAIL: " Set media.bind to addresses of this machine.",
    }
    return f"The media engine does not start: {what}.{advice.get(error.errno or 0, '')}"


def _shard_stats(module: NativeModule, words: Sequence[int]) -> ShardStats:
    rest = iter(words)

    def histogram(bounds: Sequence[int], scale: float) -> Histogram:
        buckets = tuple(next(rest) for _ in bounds)
        above, total = next(rest), next(rest)
        if scale == 1:
            return Histogram(tuple(bounds), buckets, above, total)
        return Histogram(tuple(b / scale for b in bounds), buckets, above, total / scale)

    return ShardStats(
        counters={name: next(rest) for name in module.COUNTERS},
        discards={name: next(rest) for name in module.DISCARDS},
        train_packets=histogram(module.TRAIN_BOUNDS, 1),
        forward_latency=histogram(module.LATENCY_BOUNDS_US, 1e6),
        turns=histogram(module.TURN_BOUNDS_US, 1e6),
        fan_out=histogram(module.FAN_OUT_BOUNDS_US, 1e6),
        viewer_loss=histogram(module.LOSS_BOUNDS_10000THS, 1e4),
        viewer_jitter=histogram(module.JITTER_BOUNDS_US, 1e6),
        viewer_round_trip=histogram(module.ROUND_TRIP_BOUNDS_US, 1e6),
        stages={stage: histogram(module.STAGE_BOUNDS_US, 1e6) for stage in module.STAGES},
    )
