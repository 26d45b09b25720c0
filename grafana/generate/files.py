"""Every file that is generated, by its name below ``grafana/``."""

from __future__ import annotations

from grafana.generate.boards import BOARDS
from grafana.generate.dashboards import to_json
from grafana.generate.rules import to_yaml

RUNBOOK = "docs/operate/runbook.md"


def written(runbook_url: str = RUNBOOK) -> dict[str, str]:
    """Names and texts."""
    titles = {board.key: board.title for board in BOARDS}
    files = {f"dashboards/{board.key}.json": to_json(board, titles) for board in BOARDS}
    return files | {"alerts/pyforward.rules.yml": to_yaml(runbook_url)}
