"""Panels, rows and dashboards as objects of grafana-foundation-sdk: classic JSON (schema v1), which Grafana 10 to 13 loads.

The only file that imports grafana-foundation-sdk, which is needed to build and not to run. The datasource is a variable without
a current value: a fixed one would leave every panel blank on a Grafana with another name for its Prometheus.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from dashboards.rules.model import BANDS, STEP

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Row
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.common import DataSourceRef
    from grafana_foundation_sdk.models.dashboard import AnnotationQuery, Panel, ValueMapping, VariableModel

GrafanaPanel: TypeAlias = "Panel"
GrafanaRow: TypeAlias = "Row"
Choice: TypeAlias = "Builder[VariableModel]"
Marks: TypeAlias = "Builder[AnnotationQuery]"
States = Mapping[str, tuple[str, str]]
"""Value -> (text, colour), so that no state is shown by colour or number alone; `2+` is 2 and above."""

GPU = "{{instance}} GPU {{gpu}}"
WH_PER_1000_TOKENS = "wh_per_1000_tokens"
"""Unit of a panel whose queries give J/token and that shows Wh per 1,000 tokens."""
BLUE, ORANGE, GREY, PURPLE = "#3274D9", "#FF9830", "#8E8E8E", "#8F3BB8"  # distinguishable with colour blindness
VISIBLE_MAX = 20
"""Panels of a dashboard in open rows; the rows after them are collapsed, and Grafana queries them when somebody opens them."""

_COLUMNS = (
    "cluster", "site", "zone", "instance", "gpu", "team", "namespace", "owner", "run", "group", "policy", "latency", "workload",
    "model", "boundary", "state", "meter", "role",
    "position", "parent", "category", "basis", "window", "alertname", "severity", "condition", "field", "source", "device",
    "process", "version", "method", "domain", "part", "link", "action", "rule_group", "reason",
)  # fmt: skip
"""Label columns that a table shows, in this order; the others are hidden."""
_NARROW = 80
"""Least width of a column in pixels: Grafana's own 150 lets half a panel show four."""
_SENTENCE = 24
"""Pixels of a column of sentences for each 24th of the dashboard's width that its table has: half of it on a laptop."""
_REFS = "ABCDEFGH"
_SERIES = "__field.labels"
"""Grafana's macro of the labels of a series; a table has them in its columns."""
_SHOWN_AS = {"joule": ("kwatth", 3_600_000), WH_PER_1000_TOKENS: ("watth", 3.6)}
"""Unit of a query -> (unit of its panel, how much of the first is one of the second). People compare kWh with their bill."""


class Query(NamedTuple):
    """A PromQL query with settings of its own.

    Args:
        unit, states: of its column in a table or its figure, where they are not the panel's.
        linked: False where its series lack the labels that the panel's links take, such as a limit: they lead nowhere.
    """

    expr: str
    unit: str = ""
    states: States | None = None
    linked: bool = True


Queries = Mapping[str, str | Query]
"""Legend, which names the series with label templates -> PromQL."""


Links = tuple[tuple[str, str], ...]
"""Titles and addresses of other dashboards."""


def units() -> frozenset[str]:
    """Ids of units that Grafana knows, from the constants that grafana-foundation-sdk generates from Grafana's own list."""
    from grafana_foundation_sdk.models import units as constants

    return frozenset(value for value in vars(constants).values() if isinstance(value, str))


def band(expr: Callable[[str], str], name: str = "", *, column: str = "estimate", unit: str = "") -> dict[str, str | Query]:
    """A figure and the ends of its band.

    Args:
        expr: of the suffix of an end, "" for the figure.
        name: legend of the figure, which those of the ends begin with.
        column: legend of the figure where those of the ends stand alone, as in a table.
        unit: where it is not the panel's.
    """
    ends = {end: f"{name}, {text}" if name else text for end, text in BANDS.items()} | {"": name or column}
    return {legend: Query(expr(end), unit) for end, legend in ends.items()}


def link(title: str, uid: str, *labels: str) -> Links:
    """A link from a series or a table's row to another dashboard; it keeps the time range and all variables not set here.

    Args:
        title: what the target shows.
        uid: of the dashboard.
        labels: variables there that take the value of the label of the same name here.
    """
    choices = "&".join(f"var-{label}=${{{_SERIES}.{label}}}" for label in labels)
    return ((title, f"/d/{uid}?{choices}"),)


def panel(
    title: str,
    description: str,
    unit: str,
    queries: Queries,
    *,
    kind: Literal["timeseries", "stat", "states", "table"] = "timeseries",
    width: int = 12,
    height: int = 8,
    minimum: float | None = None,
    maximum: float | None = None,
    decimals: int | None = None,
    states: States | None = None,
    stacked: bool = False,
    no_value: str = "no data: not reported, not scraped, or just started",
    links: Links = (),
    dashed: tuple[str, ...] = ("limit", "maximum", "at least", "at most"),
    step: str = "",
) -> GrafanaPanel:
    """A panel.

    Args:
        title: unique on its dashboard.
        description: what the panel shows, from which metric, how computed.
        unit: a Grafana unit id.
        queries: at most eight.
        kind: how they are drawn.
        width: in 24ths of the dashboard.
        height: in Grafana's units.
        minimum: of the axis and of the figures.
        maximum: of the same; a share ends at 1.
        decimals: of the figures.
        states: texts of values.
        stacked: the series are disjoint parts of a whole.
        no_value: text of an empty panel: the reason, never a reassuring blank.
        links: where its series or rows lead.
        dashed: legends that end so are drawn as dashed lines: limits and ends of bands.
        step: the finest step of a graph of thousands of series; "": every scrape, and of recorded series once a minute.
    """
    from grafana_foundation_sdk.builders import prometheus
    from grafana_foundation_sdk.builders.dashboard import DashboardLink
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    by_legend = {legend: each if isinstance(each, Query) else Query(each) for legend, each in queries.items()}
    if kind == "timeseries":
        builder = _graph(by_legend, stacked=stacked, dashed=dashed)
    elif kind == "stat":
        builder = _stat(by_legend, coloured=bool(states))
    else:
        builder = _table(by_legend, unit, width) if kind == "table" else _states()
    builder.title(title).description(description).datasource(_datasource()).no_value(no_value).span(width).height(height)
    builder.min(minimum).max(1 if unit == "percentunit" else maximum).decimals(decimals)
    builder.mappings(_mappings(states) if states else None)
    if kind != "table":
        builder.unit(_shown_as(unit)[0])
    if links:
        labels = "__data.fields" if kind == "table" else _SERIES
        builder.data_links([DashboardLink(text).url(url.replace(_SERIES, labels)) for text, url in links])
    graph = kind in ("timeseries", "states")
    builder.interval(step or (STEP if graph and all(_recorded(query.expr) for query in by_legend.values()) else None))
    for ref, (legend, query) in zip(_REFS, by_legend.items(), strict=False):
        properties = [DynamicConfigValue("unit", _shown_as(query.unit)[0])] if query.unit else []
        if query.states:
            properties.append(DynamicConfigValue("mappings", _mappings(query.states)))
        if properties:
            builder.override_by_name(legend, properties)
        if not query.linked:
            builder.override_by_query(ref, [DynamicConfigValue("links")])  # without a value: Grafana adds lists to the default
        factor = _shown_as(query.unit or unit)[1]
        target = prometheus.Dataquery().ref_id(ref).datasource(_datasource()).legend_format(legend)
        target.expr(query.expr if factor == 1 else f"({query.expr}) / {factor}")
        if kind == "table":
            target.format(PromQueryFormat.TABLE)
        builder.with_target(target.range() if graph else target.instant())
    built: Panel = builder.build()
    return built


graph = partial(panel, minimum=0)
"""A graph of something that is never negative."""
third = partial(graph, width=8)
"""The same, three to a line."""
stat = partial(panel, kind="stat", width=4, height=5, minimum=0)
"""A panel of single figures, six to a line."""
lights = partial(panel, kind="states", width=8)
"""A panel of states over time, three to a line."""
table = partial(panel, kind="table")
"""A table with a row per series."""
wide_table = partial(table, width=24)
"""The same over the whole width."""


def _datasource() -> "DataSourceRef":
    from grafana_foundation_sdk.models.common import DataSourceRef

    return DataSourceRef("prometheus", "${datasource}")


def _shown_as(unit: str) -> tuple[str, float]:
    return _SHOWN_AS.get(unit, (unit, 1))


def _recorded(expr: str) -> bool:
    """Whether it reads recorded series alone: these have a sample a minute, so that finer steps cost and show nothing."""
    return ":wattlens_" in expr and not re.search(r"(?<![:\w])wattlens_", expr)


def _mappings(states: States) -> "list[ValueMapping]":
    from grafana_foundation_sdk.models.dashboard import DashboardRangeMapOptions, RangeMap, ValueMap, ValueMappingResult

    single, ranges = ({v: state for v, state in states.items() if v.endswith("+") == more} for more in (False, True))
    return [
        ValueMap({value: ValueMappingResult(text, color, index=i) for i, (value, (text, color)) in enumerate(single.items())}),
        *(
            RangeMap(DashboardRangeMapOptions(float(value[:-1]), None, ValueMappingResult(*state, index=len(states))))
            for value, state in ranges.items()
        ),
    ]


def _graph(queries: Mapping[str, Query], *, stacked: bool, dashed: tuple[str, ...]) -> Any:
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models import common as models
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    legend = common.VizLegendOptions().display_mode(models.LegendDisplayMode.TABLE).placement(models.LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI).sort(models.SortOrder.DESCENDING)
    builder = (
        timeseries.Panel()
        .legend(legend.show_legend(True).calcs(["mean", "max", "lastNotNull"]))
        .tooltip(tooltip)
        .show_points(models.VisibilityMode.NEVER)
        .span_nulls(False)  # a lost reading is a hole, not a line over it
        .fill_opacity(30 if stacked else 0)
        .line_width(1)
        .stacking(common.StackingConfig().mode(models.StackingMode.NORMAL if stacked else models.StackingMode.NONE))
    )
    if dashed:
        style = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]})
        builder.override_by_regexp(f"/({'|'.join(dashed)})$/", [style])
    for upper in queries:
        lower = upper.removesuffix(BANDS["_upper"]) + BANDS["_lower"]
        # Grafana fills the area between names that no label is part of.
        if upper.endswith(BANDS["_upper"]) and "{{" not in upper and lower in queries:
            area = {"fillBelowTo": lower, "fillOpacity": 15, "lineWidth": 0}
            builder.override_by_name(upper, [DynamicConfigValue(f"custom.{name}", value) for name, value in area.items()])
            builder.override_by_name(lower, [DynamicConfigValue("custom.lineWidth", 0)])
    return builder


def _stat(queries: Queries, *, coloured: bool) -> Any:
    from grafana_foundation_sdk.builders import common, stat
    from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode, BigValueTextMode

    several = len(queries) > 1 or any("{{" in legend for legend in queries)
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE if coloured else BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if several else BigValueTextMode.VALUE)
    )


def _states() -> Any:
    from grafana_foundation_sdk.builders import common, statetimeline
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return statetimeline.Panel().show_value(VisibilityMode.ALWAYS).legend(legend.show_legend(True)).fill_opacity(70)


def _table(queries: Mapping[str, Query], unit: str, width: int) -> Any:
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models.common import TableCellHeight
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

    values = {f"Value #{ref}" if len(queries) > 1 else "Value": legend for ref, legend in zip(_REFS, queries, strict=False)}
    # Rows of labels: the value has no meaning. If only one of several queries has rows, Grafana names its values like those of
    # a single query.
    facts = [name for name, legend in values.items() if unit == "none" and not (queries[legend].unit or queries[legend].states)]
    hidden = ("Time", "__name__", "uuid", "job", *facts, *(["Value"] if len(facts) == len(values) else []))
    order = {name: i for i, name in enumerate((*_COLUMNS, *values))}
    options = {"excludeByName": dict.fromkeys(hidden, True), "indexByName": order, "renameByName": values}
    return (
        table.Panel()
        .cell_height(TableCellHeight.SM)
        .min_width(_NARROW)
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="organize", options=options))
        # Grafana writes the text of an empty panel into empty cells too, and gives labels that look like numbers a unit.
        .override_by_regexp("/.*/", [DynamicConfigValue("noValue", "-")])
        .override_by_field_type("number", [DynamicConfigValue("unit", _shown_as(unit)[0])])
        .override_by_regexp("/^(reason|condition|part)$/", [DynamicConfigValue("custom.width", _SENTENCE * width)])
        .override_by_name("alertname", [DynamicConfigValue("custom.width", 210)])  # the longest name
    )


def row(title: str, *panels: GrafanaPanel) -> GrafanaRow:
    """Panels under a heading."""
    from grafana_foundation_sdk.builders.dashboard import Row

    heading = Row(title).collapsed(True)
    heading.build().panels.extend(panels)
    return heading


def choice(name: str, label: str, anchor: str, *, one: bool = False, of: str = "", first: str = "") -> Choice:
    """A choice at the head of the dashboard, anchored to a metric that has the label.

    Args:
        name: of the variable, and of the label whose values it offers.
        label: its text.
        anchor: a selector of series with the label.
        one: starts with the first value instead of all of them.
        of: the label whose values it offers, where that is not its name.
        first: the number to start with, where it is one of numbers.
    """
    from grafana_foundation_sdk.builders.dashboard import QueryVariable
    from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

    builder = (
        QueryVariable(name)
        .label(label)
        .datasource(_datasource())
        .query(f"label_values({anchor},{of or name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    if first:
        return builder.sort(VariableSort.NUMERICAL_ASC).current(VariableOption(True, first, first))
    builder.sort(VariableSort.NATURAL_ASC).multi(True).include_all(True)
    builder.all_value(".*")  # matches series without the label too: a single cluster needs no cluster label
    return builder if one else builder.current(VariableOption(True, ["All"], ["$__all"]))


def fixed_choice(name: str, label: str, values: Mapping[str, str]) -> Choice:
    """A choice that no metric offers, such as a price: text -> value, the one to start with first."""
    from grafana_foundation_sdk.builders.dashboard import CustomVariable
    from grafana_foundation_sdk.models.dashboard import VariableOption

    choices = ",".join(f"{text} : {value}" for text, value in values.items())
    return CustomVariable(name).label(label).values(choices).current(VariableOption(True, *next(iter(values.items()))))


def marks(name: str, expr: str, title: str, text: str) -> Marks:
    """Marks on the graphs where a query is above 0; title and text have label templates."""
    from grafana_foundation_sdk.builders.dashboard import AnnotationQuery

    builder = AnnotationQuery().name(name).enable(True).icon_color(PURPLE).datasource(_datasource())
    return builder.expr(expr).title_format(title).text_format(text).step("30s")


def written_marks(name: str, *tags: str, colour: str = PURPLE) -> Marks:
    """The marks that `wattlens dashboards annotate` wrote into Grafana itself with all of these tags."""
    from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, AnnotationTarget
    from grafana_foundation_sdk.models.common import DataSourceRef

    target: Any = AnnotationTarget().type("tags").tags(list(tags)).match_any(False).limit(500)
    builder = AnnotationQuery().name(name).enable(True).icon_color(colour)
    return builder.datasource(DataSourceRef("grafana", "-- Grafana --")).target(target)


def to_json(
    uid: str,
    title: str,
    description: str,
    variables: Iterable[Choice],
    rows: Iterable[GrafanaRow],
    annotations: Iterable[Marks] = (),
) -> str:
    """A dashboard file, whose uid is what links point to and never changes. The same dashboard gives the same bytes."""
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

    menu = dashboard.DashboardLink("Wattlens").type(DashboardLinkType.DASHBOARDS).tags(["wattlens"])
    builder = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["wattlens"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(menu.as_dropdown(True).keep_time(True).include_vars(True))
        .variables([dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"), *variables])
    )
    for annotation in annotations:
        builder.annotation(annotation)
    built: Any = builder.build()
    names = [variable.name for variable in built.templating.list_val]
    ids, visible = count(1), 0
    for each in rows:
        builder.with_row(each)
        heading: Any = each.build()
        heading.id_val = next(ids)
        for item in heading.panels:
            item.id_val = next(ids)
            for target in item.field_config.defaults.links or ():
                # Grafana's own macros: each variable as it stands, and the time
                inherited = [f"${{{name}:queryparam}}" for name in names if f"var-{name}=" not in target.url]
                target.url = "&".join((target.url, *inherited, "${__url_time_range}")).replace("?&", "?")
        visible += len(heading.panels)
        if visible <= VISIBLE_MAX:
            built.panels += heading.panels
            heading.panels, heading.collapsed = [], False
    return json.dumps(built, cls=JSONEncoder, sort_keys=True, indent=2) + "\n"
