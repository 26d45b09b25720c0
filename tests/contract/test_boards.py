"""Boards and rules as artefacts: generated as committed, every panel with its words, catalog and
queries agree both ways, and the checkers of Grafana and Prometheus accept them."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.generate.boards import BOARDS
from grafana.generate.files import written
from grafana.generate.model import Alert, Board
from grafana.generate.query import BOARD, RULE
from grafana.generate.rules import ALERTS
from grafana.generate.uses import places, shown
from pyforward.control.joins import FAULTS, Joins
from pyforward.metrics.catalog import CATALOG, FOREIGN, control, engine
from pyforward.metrics.catalog.shown import SHOWN
from pyforward_bench import exposition
from tests.boards import schema
from tests.contract.house import ROOT, sources

GRAFANA = ROOT / "grafana"
RUNBOOK = ROOT / "docs" / "operate" / "runbook.md"

THE_BOARDS = {"Broadcast overview", "Stream", "Engine", "Joins and failures", "Load test"}

# Names that are no metrics: functions and words of PromQL, labels, values, recordings.
_METRIC = re.compile(r"\b(?:pyforward_[a-z0-9_]+|process_[a-z_]+|up)\b(?!:)")


def by_key(board: Board) -> str:
    return board.key


def test_what_is_committed_is_what_is_generated() -> None:
    for name, text in written().items():
        assert (GRAFANA / name).read_text() == text, f"{name}: run make dashboards"
    known = {f"dashboards/{path.name}" for path in (GRAFANA / "dashboards").iterdir()}
    assert known == {name for name in written() if name.startswith("dashboards/")}


def test_the_boards_that_were_promised() -> None:
    assert {board.title for board in BOARDS} == THE_BOARDS


@pytest.mark.parametrize("board", BOARDS, ids=by_key)
def test_every_panel_has_a_unit_a_meaning_and_a_way_on(board: Board) -> None:
    keys = [panel.key for panel in board.panels]
    assert len(set(keys)) == len(keys)
    assert board.key not in board.onward
    assert set(board.onward) <= {other.key for other in BOARDS}
    for panel in board.panels:
        assert panel.unit, panel.key
        assert len(panel.description) > 60, panel.key
        assert panel.description.endswith("."), panel.key
        assert panel.queries, panel.key
        assert sum(query.legend == "" for query in panel.queries) == 0, panel.key
    for row in board.rows:
        assert row.panels, row.title


@pytest.mark.parametrize("board", BOARDS, ids=by_key)
def test_links_lead_to_boards_that_are_there(board: Board) -> None:
    drawn = json.loads((GRAFANA / "dashboards" / f"{board.key}.json").read_text())
    uids = {other.uid for other in BOARDS}
    panels = [panel for panel in drawn["panels"] if panel["type"] != "row"]
    assert len(panels) == len(board.panels)
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"]
        targets = {re.sub(r"^/d/([\w-]+)\?.*", r"\1", link["url"]) for link in panel["links"]}
        assert targets
        assert targets <= uids
        assert drawn["uid"] not in targets
        for link in panel["links"]:
            for kept in ("__url_time_range", "datasource:", "job:", "instance:"):
                assert f"${{{kept}" in link["url"], panel["title"]


@pytest.mark.parametrize("board", BOARDS, ids=by_key)
def test_a_line_that_is_a_stream_s_leads_to_the_stream(board: Board) -> None:
    drawn = json.loads((GRAFANA / "dashboards" / f"{board.key}.json").read_text())
    for panel in (one for one in drawn["panels"] if one["type"] != "row"):
        by_stream = any("{{stream}}" in one["legendFormat"] for one in panel["targets"])
        (link,) = panel["fieldConfig"]["defaults"].get("links") or (None,)
        assert (link is not None) == (by_stream and not board.by_stream), panel["title"]
        if link is not None:
            assert link["url"].startswith("/d/pyforward-stream?")
            assert link["url"].endswith("&var-stream=${__field.labels.stream}")


def test_a_line_that_is_a_shard_s_says_of_which_server() -> None:
    """Shards are numbered alike on all of them."""
    by_shard = 0
    for board in BOARDS:
        for query in (query for panel in board.panels for query in panel.queries):
            for labels in re.findall(r"\bby \(([^)]*)\)", query.expr):
                if "shard" in labels.split(", "):
                    by_shard += 1
                    assert "instance" in labels.split(", "), query
                    assert "{{instance}}" in query.legend, query
    assert by_shard > 3


def test_panels_do_not_overlap_and_fit_24_columns() -> None:
    for board in BOARDS:
        drawn = json.loads((GRAFANA / "dashboards" / f"{board.key}.json").read_text())
        taken: set[tuple[int, int]] = set()
        for panel in drawn["panels"]:
            at = panel["gridPos"]
            x, y = at.get("x", 0), at.get("y", 0)
            cells = {(x + dx, y + dy) for dx in range(at["w"]) for dy in range(at["h"])}
            assert x + at["w"] <= 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells


# The catalog and the queries ---------------------------------------------------------------------


def test_the_catalog_says_who_shows_a_metric_and_they_do() -> None:
    assert dict(SHOWN) == shown()


def test_every_metric_is_shown_somewhere() -> None:
    assert {metric.name for metric in CATALOG} - set(SHOWN) == set()


def test_queries_name_only_metrics_that_exist() -> None:
    known = {metric.name for metric in (*CATALOG, *exposition.CATALOG)} | FOREIGN
    for metric in (*CATALOG, *exposition.CATALOG):
        if metric.kind == "histogram":
            known |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    for place, expr in places():
        bare = re.sub(r"\{[^}]*\}", "", expr)
        unknown = set(_METRIC.findall(bare)) - known
        assert not unknown, f"{place}: {unknown}"


def test_a_query_of_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="is a counter, not a gauge"):
        BOARD.gauge(control.JOINS)
    with pytest.raises(ValueError, match="no label"):
        BOARD.rate(control.JOINS, "stream")
    with pytest.raises(ValueError, match="not in the catalog"):
        RULE.foreign("node_load1")
    assert BOARD.rate(engine.PACKETS, "direction").startswith("sum by (direction) (rate(")


# Their own checkers ------------------------------------------------------------------------------


def boards_by_name() -> dict[str, Any]:
    return {board.key: json.loads(written()[f"dashboards/{board.key}.json"]) for board in BOARDS}


@pytest.mark.skipif(not schema.is_here(), reason="this machine has no types of Grafana's schema")
def test_grafana_s_own_types_accept_every_board() -> None:
    assert schema.complaints(boards_by_name()) == ""


@pytest.mark.skipif(not schema.is_here(), reason="this machine has no types of Grafana's schema")
def test_the_types_refuse_what_is_wrong() -> None:
    wrong = {"stream": boards_by_name()["stream"]}
    wrong["stream"]["graphTooltip"] = 7
    panel = wrong["stream"]["panels"][1]
    panel["fieldConfig"]["defaults"]["thresholdz"] = {}
    panel["options"]["graphMode"] = "nice"
    panel["targets"][0]["exprr"] = "up"
    told = schema.complaints(wrong)
    for word in ("'7'", "thresholdz", "nice", "exprr"):
        assert word in told


def promtool(*arguments: str) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("this machine has no promtool")
    answer = subprocess.run(
        ["promtool", *arguments],
        cwd=GRAFANA / "alerts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_promtool_accepts_the_rules() -> None:
    assert "rules found" in promtool("check", "rules", "--lint-fatal", "pyforward.rules.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "pyforward.test.yml")


def test_shares_are_of_one_server_each(tmp_path: Path) -> None:
    """Of two servers that are half busy no panel says that anything is full."""
    queries = {panel.key: panel.queries[0].expr for board in BOARDS for panel in board.panels}
    series = {
        "pyforward_shard_busy_seconds_total{SERVER,shard='0'}": "0+5x60",
        "pyforward_shard_cpu_seconds_total{SERVER,shard='0'}": "0+5x60",
        "pyforward_queue_depth{SERVER,queue='joins'}": "5x60",
        "pyforward_queue_limit{SERVER,queue='joins'}": "10x60",
        "pyforward_capacity_used_ratio{SERVER}": "0.5x60",
        "pyforward_resource_used_ratio{SERVER,resource='shard'}": "0.5x60",
    }
    each = ("{instance='a', shard='0'}", "{instance='b', shard='0'}")
    expected = {
        "busy": each,
        "cpu": each,
        "queues": ("{queue='joins'}",),
        "capacity": ("{}",),
        "resources": ("{resource='shard'}",),
    }
    case = {
        "interval": "10s",
        "input_series": [
            {"series": name.replace("SERVER", f"job='pyforward',instance='{server}'"), "values": v}
            for name, v in series.items()
            for server in "ab"
        ],
        "promql_expr_test": [
            {
                "expr": chosen(queries[key]),
                "eval_time": "5m",
                "exp_samples": [{"labels": one, "value": 0.5} for one in labels],
            }
            for key, labels in expected.items()
        ],
    }
    file = tmp_path / "shares.yml"
    file.write_text(yaml.safe_dump({"tests": [case]}))
    promtool("test", "rules", str(file))


def chosen(expr: str) -> str:
    """A query as Grafana sends it, of all servers."""
    for name, value in {"[$__rate_interval]": "[1m]", "$job": ".+", "$instance": ".+"}.items():
        expr = expr.replace(name, value)
    return expr


def test_promtool_accepts_the_configuration() -> None:
    promtool("check", "config", "--syntax-only", str(ROOT / "deploy" / "prometheus.yml"))


def test_what_is_deployed_scrapes_both_sides_of_a_load_test() -> None:
    page = (ROOT / "docs" / "operate" / "deploy.md").read_text()
    (on_a_host,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)
    for text in ((ROOT / "deploy" / "prometheus.yml").read_text(), on_a_host):
        jobs = [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]]
        assert jobs == ["pyforward", "pyforward-bench"]


def test_every_alert_is_tested_both_ways() -> None:
    cases = yaml.safe_load((GRAFANA / "alerts" / "pyforward.test.yml").read_text())["tests"]
    silent = {test["alertname"] for case in cases for test in case.get("alert_rule_test", ())}
    told = [test for case in cases for test in case.get("promql_expr_test", ())]
    labels = " ".join(sample["labels"] for test in told for sample in test["exp_samples"])
    firing = set(re.findall(r'alertname="(\w+)"', labels))
    assert silent == firing == {alert.name for alert in ALERTS}


def test_what_joins_fail_by_is_a_reason_that_there_is() -> None:
    counted = {reason for _, _, reason in Joins(1, random.Random(1)).counts}
    assert set(FAULTS) < counted


def test_every_alert_has_its_part_of_the_runbook() -> None:
    headings = set(re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    assert {alert.name for alert in ALERTS} - headings == set()
    rules = yaml.safe_load((GRAFANA / "alerts" / "pyforward.rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                url = rule["annotations"]["runbook_url"]
                assert url == f"docs/operate/runbook.md#{rule['alert'].lower()}"


QUERIES = (ROOT / "docs" / "operate" / "queries.md").read_text()


def queries(alert: str) -> list[str]:
    """Those that the page has for this alert: the alert's own condition first."""
    (block,) = re.findall(rf"^## {alert}\n.*?```promql\n(.*?)```", QUERIES, re.M | re.S)
    return [line for line in block.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_runbook_goes_on_without_grafana(alert: Alert) -> None:
    part = RUNBOOK.read_text().split(f"\n## {alert.name}\n")[1].split("\n## ")[0]
    (line,) = re.findall(r"^\*\*Without Grafana\.\*\* (.*)$", part, re.M)
    assert f"(queries.md#{alert.anchor})" in line
    condition, *others = queries(alert.name)
    assert condition == alert.expr
    assert "$" not in "".join(others)
    # Where panels are named there is something to ask; the rest is for a shell.
    assert bool(others) == (alert.name not in ("PyforwardTargetDown", "PyforwardCertificateEnding"))


def test_prometheus_can_read_every_query_of_the_page(tmp_path: Path) -> None:
    asked = [query for alert in ALERTS for query in queries(alert.name)]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(asked)]
    file = tmp_path / "asked.rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", "--lint=none", str(file))
    assert len(asked) > 50


def test_yaml_is_tidy() -> None:
    files = [str(path) for path in sources(".yml", ".yaml")]
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "yamllint",
            "--strict",
            "--config-file",
            str(ROOT / ".yamllint"),
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def compose_complaints(file: Path) -> str:
    """What a checker of compose files says, which knows their schema; nothing if all is right."""
    if not schema.COMPOSE_LINTER.exists():
        pytest.skip("this machine has no dclint")
    words = [str(schema.COMPOSE_LINTER), "--config", str(ROOT / ".dclintrc.json"), str(file)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr


def test_the_compose_file_is_one() -> None:
    assert compose_complaints(ROOT / "deploy" / "compose.yaml") == ""


def test_a_compose_file_that_is_wrong_is_told(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    for right, wrong in (("tmpfs: [/tmp]", "tmpfs: {}"), ("image:", "imaje:")):
        assert right in text
        file.write_text(text.replace(right, wrong, 1))
        assert "ComposeValidationError" in compose_complaints(file)


def test_what_is_provisioned_is_there() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            place = volume.partition(":")[0]
            if place.startswith("."):
                assert (ROOT / "deploy" / place).resolve().exists(), volume
        build = service.get("build")
        if build:
            assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).exists()
    provider = GRAFANA / "provisioning" / "dashboards" / "pyforward.yml"
    (place,) = [one["options"]["path"] for one in yaml.safe_load(provider.read_text())["providers"]]
    service = compose["services"]["grafana"]
    for name, value in service["environment"].items():
        place = place.replace(f"${{{name}}}", str(value))
    assert place in [volume.split(":")[1] for volume in service["volumes"]]
