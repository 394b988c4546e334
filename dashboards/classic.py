"""A `Dashboard` as Grafana's classic dashboard JSON (schema v1), which every Grafana from 10 to 13 loads from a file.

The only file that imports grafana-foundation-sdk, which is needed to build and not to run. The datasource is a variable without
a current value: a fixed one would leave every panel blank on a Grafana with another name for its Prometheus.
"""

import json
import re
import warnings
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from dashboards.dashboard import WH_PER_1000_TOKENS, Annotation, Dashboard, Link, Panel, Variable
from dashboards.rules.model import BANDS, STEP

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import ValueMapping

_COLUMNS = (
    "cluster", "site", "zone", "instance", "gpu", "team", "namespace", "owner", "run", "group", "policy", "latency", "workload",
    "model", "boundary", "state", "meter", "role",
    "position", "parent", "category", "basis", "window", "alertname", "severity", "condition", "field", "source", "device",
    "process", "version", "method", "domain", "part", "link", "action", "rule_group", "reason",
)  # fmt: skip
"""Label columns that a table shows, in this order; the others are hidden."""


VISIBLE_MAX = 20
"""Panels of a dashboard in open rows; the rows after them are collapsed, and Grafana queries them when somebody opens them."""
_NARROW = 80
"""Least width of a column in pixels: Grafana's own 150 lets half a panel show four."""
_SENTENCE = 24
"""Pixels of a column of sentences for each 24th of the board's width that its table has: half of it on a laptop."""


def to_json(dashboard: Dashboard) -> str:
    """The dashboard file: sorted keys, so that the same dashboard gives the same bytes."""
    with warnings.catch_warnings():
        # The SDK calls its classic models deprecated; Grafana still loads nothing else from files over all its versions.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _to_json(dashboard)


def units() -> frozenset[str]:
    """Ids of units that Grafana knows, from the constants that grafana-foundation-sdk generates from Grafana's own list."""
    from grafana_foundation_sdk.models import units as known

    return frozenset(value for value in vars(known).values() if isinstance(value, str))


def _to_json(board: Dashboard) -> str:
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["wattlens"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Wattlens")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["wattlens"])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        builder.with_variable(_variable(variable))
    for annotation in board.annotations:
        builder.annotation(_annotation(annotation))
    kept = [variable.name for variable in board.variables]
    ids = count(1)
    visible = 0
    for row in board.rows:
        heading = dashboard.Row(row.title).id(next(ids))
        panels = [_panel(panel, kept).id(next(ids)) for panel in row.panels]
        visible += len(panels)
        if visible > VISIBLE_MAX:  # this row and all after it
            for panel in panels:
                heading.with_panel(panel)
            builder.with_row(heading)
        else:
            builder.with_row(heading)
            for panel in panels:
                builder.with_panel(panel)
    return json.dumps(builder.build(), cls=JSONEncoder, sort_keys=True, indent=2) + "\n"


def _datasource() -> Any:
    from grafana_foundation_sdk.models.common import DataSourceRef

    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _variable(variable: Variable) -> Any:
    from grafana_foundation_sdk.builders.dashboard import CustomVariable, QueryVariable
    from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

    first = [VariableOption(True, text, value) for text, value in variable.values.items()][:1]
    if first and not variable.anchor:
        choices = ",".join(f"{text} : {value}" for text, value in variable.values.items())
        return CustomVariable(variable.name).label(variable.label).values(choices).current(first[0])
    builder = (
        QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_datasource())
        .query(f"label_values({variable.anchor},{variable.of or variable.name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    if first:
        return builder.sort(VariableSort.NUMERICAL_ASC).current(first[0])
    builder = (
        builder.sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # matches series without the label too: a single cluster needs no cluster label
    )
    return builder if variable.one else builder.current(VariableOption(True, ["All"], ["$__all"]))


def _annotation(annotation: Annotation) -> Any:
    from grafana_foundation_sdk.builders.dashboard import AnnotationQuery, AnnotationTarget
    from grafana_foundation_sdk.models.common import DataSourceRef

    marks = AnnotationQuery().name(annotation.name).enable(True).icon_color(annotation.colour)
    if annotation.tags:
        written: Any = AnnotationTarget().type("tags").tags(list(annotation.tags)).match_any(False).limit(500)
        return marks.datasource(DataSourceRef(type_val="grafana", uid="-- Grafana --")).target(written)
    return (
        marks.datasource(_datasource())
        .expr(annotation.expr)
        .title_format(annotation.title)
        .text_format(annotation.text)
        .step("30s")
    )


def _link(link: Link, kind: str, kept: list[str]) -> Any:
    """Grafana's own macros: the time, each variable as it stands, and the labels of the series or the columns of the row."""
    from grafana_foundation_sdk.builders.dashboard import DashboardLink

    of = "__data.fields" if kind == "table" else "__field.labels"
    choices = [f"var-{name}=${{{of}.{label}}}" for name, label in link.choices.items()]
    stays = [f"${{{name}:queryparam}}" for name in ("datasource", *kept) if name not in link.choices]
    return DashboardLink(link.title).url(f"/d/{link.uid}?{'&'.join((*choices, *stays, '${__url_time_range}'))}")


def _panel(panel: Panel, kept: list[str]) -> Any:
    from grafana_foundation_sdk.builders import prometheus
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    builder = {"timeseries": _timeseries, "stat": _stat, "states": _states, "table": _table}[panel.kind](panel)
    builder = (
        builder.title(panel.title)
        .description(panel.description)
        .datasource(_datasource())
        .no_value(panel.no_value)
        .span(panel.width)
        .height(panel.height)
    )
    if panel.kind != "table":
        builder.unit(_shown_as(panel.unit)[0])
    if panel.minimum is not None:
        builder.min(panel.minimum)
    if panel.maximum is not None:
        builder.max(panel.maximum)
    if panel.decimals is not None:
        builder.decimals(panel.decimals)
    if panel.links:
        builder.data_links([_link(link, panel.kind, kept) for link in panel.links])
    if panel.states:
        builder.mappings(_mappings(panel.states))
    _own(panel, builder)
    graph = panel.kind in ("timeseries", "states")
    if step := panel.step or (STEP if graph and all(_recorded(query.expr) for query in panel.queries) else ""):
        builder.interval(step)
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref).datasource(_datasource()).legend_format(query.legend)
        target.expr(_scaled(query.expr, query.unit or panel.unit))
        if panel.kind == "table":
            target.instant().format(PromQueryFormat.TABLE)
        elif panel.kind == "stat":
            target.instant()
        else:
            target.range()
        builder.with_target(target)
    return builder


_SHOWN_AS = {"joule": ("kwatth", 3_600_000), WH_PER_1000_TOKENS: ("watth", 3.6)}
"""Unit of a query -> (unit of its panel, how much of the first is one of the second)."""


def _shown_as(unit: str) -> tuple[str, float]:
    """Queries give joules; people compare energy with their bill, so panels show kWh."""
    return _SHOWN_AS.get(unit, (unit, 1.0))


def _scaled(expr: str, unit: str) -> str:
    factor = _shown_as(unit)[1]
    return expr if factor == 1 else f"({expr}) / {factor}"


def _recorded(expr: str) -> bool:
    """Whether it reads recorded series alone: these have a sample a minute, so that finer steps cost and show nothing."""
    return ":wattlens_" in expr and not re.search(r"(?<![:\w])wattlens_", expr)


def _own(panel: Panel, builder: Any) -> None:
    """Settings of single columns or figures."""
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        own = [DynamicConfigValue("unit", _shown_as(query.unit)[0])] if query.unit else []
        if query.states:
            own.append(DynamicConfigValue("mappings", _mappings(query.states)))
        if own:
            builder.override_by_name(query.legend, own)
        if not query.linked:
            builder.override_by_query(ref, [DynamicConfigValue("links")])  # without a value: Grafana adds lists to the default


def _mappings(states: Mapping[str, tuple[str, str]]) -> "list[ValueMapping]":
    from grafana_foundation_sdk.models.dashboard import DashboardRangeMapOptions, RangeMap, ValueMap, ValueMappingResult

    single = {value: state for value, state in states.items() if not value.endswith("+")}
    mappings: list[ValueMapping] = [
        ValueMap({value: ValueMappingResult(text, color, index=i) for i, (value, (text, color)) in enumerate(single.items())})
    ]
    for value, (text, color) in states.items():
        if value.endswith("+"):
            result = ValueMappingResult(text, color, index=len(states))
            mappings.append(RangeMap(DashboardRangeMapOptions(float(value[:-1]), None, result)))
    return mappings


def _timeseries(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, timeseries
    from grafana_foundation_sdk.models.common import (
        LegendDisplayMode,
        LegendPlacement,
        SortOrder,
        StackingMode,
        TooltipDisplayMode,
        VisibilityMode,
    )
    from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    dashed = {"fill": "dash", "dash": [6, 6]}
    graph = (
        timeseries.Panel()
        .legend(legend.show_legend(True).calcs(["mean", "max", "lastNotNull"]))
        .tooltip(tooltip)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)  # a lost reading is a hole, not a line over it
        .fill_opacity(30 if panel.stacked else 0)
        .line_width(1)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL if panel.stacked else StackingMode.NONE))
    )
    if panel.dashed:
        graph.override_by_regexp(f"/({'|'.join(panel.dashed)})$/", [DynamicConfigValue("custom.lineStyle", dashed)])
    for lower, upper in _bands(panel):
        area = [("fillBelowTo", lower), ("fillOpacity", 15), ("lineWidth", 0)]
        graph.override_by_name(upper, [DynamicConfigValue(f"custom.{name}", value) for name, value in area])
        graph.override_by_name(lower, [DynamicConfigValue("custom.lineWidth", 0)])
    return graph


def _bands(panel: Panel) -> list[tuple[str, str]]:
    """Legends of the ends of each band whose area Grafana can fill: it needs names that no label is part of."""
    legends = [query.legend for query in panel.queries]
    uppers = [legend for legend in legends if legend.endswith(BANDS["_upper"]) and "{{" not in legend]
    pairs = [(legend.removesuffix(BANDS["_upper"]) + BANDS["_lower"], legend) for legend in uppers]
    return [(lower, upper) for lower, upper in pairs if lower in legends]


def _stat(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, stat
    from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode, BigValueTextMode

    several = len(panel.queries) > 1 or any("{{" in query.legend for query in panel.queries)
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE if panel.states else BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if several else BigValueTextMode.VALUE)
    )


def _states(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import common, statetimeline
    from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode

    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    return statetimeline.Panel().show_value(VisibilityMode.ALWAYS).legend(legend.show_legend(True)).fill_opacity(70)


def _table(panel: Panel) -> Any:
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models.common import TableCellHeight
    from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

    values = {
        f"Value #{ref}" if len(panel.queries) > 1 else "Value": q.legend
        for ref, q in zip("ABCDEFGH", panel.queries, strict=False)
    }
    # Rows of labels: the value has no meaning. If only one of several queries has rows, Grafana names its values like those of
    # a single query.
    fact = [name for name, q in zip(values, panel.queries, strict=True) if panel.unit == "none" and not (q.unit or q.states)]
    facts = (*fact, *(["Value"] if len(fact) == len(values) else []))
    hidden = ("Time", "__name__", "uuid", "job", *facts)
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
        .override_by_field_type("number", [DynamicConfigValue("unit", _shown_as(panel.unit)[0])])
        .override_by_regexp("/^(reason|condition|part)$/", [DynamicConfigValue("custom.width", _SENTENCE * panel.width)])
        .override_by_name("alertname", [DynamicConfigValue("custom.width", 210)])  # the longest name
    )
