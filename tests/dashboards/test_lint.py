"""The linter of dashboards: each of its rules fires on a board that breaks it, and on none that keeps it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.build.lint import RULES, Exclusion, lint, problems
from dashboards.panels import units
from tests.support import need_module

Json = dict[str, Any]
NARROW = 'cluster=~"$cluster",job=~"$job",instance=~"$instance"'


@pytest.fixture(autouse=True, scope="module")
def _build_tools() -> None:
    need_module("grafana_foundation_sdk")
    need_module("promql_parser")


def variable(name: str) -> Json:
    return {"type": "query", "name": name, "query": f'label_values(up{{a="b"}}, {name})'}


def target(expr: str, **more: Any) -> Json:
    return {"expr": expr} | more


def good() -> Json:
    """A dashboard that keeps every rule."""
    panel = {
        "type": "timeseries",
        "title": "Power",
        "fieldConfig": {"defaults": {"unit": "watt"}, "overrides": []},
        "targets": [target(f"rate(joules_total{{{NARROW}}}[$__rate_interval])")],
    }
    return {
        "uid": "wattlens-x",
        "templating": {"list": [variable(name) for name in ("cluster", "job", "instance")]},
        "panels": [{"type": "row", "title": "Row"}, panel],
    }


def panel_of(board: Json) -> Json:
    panel: Json = board["panels"][1]
    return panel


def asks(expr: str, **more: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board).update(targets=[target(expr.replace("NARROW", NARROW), **more)])


def panel_sets(**changed: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board).update(changed)


def defaults_set(**changed: Any) -> Callable[[Json], None]:
    return lambda board: panel_of(board)["fieldConfig"]["defaults"].update(changed)


def add_panel(**changed: Any) -> Callable[[Json], None]:
    return lambda board: board["panels"].append(copy.deepcopy(panel_of(board)) | changed)


FAULTS: list[tuple[str, Callable[[Json], None]]] = [
    ("template-used", lambda board: board["templating"]["list"].append(variable("gpu"))),
    ("template-used", asks('x{NARROW,model=~"$model"}')),
    ("unique-titles", add_panel()),
    ("unbroken-lines", panel_sets(gridPos={"x": 8, "y": 1, "w": 8, "h": 8})),
    ("panel-units-rule", defaults_set(unit="watts")),
    ("panel-units-rule", defaults_set(unit="suffix: J/token")),
    ("panel-units-rule", panel_sets(fieldConfig={"defaults": {}, "overrides": []})),
    (
        "panel-units-rule",
        lambda board: panel_of(board)["fieldConfig"]["overrides"].append({"properties": [{"id": "unit", "value": "W"}]}),
    ),
    ("target-rate-interval-rule", asks("rate(joules_total{NARROW}[5m])")),
    ("target-rate-interval-rule", asks("increase(joules_total{NARROW}[$__range])")),
    ("target-job-rule", asks('x{cluster=~"$cluster",instance=~"$instance"}')),
    ("target-job-rule", asks('a{NARROW} / b{cluster=~"$cluster",instance=~"$instance",job="x"}')),
    ("target-instance-rule", asks('x{cluster=~"$cluster",job=~"$job"}')),
    ("target-histogram-rule", asks("rate(x_bucket{NARROW}[$__rate_interval])")),
]


def limited(board: Json) -> None:
    """A number that is chosen."""
    board["templating"]["list"].append({"type": "custom", "name": "limit", "query": "1", "current": {"value": "1"}})
    asks("x{NARROW} > $limit")(board)


KEPT: list[Callable[[Json], None]] = [
    lambda board: None,
    asks("increase(joules_total{NARROW}[$__range])", instant=True),
    asks("topk(3, increase(joules_total{NARROW}[$__range] @ end()))"),
    asks("histogram_quantile(0.9, sum by (le) (rate(x_bucket{NARROW}[$__rate_interval])))"),
    asks('rate(x_bucket{NARROW,le="0.1"}[$__rate_interval])'),
    asks('label_replace(x{NARROW}, "a", "$1", "b", "(.*)")'),
    defaults_set(unit="suffix:J/token"),
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


def test_every_rule_has_a_fault() -> None:
    assert {rule for rule, _ in FAULTS} == set(RULES)


def test_unused_exclusion_is_reported() -> None:
    board = good()
    defaults_set(unit="watts")(board)
    here, unmatched_rule = (
        Exclusion("panel-units-rule", "a unit of our own", "wattlens-x", title) for title in ("Power", "Other")
    )
    assert list(problems([board], [here])) == []
    violations = list(problems([board], [unmatched_rule]))
    assert [line.split(":")[0] for line in violations] == ["dashboards/grafana/wattlens-x.json", "dashboards/build/lint.py"]


def test_units_are_grafanas() -> None:
    assert {"watt", "joule", "percentunit", "hertz", "celsius", "Bps", "short", "none"} <= units()
    assert "watts" not in units()
