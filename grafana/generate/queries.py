"""``docs/operate/queries.md``: the runbook for who has no Grafana, as queries.

Each part of the runbook names panels; the page has what these ask, and the alert's own condition,
without the variables of boards. Nothing is written here a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from grafana.generate.boards import BOARDS
from grafana.generate.model import Alert, Board, Panel
from grafana.generate.query import BOARD, STREAM
from grafana.generate.rules import ALERTS, RECORDINGS

_WINDOW = "5m"

_INTRODUCTION = """\
# The runbook's queries

<!-- Written by `make dashboards` from the boards and the runbook; change these instead. -->

What each part of the [runbook](runbook.md) looks at, for who has no Grafana. Paste a query into
Prometheus (`/graph`), or ask it on a terminal:

```sh
promtool query instant http://127.0.0.1:9090 'max(pyforward_capacity_used_ratio)'
curl --get --data-urlencode 'query=max(pyforward_capacity_used_ratio)' \\
    http://127.0.0.1:9090/api/v1/query
```

Add `instance="…"` to the selectors for one server alone, and write the stream's name for `NAME`. A
line that begins with `#` says what its query shows and, behind the colon, what tells its lines
apart. Names with colons are recordings of `grafana/alerts/pyforward.rules.yml`, and stand here with
what they record.

Without Prometheus too, one server tells what it is doing now:

```sh
export PYFORWARD_TOKEN=…    # the admin token
pyforward top http://127.0.0.1:8080
ask() { curl --silent -H "Authorization: Bearer $PYFORWARD_TOKEN" "http://127.0.0.1:8080$1"; }
ask /metrics | grep ^pyforward_send_drops_total
ask '/api/streams/NAME/viewers?order=worst'
```

A counter (`…_total`) there is a sum since the start: ask twice, ten seconds apart, and take a tenth
of the difference for the rate."""


def to_markdown(runbook: str) -> str:
    """The page's text; ``runbook`` is that of ``docs/operate/runbook.md``."""
    return "\n".join(_lines(runbook)) + "\n"


def as_asked(expr: str) -> str:
    """A panel's query without the variables of its board."""
    ours = f"{BOARD.selector},"
    for variable, value in (
        (STREAM.selector, 'stream="NAME"'),
        (f"{{{BOARD.selector}}}", ""),
        (ours, ""),
        (BOARD.window, _WINDOW),
    ):
        expr = expr.replace(variable, value)
    return expr


def named(part: str) -> Iterator[tuple[Board, Panel]]:
    """The panels that a part of the runbook names, each once, with their boards. A title that
    several boards have is of the one that was named last."""
    found: dict[tuple[str, str], tuple[Board, Panel]] = {}
    last: Board | None = None
    for title in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", part):
        board = next((board for board in BOARDS if board.title == title), None)
        if board is not None:
            last = board
            continue
        fitting = [
            (board, panel) for board in BOARDS for panel in board.panels if panel.title == title
        ]
        fitting.sort(key=lambda one: one[0] is not last)
        for board, panel in fitting[:1]:
            found.setdefault((board.key, panel.key), (board, panel))
    return iter(found.values())


# Private -----------------------------------------------------------------------------------------


def _lines(runbook: str) -> Iterator[str]:
    yield _INTRODUCTION
    for alert in ALERTS:
        yield ""
        yield f"## {alert.name}"
        yield ""
        yield f"[What to do](runbook.md#{alert.anchor})."
        yield ""
        yield "```promql"
        yield from _condition(alert)
        for board, panel in named(_part(runbook, alert.name)):
            for query in panel.queries:
                yield ""
                yield f"# {board.title}, {panel.title}: {_legend(query.legend)}"
                yield as_asked(query.expr)
        yield "```"


def _part(runbook: str, name: str) -> str:
    return runbook.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]


def _condition(alert: Alert) -> Iterator[str]:
    yield f"# It fires when this has been there for {alert.wait}"
    yield alert.expr
    for recording in RECORDINGS:
        if recording.name in alert.expr:
            yield ""
            yield f"# {recording.name}"
            yield recording.expr


def _legend(legend: str) -> str:
    return re.sub(r"\{\{(\w+)\}\}", r"<\1>", legend)
