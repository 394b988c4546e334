"""The linter of the built dashboards: errors of a row that no other check finds.

Properties that the builder sets for every dashboard, such as data source and tags, are written once and not checked here. Rules
with a name ending in `-rule` follow the documentation of github.com/grafana/dashboard-linter; that tool is a Go program and is
not used. The other rules are our own. A rule is a function over the JSON of one dashboard; exclusions, each with its reason,
are in `exclusions`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dashboards.lint import queries
from dashboards.lint.queries import Found, Json, panels
from dashboards.panels import units

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
    known = units()
    for panel in panels(dashboard):
        config = panel["fieldConfig"]
        named = [config["defaults"]["unit"]] if "unit" in config["defaults"] else []
        named += [p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "unit"]
        if not named and panel["type"] != "table":
            yield panel["title"], "the panel has no unit"
        for unit in named:
            if unit not in known and not _FIXED_AFFIX.fullmatch(str(unit)):
                yield panel["title"], f"Grafana does not know the unit {unit!r}"


def unbroken_lines(dashboard: Json) -> Found:
    """No gap before a panel: at its left is another one, or the edge."""
    boxes = [(panel["gridPos"], panel["title"]) for panel in panels(dashboard) if "gridPos" in panel]
    for at, title in boxes:
        left, top = at["x"] - 1, at["y"]
        beside = (o for o, _ in boxes if o["x"] <= left < o["x"] + o["w"] and o["y"] <= top < o["y"] + o["h"])
        if left >= 0 and not any(beside):
            yield title, "there is a gap to the left of the panel"


RULES: dict[str, Rule] = {
    "template-used": template_used,
    "unique-titles": unique_titles,
    "unbroken-lines": unbroken_lines,
    "panel-units-rule": panel_units,
    "target-rate-interval-rule": queries.target_rate_interval,
    "target-job-rule": partial(queries.target_narrowed, label="job"),
    "target-instance-rule": partial(queries.target_narrowed, label="instance"),
    "target-histogram-rule": queries.target_histogram,
}


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
            yield f"dashboards/lint/exclusions.py: {exclusion.rule} {exclusion.uid} {exclusion.where}: excludes nothing"
