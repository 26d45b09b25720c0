"""How much is used: shares over a window, limits, the loop's lateness."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pyforward.config import Config
from pyforward.config.models import Auth, Limits
from pyforward.dtls import Certificate
from pyforward.metrics import Pulse, facts_of
from pyforward.metrics.facts import config_hash
from pyforward.metrics.pulse import (
    LAG_BOUNDS_S,
    WINDOW_SAMPLES,
    Sample,
    Usage,
    limited_shares,
    memory_limit_bytes,
)


def test_the_busiest_shard_counts_and_only_the_last_seconds() -> None:
    usage = Usage()
    assert usage.shares() == {"shard": 0.0, "control": 0.0}
    busy = [0.0, 0.0]
    for second in range(20):
        usage.add(Sample(float(second), tuple(busy), 0.1 * second))
        busy = [busy[0] + (0.9 if second >= 10 else 0.0), busy[1] + 0.2]
    assert usage.shares() == pytest.approx({"shard": 0.9, "control": 0.1})
    assert WINDOW_SAMPLES < 10, "what was before is forgotten"


def test_a_share_is_never_more_than_the_whole() -> None:
    usage = Usage()
    usage.add(Sample(0.0, (0.0,), 0.0))
    usage.add(Sample(1.0, (1.3,), 0.0))
    assert usage.shares()["shard"] == 1.0
    assert limited_shares({"viewers": (30, 20), "streams": (5, 0)}) == {"viewers": 1.0}


def test_memory_is_bounded_by_the_control_group_or_the_machine(tmp_path: Path) -> None:
    machine = memory_limit_bytes(tmp_path)
    assert machine > 0
    own = tmp_path / "sys/fs/cgroup/system.slice/pyforward.service"
    own.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/pyforward.service\n")
    (own / "memory.max").write_text("max\n")
    assert memory_limit_bytes(tmp_path) == machine
    (own.parent / "memory.max").write_text("1048576\n")
    assert memory_limit_bytes(tmp_path) == 1_048_576
    (own / "memory.max").write_text("524288\n")
    assert memory_limit_bytes(tmp_path) == 524_288


async def test_a_beat_that_comes_late_is_seen() -> None:
    loop = asyncio.get_running_loop()
    pulse = Pulse(lambda: [0.0])
    pulse.start()
    now = loop.time()
    # The clock jumps: the beat that was due 0.1 s from now comes 0.3 s after that.
    loop.time = lambda: now + 0.4  # type: ignore[method-assign]
    for _ in range(2):
        await asyncio.sleep(0)
    pulse.stop()
    lateness = pulse.lateness()
    assert lateness.buckets[LAG_BOUNDS_S.index(0.5)] == 1
    assert lateness.sum == pytest.approx(0.3, abs=0.02)
    assert set(pulse.shares()) == {"shard", "control", "descriptors", "memory"}
    assert 0 < pulse.shares()["memory"] < 1


def test_the_hash_tells_settings_apart_and_no_secrets() -> None:
    plain = config_hash(Config())
    assert config_hash(Config(limits=Limits(viewers=5))) != plain
    tokens = [Auth.model_validate({"admin_token": token}) for token in ("one", "another")]
    assert len({config_hash(Config(auth=auth)) for auth in tokens}) == 1
    assert len(plain) == 12


def test_facts_of_a_server() -> None:
    certificate = Certificate.generate().certificate
    facts = facts_of(Config(limits=Limits(viewers=5)), certificate)
    assert facts.limits == {"viewers": 5, "streams": 1000}
    assert facts.certificate_ends == {"dtls": certificate.not_valid_after_utc.timestamp()}
