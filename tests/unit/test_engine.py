"""The door to the native engine: translation, draining of events, refusals, the end."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pyforward import commands, engine
from pyforward.commands import (
    Claimed,
    Closed,
    Event,
    Flowing,
    Report,
    SessionReport,
    Stop,
    Stopped,
    TrackReport,
)
from pyforward.config import Config, load
from pyforward.engine import EVENTS_PER_TURN, Engine
from pyforward.errors import HostError
from pyforward.ids import SessionId, StreamId
from tests.unit.fake_native import FakeNativeEngine, FakeNativeModule


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[tuple[Engine, FakeNativeEngine]]:
    module = FakeNativeModule()
    started = Engine.start(Config(), asyncio.get_running_loop(), module=module)
    yield started, module.engines[0]
    await started.close()


async def collect(started: Engine, into: list[Event]) -> None:
    async for event in started.events():
        into.append(event)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


TRACK: Any = ("video", "vp8", 10, 9, 2, 1, 900, 0.5, 4, 1, 10.0, None)


class TestEvents:
    async def test_come_decoded_and_in_order(self, pair: tuple[Engine, FakeNativeEngine]) -> None:
        started, native = pair
        row = (7, "live", 0, ("192.0.2.1", 9), "X", 1, 2, 3, 4, 5, 0.5, None, 6, 2000.0, [TRACK])
        native.tell(
            ("Claimed", (7, 1, ("192.0.2.1", 9))),
            ("Report", (3, 1, [row])),
            ("Closed", (7, "bye")),
        )
        seen = [event async for event in _first(started, 3)]
        assert seen[0] == Claimed(SessionId(7), 1, ("192.0.2.1", 9))
        assert isinstance(seen[1], Report)
        assert seen[1].rows == (
            SessionReport(
                *(SessionId(7), "live", 0, ("192.0.2.1", 9), "X", 1, 2, 3, 4, 5, 0.5, None, 6),
                2000.0,
                (TrackReport(*TRACK),),
            ),
        )
        assert seen[2] == Closed(SessionId(7), "bye")

    async def test_wake_a_waiting_reader(self, pair: tuple[Engine, FakeNativeEngine]) -> None:
        started, native = pair
        seen: list[Event] = []
        reader = asyncio.create_task(collect(started, seen))
        await turns(3)
        assert not seen
        for session in (1, 2):
            native.tell(("Flowing", (session,)))
            await turns(20)
            assert len(seen) == session
        assert seen == [Flowing(SessionId(1)), Flowing(SessionId(2))]
        await started.close()
        async with asyncio.timeout(5):
            await reader

    async def test_a_flood_leaves_the_loop_its_turns(
        self, pair: tuple[Engine, FakeNativeEngine]
    ) -> None:
        started, native = pair
        total = EVENTS_PER_TURN * 5
        native.tell(*(("Flowing", (session,)) for session in range(total)))
        seen: list[Event] = []
        reader = asyncio.create_task(collect(started, seen))
        lengths: list[int] = []
        while len(seen) < total:
            await asyncio.sleep(0)
            lengths.append(len(seen))
        steps = [after - before for before, after in zip([0, *lengths], lengths, strict=False)]
        assert max(steps) <= EVENTS_PER_TURN
        reader.cancel()

    async def test_an_idle_reader_takes_nothing(
        self, pair: tuple[Engine, FakeNativeEngine]
    ) -> None:
        started, native = pair
        reader = asyncio.create_task(collect(started, []))
        native.tell(("Flowing", (1,)))
        await turns(20)
        takes = len(native.takes)
        await turns(20)
        assert len(native.takes) == takes
        reader.cancel()


async def _first(started: Engine, count: int) -> AsyncIterator[Event]:
    async for event in started.events():
        yield event
        count -= 1
        if not count:
            return


class TestCommands:
    async def test_are_handed_over_in_order(self, pair: tuple[Engine, FakeNativeEngine]) -> None:
        started, native = pair
        added = commands.AddStream(StreamId(1))
        removed = commands.RemoveStream(StreamId(1))
        started.submit(added, removed)
        assert native.submitted == [added, removed]

    async def test_stop_is_answered_by_every_shard(
        self, pair: tuple[Engine, FakeNativeEngine]
    ) -> None:
        started, native = pair
        started.submit(Stop())
        count = native.arguments["shards"]
        assert [e async for e in _first(started, count)] == [Stopped(i) for i in range(count)]


class TestStart:
    async def test_settings_arrive_in_the_engine_s_units(self) -> None:
        module = FakeNativeModule()
        flags = {
            "engine.frame_window_ms": "2.5",
            "engine.idle_window_ms": "0.5",
            "engine.shed_after_ms": "150",
            "ice.silence_s": "7.5",
            "streams.publisher_bitrate_kbps": "3000",
            "engine.shards": "3",
            "media.port": "0",
            "media.bind": "127.0.0.1",
        }
        config = load(environment={}, flags=flags).config
        started = Engine.start(config, asyncio.get_running_loop(), module=module)
        arguments = module.engines[0].arguments
        assert arguments["frame_window_us"] == 2500
        assert arguments["idle_window_us"] == 500
        assert arguments["shed_after_us"] == 150_000
        assert arguments["silence_ms"] == 7500
        assert arguments["publisher_bitrate_bps"] == 3_000_000
        assert arguments["shards"] == 3
        assert started.addresses == (("127.0.0.1", 40000),)
        assert started.notes == ("the kernel is old",)
        await started.close()
        assert module.engines[0].stopped

    @pytest.mark.parametrize(
        ("flags", "shards", "cores"),
        [
            ({}, min(64, len(os.sched_getaffinity(0))), []),
            ({"engine.cores": "4, 6, 8"}, 3, [4, 6, 8]),
            ({"engine.cores": "4,4"}, 1, [4, 4]),
            ({"engine.cores": "4", "engine.shards": "2"}, 2, [4]),
        ],
    )
    async def test_one_shard_for_each_core_unless_told(
        self, flags: dict[str, str], shards: int, cores: list[int]
    ) -> None:
        module = FakeNativeModule()
        config = load(environment={}, flags=flags).config
        started = Engine.start(config, asyncio.get_running_loop(), module=module)
        arguments = module.engines[0].arguments
        assert (arguments["shards"], arguments["cores"]) == (shards, cores)
        await started.close()

    async def test_loopback_http_binds_loopback_only(self) -> None:
        module = FakeNativeModule()
        started = Engine.start(Config(), asyncio.get_running_loop(), module=module)
        assert set(module.engines[0].arguments["addresses"]) <= {"127.0.0.1", "::1"}
        await started.close()

    async def test_beyond_loopback_every_address_is_bound(self) -> None:
        flags = {"http.bind": "0.0.0.0:0", "http.allow_open": "true"}
        module = FakeNativeModule()
        config = load(environment={}, flags=flags).config
        started = Engine.start(config, asyncio.get_running_loop(), module=module)
        assert module.engines[0].arguments["addresses"] == []
        await started.close()

    @pytest.mark.parametrize(
        ("number", "says"),
        [
            (errno.EADDRINUSE, "pid 12. Stop the other process or set media.port"),
            (errno.EACCES, "Set media.port"),
            (errno.EADDRNOTAVAIL, "Set media.bind"),
            (errno.EINVAL, "does not start: pid 12.$"),
            (errno.ENOMEM, "does not start"),
        ],
    )
    async def test_refusals_say_what_to_do(self, number: int, says: str) -> None:
        module = FakeNativeModule(refuses=OSError(number, "pid 12"))
        with pytest.raises(HostError, match=says) as caught:
            Engine.start(Config(), asyncio.get_running_loop(), module=module)
        assert caught.value.exit_code == 3

    async def test_another_version_is_refused(self) -> None:
        module = FakeNativeModule()
        module.COMMANDS["AddStream"] = ["stream", "more"]
        with pytest.raises(HostError, match="AddStream"):
            Engine.start(Config(), asyncio.get_running_loop(), module=module)

    async def test_a_missing_module_is_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyforward._native", None)
        with pytest.raises(HostError, match="make build"):
            Engine.start(Config(), asyncio.get_running_loop())


class TestStats:
    async def test_streams_viewers_and_queues_have_names_too(
        self, pair: tuple[Engine, FakeNativeEngine]
    ) -> None:
        started, _ = pair
        (stream,) = started.streams()
        assert (stream.stream, stream.viewers, stream.publisher_jitter_us) == (7, 1, 24)
        assert started.exemplars() == [engine.Exemplar("whole", 0, SessionId(9), 500e-6)]
        assert started.queues() == [("commands", 3, None)]

    async def test_words_become_names(self, pair: tuple[Engine, FakeNativeEngine]) -> None:
        started, native = pair
        native.words = [
            [
                *(5, 1_500_000, 1, 2, 10, 20, 30, 40, 3, 4, 5, 6_000_000, 7, 8, 9),
                *range(1, 20),
            ]
        ]
        (shard,) = started.stats().shards
        assert shard.counters == {"packets_in": 5, "busy_micros": 1_500_000}
        assert shard.discards == {"srtp_auth": 1, "rtp_short": 2}
        assert shard.train_packets == engine.Histogram((1, 2), (10, 20), 30, 40)
        assert shard.forward_latency == engine.Histogram((50e-6, 1e-3), (3, 4), 5, 6.0)
        assert shard.turns == engine.Histogram((1e-4,), (7,), 8, 9e-6)
        assert shard.fan_out == engine.Histogram((1e-4,), (1,), 2, 3e-6)
        assert shard.viewer_loss == engine.Histogram((0.0, 0.05), (4, 5), 6, 7e-4)
        assert shard.viewer_jitter == engine.Histogram((1e-3,), (8,), 9, 10e-6)
        assert shard.viewer_round_trip == engine.Histogram((1e-3,), (11,), 12, 13e-6)
        assert list(shard.stages) == ["ice", "whole"]
        assert shard.stages["whole"] == engine.Histogram((1e-3,), (17,), 18, 19e-6)
        assert started.busy_s() == [1.5]
