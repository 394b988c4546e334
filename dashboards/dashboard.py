"""Data model of a dashboard, independent of Grafana's schema: rows of panels, each with its queries and description."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Literal

from dashboards.rules.model import BANDS
from energy_agent.core import plugin
from energy_agent.core.catalogue.node import metric

Kind = Literal["timeseries", "stat", "states", "table"]
Scope = Literal["fleet", "node", "gpu", "workload", "site", "zone", "site_process", "job", "cluster"]

GPU = "{{instance}} GPU {{gpu}}"
RATE = "$__rate_interval"
RANGE = "$__range"
WH_PER_1000_TOKENS = "wh_per_1000_tokens"
"""Unit of a panel whose queries give J/token and that shows Wh per 1,000 tokens."""
BLUE, ORANGE, GREY, PURPLE = "#3274D9", "#FF9830", "#8E8E8E", "#8F3BB8"  # distinguishable with colour blindness

_NODE = ('cluster=~"$cluster"', 'job=~"$job"', 'instance=~"$instance"')
_SCOPES: dict[Scope, tuple[str, ...]] = {
    "node": _NODE,
    "gpu": (*_NODE, 'gpu=~"$gpu"'),
    "workload": (*_NODE, 'workload=~"$workload"'),
    "site": ('cluster=~"$cluster"', 'site=~"$site"'),  # one process per site: the site identifies the instance
    "zone": ('cluster=~"$cluster"', 'zone=~"$zone"'),
    "site_process": ('cluster=~"$cluster"',),  # of its sources, which do not have its site as a label
    "job": ('cluster=~"$cluster"', 'job=~"$job"'),
    "fleet": ('cluster=~"$cluster"', 'job=~"$job"', 'site=~"$site"'),
    "cluster": ('cluster=~"$cluster"',),  # what need not have another of the labels, such as an alert
}


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """A PromQL query; `legend` names its series with label templates.

    Args:
        unit, states: of its column in a table or its figure, where they are not the panel's.
        linked: False where its series lack the labels that the panel's links take, such as a limit: they lead nowhere.
    """

    expr: str
    legend: str
    unit: str = ""
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    linked: bool = True


def banded(expr: Callable[[str], str], name: str = "", *, column: str = "estimate", unit: str = "") -> tuple[PanelQuery, ...]:
    """A figure and the ends of its band.

    Args:
        expr: of the suffix of an end, "" for the figure.
        name: legend of the figure, which those of the ends begin with.
        column: legend of the figure where those of the ends stand alone, as in a table.
        unit: where it is not the panel's.
    """
    ends = {band: f"{name}, {text}" if name else text for band, text in BANDS.items()}
    return tuple(PanelQuery(expr(band), legend, unit) for band, legend in (ends | {"": name or column}).items())


@dataclass(frozen=True, slots=True)
class Link:
    """A link from a series or a table's row to another dashboard; it keeps the time range and all variables that it does not
    set.

    Args:
        title: what the target shows.
        uid: of the dashboard.
        choices: variable there -> label here whose value it takes.
    """

    title: str
    uid: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Args:
        description: what the panel shows, from which metric, how computed.
        unit: a Grafana unit id.
        states: value -> (text, colour), so that no state is shown by colour or number alone.
        stacked: the series are disjoint parts of a whole.
        no_value: text of an empty panel: the reason, never a reassuring blank.
        links: where its series or rows lead.
        dashed: legends that end so are drawn as dashed lines: limits and ends of bands.
        step: the finest step of a graph of thousands of series; "": every scrape, and of recorded series once a minute.
    """

    title: str
    description: str
    unit: str
    queries: tuple[PanelQuery, ...]
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    states: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stacked: bool = False
    no_value: str = "no data: not reported, not scraped, or just started"
    links: tuple[Link, ...] = ()
    dashed: tuple[str, ...] = ("limit", "maximum", "at least", "at most")
    step: str = ""


figure = partial(Panel, kind="stat", width=4, height=5, minimum=0)
"""A panel of single figures, six to a line."""
third = partial(Panel, width=8, minimum=0)
"""A graph of something that is never negative, three to a line."""
lights = partial(Panel, kind="states", width=8)
"""A panel of states over time, three to a line."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class DashboardRows:
    """Rows of a dashboard, defined as `SPEC` by a file in its folder `rows`.

    Args:
        places: place -> the row, or rows, at this place. Places of a dashboard are tens, which leaves room between them.
    """

    places: Mapping[int, Callable[[], PanelRow | tuple[PanelRow, ...]]]


def build_rows(folder: ModuleType, own: DashboardRows | None = None) -> tuple[PanelRow, ...]:
    """All rows of a dashboard in their order: those of the files in `folder`, and its own."""
    specs: list[DashboardRows] = [*plugin.discover(folder).values(), *([own] if own else [])]
    placed = sorted(((place, build) for spec in specs for place, build in spec.places.items()), key=lambda each: each[0])
    built = (build() for _, build in placed)
    return tuple(row for one in built for row in (one if isinstance(one, tuple) else (one,)))


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the head of the dashboard, anchored to a metric that has the label.

    Args:
        name: of the variable, and of the label whose values it offers.
        anchor: a selector of series with the label.
        values: text -> value of a choice that no metric offers, such as a price; with an anchor, the one to start with.
        one: starts with the first value instead of all of them.
        of: the label whose values it offers, where that is not its name.
    """

    name: str
    label: str
    anchor: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    one: bool = False
    of: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the graphs: at the instants at which a query has a value, or those that were written into Grafana itself.

    Args:
        expr: PromQL, above 0 where something happened.
        title, text: of it, with label templates.
        tags: instead of a query: all the tags of the marks that `wattlens dashboards annotate` wrote.
        colour: of the marks.
    """

    name: str
    expr: str = ""
    title: str = ""
    text: str = ""
    tags: tuple[str, ...] = ()
    colour: str = PURPLE


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard. `uid` is what links point to and never changes."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[PanelRow, ...]
    annotations: tuple[Annotation, ...] = ()

    def panels(self) -> Iterator[Panel]:
        """All panels."""
        return (panel for row in self.rows for panel in row.panels)


def series(name: str, *matchers: str, scope: Scope = "gpu") -> str:
    """Selector of a signal of the catalogue, narrowed by the dashboard's variables.

    Raises:
        LookupError: the catalogue exports no such signal.
    """
    return recorded(metric(name), *matchers, scope=scope)


def recorded(name: str, *matchers: str, scope: Scope = "workload") -> str:
    """Selector of a metric by its full name, narrowed by the dashboard's variables."""
    return f"{name}{{{','.join((*_SCOPES[scope], *matchers))}}}"


def increase(name: str, scope: Scope = "gpu", window: str = RANGE) -> str:
    """Increase of a counter over the selected range, or another window."""
    return f"increase({series(name, scope=scope)}[{window}])"


def gpu_power(scope: Scope = "gpu") -> str:
    """Power of each GPU: the average, or the instant reading of a GPU that reports no average."""
    return f"({' or '.join(_power(scope))})"


def busiest_power(most: int) -> str:
    """The same of the GPUs with the highest means of the selected range."""
    means = " or ".join(f"avg_over_time({selector}[{RANGE}] @ end())" for selector in _power("gpu"))
    return f"({gpu_power()} and topk({most}, {means}))"


def _power(scope: Scope) -> tuple[str, str]:
    return series("gpu_power_watts", scope=scope), series("gpu_power_instant_watts", scope=scope)


def busiest(selector: str, most: int = 16) -> str:
    """Of many series those with the highest means of the selected range, the same ones all along a graph."""
    return f"({selector} and topk({most}, avg_over_time({selector}[{RANGE}] @ end())))"


def node_choices(of: str = "build_info", *, one: bool = False) -> tuple[Variable, ...]:
    """cluster, job and instance, each narrowed by those before it.

    Args:
        of: the signal that the nodes to choose from have.
        one: starts with the first node.
    """
    anchor = metric(of)
    cluster, job, _ = _NODE
    return (
        Variable("cluster", "Cluster", anchor),
        Variable("job", "Job", f"{anchor}{{{cluster}}}"),
        Variable("instance", "Node", f"{anchor}{{{cluster},{job}}}", one=one),
    )


def gpu_choices() -> tuple[Variable, ...]:
    """Gpu and workload, narrowed by the choices of nodes."""
    cluster, job, instance = _NODE
    return (
        Variable("gpu", "GPU", f"{metric('gpu_up')}{{{cluster},{job},{instance}}}"),
        Variable("workload", "Workload", f"{metric('workload_energy_joules_total')}{{{cluster},{job},{instance}}}"),
    )
