"""A stand-in for ``pyforward._native``: a queue, a real eventfd and the words of a test."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args

from pyforward import commands


def vocabulary(union: object) -> dict[str, list[str]]:
    return {cls.__name__: [f.name for f in fields(cls)] for cls in get_args(union)}


class FakeNativeEngine:
    """Answers Stop with Stopped as the true engine does; ``tell`` queues any other event."""

    def __init__(self, arguments: dict[str, Any], words: int = 34) -> None:
        self.arguments = arguments
        self.submitted: list[object] = []
        self.stopped = False
        self.takes: list[int] = []
        self.words = [[0] * words for _ in range(arguments["shards"])]
        self._queue: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)

    def tell(self, *told: tuple[str, tuple[Any, ...]]) -> None:
        self._queue.extend(told)
        os.eventfd_write(self._fd, 1)

    def submit(self, asked: Sequence[object], /) -> None:
        self.submitted.extend(asked)
        if any(isinstance(command, commands.Stop) for command in asked):
            self.tell(*(("Stopped", (shard,)) for shard in range(self.arguments["shards"])))

    def event_fd(self) -> int:
        return self._fd

    def take_events(self, limit: int, /) -> list[tuple[str, tuple[Any, ...]]]:
        taken = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self.takes.append(len(taken))
        return taken

    def stats(self) -> list[list[int]]:
        return self.words

    def streams(self) -> list[list[int]]:
        return [[7, *range(1, 25)]]

    def exemplars(self) -> list[tuple[int, int, int, int]]:
        return [(1, 0, 9, 500)]

    def queues(self) -> list[tuple[str, int, int | None]]:
        return [("commands", 3, None)]

    def addresses(self) -> list[tuple[str, int]]:
        port = self.arguments["port"] or 40000
        return [(address, port) for address in self.arguments["addresses"] or ["::"]]

    def notes(self) -> list[str]:
        return ["the kernel is old"]

    def stop(self) -> None:
        self.stopped = True


class FakeNativeModule:
    """The module; ``engines`` are those that were made, ``refuses`` is raised instead."""

    def __init__(self, refuses: OSError | None = None) -> None:
        self.COMMANDS = vocabulary(commands.Command)
        self.EVENTS = vocabulary(commands.Event)
        self.COUNTERS = ["packets_in", "busy_micros"]
        self.DISCARDS = ["srtp_auth", "rtp_short"]
        self.TRAIN_BOUNDS = [1, 2]
        self.LATENCY_BOUNDS_US = [50, 1000]
        self.TURN_BOUNDS_US = [100]
        self.FAN_OUT_BOUNDS_US = [100]
        self.LOSS_BOUNDS_10000THS = [0, 500]
        self.JITTER_BOUNDS_US = [1000]
        self.ROUND_TRIP_BOUNDS_US = [1000]
        self.STAGE_BOUNDS_US = [1000]
        self.STAGES = ["ice", "whole"]
        self.engines: list[FakeNativeEngine] = []
        self.refuses = refuses

    def Engine(self, **arguments: Any) -> FakeNativeEngine:  # noqa: N802 - the module's name
        if self.refuses is not None:
            raise self.refuses
        self.engines.append(FakeNativeEngine(arguments))
        return self.engines[-1]
