"""The inner process of a run: what comes of rows, and what the last publisher's end tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pyforward.config import Config
from pyforward.errors import HostError, RunError
from pyforward_bench import results
from pyforward_bench.host import Usage
from pyforward_bench.rig import inside, network
from pyforward_bench.rig.inside import Job
from pyforward_bench.rig.network import LOOPBACK, Network
from pyforward_bench.rig.report import Report
from pyforward_bench.rig.rows import Figure, Spec
from pyforward_bench.rig.scale import QUICK
from pyforward_bench.rig.stand import Stand
from tests.unit.bench.test_host import WELL


class Ground(Network):
    """Loopback of which nothing is asked."""

    def offloads(self) -> dict[str, str]:
        return {}


class StubStand:
    """One of which something is known only at its end: that its last publisher was late, or that
    trains gained nothing."""

    counter = None
    late: Sequence[str] = ()
    gainless: Sequence[str] = ()

    def __init__(self, *_: Any, **__: Any) -> None:
        self.doubts: list[str] = []
        self.usages: list[Usage] = []

    async def close(self) -> None:
        self.doubts += self.late

    def judge_gain(self) -> list[str]:
        self.doubts += self.gainless
        return ["what it was"]


def spec(row: str, outcome: Callable[[Spec], Sequence[Figure]]) -> Spec:
    async def measure(_: Stand, it: Spec) -> Sequence[Figure]:
        return outcome(it)

    return Spec(row, row, "ms", None, measure)


def well(it: Spec) -> Sequence[Figure]:
    return [it.of([1.0])]


def dies(_: Spec) -> Sequence[Figure]:
    raise RunError("The server ended.")


def lacks(_: Spec) -> Sequence[Figure]:
    raise HostError("This machine has no room.")


def breaks(_: Spec) -> Sequence[Figure]:
    raise KeyError("r")


async def measured(
    path: Path, monkeypatch: pytest.MonkeyPatch, *specs: Spec, **known: Sequence[str]
) -> Report:
    stub = type("Known", (StubStand,), known)
    monkeypatch.setattr(inside, "Stand", cast("type[Stand]", stub))
    job = Job(Config(), specs, False, QUICK, path, False, False, False, 0, 1, (), "no ceiling", ())
    report = Report(path, ["rig"])
    await inside._measure(job, Ground(LOOPBACK), path.parent, report, asyncio.Event())
    return report


@pytest.mark.parametrize(
    ("outcome", "why", "code"),
    [
        (dies, "The server ended.", 1),
        (breaks, "the harness failed: KeyError('r')", 1),
        (lacks, "This machine has no room.", 0),
    ],
)
async def test_a_row_that_comes_to_nothing_costs_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Callable[[Spec], Sequence[Figure]],
    why: str,
    code: int,
) -> None:
    rows = (spec("r01", outcome), spec("r02", well))
    report = await measured(tmp_path / "rig.json", monkeypatch, *rows)
    first, second = report.results().rows
    assert (first.value, first.why) == (None, why)
    assert second.value == 1.0
    assert report.exit_code == code


async def test_what_the_last_publisher_was_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = ["the feed: it fell behind"]
    path = tmp_path / "rig.json"
    report = await measured(path, monkeypatch, spec("r01", well), late=late)
    assert report.results().invalid_because == late
    assert report.exit_code == 4


async def test_what_the_harness_did_is_of_the_row_in_which_it_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[int] = []

    def busy(cores: float) -> Spec:
        async def measure(stand: Stand, it: Spec) -> Sequence[Figure]:
            before.append(len(stand.usages))
            stand.usages.append(replace(WELL, cores=cores))
            if cores > 0.8:
                raise RunError("The server ended.")
            return [it.of([1.0])]

        return Spec(f"r{cores}", "busy", "ms", None, measure)

    path = tmp_path / "rig.json"
    report = await measured(path, monkeypatch, busy(0.7), busy(0.9), busy(0.6))
    assert "0.90 cores (r0.9), " in report.results().notes[-1]
    assert before == [0, 0, 0]


async def test_what_trains_gained_in_the_whole_run_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rig.json"
    report = await measured(path, monkeypatch, spec("r01", dies), gainless=["They gained nothing."])
    assert report.results().invalid_because == ["They gained nothing."]


# Nobody counts -----------------------------------------------------------------------------------


def nft_that_is_refused(folder: Path, when: str) -> None:
    """What the kernel says to who may not: to whatever it is asked, or to all but a check."""
    nft = folder / "nft"
    refuses = "echo 'Operation not permitted (you must be root)' >&2; echo more >&2; exit 1"
    nft.write_text(f'#!/bin/sh\n[ "$1" = -c ] && {when} && exit 0\n{refuses}\n')
    nft.chmod(0o755)


@pytest.mark.parametrize(
    ("a_check_is_allowed", "value", "line"),
    [
        ("false", 1.0, "pyforward-bench: sinks read their media themselves: {}\n"),
        ("true", None, "pyforward-bench: {}\n"),
    ],
)
def test_an_nft_that_is_refused_is_one_line_and_a_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    a_check_is_allowed: str,
    value: float | None,
    line: str,
) -> None:
    """What was measured without it is kept, or each row says why it is not there."""
    nft_that_is_refused(tmp_path, a_check_is_allowed)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(inside, "Stand", cast("type[Stand]", StubStand))
    isolated = contextlib.nullcontext(Ground(LOOPBACK, server_pid=1))
    monkeypatch.setattr(network, "opened", lambda **_: isolated)
    rows = [spec("r01", well), spec("r04", well)]
    path = tmp_path / "rig.json"
    job = Job(Config(), rows, False, QUICK, path, True, False, False, 0, 1, (), "no ceiling", ())
    monkeypatch.setattr(Job, "read", lambda _: job)
    assert inside.main("") == HostError.exit_code == 3
    said = "nftables does not count here: Operation not permitted (you must be root)"
    assert capfd.readouterr().err == line.format(said)
    found = results.read(path)
    assert [(row.row, row.value) for row in found.rows] == [("r01", value), ("r04", value)]
    assert all(said in " ".join([*found.notes, row.why or ""]) for row in found.rows)
