"""What is declared in one place and shown in another is the same in both."""

from __future__ import annotations

import tomllib

import pyforward
from pyforward.config.render import settings_markdown
from pyforward.metrics.catalog.render import markdown as metrics_markdown
from tests.contract.house import NATIVE, ROOT

DOCS = ROOT / "docs"


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_docs_of_the_settings() -> None:
    again = "python -m pyforward.config docs/settings.md"
    assert (DOCS / "settings.md").read_text() == settings_markdown(), f"run: {again}"


def test_docs_of_the_metrics() -> None:
    again = "python -m pyforward.metrics docs/metrics.md"
    assert (DOCS / "metrics.md").read_text() == metrics_markdown(), f"run: {again}"


def test_one_version() -> None:
    workspace = tomllib.loads((NATIVE / "Cargo.toml").read_text())["workspace"]
    assert workspace["package"]["version"] == pyforward.__version__
    assert f"\n## {pyforward.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_group_build_is_what_a_build_requires() -> None:
    declared = project()
    groups, system = declared["dependency-groups"], declared["build-system"]
    assert isinstance(groups, dict)
    assert isinstance(system, dict)
    assert groups["build"] == system["requires"]


def test_every_decision_is_numbered_and_listed() -> None:
    entries = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    numbers = [int(path.name.partition("-")[0]) for path in entries]
    assert numbers == list(range(1, len(numbers) + 1))
    listed = (DOCS / "decisions" / "README.md").read_text()
    assert [path.name for path in entries if f"({path.name})" not in listed] == []
