"""Every query of every dashboard, sent as Grafana sends it on opening, and the response time of the server.

Read from the dashboards' JSON, which is what Grafana loads: panels, variables and annotations. A screen of 1280 pixels and a
data source with the scrape interval of the fleet; steps and `$__rate_interval` follow Grafana's own rules. Variables have the
value All if the dashboard opens with it; a variable without a default has its first value, as on the node dashboard.
"""

import json
import math
import re
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.fleet_servers import LoopbackConnection
from dashboards.build.build import artefacts

SCREEN_PX, COLUMNS = 1280, 24
_STEPS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800)
_LABEL_VALUES = re.compile(r"^label_values\((?:(.*),)?\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\)$", re.DOTALL)

Kind = Literal["range", "instant", "values"]


@dataclass(frozen=True, slots=True)
class DashboardQuery:
    """A query of a dashboard: its panel, expression and step.

    `label` is the label whose values are requested, for kind values only; `expr` is then a selector.
    """

    dashboard: str
    where: str
    expr: str
    kind: Kind
    step_s: float = 30.0
    label: str = ""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Result of a query: seconds, series (or values), bytes, and the error or ""."""

    seconds: float
    series: int
    body_b: int
    error: str = ""


class QueryConnection(LoopbackConnection):
    """A server with Prometheus's HTTP API on loopback, queried over one persistent connection."""

    def __init__(self, port: int, extra: Mapping[str, str] | None = None) -> None:
        super().__init__(port)
        self._extra = dict(extra or {})

    def ask(self, path: str, **arguments: str) -> tuple[float, bytes]:
        """Seconds until the whole answer was there, and its body."""
        target = f"/api/v1/{path}?{urllib.parse.urlencode({**arguments, **self._extra})}"
        _, body, took_s = self.request("GET", target)
        return took_s, body

    def samples(self, expr: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """Result of an instant query.

        Raises:
            RuntimeError: the server rejects the query.
        """
        _, body = self.ask("query", query=expr, **({} if at_s is None else {"time": f"{at_s:.3f}"}))
        reply = json.loads(body)
        if reply["status"] != "success":
            raise RuntimeError(reply.get("error", "no result"))
        result: list[dict[str, Any]] = reply["data"]["result"]
        return result

    def value(self, expr: str, at_s: float | None = None) -> float:
        """Value of an expression with one result; NaN without a result."""
        samples = self.samples(expr, at_s)
        return float(samples[0]["value"][1]) if samples else math.nan


def step_s(range_s: float, width_px: int, scrape_s: float) -> float:
    """Grafana's: as many points as pixels, a round number, never finer than the scrape interval."""
    wanted = max(range_s / width_px, scrape_s)
    return float(min((s for s in _STEPS_S if s >= wanted / 1.2), default=_STEPS_S[-1]))


def seconds(interval: str) -> float:
    """Seconds of an interval of a panel or of rules, such as "1m"; 0 if it is empty."""
    return float(interval[:-1]) * {"s": 1, "m": 60}[interval[-1]] if interval else 0.0


def queries(
    store: QueryConnection, range_s: float, scrape_s: float, dashboards: Collection[str] = ()
) -> Iterator[DashboardQuery]:
    """Of all dashboards, or those with these uids, their variables put in."""
    for name, content in artefacts().items():
        path = Path(name)
        if path.match("dashboards/grafana/*.json") and (not dashboards or path.stem in dashboards):
            yield from _queries_of(json.loads(content), store, range_s, scrape_s)


def _queries_of(board: dict[str, Any], store: QueryConnection, range_s: float, scrape_s: float) -> Iterator[DashboardQuery]:
    uid = str(board["uid"])
    values: dict[str, str] = {}
    for variable in board.get("templating", {}).get("list", ()):
        query = _of_variable(uid, variable, values)
        if query is not None:
            yield query
        values[variable["name"]] = _selected_value(variable, query, store)
    for annotation in board.get("annotations", {}).get("list", ()):
        if annotation.get("expr"):
            expr = _put(annotation["expr"], values, range_s, 30.0, scrape_s)
            yield DashboardQuery(uid, f"annotation {annotation['name']}", expr, "range", scrape_s)
    for panel in _panels(board):
        width = max(1, SCREEN_PX * int(panel.get("gridPos", {}).get("w", COLUMNS)) // COLUMNS)
        step = step_s(range_s, width, max(scrape_s, seconds(panel.get("interval", ""))))
        for target in panel.get("targets", ()):
            where = f"{panel.get('title', '')} / {target.get('legendFormat') or target.get('refId')}"
            expr = _put(target["expr"], values, range_s, step, scrape_s)
            yield DashboardQuery(uid, where, expr, "instant" if target.get("instant") else "range", step)


def _panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard.get("panels", ()):
        yield panel
        yield from panel.get("panels", ())


def _of_variable(uid: str, variable: dict[str, Any], values: Mapping[str, str]) -> DashboardQuery | None:
    text = variable.get("query", "")
    text = text.get("query", "") if isinstance(text, dict) else text
    match = _LABEL_VALUES.match(text.strip())
    if variable.get("type") != "query" or match is None:
        return None
    return DashboardQuery(
        uid, f"variable {variable['name']}", _put(match[1] or "", values, 3600, 30, 30), "values", label=match[2]
    )


def _selected_value(variable: dict[str, Any], query: DashboardQuery | None, store: QueryConnection) -> str:
    if variable.get("includeAll") and variable.get("current"):
        return str(variable.get("allValue") or ".*")
    current = variable.get("current", {}).get("value") or (variable.get("options") or [{}])[0].get("value", "")
    if query is not None and not current:
        _, body = store.ask(f"label/{query.label}/values", **{"match[]": query.expr})
        names = json.loads(body).get("data") or [""]
        return escaped(str(names[0]))
    return str(current[0] if isinstance(current, list) else current)


def escaped(value: str) -> str:
    """A value for a regular expression in a string of PromQL, as Grafana writes it: what escapes is itself escaped."""
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", 4 * "\\"))


def _put(expr: str, values: Mapping[str, str], range_s: float, step: float, scrape_s: float) -> str:
    rate_s = max(step + scrape_s, 4 * scrape_s)
    own = {
        "__rate_interval": f"{rate_s:.0f}s", "__interval": f"{step:.0f}s", "__interval_ms": f"{step * 1000:.0f}",
        "__range": f"{range_s:.0f}s", "__range_s": f"{range_s:.0f}", "__range_ms": f"{range_s * 1000:.0f}",
    }  # fmt: skip
    known = {**values, **own}
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)\]\]", lambda m: known.get(m[1] or m[2] or m[3], m[0]), expr)


def ask(store: QueryConnection, query: DashboardQuery, end_s: float, range_s: float) -> QueryResult:
    """Send it once."""
    span = {"start": f"{end_s - range_s:.3f}", "end": f"{end_s:.3f}"}
    if query.kind == "values":
        seconds, body = store.ask(f"label/{query.label}/values", **{"match[]": query.expr}, **span)
    elif query.kind == "instant":
        seconds, body = store.ask("query", query=query.expr, time=f"{end_s:.3f}")
    else:
        seconds, body = store.ask("query_range", query=query.expr, step=f"{query.step_s:.0f}", **span)
    reply = json.loads(body)
    if reply.get("status") != "success":
        return QueryResult(seconds, 0, len(body), str(reply.get("error", "no result")))
    data = reply["data"]
    return QueryResult(seconds, len(data if isinstance(data, list) else data["result"]), len(body))
