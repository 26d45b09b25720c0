"""A board as Grafana's JSON, by the SDK's builders: the only file that knows them."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import common as shared
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from grafana.generate.model import Board, Panel
from pyforward.metrics.catalog import control, process, streams
from pyforward_bench import exposition as bench

_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHTS = {"number": 4, "lines": 8}
_EVERY = "10s"
_KEPT = "&".join(
    (
        "${__url_time_range}",
        "${datasource:queryparam}",
        "${job:queryparam}",
        "${instance:queryparam}",
    )
)
"""What a link takes along: the time, and the servers that are looked at."""

Drawn = stat.Panel | timeseries.Panel


def to_json(board: Board, titles: dict[str, str]) -> str:
    """The file's text; ``titles`` are those of the boards that its panels lead to."""
    drawn = (
        dash.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["pyforward"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh(_EVERY)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(_all_boards())
    )
    for made in _variables(board):
        drawn.with_variable(made)
    for row in board.rows:
        drawn.with_row(dash.Row(row.title))
        for panel in row.panels:
            drawn.with_panel(_panel(board, panel, titles))
    built = drawn.build()
    for number, panel_or_row in enumerate(built.panels or [], 1):
        panel_or_row.id_val = number
    for variable in built.templating.list_val or []:
        # For variables of intervals alone; Grafana's schema of the others does not know them.
        variable.auto = variable.auto_min = variable.auto_count = None
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(board: Board, panel: Panel, titles: dict[str, str]) -> Drawn:
    drawn = _number(panel) if panel.kind == "number" else _lines(panel)
    drawn.title(panel.title).description(panel.description).unit(panel.unit)
    drawn.datasource(_SOURCE).span(panel.width).height(_HEIGHTS[panel.kind]).min(0)
    if panel.most is not None:
        drawn.max(panel.most)
    drawn.thresholds(_thresholds(panel))
    drawn.links([_link(key, titles[key]) for key in board.onward])
    if panel.tells_streams_apart and not board.by_stream:
        drawn.data_links([_to_its_stream()])
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
        target.datasource(_SOURCE)
        if panel.kind == "number":
            drawn.with_target(target.instant())
        else:
            drawn.with_target(target.range().exemplar(control.JOIN_STAGES.name in query.expr))
    return drawn


def _number(panel: Panel) -> stat.Panel:
    reduce = shared.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    coloured = panel.steps is not None
    return (
        stat.Panel()
        .reduce_options(reduce)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE if coloured else common.BigValueColorMode.NONE)
    )


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        shared.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    drawn = timeseries.Panel().legend(legend).line_width(1).fill_opacity(10)
    drawn.tooltip(
        shared.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    if panel.steps is not None:
        style = shared.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.LINE)
        drawn.thresholds_style(style)
    if panel.stacked:
        drawn.stacking(shared.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    return drawn


def _thresholds(panel: Panel) -> dash.ThresholdsConfig:
    steps = [model.Threshold(value=None, color="green")]
    if panel.steps is not None:
        warn, bad = panel.steps
        steps += [model.Threshold(value=warn, color="orange"), model.Threshold(bad, "red")]
    return dash.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _link(key: str, title: str) -> dash.DashboardLink:
    return (
        dash.DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .url(f"/d/pyforward-{key}?{_KEPT}")
    )


def _to_its_stream() -> dash.DashboardLink:
    """From one line of a panel to the board of the stream that the line is of."""
    stream = "${__field.labels.stream}"
    return _link("stream", f"Stream {stream}").url(
        f"/d/pyforward-stream?{_KEPT}&var-stream={stream}"
    )


def _all_boards() -> dash.DashboardLink:
    return (
        dash.DashboardLink("pyforward")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["pyforward"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _variables(board: Board) -> list[Any]:
    build = process.BUILD_INFO.name
    found = [
        dash.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _values("job", f"label_values({build}, job)"),
        _values("instance", f'label_values({build}{{job=~"$job"}}, instance)'),
    ]
    if board.by_stream:
        viewers = streams.STREAM_VIEWERS.name
        found.append(
            _values("stream", f'label_values({viewers}{{job=~"$job"}}, stream)', several=False)
        )
    if board.beside_bench:
        found.append(_values("bench", f"label_values({bench.PACKETS.name}, job)"))
    return found


def _values(name: str, query: str, *, several: bool = True) -> dash.QueryVariable:
    variable = (
        dash.QueryVariable(name)
        .datasource(_SOURCE)
        .query({"query": query, "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    return variable.multi(True).include_all(True).all_value(".+") if several else variable
