"""CPU clocks: when they agree, and what they read."""

from __future__ import annotations

import os
import threading
import time

import pytest

from pyforward_bench.rig import clocks
from pyforward_bench.rig.clocks import Core, Moment, Usage, usage_between


def test_what_lies_between_two_moments() -> None:
    before = Moment(wall_s=100.0, process_s=5.0, shards_s=4.0, core=Core(1_000.0, 3.0))
    after = Moment(wall_s=110.0, process_s=9.0, shards_s=7.5, core=Core(1_005.7, 3.2))
    usage = usage_between(before, after)
    assert usage.wall_s == 10.0
    assert usage.process_s == 4.0
    assert usage.shards_s == 3.5
    assert usage.core_s == pytest.approx(4.1), "neither idle nor the hypervisor's"
    assert usage.stolen_s == pytest.approx(0.2)
    assert usage.disagreement is None


def test_of_several_cores_only_the_processes_are_known() -> None:
    before = Moment(100.0, 5.0, 4.0, None)
    usage = usage_between(before, Moment(110.0, 20.0, 15.0, None))
    assert usage.core_s is None
    assert usage.apart is None
    assert usage.disagreement is None


@pytest.mark.parametrize(
    ("process_s", "core_s", "agree"),
    [
        (4.0, 4.0, True),
        (4.0, 4.2, True),  # within 5 %
        (4.0, 4.3, False),
        (4.3, 4.0, False),  # it ran elsewhere
        (0.10, 0.12, True),  # two ticks
        (0.10, 0.15, False),
        (0.0, 0.0, True),
    ],
)
def test_the_clocks_agree_within_a_twentieth(process_s: float, core_s: float, agree: bool) -> None:
    usage = Usage(10.0, process_s, process_s, core_s)
    assert (usage.disagreement is None) is agree


def test_a_disagreement_has_its_figures() -> None:
    told = Usage(10.0, 4.0, 4.0, 6.0).disagreement
    assert told is not None
    assert "4.00 s" in told
    assert "6.00 s" in told
    assert "33% apart" in told
    assert "hypervisor" not in told


def test_a_disagreement_tells_what_the_hypervisor_took() -> None:
    told = Usage(10.0, 6.0, 6.0, 4.0, stolen_s=2.0).disagreement
    assert told is not None
    assert told.endswith("the hypervisor took 2.00 s of the core")


def test_a_process_has_its_time() -> None:
    until = time.process_time() + 0.02
    before = clocks.process_time_s(os.getpid())
    while time.process_time() < until:
        pass
    assert clocks.process_time_s(os.getpid()) - before >= 0.015


def test_a_process_that_is_gone_is_told() -> None:
    with pytest.raises(ProcessLookupError):
        clocks.process_time_s(2**22 + 1)  # above every pid
    with pytest.raises(ProcessLookupError):
        clocks.thread_time_s(2**22 + 1, 2**22 + 1)


def test_threads_are_known_by_name_and_have_their_time() -> None:
    thread = threading.get_native_id()
    assert thread in clocks.threads(os.getpid())
    assert clocks.thread_time_s(os.getpid(), thread) > 0
    assert clocks.shard_threads(os.getpid()) == []


def test_the_tree_begins_with_the_process() -> None:
    assert clocks.tree(os.getpid())[0] == os.getpid()


def test_memory_has_its_parts() -> None:
    found = clocks.memory_bytes(os.getpid())
    assert found["total"] == found["anonymous"] + found["file"] + found["shared"]
    assert found["total"] > 1 << 20


def test_a_core_that_is_none_is_told() -> None:
    core = min(os.sched_getaffinity(0))
    assert clocks.core_of(core).idle_s >= 0
    with pytest.raises(ProcessLookupError):
        clocks.core_of(100_000)
