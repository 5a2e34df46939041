"""
How panels look, and how they are put together to a dashboard: thin wrappers of Grafana's own builders.

What a panel shows is said where it is used. One that may have nothing to show says why in its place.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    piechart,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generator import series

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAGS = ["llm", "router", "ai"]
RUNBOOK = "https://git.example.com/hapax/docs/runbooks/alerts.md"
"""Where this installation has docs/runbooks/alerts.md; dashboards keep it in their variable `runbook`."""

Query = tuple[str, str]
"""An expression, and how its series are called."""
States = Mapping[int, tuple[str, str]]
"""What a value means, and its colour."""

NO_CALL = "No call in this time."
"""Why what is counted of calls may be empty."""
YES = {0: ("no", "red"), 1: ("yes", "green")}
HEALTH: States = {0: ("unhealthy", "red"), 1: ("healthy", "green")}
DRAIN: States = {0: ("in use", "green"), 1: ("drained", "blue")}
BREAKER: States = {0: ("closed", "green"), 1: ("half-open", "yellow"), 2: ("open", "red")}


def query(expression: str, legend: str = "", ref: str = "A", *, exemplars: bool = False) -> prometheus.Dataquery:
    """A query over time."""
    made = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).range()
    return made.exemplar(True) if exemplars else made


def _dressed(panel: Any, title: str, about: str, empty: str, width: int, height: int) -> Any:
    panel = panel.title(title).description(about).datasource(SOURCE).span(width).height(height)
    return panel.no_value(empty) if empty else panel


def lines(
    title: str,
    unit: str,
    *queries: Query,
    about: str,
    empty: str = "",
    width: int = 12,
    stacked: bool = False,
    exemplars: bool = False,
) -> Any:
    """Series over time. *exemplars*: dots that lead to traces. *empty*: why there may be nothing to show."""
    panel = _dressed(timeseries.Panel(), title, about, empty, width, 8).unit(unit).min(0)
    panel = panel.line_width(1).fill_opacity(30 if stacked else 10).show_points(look.VisibilityMode.AUTO)
    panel = panel.legend(
        common.VizLegendOptions()
        .display_mode(look.LegendDisplayMode.TABLE)
        .placement(look.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.DESCENDING)
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(look.StackingMode.NORMAL))
    for number, (expression, legend) in enumerate(queries):
        panel = panel.with_target(query(expression, legend, chr(ord("A") + number), exemplars=exemplars))
    return panel


def figure(
    title: str, unit: str, expression: str, *, about: str, steps: Sequence[tuple[float | None, str]], empty: str = ""
) -> Any:
    """One number of now. *steps*: from which value on it has which colour, the first from None."""
    panel = _dressed(stat.Panel(), title, about, empty, 4, 4).unit(unit)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(look.BigValueGraphMode.AREA).color_mode(look.BigValueColorMode.VALUE)
    thresholds = [model.Threshold(value=value, color=color) for value, color in steps]
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds))
    return panel.with_target(query(expression))


def timeline(title: str, states: States, *queries: Query, about: str, empty: str = "") -> Any:
    """What state each thing was in when."""
    panel = _dressed(statetimeline.Panel(), title, about, empty, 12, 8).show_value(look.VisibilityMode.NEVER)
    panel = panel.merge_values(True).row_height(0.8)
    options = {
        str(value): model.ValueMappingResult(text=text, color=color, index=value)
        for value, (text, color) in states.items()
    }
    panel = panel.mappings([model.ValueMap(options=options)])
    for number, (expression, legend) in enumerate(queries):
        panel = panel.with_target(query(expression, legend, chr(ord("A") + number)))
    return panel


def listing(
    title: str,
    labels: Mapping[str, str],
    columns: Sequence[tuple[str, str, str]],
    *,
    about: str,
    empty: str = "",
    link: str = "",
    width: int = 12,
) -> Any:
    """
    A table of now: *labels* with their headings, and of each column the heading, the unit and the expression; the rows
    with most of the first column come first. *link*: where the first label leads to.
    """
    panel = _dressed(table.Panel(), title, about, empty, width, 8)
    names = dict(labels)
    for number, (heading, unit, expression) in enumerate(columns):
        ref = chr(ord("A") + number)
        panel = panel.with_target(
            prometheus.Dataquery().expr(expression).ref_id(ref).instant().format(PromQueryFormat.TABLE)
        )
        names["Value" if len(columns) == 1 else f"Value #{ref}"] = heading
        panel = panel.with_override(
            model.MatcherConfig(id_val="byName", options=heading), [model.DynamicConfigValue(id_val="unit", value=unit)]
        )
    if link:
        shown = next(iter(labels.values()))
        panel = panel.with_override(
            model.MatcherConfig(id_val="byName", options=shown),
            [model.DynamicConfigValue(id_val="links", value=[{"title": "What to do", "url": link}])],
        )
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    arranged = {"includeByName": dict.fromkeys(names, True), "renameByName": names}
    arranged["indexByName"] = {name: place for place, name in enumerate(names)}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=arranged))
    return panel.sort_by([common.TableSortByFieldState().display_name(columns[0][0]).desc(True)])


def pie(title: str, expression: str, legend: str, *, about: str, empty: str) -> Any:
    """Shares of a whole."""
    panel = _dressed(piechart.Panel(), title, about, empty, 12, 8).unit("short")
    return panel.with_target(query(expression, legend))


def heat(title: str, unit: str, expression: str, *, about: str) -> Any:
    """How the values of a histogram lie over time; *expression* gives its buckets by `le`."""
    panel = _dressed(heatmap.Panel(), title, about, "", 12, 8).unit(unit)
    asked = prometheus.Dataquery().expr(expression).legend_format("{{le}}").ref_id("A").range()
    return panel.with_target(asked.format(PromQueryFormat.HEATMAP))


def _variable(name: str, label: str, asked: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).query(asked).datasource(SOURCE)
    variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _annotation(name: str, expression: str, text: str, color: str) -> model.AnnotationQuery:
    made = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expression)
    return _Mark(made.build(), text)


class _Mark(model.AnnotationQuery):
    """An annotation of Prometheus, whose text the SDK's model has no place for."""

    def __init__(self, made: model.AnnotationQuery, text: str) -> None:
        super().__init__()
        vars(self).update(vars(made))
        self._text = text

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "titleFormat": self._text}


def board(uid: str, title: str, about: str, rows: Sequence[tuple[str, Sequence[Any]]]) -> model.Dashboard:
    """A dashboard of *rows*, with the variables, annotations and links that all of them have."""
    made = dashboard.Dashboard(title).uid(uid).description(about).tags(TAGS).readonly().refresh("30s")
    made = made.time("now-1h", "now").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    made = made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for name, label, asked in (
        ("instance", "Instance", f"label_values({series.BUILD}, instance)"),
        ("provider", "Provider", f"label_values({series.HEALTHY}, provider)"),
        ("model", "Model", f"label_values({series.INFERENCES}, model)"),
        ("key", "Key", f"label_values({series.KEY_CALLS}, client)"),
        ("team", "Team", f"label_values({series.KEY_CALLS}, team)"),
    ):
        made = made.with_variable(_variable(name, label, asked))
    made = made.with_variable(dashboard.ConstantVariable("runbook").value(RUNBOOK))
    for each in (
        dashboard.DashboardLink("What to do").type(model.DashboardLinkType.LINK).url("${runbook}").target_blank(True),
        dashboard.DashboardLink("Dashboards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(TAGS)
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True),
    ):
        made = made.link(each)
    for heading, panels in rows:
        made = made.with_row(dashboard.Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    whole = made.build()
    started = series.chosen(series.PROCESS_START)
    version = f"group_left (version) {series.chosen(series.BUILD)}"
    changed = f"changes({series.chosen(series.RELOADED_AT)}[1m]) > 0"
    breakers = f"changes({series.chosen(series.BREAKERS, 'name')}[1m]) > 0"
    whole.annotations = model.AnnotationContainer(
        list_val=[
            _annotation("Reloads", changed, "configuration in force at {{instance}}", "blue"),
            _annotation(
                "Deploys",
                f"(time() - {started} < 60) * on (instance) {version}",
                "{{instance}} started, version {{version}}",
                "purple",
            ),
            _annotation("Breakers", breakers, "breaker {{name}} changed", "orange"),
        ]
    )
    for number, panel in enumerate(whole.panels or [], 1):
        panel.id_val = number
    return whole
