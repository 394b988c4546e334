"""The linter of dashboards: each of its rules fires on a board that breaks it, and on none that keeps it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.classic import units
from dashboards.lint.exclusions import EXCLUSIONS
from dashboards.lint.lint import RULES, Exclusion, lint, problems
from tests.dashboards.render.committed import committed
from tests.support import need_module

Json = dict[str, Any]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NARROW = 'cluster=~"$cluster",job=~"$job",instance=~"$instance"'


@pytest.fixture(autouse=True, scope="module")
def _build_tools() -> None:
    need_module("grafana_foundation_sdk")
    need_module("promql_parser")


def variable(name: str) -> Json:
    return {"type": "query", "name": name, "query": f"label_values(up{{a=\"b\"}}, {name})", "datasource": SOURCE, "multi": True,
            "includeAll": True, "allValue": ".*", "refresh": 2}  # fmt: skip


def target(expr: str, **more: Any) -> Json:
    return {"expr": expr, "datasource": SOURCE, "legendFormat": "{{instance}}", "range": True} | more


def good() -> Json:
    """A dashboard that keeps every rule."""
    link = {"title": "GPUs", "url": "/d/wattlens-gpu?${datasource:queryparam}&${__url_time_range}"}
    defaults = {"unit": "watt", "noValue": "not reported", "links": [link]}
    panel = {
        "id": 2,
        "type": "timeseries",
        "title": "Power",
        "description": "What GPUs draw.",
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [target(f"rate(joules_total{{{NARROW}}}[$__rate_interval])")],
    }
    return {
        "uid": "wattlens-x",
        "title": "X",
        "description": "Y.",
        "tags": ["wattlens"],
        "editable": False,
        "refresh": "30s",
        "links": [{"title": "Wattlens", "keepTime": True, "includeVars": True}],
        "templating": {
            "list": [
                {"type": "datasource", "name": "datasource", "query": "prometheus"},
                *(variable(name) for name in ("cluster", "job", "instance")),
            ]
        },
        "panels": [{"id": 1, "type": "row", "title": "Row"}, panel],
    }


def panel_of(board: Json) -> Json:
    found: Json = board["panels"][1]
    return found


def asks(expr: str, **more: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board).update(targets=[target(expr.replace("NARROW", NARROW), **more)])


def chooses(name: str, **changed: Any) -> Callable[[Json], None]:
    def change(board: Json) -> None:
        (found,) = [each for each in board["templating"]["list"] if each["name"] == name]
        found.update(changed)

    return change


def without(name: str) -> Callable[[Json], None]:
    def change(board: Json) -> None:
        kept = [each for each in board["templating"]["list"] if each["name"] != name]
        board["templating"]["list"] = kept

    return change


def sets(**changed: Any) -> Callable[[Json], None]:
    return lambda board: board.update(changed)


def panel_sets(**changed: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board).update(changed)


def defaults_set(**changed: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board)["fieldConfig"]["defaults"].update(changed)


def add_panel(**changed: Any) -> Callable[[Json], None]:
    return lambda board: board["panels"].append(copy.deepcopy(panel_of(board)) | changed)


FAULTS: list[tuple[str, Callable[[Json], None]]] = [
    ("template-datasource-rule", without("datasource")),
    ("template-datasource-rule", chooses("datasource", current={"text": "Prom", "value": "abc"})),
    ("template-datasource-rule", chooses("datasource", query="loki")),
    ("template-job-rule", without("job")),
    ("template-job-rule", chooses("job", multi=False)),
    ("template-instance-rule", without("instance")),
    ("template-instance-rule", chooses("instance", allValue=None)),
    ("template-label-promql-rule", chooses("job", query="label_values(job)")),
    ("template-label-promql-rule", chooses("job", query="label_values(up{, job)")),
    ("template-label-promql-rule", chooses("job", query="label_values(sum(up), job)")),
    ("template-on-time-change-reload-rule", chooses("job", refresh=1)),
    ("template-source", chooses("job", datasource={"type": "prometheus", "uid": "abc"})),
    ("template-used", lambda board: board["templating"]["list"].append(variable("gpu"))),
    ("template-used", asks('x{NARROW,model=~"$model"}')),
    ("uneditable-dashboard", sets(editable=True)),
    ("stable-uid", sets(uid="aB3x9")),
    ("stable-uid", sets(uid="wattlens-" + "a" * 32)),
    ("dashboard-explained", sets(description="")),
    ("dashboard-explained", sets(tags=[])),
    ("dashboard-refresh", sets(refresh="5s")),
    ("dashboard-refresh", sets(refresh="")),
    ("unique-ids", add_panel(title="Other")),
    ("unique-titles", add_panel(id=3)),
    ("unbroken-lines", panel_sets(gridPos={"x": 8, "y": 1, "w": 8, "h": 8})),
    ("panel-datasource-rule", panel_sets(datasource={"type": "prometheus", "uid": "abc"})),
    ("panel-datasource-rule", asks("x{NARROW}", datasource=None)),
    ("panel-title-description-rule", panel_sets(description=" ")),
    ("panel-title-description-rule", panel_sets(title="")),
    ("panel-units-rule", defaults_set(unit="watts")),
    ("panel-units-rule", defaults_set(unit="suffix: J/token")),
    ("panel-units-rule", panel_sets(fieldConfig={"defaults": {"noValue": "none"}})),
    (
        "panel-units-rule",
        lambda board: panel_of(board)["fieldConfig"]["overrides"].append({"properties": [{"id": "unit", "value": "W"}]}),
    ),
    ("panel-no-targets-rule", panel_sets(targets=[])),
    ("panel-no-value", defaults_set(noValue="")),
    ("target-promql-rule", asks("sum(")),
    ("target-rate-interval-rule", asks("rate(joules_total{NARROW}[5m])")),
    ("target-rate-interval-rule", asks("increase(joules_total{NARROW}[$__range])")),
    ("target-rate-interval-rule", asks("max_over_time(x{NARROW}[$__interval])")),
    ("target-job-rule", asks('x{cluster=~"$cluster",instance=~"$instance"}')),
    ("target-job-rule", asks('a{NARROW} / b{cluster=~"$cluster",instance=~"$instance",job="x"}')),
    ("target-instance-rule", asks('x{cluster=~"$cluster",job=~"$job"}')),
    ("target-cluster", asks('x{job=~"$job",instance=~"$instance"}')),
    ("target-counter-agg-rule", asks("sum(joules_total{NARROW})")),
    ("target-counter-agg-rule", asks("max_over_time(joules_total{NARROW}[$__rate_interval])")),
    ("target-histogram-rule", asks("rate(x_bucket{NARROW}[$__rate_interval])")),
    ("target-legend", asks("x{NARROW}", legendFormat="")),
    ("target-legend", lambda board: panel_of(board)["targets"].append(target(f"x{{{NARROW}}}"))),
    ("links", sets(links=[])),
    ("links", sets(links=[{"title": "Wattlens", "keepTime": True, "includeVars": False}])),
    ("links", defaults_set(links=[{"title": "GPUs", "url": "/d/wattlens-gpu"}])),
    ("links", defaults_set(links=[{"title": "GPUs", "url": "/d/other?${datasource:queryparam}&${__url_time_range}"}])),
]


def limited(board: Json) -> None:
    """A number that is chosen."""
    board["templating"]["list"].append({"type": "custom", "name": "limit", "query": "1", "current": {"value": "1"}})
    asks("x{NARROW} > $limit")(board)


KEPT = [
    asks("increase(joules_total{NARROW}[$__range])", instant=True),
    asks("topk(3, increase(joules_total{NARROW}[$__range] @ end()))"),
    asks("histogram_quantile(0.9, sum by (le) (rate(x_bucket{NARROW}[$__rate_interval])))"),
    asks('rate(x_bucket{NARROW,le="0.1"}[$__rate_interval])'),
    asks('label_replace(x{NARROW}, "a", "$1", "b", "(.*)")'),
    defaults_set(unit="suffix:J/token"),
    defaults_set(links=[{"title": "Runbook", "url": "https://example.com/x"}]),
    limited,
]


@pytest.mark.parametrize(("rule", "change"), [pytest.param(*fault, id=f"{n}-{fault[0]}") for n, fault in enumerate(FAULTS)])
def test_a_rule_fires_on_what_breaks_it(rule: str, change: Callable[[Json], None]) -> None:
    board = good()
    change(board)
    assert rule in {finding.rule for finding in lint(board)}


@pytest.mark.parametrize("change", KEPT)
def test_what_keeps_the_rules_is_left_alone(change: Callable[[Json], None]) -> None:
    board = good()
    change(board)
    assert lint(board) == []


def test_a_good_dashboard_has_no_finding() -> None:
    assert lint(good()) == []


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} == set(RULES)


def test_the_committed_dashboards_keep_the_rules() -> None:
    assert list(problems(committed(), EXCLUSIONS)) == []


def test_exclusions_say_why_and_one_that_excludes_nothing_is_told() -> None:
    assert all(len(exclusion.reason) > 20 for exclusion in EXCLUSIONS)
    board = good()
    board["refresh"] = "5s"
    here, there = (Exclusion("dashboard-refresh", "a wall is read every second", uid) for uid in ("wattlens-x", "wattlens-y"))
    assert list(problems([board], [here])) == []
    left = list(problems([board], [there]))
    assert [line.split(":")[0] for line in left] == ["dashboards/grafana/wattlens-x.json", "dashboards/lint/exclusions.py"]
    panel = Exclusion("panel-no-value", "its queries always have an answer", "wattlens-x", "Other")
    panel_of(board)["fieldConfig"]["defaults"]["noValue"] = ""
    assert len(list(problems([board], [here, panel]))) == 2


def test_units_are_grafanas() -> None:
    assert {"watt", "joule", "percentunit", "hertz", "celsius", "Bps", "short", "none"} <= units()
    assert "watts" not in units()
