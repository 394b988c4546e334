"""The linter of the built dashboards: what Grafana's own dashboard-linter asks for, and what ours have to keep beyond it.

The rules that have a name ending in `-rule` are those of github.com/grafana/dashboard-linter by what its documentation says of
each; that tool is a Go program and is not used. The others are ours. A rule is a function over the JSON of one dashboard;
exclusions, each with its reason, are in `lint_exclusions`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards import classic
from dashboards.lint import queries
from dashboards.lint.queries import Json, panels, targets

SOURCE = "${datasource}"
_UID = re.compile(r"wattlens-[a-z]+(-[a-z]+)*")
_FIXED_AFFIX = re.compile(r"(suffix|prefix|currency):\S.*")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule does not like: `where` is a panel's title or a variable's name, "" for the dashboard itself."""

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

    def covers(self, finding: Finding) -> bool:
        """Whether it is about that finding."""
        return self.rule == finding.rule and self.uid in ("", finding.uid) and (not self.where or self.where == finding.where)


Found = Iterator[tuple[str, str]]
Rule = Callable[[Json], Found]


def _variables(board: Json, kind: str = "") -> Iterator[Json]:
    return (each for each in board.get("templating", {}).get("list", ()) if kind in ("", each.get("type")))


def template_datasource(board: Json) -> Found:
    """The data source is a variable; without a value of its own, as one that is fixed is unknown to most Grafanas."""
    sources = list(_variables(board, "datasource"))
    if [(each["name"], each.get("query")) for each in sources] != [("datasource", "prometheus")]:
        yield "", "there is not one variable 'datasource' of Prometheus"
    for each in sources:
        if each.get("current"):
            yield each["name"], "it has a current value, which another Grafana does not know"


def _template(board: Json, name: str) -> Found:
    found = [each for each in _variables(board, "query") if each["name"] == name]
    if not found:
        yield "", f"there is no variable '{name}'"
    for each in found:
        if not (each.get("multi") and each.get("includeAll")):
            yield name, "several values, and all of them, cannot be chosen"
        if each.get("allValue") != ".*":
            yield name, "all of them is not '.*'"


def template_job(board: Json) -> Found:
    """`job` can be chosen."""
    return _template(board, "job")


def template_instance(board: Json) -> Found:
    """`instance` can be chosen."""
    return _template(board, "instance")


def template_source(board: Json) -> Found:
    """Variables ask the data source that is chosen."""
    for each in _variables(board, "query"):
        if each.get("datasource", {}).get("uid") != SOURCE:
            yield each["name"], f"its data source is not {SOURCE}"


def template_on_time_change_reload(board: Json) -> Found:
    """Choices are those of the time that is shown."""
    for each in _variables(board, "query"):
        if each.get("refresh") != 2:
            yield each["name"], "it is not asked again when the time changes"


def template_used(board: Json) -> Found:
    """What is chosen does something, and what is used can be chosen."""
    declared = {each["name"] for each in _variables(board)}
    text = repr([board.get("panels"), board.get("annotations"), [each.get("query") for each in _variables(board)]])
    used = {a or b for a, b in re.findall(r"\$(?:\{(\w+)|(\w+))", text)}
    for name in sorted(declared - used):
        yield name, "no query uses this variable"
    for name in sorted(used - declared):
        if not name.startswith("__") and not name.isdigit():  # $1 is a group of label_replace
            yield "", f"there is no variable '{name}', which is used"


def uneditable(board: Json) -> Found:
    """A change in the browser would be lost with the next release."""
    if board.get("editable") is not False:
        yield "", "it is editable"


def stable_uid(board: Json) -> Found:
    """Links and bookmarks lead to it by its uid."""
    if not _UID.fullmatch(str(board.get("uid", ""))) or len(board["uid"]) > 40:
        yield "", "its uid is not wattlens-NAME of at most 40 characters"


def explained(board: Json) -> Found:
    """Title, description and the tag by which dashboards find each other."""
    for key in ("title", "description"):
        if not board.get(key):
            yield "", f"it has no {key}"
    if "wattlens" not in board.get("tags", ()):
        yield "", "it has no tag 'wattlens'"


def refresh(board: Json) -> Found:
    """Not more often than Prometheus scrapes: at least every 10 s apart."""
    found = re.fullmatch(r"(\d+)([smh])", str(board.get("refresh", "")))
    if not found or int(found[1]) * _SECONDS[found[2]] < 10:
        yield "", "it does not refresh, or more often than every 10 s"


def unique_ids(board: Json) -> Found:
    """Links and annotations name a panel by its id."""
    seen: set[Any] = set()
    for panel in board.get("panels", ()):
        if not isinstance(panel.get("id"), int) or panel["id"] in seen:
            yield panel.get("title", ""), f"its id {panel.get('id')!r} is missing or taken"
        seen.add(panel.get("id"))


def unique_titles(board: Json) -> Found:
    """A panel is spoken of by its title."""
    seen: set[str] = set()
    for panel in panels(board):
        title = panel.get("title", "")
        if title in seen:
            yield title, "another panel has the same title"
        seen.add(title)


def panel_datasource(board: Json) -> Found:
    """Every panel and each of its queries asks the data source that is chosen."""
    for panel in panels(board):
        asked = [panel, *panel.get("targets", ())]
        if any((each.get("datasource") or {}).get("uid") != SOURCE for each in asked):
            yield panel.get("title", ""), f"its data source is not {SOURCE}"


def panel_title_description(board: Json) -> Found:
    """Every panel says what it is and how it is computed, as text: a template would be shown as it is."""
    for panel in panels(board):
        for key in ("title", "description"):
            if not str(panel.get(key, "")).strip():
                yield panel.get("title", ""), f"it has no {key}"


def panel_units(board: Json) -> Found:
    """Units are ids that Grafana knows; `suffix:` takes no space, as Grafana puts one in."""
    known = classic.units()
    for panel in panels(board):
        config = panel.get("fieldConfig", {})
        named = [config.get("defaults", {}).get("unit")] if "unit" in config.get("defaults", {}) else []
        named += [p["value"] for o in config.get("overrides", ()) for p in o["properties"] if p["id"] == "unit"]
        if not named and panel["type"] != "table":
            yield panel.get("title", ""), "it has no unit"
        for unit in named:
            if unit not in known and not _FIXED_AFFIX.fullmatch(str(unit)):
                yield panel.get("title", ""), f"Grafana knows no unit {unit!r}"


def panel_no_targets(board: Json) -> Found:
    """Every panel asks something."""
    for panel in panels(board):
        if not panel.get("targets"):
            yield panel.get("title", ""), "it has no query"


def panel_no_value(board: Json) -> Found:
    """An empty panel says what is known."""
    for panel in panels(board):
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("noValue"):
            yield panel.get("title", ""), "it says nothing when it is empty"


def legends(board: Json) -> Found:
    """Every query of a graph names its series, and no two alike."""
    for panel, group in targets(board):
        named = [target.get("legendFormat") for target in group]
        if panel["type"] != "table" and (not all(named) or len(set(named)) < len(named)):
            yield panel.get("title", ""), "a query has no legend, or that of another"


def links(board: Json) -> Found:
    """Whoever follows a link finds the same time there, and the same choices."""
    if not board.get("links"):
        yield "", "it leads to no other dashboard"
    for each in board.get("links", ()):
        if not (each.get("keepTime") and each.get("includeVars")):
            yield "", f"its link {each.get('title')!r} does not keep time and choices"
    for panel in panels(board):
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", ()):
            url = str(link.get("url", ""))
            kept = "${__url_time_range}" in url and "${datasource:queryparam}" in url
            if not url.startswith("https://") and not (url.startswith("/d/wattlens-") and kept):
                yield panel.get("title", ""), f"its link {link.get('title')!r} loses time or data source"


def unbroken_lines(board: Json) -> Found:
    """No gap before a panel: at its left is another one, or the edge."""
    boxes = [(panel["gridPos"], panel.get("title", "")) for panel in panels(board) if "gridPos" in panel]
    for at, title in boxes:
        left, top = at["x"] - 1, at["y"]
        beside = (o for o, _ in boxes if o["x"] <= left < o["x"] + o["w"] and o["y"] <= top < o["y"] + o["h"])
        if left >= 0 and not any(beside):
            yield title, "there is a gap at its left"


RULES: dict[str, Rule] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": template_job,
    "template-instance-rule": template_instance,
    "template-label-promql-rule": queries.template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "template-source": template_source,
    "template-used": template_used,
    "uneditable-dashboard": uneditable,
    "stable-uid": stable_uid,
    "dashboard-explained": explained,
    "dashboard-refresh": refresh,
    "unique-ids": unique_ids,
    "unique-titles": unique_titles,
    "unbroken-lines": unbroken_lines,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "panel-no-value": panel_no_value,
    "target-promql-rule": queries.target_promql,
    "target-rate-interval-rule": queries.target_rate_interval,
    "target-job-rule": queries.target_job,
    "target-instance-rule": queries.target_instance,
    "target-cluster": queries.target_cluster,
    "target-counter-agg-rule": queries.target_counter_agg,
    "target-histogram-rule": queries.target_histogram,
    "target-legend": legends,
    "links": links,
}


def lint(board: Json) -> list[Finding]:
    """What the rules find in a dashboard, exclusions aside."""
    uid = str(board.get("uid", ""))
    return [Finding(name, uid, where, message) for name, rule in RULES.items() for where, message in rule(board)]


def problems(boards: Sequence[Json], exclusions: Sequence[Exclusion]) -> Iterator[str]:
    """What is wrong, a line each; an exclusion that excludes nothing is wrong as well."""
    found = [finding for board in boards for finding in lint(board)]
    yield from (str(each) for each in found if not any(exclusion.covers(each) for exclusion in exclusions))
    for exclusion in exclusions:
        if not any(exclusion.covers(each) for each in found):
            yield f"dashboards/lint/exclusions.py: {exclusion.rule} {exclusion.uid} {exclusion.where}: excludes nothing"
