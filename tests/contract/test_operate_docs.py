"""docs/operate says what is true: events, limits, and code that a reader will copy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from grafana.generate.boards import BOARDS
from grafana.generate.rules import RECORDINGS
from pyforward.api.operations import OPERATIONS
from pyforward.config import settings
from pyforward.feed import EVENTS
from pyforward.metrics.catalog import CATALOG, FOREIGN
from pyforward.webhooks.signature import headers, key_of
from tests.contract.house import ROOT

PAGES = {path.name: path.read_text() for path in (ROOT / "docs" / "operate").glob("*.md")}
CONSOLE = PAGES["console.md"]


def section(title: str) -> str:
    """The text under a heading, up to the next one of its kind."""
    return CONSOLE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_event_is_in_the_table() -> None:
    told = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\|([^|]*)\|", section("Events"), re.M)))
    )
    assert {model.model_fields["kind"].default for model in EVENTS} == told


def test_every_operation_is_in_the_table() -> None:
    told = set(re.findall(r"^\| `(\w+ [^`]+)`", section("The API"), re.M))
    assert {f"{operation.method} {operation.path}" for operation in OPERATIONS} == told


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    names = {setting.name for setting in settings()}
    sections = {setting.section for setting in settings()}
    named = re.findall(r"(?<![/\w])(\w+)\.(?!md\b)(\w+)", PAGES[page])
    assert {f"{one}.{key}" for one, key in named if one in sections} - names == set()


@pytest.mark.parametrize("page", PAGES)
def test_metrics_that_are_named_exist(page: str) -> None:
    known = {metric.name for metric in CATALOG} | FOREIGN | {rule.name for rule in RECORDINGS}
    for part in ("bucket", "sum", "count"):
        known |= {f"{metric.name}_{part}" for metric in CATALOG if metric.kind == "histogram"}
    named = re.findall(r"\b(?:pyforward[_:]|process_)[a-z0-9_:]+", PAGES[page])
    assert set(named) - known == set()


def test_boards_and_panels_that_the_runbook_names_exist() -> None:
    known = {board.title for board in BOARDS}
    known |= {panel.title for board in BOARDS for panel in board.panels}
    steps = "\n".join(re.findall(r"^\d+\. .*$", PAGES["runbook.md"], re.MULTILINE))
    named = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", steps)
    assert set(named) - known == set()
    assert len(named) > 20


def test_the_code_that_verifies_is_right() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", CONSOLE, re.S)
    made: dict[str, Any] = {}
    exec(code, made)  # what a reader is told to run
    verified = cast("Callable[[str, dict[str, str], bytes], bool]", made["verified"])
    (secret,) = re.findall(r'secret = "(whsec_[^"]+)"', CONSOLE)
    now, body = int(time.time()), b'{"kind": "stream_ended"}'
    signed = headers(key_of(secret), "run-1", now, body)
    assert verified(secret, signed, body)
    assert not verified(secret, signed, body + b" ")
    assert not verified(secret, signed | {"webhook-id": "run-2"}, body)
    assert not verified("whsec_AAAA", signed, body)
    old = headers(key_of(secret), "run-1", now - 3600, body)
    assert not verified(secret, old, body)
