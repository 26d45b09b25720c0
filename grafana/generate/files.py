"""Every file that is generated, by its name from ``grafana/`` on."""

from __future__ import annotations

from pathlib import Path

from grafana.generate.boards import BOARDS
from grafana.generate.dashboards import to_json
from grafana.generate.queries import to_markdown
from grafana.generate.rules import to_yaml

RUNBOOK = "docs/operate/runbook.md"
QUERIES = "../docs/operate/queries.md"

_HOUSE = Path(__file__).parents[2]


def written(runbook_url: str = RUNBOOK) -> dict[str, str]:
    """Names and texts."""
    titles = {board.key: board.title for board in BOARDS}
    files = {f"dashboards/{board.key}.json": to_json(board, titles) for board in BOARDS}
    files |= {"alerts/pyforward.rules.yml": to_yaml(runbook_url)}
    return files | {QUERIES: to_markdown((_HOUSE / RUNBOOK).read_text(encoding="utf-8"))}
