"""The linter of the built dashboards: errors of a row that no other check finds.

Properties that the builder sets for every dashboard, such as data source and tags, are written once and not checked here. Rules
with a name ending in `-rule` follow the documentation of github.com/grafana/dashboard-linter; that tool is a Go program and is
not used. The other rules are our own. A rule is a function over the JSON of one dashboard.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

from dashboards.panels import units

Json = dict[str, Any]
Found = Iterator[tuple[str, str]]

_VARIABLE = re.compile(r"\$(?:\{([a-z_]\w*)[^}]*\}|([a-z_]\w*))")
_RATE, _RANGE = (timedelta(seconds=seconds) for seconds in (8_869, 8_867))
_DURATIONS = {"__rate_interval": "8869s", "__range": "8867s"}
"""Durations that no query contains, as recognisable stand-ins for Grafana's own variables in a parsed query."""
_GROWING = ("rate", "irate", "increase")


def open_rows(board: Json) -> Json:
    """The same dashboard with every row open, as after a click on each: a collapsed row holds its panels itself."""
    opened = []
    for panel in board["panels"]:
        if panel["type"] == "row":
            opened += [panel | {"collapsed": False, "panels": []}, *panel.get("panels", ())]
        else:
            opened.append(panel)
    return board | {"panels": opened}


def panels(dashboard: Json) -> list[Json]:
    """Panels of a dashboard, without its rows."""
    return [panel for panel in open_rows(dashboard)["panels"] if panel["type"] != "row"]


def selected_values(dashboard: Json) -> dict[str, str]:
    """Variable -> value of the choices of one value, such as a price, which stand for numbers."""
    values = {each["name"]: each.get("current", {}).get("value") for each in dashboard["templating"]["list"]}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def substituted(expr: str, values: Mapping[str, str]) -> str:
    """A query as Grafana would send it, with these values of variables and `.*` for the others."""
    return _VARIABLE.sub(lambda variable: values.get(variable[1] or variable[2], ".*"), expr)


def parsed(expr: str, values: Mapping[str, str]) -> Any:
    """The tree of a query with these values of variables.

    Raises:
        ValueError: it is no PromQL.
    """
    return _tree(substituted(expr, {**_DURATIONS, **values}))


@lru_cache(4_096)  # each rule of the linter parses every query
def _tree(query: str) -> Any:
    import promql_parser

    return promql_parser.parse(query)


def nodes(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every node of a tree with those above it, the next one last."""
    yield node, above
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")]
    for child in (*inner, *getattr(node, "args", ())):
        if child is not None:
            yield from nodes(child, (*above, node))


def _name(node: Any) -> str:
    return type(node).__name__


def _queries(dashboard: Json) -> Iterator[tuple[Json, Json, list[tuple[Any, tuple[Any, ...]]]]]:
    """Panel, target and the nodes of each query that parses; another rule reports those that do not."""
    values = selected_values(dashboard)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            try:
                yield panel, target, list(nodes(parsed(target["expr"], values)))
            except ValueError:
                continue


def target_rate_interval(dashboard: Json) -> Found:
    """Rates go over $__rate_interval, which fits steps and scrapes; figures and what ranks series (@ end()) over $__range."""
    for panel, target, tree in _queries(dashboard):
        for node, above in tree:
            if _name(node) == "MatrixSelector" and above and _name(above[-1]) == "Call":
                of_whole = target.get("instant") or node.vector_selector.at is not None
                over = (_RANGE, _RATE) if of_whole else (_RATE,)
                if above[-1].func.name in _GROWING and node.range not in over:
                    yield panel["title"], f"{above[-1].func.name} over a fixed range: {target['expr']}"


def target_narrowed(dashboard: Json, label: str) -> Found:
    """Every selector is narrowed by the value of a label that is chosen."""
    for panel, target, tree in _queries(dashboard):
        for node, _ in tree:
            if _name(node) != "VectorSelector":
                continue
            if not any(m.name == label and str(m.op).endswith("Re") and m.value == ".*" for m in node.matchers.matchers):
                yield panel["title"], f'no {label}=~"${label}" in {node.name}: {target["expr"]}'
                break


def target_histogram(dashboard: Json) -> Found:
    """Buckets are shown as quantiles or as shares under a limit, a bucket's `le` being chosen."""
    for panel, target, tree in _queries(dashboard):
        for node, above in tree:
            if _name(node) != "VectorSelector" or not str(node.name or "").endswith("_bucket"):
                continue
            quantile = any(_name(each) == "Call" and each.func.name == "histogram_quantile" for each in above)
            if not quantile and not any(matcher.name == "le" for matcher in node.matchers.matchers):
                yield panel["title"], f"{node.name} is used without histogram_quantile and without le: {target['expr']}"
                break


_FIXED_AFFIX = re.compile(r"(suffix|prefix|currency):\S.*")


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A violation of a rule: `where` is a panel's title or a variable's name, "" for the dashboard itself."""

    rule: str
    uid: str
    where: str
    message: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"dashboards/grafana/{self.uid}.json: {place}{self.message} [{self.rule}]"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A rule that does not hold at a place; `where` "" is the whole dashboard, `uid` "" every dashboard."""

    rule: str
    reason: str
    uid: str = ""
    where: str = ""

    def covers(self, finding: LintFinding) -> bool:
        """Whether it is about that finding."""
        return self.rule == finding.rule and self.uid in ("", finding.uid) and (not self.where or self.where == finding.where)


Rule = Callable[[Json], Found]


def template_used(dashboard: Json) -> Found:
    """Every variable is used, and every used variable exists."""
    variables = dashboard["templating"]["list"]
    declared = {each["name"] for each in variables}
    text = repr([dashboard["panels"], dashboard.get("annotations"), [each.get("query") for each in variables]])
    used = {a or b for a, b in re.findall(r"\$(?:\{(\w+)|(\w+))", text)}
    for name in sorted(declared - used):
        yield name, "no query uses this variable"
    for name in sorted(used - declared):
        if not name.startswith("__") and not name.isdigit():  # $1 is a group of label_replace
            yield "", f"variable '{name}' is used but not defined"


def unique_titles(dashboard: Json) -> Found:
    """A panel is spoken of by its title."""
    titles = [panel["title"] for panel in panels(dashboard)]
    yield from ((title, "another panel has the same title") for title in sorted({t for t in titles if titles.count(t) > 1}))


def panel_units(dashboard: Json) -> Found:
    """Units are ids that Grafana knows; `suffix:` takes no space, as Grafana puts one in."""
    unit_ids = units()
    for panel in panels(dashboard):
        config = panel["fieldConfig"]
        named = [config["defaults"]["unit"]] if "unit" in config["defaults"] else []
        named += [p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "unit"]
        if not named and panel["type"] != "table":
            yield panel["title"], "the panel has no unit"
        for unit in named:
            if unit not in unit_ids and not _FIXED_AFFIX.fullmatch(str(unit)):
                yield panel["title"], f"Grafana does not know the unit {unit!r}"


def unbroken_lines(dashboard: Json) -> Found:
    """No gap before a panel: at its left is another one, or the edge."""
    boxes = [(panel["gridPos"], panel["title"]) for panel in panels(dashboard) if "gridPos" in panel]
    for at, title in boxes:
        left_x, top = at["x"] - 1, at["y"]
        beside = (o for o, _ in boxes if o["x"] <= left_x < o["x"] + o["w"] and o["y"] <= top < o["y"] + o["h"])
        if left_x >= 0 and not any(beside):
            yield title, "there is a gap to the left of the panel"


RULES: dict[str, Rule] = {
    "template-used": template_used,
    "unique-titles": unique_titles,
    "unbroken-lines": unbroken_lines,
    "panel-units-rule": panel_units,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": partial(target_narrowed, label="job"),
    "target-instance-rule": partial(target_narrowed, label="instance"),
    "target-histogram-rule": target_histogram,
}


_OF_SITES = "it shows sites, with one process per site: `site` is selected instead"
_OF_MODELS = "a rule aggregated over all nodes that serve a model"
_OF_PROMETHEUS = "a metric of Prometheus itself, which has its own job and instance"

EXCLUSIONS = (
    Exclusion("target-job-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", _OF_SITES, "wattlens-facility"),
    Exclusion("target-instance-rule", "a fleet has too many nodes to select from; links lead to each node", "wattlens-fleet"),
    Exclusion(
        "target-job-rule", "some of its rules describe a site's energy and have the job of the site process", "wattlens-fleet"
    ),
    Exclusion("target-instance-rule", "a run spans several nodes and is selected by its workloads", "wattlens-training"),
    *(
        Exclusion("target-instance-rule", _OF_MODELS, "wattlens-inference", panel)
        for panel in (
            "Energy per request by model, mean",
            "Median energy per request by model",
            "95th percentile of energy per request by model",
        )
    ),
    Exclusion("target-job-rule", "alerts have the job label of their subject, or none", "wattlens-stack", "Firing alerts"),
    Exclusion("target-instance-rule", "a fleet-wide alert has no instance", "wattlens-stack", "Firing alerts"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Rule evaluation duration"),
    Exclusion("target-job-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion("target-instance-rule", _OF_PROMETHEUS, "wattlens-stack", "Failed rule evaluations"),
    Exclusion(
        "target-instance-rule",
        "a rule aggregated over the nodes of a site, for fleets of 100,000 GPUs",
        "wattlens-stack",
        "Power by measurement method",
    ),
)
"""Where the rules do not hold, and why. An exclusion that excludes nothing is a finding itself."""


def lint(dashboard: Json) -> list[LintFinding]:
    """Findings of the rules in a dashboard, before exclusions."""
    uid = dashboard["uid"]
    return [LintFinding(name, uid, where, message) for name, rule in RULES.items() for where, message in rule(dashboard)]


def problems(dashboards: Sequence[Json], exclusions: Sequence[Exclusion]) -> Iterator[str]:
    """Errors, one line each; an exclusion without effect is an error too."""
    findings = [finding for dashboard in dashboards for finding in lint(dashboard)]
    yield from (str(each) for each in findings if not any(exclusion.covers(each) for exclusion in exclusions))
    for exclusion in exclusions:
        if not any(exclusion.covers(each) for each in findings):
            yield f"dashboards/build/lint.py: {exclusion.rule} {exclusion.uid} {exclusion.where}: excludes nothing"
