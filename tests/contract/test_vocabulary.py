"""Both languages say the same: commands, events, names, counters and their documentation."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from typing import get_args

import pytest

from pyforward import _native, commands
from pyforward.control import STAGE_BOUNDS_S
from pyforward.engine import StreamStats
from pyforward.metrics.catalog import CATALOG, COUNTED
from pyforward_bench import records
from tests.contract.house import NATIVE, ROOT, name_of


def fields_of(union: object) -> dict[str, list[str]]:
    return {
        member.__name__: [field.name for field in dataclasses.fields(member)]
        for member in get_args(union)
    }


def test_commands_are_the_same_in_both_languages() -> None:
    assert fields_of(commands.Command) == _native.COMMANDS


def test_events_are_the_same_in_both_languages() -> None:
    assert fields_of(commands.Event) == _native.EVENTS


def test_what_commands_carry_is_the_same_in_both_languages() -> None:
    for name, fields in _native.RECORDS.items():
        record = getattr(commands, name)
        assert [field.name for field in dataclasses.fields(record)] == fields, name


def test_rows_of_a_report_are_the_same_in_both_languages() -> None:
    for name, fields in _native.ROWS.items():
        row = getattr(commands, name)
        assert [field.name for field in dataclasses.fields(row)] == fields, name


@pytest.mark.parametrize("name", ["Kind", "Codec", "SrtpProfile", "CloseReason"])
def test_names_are_the_same_in_both_languages(name: str) -> None:
    assert set(_native.NAMES[name]) == set(get_args(getattr(commands, name)))


def test_every_dataclass_of_the_vocabulary_is_known_to_rust() -> None:
    declared = {
        name
        for name, value in vars(commands).items()
        if dataclasses.is_dataclass(value) and value.__module__ == commands.__name__
    }
    known = {*_native.COMMANDS, *_native.EVENTS, *_native.RECORDS, *_native.ROWS}
    assert declared == known


# Counters ----------------------------------------------------------------------------------------

DISCARD_RS = NATIVE / "core" / "src" / "discard.rs"

# Reasons that are relied on outside; more may come.
PROMISED_REASONS = frozenset(
    {
        "dtls_limit",
        "dtls_unknown_address",
        "path_taken",
        "rtcp_malformed",
        "rtp_extension",
        "rtp_padding",
        "rtp_short",
        "rtp_unknown_ssrc",
        "srtp_auth",
        "srtp_replay",
        "stun_fingerprint",
        "stun_integrity",
        "stun_malformed",
        "stun_unknown_ufrag",
        "unknown_session",
    }
)

PROMISED_METRICS = frozenset(
    {
        "pyforward_build_info",
        "pyforward_bytes_total",
        "pyforward_discards_total",
        "pyforward_forward_latency_seconds",
        "pyforward_joins_total",
        "pyforward_packets_total",
        "pyforward_send_drops_total",
        "pyforward_sessions",
        "pyforward_streams",
        "pyforward_train_packets",
        "pyforward_viewers",
    }
)


def declared_discards() -> dict[str, str]:
    """Variant to label, as ``discard.rs`` declares them."""
    return dict(re.findall(r'^    (\w+) = "(\w+)",$', DISCARD_RS.read_text(), re.MULTILINE))


def test_every_discard_has_a_counter() -> None:
    assert list(declared_discards().values()) == _native.DISCARDS
    assert len(set(_native.DISCARDS)) == len(_native.DISCARDS)


def test_the_promised_reasons_are_there() -> None:
    assert PROMISED_REASONS - set(_native.DISCARDS) == set()


def test_every_discard_can_happen() -> None:
    code = "\n".join(
        path.read_text()
        for crate in ("core", "io")
        for path in (NATIVE / crate / "src").rglob("*.rs")
        if path != DISCARD_RS
    )
    never = [name for name in declared_discards() if f"Discard::{name}" not in code]
    assert never == [], f"declared in {name_of(DISCARD_RS)} and never returned"


def test_the_promised_metrics_are_there() -> None:
    assert PROMISED_METRICS - {metric.name for metric in CATALOG} == set()


def test_metrics_are_fed_by_counters_that_exist() -> None:
    fed = {feed.counter for metric in COUNTED for feed in metric.feeds}
    assert fed - set(_native.COUNTERS) == set()


def test_every_counter_is_told() -> None:
    fed = {feed.counter for metric in COUNTED for feed in metric.feeds}
    assert set(_native.COUNTERS) - fed == set()


def test_figures_of_a_stream_are_the_same_in_both_languages() -> None:
    assert [field.name for field in dataclasses.fields(StreamStats)] == _native.STREAM_FIGURES


def test_all_stages_of_a_join_have_the_same_bounds() -> None:
    assert [round(bound * 1e6) for bound in STAGE_BOUNDS_S] == _native.STAGE_BOUNDS_US


def test_metric_names_follow_the_conventions() -> None:
    names = [metric.name for metric in CATALOG]
    assert len(set(names)) == len(names)
    for metric in CATALOG:
        assert re.fullmatch(r"pyforward_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith("."), metric.name


# Records -----------------------------------------------------------------------------------------


def test_both_languages_read_one_record() -> None:
    text = (NATIVE / "core" / "src" / "record.rs").read_text()
    assert f"pub const LEN: usize = {records.RECORD_BYTES};" in text
    flags = {name: int(value) for name, value in re.findall(r"const ([A-Z]+): u16 = (\d+);", text)}
    assert flags == {name: getattr(records, name) for name in flags}
    assert len(flags) == 8


# The stub ----------------------------------------------------------------------------------------


def test_the_stub_says_what_the_module_has() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "pyforward._native"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
