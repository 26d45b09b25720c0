"""What the rig does to who publishes, without one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import cast

import pytest

from pyforward.client.playing import MOST_LATE_S
from pyforward.errors import RunError
from pyforward_bench.rig import publisher
from pyforward_bench.rig.child import Child
from pyforward_bench.rig.publisher import Feed, Publisher


class FakeChild:
    code: int | None = None
    last_words = "it was too much"

    def __init__(self) -> None:
        self.told: list[tuple[signal.Signals, float]] = []

    def tell(self, what: signal.Signals) -> None:
        self.told.append((what, asyncio.get_running_loop().time()))


def of(child: FakeChild) -> Publisher:
    return Publisher(cast("Child", child), Feed(), Path("nowhere.json"))


async def test_a_pause_is_long_enough_to_be_no_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    assert publisher._HALT_S > MOST_LATE_S
    monkeypatch.setattr(publisher, "_HALT_S", 0.05)
    child = FakeChild()
    async with of(child).paused():
        pass
    (stop, stopped_s), (go_on, resumed_s) = child.told
    assert (stop, go_on) == (signal.SIGSTOP, signal.SIGCONT)
    assert resumed_s - stopped_s >= 0.05


async def test_it_goes_on_also_when_the_row_fails() -> None:
    child = FakeChild()
    with pytest.raises(RuntimeError):
        async with of(child).paused():
            raise RuntimeError
    assert [what for what, _ in child.told] == [signal.SIGSTOP, signal.SIGCONT]


async def test_one_that_has_ended_is_not_paused() -> None:
    child = FakeChild()
    child.code = 1
    with pytest.raises(RunError, match="it was too much"):
        async with of(child).paused():
            pass
    assert child.told == []
