"""What is built from Python and committed: the dashboards, the rules and the reference; and the check that it is right."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dashboards import classic
from dashboards.boards.dvfs import board as dvfs
from dashboards.boards.facility import board as facility
from dashboards.boards.fleet import board as fleet
from dashboards.boards.gpu import board as gpu
from dashboards.boards.inference import board as inference
from dashboards.boards.stack import board as stack
from dashboards.boards.training import board as training
from dashboards.build import reference
from dashboards.dashboard import Dashboard
from dashboards.lint import exclusions, lint
from dashboards.rules import alerts, rules
from dashboards.rules import compat as compat_rules
from dashboards.rules import files as rule_files
from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.node import CATALOGUE

_NAME = re.compile(r"\b(?:[a-z_]+:)?wattlens_[a-z0-9_:]+\b")
_SUBSTITUTES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "1m"}


def all_dashboards() -> tuple[Dashboard, ...]:
    """Every dashboard."""
    return (
        fleet.board(),
        gpu.board(),
        inference.board(),
        training.board(),
        dvfs.board(),
        facility.board(),
        stack.board(),
    )


def artefacts() -> dict[str, str]:
    """Path from the repository's root -> content of each built file."""
    return dict(_build_dashboards())


@cache
def _build_dashboards() -> dict[str, str]:
    files = {f"dashboards/grafana/{board.uid}.json": classic.to_json(board) for board in all_dashboards()}
    files |= rule_files.artefacts()
    files["docs/metrics.md"] = reference.to_markdown()
    return files


def build(root: Path, *, compat: bool = False) -> list[Path]:
    """Write every file under `root`; returns their paths.

    Args:
        root: the folder.
        compat: also the rules that give the names of 0.1, which are not committed.
    """
    written = []
    for name, content in (artefacts() | ({compat_rules.PATH: rule_files.compat()} if compat else {})).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written


def check(root: Path) -> list[str]:
    """What is wrong with the files under `root`, a line each that starts with the file; empty when nothing is."""
    return [*_stale(root), *_queries(), *_lint()]


def _lint() -> Iterator[str]:
    built = [json.loads(content) for name, content in artefacts().items() if name.startswith("dashboards/grafana/")]
    yield from lint.problems(built, exclusions.EXCLUSIONS)


def _stale(root: Path) -> Iterator[str]:
    for name, content in artefacts().items():
        path = root / name
        try:
            committed = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            yield f"{name}: cannot be read: {error}; run: wattlens dashboards build"
            continue
        if committed != content:
            yield f"{name}: differs from what the code builds; run: wattlens dashboards build"


def _names(signal: Signal) -> Iterator[str]:
    """Those of its series: a histogram has three."""
    yield signal.metric
    if signal.kind == "histogram":
        yield from (signal.metric + suffix for suffix in ("_bucket", "_sum", "_count"))


def _queries() -> Iterator[str]:
    known = {name for s in CATALOGUE if not s.reserved for name in _names(s)} | {
        r.record for group in rules.groups() for r in group.rules
    }
    for where, expr in expressions():
        unknown = sorted(set(_NAME.findall(expr)) - known)
        if unknown:
            yield f"{where}: not in the metric catalogue: {', '.join(unknown)}"
        problem = syntax_error(expr)
        if problem:
            yield f"{where}: {problem}: {expr}"


def expressions() -> Iterator[tuple[str, str]]:
    """(where it stands, PromQL) of every query and rule, and the selectors that variables hang on."""
    for dashboard in all_dashboards():
        where = f"dashboards/grafana/{dashboard.uid}.json"
        for variable in dashboard.variables:
            if variable.anchor:
                yield f"{where}: variable {variable.name}", variable.anchor
        for annotation in dashboard.annotations:
            if annotation.expr:
                yield f"{where}: annotation {annotation.name!r}", annotation.expr
        for panel in dashboard.panels():
            for query in panel.queries:
                yield f"{where}: panel {panel.title!r}", query.expr
    for group in rules.groups():
        for rule in group.rules:
            yield f"{rule_files.RULES}: rule {rule.record}", rule.expr
    for alert in alerts.alerts():
        yield f"{rule_files.ALERTS}: alert {alert.name}", alert.expr


def substituted(expr: str, values: dict[str, str] = _SUBSTITUTES) -> str:
    """A query as Grafana would send it: durations for its own variables, the first value of a choice, and `.*` for the rest."""
    known = _choices() | values
    return re.sub(r"\$[a-z_]\w*", lambda found: known.get(found[0], ".*"), expr)


@cache
def _choices() -> dict[str, str]:
    return {
        f"${v.name}": next(iter(v.values.values())) for dashboard in all_dashboards() for v in dashboard.variables if v.values
    }


def syntax_error(expr: str) -> str:
    """What is wrong with the PromQL of a query, or ''."""
    import promql_parser

    try:
        promql_parser.parse(substituted(expr))
    except ValueError as error:
        return str(error)
    return ""
