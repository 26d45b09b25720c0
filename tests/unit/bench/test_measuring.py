"""What a run says at its end: rows, lines, a file, an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyforward.errors import HostError
from pyforward_bench import measuring, results
from pyforward_bench.measuring import QUANTILES, Output, deliver
from pyforward_bench.results import Results, Row
from pyforward_bench.statistics import Histogram, Tally
from pyforward_bench.swarm import SwarmFigures
from tests.unit.bench.test_host import WELL


@dataclass
class Said:
    """What was printed."""

    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def __call__(self, message: str, /, *, err: bool = False) -> None:
        (self.err if err else self.out).append(message)


NOBODY = SwarmFigures(
    viewers=0,
    on_their_way=0,
    joined=0,
    there=0,
    failed={},
    sentences={},
    ended={},
    silent=0,
    half_silent={},
    srtp_profiles={},
    tracks=(),
    probes=Tally().figures(),
)
WELL_SERVED = replace(NOBODY, viewers=3, joined=3, there=3)


def values(rows: Iterable[Row]) -> dict[str, float | None]:
    return {row.name: row.value for row in rows}


def made(*rows: Row, invalid: str = "") -> Results:
    return results.begin(
        command="load",
        argv=["load", "http://h/…"],
        started=datetime.now(UTC),
        duration_s=1.0,
        commit="0123456789ab",
        rows=rows,
        invalid_because=[invalid] if invalid else [],
    )


ROWS = (
    results.row_of("load", "load.joined", "viewers", [2000.0]),
    results.row_of("load", "load.loss", "share", [0.99984]),
    results.could_not("load", "load.jitter", "ms", "no packet came"),
)


# Rows ---------------------------------------------------------------------------------------------


def test_viewers_by_what_became_of_them() -> None:
    figures = replace(
        WELL_SERVED,
        failed={"http_503": 2, "handshake": 1},
        ended={"silent": 4},
        silent=1,
        half_silent={"video": 5},
    )
    assert values(measuring.viewer_rows("load", figures, 10)) == {
        "load.viewers": 10,
        "load.joined": 3,
        "load.failed.handshake": 1,
        "load.failed.http_503": 2,
        "load.ended.silent": 4,
        "load.silent": 1,
        "load.silent.video": 5,
    }


def test_quantiles_of_a_histogram_are_in_milliseconds() -> None:
    histogram = Histogram()
    for value in range(1_000, 1_001_000, 1_000):
        histogram.record(value)
    rows = list(measuring.quantile_rows("load", "x", histogram, "why not"))
    assert [row.name for row in rows] == [f"load.x.{label}" for label in QUANTILES]
    assert [row.unit for row in rows] == ["ms"] * 4
    assert [row.value for row in rows] == pytest.approx([500, 990, 999, 1_000], rel=1e-3)


def test_nothing_was_recorded() -> None:
    for row in measuring.quantile_rows("load", "x", Histogram(), "nobody was there"):
        assert (row.value, row.why) == (None, "nobody was there")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([7.0], [7, 7, 7, 7]),
        ([4.0, None, 1.0, 3.0, 2.0], [2, 4, 4, 4]),
        ([float(n) for n in range(1, 101)], [50, 90, 99, 100]),
    ],
)
def test_quantiles_of_samples(samples: list[float | None], expected: list[float]) -> None:
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    rows = measuring.sample_rows("joins", "dtls", samples, quantiles)
    assert list(values(rows).values()) == expected


def test_no_sample() -> None:
    (row,) = measuring.sample_rows("joins", "dtls", [None], {"p50": 0.5})
    assert row.why == "no viewer got so far"


def test_how_many_packets_were_lost_in_a_row() -> None:
    """Twice one, and once four."""
    lost = replace(NOBODY.probes, loss_runs={1: 2, 4: 1})
    told = values(measuring.probe_rows("load", lost))
    assert told["load.loss_runs"] == 3
    assert told["load.loss_runs.mean"] == 2
    assert told["load.loss_runs.max"] == 4
    found = {row.name: row for row in measuring.probe_rows("loss", NOBODY.probes)}
    assert found["loss.loss_runs"].value == 0
    assert found["loss.loss_runs.max"].value is None
    assert found["loss.loss_runs.max"].why == "the probes lost no packet"


def test_what_the_harness_did() -> None:
    told = values(measuring.harness_rows("load", replace(WELL, receive_drops=3)))
    assert told["load.harness.cpu"] == 0.5
    assert told["load.harness.receive_drops"] == 3
    assert told["load.harness.memory"] == 1.0


# Lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "lines"),
    [
        (WELL_SERVED, []),
        (NOBODY, ["Stopped before any viewer had joined."]),
        (
            replace(WELL_SERVED, failed={"http_401": 1}, sentences={"http_401": "It said no."}),
            ["1 viewer failed (http_401): It said no."],
        ),
        (
            replace(WELL_SERVED, ended={"silent": 2, "bye": 1}),
            [
                "2 viewers lost (silent): the server went away without a word.",
                "1 viewer sent away (bye): the server ended their sessions.",
            ],
        ),
        (
            replace(NOBODY, viewers=1, on_their_way=1),
            ["Stopped before any viewer had joined."],
        ),
        (replace(WELL_SERVED, silent=3), ["3 viewers joined and received nothing."]),
        (
            replace(WELL_SERVED, half_silent={"video": 1}),
            ["1 viewer received no video, which the server had agreed to send."],
        ),
    ],
)
def test_a_line_for_each_kind_of_viewer_that_was_not_served(
    figures: SwarmFigures, lines: list[str]
) -> None:
    assert list(measuring.problems_of(figures)) == lines


def test_faults_that_no_network_has() -> None:
    probes = replace(NOBODY.probes, corrupted=1, repeated=2, missing=9, hidden=3, lost=7)
    assert [line.split()[0] for line in measuring.packet_problems(probes)] == ["1", "2", "3"]
    assert list(measuring.packet_problems(replace(NOBODY.probes, missing=9, lost=9))) == []


def test_drops_of_others_are_a_note() -> None:
    assert list(measuring.notes_of(WELL)) == []
    (note,) = measuring.notes_of(replace(WELL, kernel_drops=7, receive_drops=2))
    assert note.startswith("5 datagrams were dropped by sockets of other processes")


# The end ------------------------------------------------------------------------------------------


def test_for_people(tmp_path: Path) -> None:
    said, path = Said(), tmp_path / "a" / "x.json"
    written = made(*ROWS, invalid="The harness was slow.")
    deliver(written, ["Something was wrong."], Output((), said, path))
    assert said.out == [
        "load.joined  2,000 viewers\nload.loss    0.99984 share\nload.jitter  - (no packet came)"
    ]
    assert said.err == [
        "pyforward-bench: Something was wrong.",
        "pyforward-bench: The harness was slow.",
        f"pyforward-bench: results in {path}",
    ]
    assert results.read(path) == written


def test_for_programs(tmp_path: Path) -> None:
    said, path = Said(), tmp_path / "x.json"
    deliver(made(*ROWS), [], Output((), said, path, as_json=True))
    (text,) = said.out
    assert json.loads(text) == json.loads(path.read_text())


def test_where_results_go_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = Output((), Said()).checked("load")
    assert list((tmp_path / "bench" / "results").iterdir()) == []
    deliver(made(), [], output)
    (path,) = (tmp_path / "bench" / "results").iterdir()
    assert path.name.startswith("load-")
    assert path.suffix == ".json"


def test_the_commit_is_asked_before_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "commit_now", lambda: "0123456789ab")
    output = Output((), Said(), tmp_path / "x.json").checked("load")
    monkeypatch.setattr(results, "commit_now", lambda: "0123456789ab-dirty")
    assert output.commit == "0123456789ab"


def test_an_output_that_cannot_be_written_ends_a_run_before_it(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Say with --output"):
        Output((), Said(), tmp_path).checked("load")


def test_what_cannot_be_written_was_said(tmp_path: Path) -> None:
    said = Said()
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        deliver(made(*ROWS), [], Output((), said, tmp_path / "file" / "x.json"))
    assert said.out
