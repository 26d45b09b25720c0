"""The catalog as a document: ``docs/metrics.md``."""

from __future__ import annotations

from collections.abc import Iterator

from pyforward.metrics.catalog import CATALOG, control, engine, events, process, streams
from pyforward.metrics.catalog.model import Metric
from pyforward.metrics.catalog.shown import SHOWN

_INTRODUCTION = """\
# Metrics

<!-- Written by `python -m pyforward.metrics docs/metrics.md`; change the catalog instead. -->

`GET /metrics` answers in the Prometheus text format, or as OpenMetrics where the Accept header asks
for it, with exemplars: a bucket of `pyforward_join_stage_seconds` then names a session that fell
into it, to be looked up in the log. Labels are bounded: figures of single viewers are in `/api`,
and past `metrics.max_streams` the rest of the streams are one, called `other`. The usual
`process_*` metrics are there as well.

*Shown* names the panels, recording rules and alerts that use a metric. What operators of other
servers know these figures by is in [operate/metrics.md](operate/metrics.md)."""

_PARTS = (
    ("Streams and sessions", control.METRICS),
    ("Packets", engine.METRICS),
    ("The process", process.METRICS),
    ("Events", events.METRICS),
    ("Each stream", streams.METRICS),
)

assert sum(len(metrics) for _, metrics in _PARTS) == len(CATALOG)


def markdown() -> str:
    """The text of ``docs/metrics.md``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for title, metrics in _PARTS:
        yield ""
        yield f"## {title}"
        yield ""
        yield "| name | type | unit | labels | meaning | shown |"
        yield "|---|---|---|---|---|---|"
        for metric in metrics:
            yield _row(metric)


def _row(metric: Metric) -> str:
    shown = ", ".join(SHOWN.get(metric.name, ()))
    labels = ", ".join(metric.labels)
    cells = (f"`{metric.name}`", metric.kind, metric.unit, labels, metric.help, shown)
    return "| " + " | ".join(cells) + " |"
