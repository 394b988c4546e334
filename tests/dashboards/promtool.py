"""Queries of boards on series written by hand, judged by promtool: no server, no clock, exact numbers."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dashboards.build import lint
from dashboards.build.build import choices
from dashboards.rules import rules
from tests.dashboards.boards import query
from tests.support import at_modifier, need_program

DURATIONS = {"__rate_interval": "1m", "__range": "10m"}
_DURATIONS = {"__rate_interval": "1m", "__range": "1h", "__interval": "1m"}
STEP_S, SCALE = 15, 100_000
AT = {"job": "wattlens"}

Labels = Mapping[str, str]
Rule = dict[str, object]
Sample = float | tuple[Labels, float]
"""A value, with its labels if it has any."""
Asked = tuple[str, int, *tuple[Sample, ...]]
"""A query, the second at which it is evaluated, and its samples."""


def substituted(expr: str, values: Mapping[str, str] = _DURATIONS) -> str:
    """A query as Grafana would send it: durations for its own variables, the first value of a choice, and `.*` for the rest."""
    return lint.substituted(expr, {**choices(), **values})


def named(name: str, *labels: Labels) -> str:
    """A series of job `wattlens` as a selector has it."""
    pairs = {key: value for each in (AT, *labels) for key, value in each.items()}
    return f"wattlens_{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in pairs.items())}}}"


def rising(per_s: float, steps: int = 80, *, begin: float = 0) -> str:
    """A counter that gains so much a second."""
    return f"{begin}+{per_s * STEP_S}x{steps}"


def figures(uid: str, at_s: int, *wanted: tuple[Any, ...]) -> list[Asked]:
    """Rows of (begin of a panel's title, legend, samples): the queries of a dashboard at an instant."""
    return [(query(uid, title, legend), at_s, *samples) for title, legend, *samples in wanted]


def promtool(home: Path, given: Mapping[str, str], wanted: Iterable[Asked], more: Iterable[Rule] = ()) -> str:
    """Compare query results on the given series with promtool, to five decimals; return its output, or "" if all match.

    Args:
        home: an empty folder.
        given: series and their values.
        wanted: queries with their samples.
        more: rules that the queries need in addition to the recording rules.
    """
    rows = [(expr, at_s, [each if isinstance(each, tuple) else ({}, each) for each in more]) for expr, at_s, *more in wanted]
    asked = [
        {
            "expr": f"round({SCALE} * ({substituted(expr, DURATIONS)}))",  # whole numbers, which promtool compares exactly
            "eval_time": f"{at_s}s",
            "exp_samples": [
                {
                    "labels": "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in labels.items()) + "}",
                    "value": round(SCALE * value),
                }
                for labels, value in samples
            ],
        }
        for expr, at_s, samples in rows
    ]
    series = [{"series": name, "values": values} for name, values in given.items()]
    test = {"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": asked}
    group = {"name": "needed", "interval": "30s", "rules": [*needed(str(asked)), *more]}
    (home / "rules.yml").write_text(json.dumps({"groups": [group]}))
    (home / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}))
    command = [need_program("promtool"), *at_modifier(), "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def needed(queries: str) -> list[Rule]:
    """The rules that queries stand on, directly or by other rules: all of them would take promtool ten times as long."""
    all_rules: list[Rule] = [rule for group in rules.content()["groups"] for rule in group["rules"]]
    chosen: list[Rule] = []
    for rule in reversed(all_rules):
        if str(rule["record"]) in queries or any(str(rule["record"]) in str(other["expr"]) for other in chosen):
            chosen.insert(0, rule)
    return chosen
