"""What the machine gives, and when the harness was what was measured."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pyforward.engine import EngineStats, Histogram, ShardStats
from pyforward.errors import HostError
from pyforward_bench import host
from pyforward_bench.host import Usage, Watch

GIB = 1 << 30


# Descriptors --------------------------------------------------------------------------------------


class Limits:
    """Limits of open files that ``root`` may raise beyond the hard one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, root: bool) -> None:
        self.now = (soft, hard)
        self.root = root
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if limits[1] > self.now[1] and not self.root:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


@pytest.mark.parametrize(
    ("soft", "hard", "root", "left"),
    [
        (1_024, 1_048_576, False, 1_048_576),
        (1_024, 2_000, True, 2_512),
        (4_096, 4_096, False, 4_096),
    ],
)
def test_descriptors_are_raised_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, root: bool, left: int
) -> None:
    limits = Limits(monkeypatch, soft, hard, root)
    host.need_descriptors(2_000)
    assert limits.now[0] == left


def test_too_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    Limits(monkeypatch, 1_024, 2_048, root=False)
    with pytest.raises(HostError, match=r"2000 viewers need 2512 open files, and 2048 are allowed"):
        host.need_descriptors(2_000)


# Memory -------------------------------------------------------------------------------------------


def machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMORY = {"proc/meminfo": "MemTotal:  8388608 kB\nMemAvailable:    2097152 kB\n"}
GROUP = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/b/memory.current": "7\n",
    "sys/fs/cgroup/a/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/a/memory.current": f"{GIB // 2}\n",
}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        (MEMORY, 2 * GIB),
        (MEMORY | GROUP, GIB // 2),
        (GROUP, GIB // 2),
        (MEMORY | GROUP | {"sys/fs/cgroup/a/memory.current": f"{2 * GIB}"}, 0),
        (
            MEMORY | GROUP | {"sys/fs/cgroup/a/memory.stat": f"file 9\ninactive_file {GIB // 4}\n"},
            3 * GIB // 4,
        ),
        (MEMORY | {"proc/self/cgroup": "3:memory:/x\n"}, 2 * GIB),
        ({}, None),
    ],
)
def test_what_memory_is_left(
    tmp_path: Path, files: Mapping[str, str], available: int | None
) -> None:
    assert host.available_bytes(machine(tmp_path, files)) == available


def test_memory_for_so_many(tmp_path: Path) -> None:
    root = machine(tmp_path, MEMORY)
    host.need_memory(1_000, root)
    with pytest.raises(HostError, match=r"100000 viewers need about .* 2048 MiB are available"):
        host.need_memory(100_000, root)
    host.need_memory(100_000, tmp_path / "nowhere")


# Drops --------------------------------------------------------------------------------------------

SNMP = {
    "proc/net/snmp": (
        "Icmp: InMsgs InErrors\nIcmp: 1 2\n"
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n"
        "Udp: 8354 2 70000 46138 65396 0\n"
        "UdpLite: InDatagrams RcvbufErrors\nUdpLite: 5 6\n"
    ),
    "proc/net/snmp6": "Udp6InErrors    \t9\nUdp6RcvbufErrors                \t4\n",
}


def test_drops_of_the_kernel(tmp_path: Path) -> None:
    assert host.kernel_drops(machine(tmp_path, SNMP)) == 65_400
    assert host.kernel_drops(tmp_path / "nowhere") == 0


def socket_table(drops_by_inode: Mapping[int, int]) -> str:
    head = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
        "timeout inode ref pointer drops             "
    )
    row = (
        "  10: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0"
        "        0 {} 2 000000001e0c4e24 {}         "
    )
    rows = [row.format(inode, drops) for inode, drops in drops_by_inode.items()]
    return "\n".join([head, *rows, ""])


def test_drops_of_our_own_sockets(tmp_path: Path) -> None:
    table = socket_table({500: 3, 501: 9, 502: 4})
    root = machine(tmp_path, {"proc/net/udp": table, "proc/self/fd/.kept": ""})
    for number, target in enumerate(("socket:[500]", "socket:[502]", "pipe:[501]", "/dev/null")):
        (root / "proc/self/fd" / str(number)).symlink_to(target)
    assert host.socket_drops(root) == 7


def test_this_machine_has_such_files() -> None:
    assert host.kernel_drops() >= 0
    assert host.socket_drops() >= 0


# The verdict --------------------------------------------------------------------------------------

WELL = Usage(
    passed_s=10.0,
    cpu_s=5.0,
    cores=0.5,
    cores_given=2,
    lag_p50_ms=0.1,
    lag_p99_ms=2.0,
    lag_most_ms=80.0,
    receive_drops=0,
    kernel_drops=0,
    events_dropped=0,
    busy=0.5,
    turn_p99_ms=1.0,
    memory_bytes=1 << 20,
)


@pytest.mark.parametrize(
    ("usage", "says"),
    [
        (replace(WELL, receive_drops=3, kernel_drops=3), "3 datagrams came and were not read"),
        (replace(WELL, events_dropped=2), "2 records or events were dropped"),
        (replace(WELL, busy=0.93), "busy 93% of the time"),
        (replace(WELL, turn_p99_ms=50.0), "turns of a shard took more than 50 ms"),
        (replace(WELL, lag_p99_ms=70.0), "event loop was 70 ms late"),
        (replace(WELL, cores=1.97), "1.97 of its 2 cores"),
    ],
)
def test_why_a_run_is_invalid(usage: Usage, says: str) -> None:
    (sentence,) = host.verdict(usage)
    assert sentence.startswith("The harness was the bottleneck: ")
    assert says in sentence


@pytest.mark.parametrize(
    "usage",
    [
        WELL,
        # Somebody else's: a note elsewhere.
        replace(WELL, kernel_drops=100),
        replace(WELL, turn_p99_ms=None),
    ],
)
def test_a_run_that_is_valid(usage: Usage) -> None:
    assert host.verdict(usage) == []


# The watch ----------------------------------------------------------------------------------------


class Engine:
    """Says that it has counted what it is told to say."""

    def __init__(self) -> None:
        self.counters = [{"datagrams_dropped": 0, "events_dropped": 0, "busy_micros": 0}] * 2
        self.turns = [0, 0]
        self.discards: list[dict[str, int]] = [{}, {}]

    def stats(self) -> EngineStats:
        none = Histogram((1.0,), (0,), 0, 0)
        turns = Histogram((0.001, 0.1), (self.turns[0], self.turns[1]), 0, 0)
        return EngineStats(
            tuple(
                ShardStats(counters, discards, none, none, turns, none, none, none, none, {})
                for counters, discards in zip(self.counters, self.discards, strict=True)
            )
        )


async def test_it_counts_from_the_mark(tmp_path: Path) -> None:
    engine = Engine()
    engine.turns = [1_000, 1_000]
    engine.discards = [{"srtp_auth": 4, "rtp_late": 2}, {"srtp_auth": 0, "rtp_late": 0}]
    engine.counters = [{"datagrams_dropped": 5, "events_dropped": 6, "busy_micros": 10**9}] * 2
    machine(tmp_path, SNMP)
    async with Watch(engine, tmp_path) as watch:
        await asyncio.sleep(0.1)
        usage = watch.usage()
        assert (usage.receive_drops, usage.events_dropped, usage.busy) == (0, 0, 0.0)
        watch.mark()
        assert usage.discards == {}
        engine.turns = [1_990, 1_010]
        engine.discards = [{"srtp_auth": 5, "rtp_late": 2}, {"srtp_auth": 2, "rtp_late": 0}]
        engine.counters = [
            {"datagrams_dropped": 8, "events_dropped": 6, "busy_micros": 10**9},
            {"datagrams_dropped": 5, "events_dropped": 7, "busy_micros": 10**9 + 50_000},
        ]
        await asyncio.sleep(0.1)
        usage = watch.usage()
    assert (usage.receive_drops, usage.events_dropped) == (3, 1)
    assert usage.discards == {"srtp_auth": 3}
    assert 0 < usage.busy <= 0.5
    assert usage.turn_p99_ms == 1.0
    assert usage.cpu_s >= 0
    assert usage.lag_most_ms >= usage.lag_p99_ms >= usage.lag_p50_ms >= 0


async def test_shares_are_of_the_time_in_which_there_was_something_to_do() -> None:
    engine = Engine()
    async with Watch(engine) as watch:
        since_s = time.monotonic()
        watch.mark()
        engine.counters = [{"datagrams_dropped": 0, "events_dropped": 0, "busy_micros": 10**6}] * 2
        usage = watch.usage(until_s=since_s + 4.0)
    assert usage.passed_s == pytest.approx(4.0, abs=0.1)
    assert usage.busy == pytest.approx(0.25, abs=0.01)
    assert usage.cores == pytest.approx(usage.cpu_s / 4.0, rel=0.05)


async def test_drops_of_before_the_mark_are_not_told_with_those_of_others(tmp_path: Path) -> None:
    def udp(total: int) -> dict[str, str]:
        return {"proc/net/snmp": f"Udp: RcvbufErrors\nUdp: {total}\n"}

    machine(tmp_path, {"proc/self/fd/.kept": "", "proc/net/udp": socket_table({500: 40})} | udp(40))
    (tmp_path / "proc/self/fd/7").symlink_to("socket:[500]")
    async with Watch(Engine(), tmp_path) as watch:
        machine(tmp_path, udp(45))
        assert (watch.usage().receive_drops, watch.usage().kernel_drops) == (0, 5)
        machine(tmp_path, {"proc/net/udp": socket_table({500: 42})} | udp(47))
        assert (watch.usage().receive_drops, watch.usage().kernel_drops) == (2, 7)


async def test_a_loop_that_is_held_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Watch(Engine()) as watch:
        held_s = 0.0
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + held_s)
        await asyncio.sleep(0.02)
        held_s = 1.0  # as if a callback had taken a second
        await asyncio.sleep(0.02)
        usage = watch.usage()
    assert 900 < usage.lag_most_ms < 2_000
