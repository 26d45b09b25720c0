"""Boards as TypeScript that is right only if Grafana's own types say so.

JSON is an object literal, so the compiler looks for what is missing, of a wrong type, or unknown.
Panels stand alone, because their options and field settings have types of their own by kind.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "grafana" / "schema"
COMPILER = PLACE / "node_modules" / ".bin" / "tsc"
COMPOSE_LINTER = PLACE / "node_modules" / ".bin" / "dclint"

_KINDS = {"timeseries": "TimeSeriesPanelCfg", "stat": "StatPanelCfg"}
_HAS_FIELD_CONFIG = {"timeseries"}


def is_here() -> bool:
    """Whether the compiler and the types were installed (``scripts/test-tools``)."""
    return COMPILER.exists() and shutil.which("node") is not None


def complaints(boards: dict[str, Any]) -> str:
    """What the compiler says about these boards, by name; nothing if they are right."""
    checked = PLACE / "checked"
    shutil.rmtree(checked, ignore_errors=True)
    checked.mkdir()
    for name, board in boards.items():
        (checked / f"{name}.ts").write_text("\n".join(_lines(board)) + "\n")
    answer = subprocess.run(
        [str(COMPILER), "--project", str(PLACE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=PLACE,
    )
    return answer.stdout + answer.stderr


def _lines(board: dict[str, Any]) -> Iterator[str]:
    raw = "../node_modules/@grafana/schema/dist/esm/raw"
    yield f'import type * as d from "{raw}/dashboard/x/dashboard_types.gen";'
    for kind, name in _KINDS.items():
        place = f"{raw}/composable/{kind}/panelcfg/x/{name}_types.gen"
        yield f'import type * as {kind} from "{place}";'
    yield 'import type { Plain, PrometheusQuery } from "../plain";'
    panels = board.pop("panels")
    yield _constant("board", "d.Dashboard", board)
    for number, panel in enumerate(panels):
        if panel["type"] == "row":
            yield _constant(f"panel{number}", "d.RowPanel", panel)
            continue
        kind = panel["type"]
        targets, options = panel.pop("targets"), panel.pop("options", {})
        custom = panel["fieldConfig"]["defaults"].pop("custom", None)
        yield _constant(f"panel{number}", "d.Panel", panel)
        yield _constant(f"options{number}", f"Partial<{kind}.Options>", options)
        if custom is not None and kind in _HAS_FIELD_CONFIG:
            yield _constant(f"custom{number}", f"{kind}.FieldConfig", custom)
        for place_of_it, target in enumerate(targets):
            yield _constant(f"target{number}_{place_of_it}", "PrometheusQuery", target)


def _constant(name: str, type_name: str, value: Any) -> str:
    return f"export const {name}: Plain<{type_name}> = {json.dumps(value, indent=1)};"
