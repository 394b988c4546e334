"""The rules of the linter that look into PromQL."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

Json = dict[str, Any]
Found = Iterator[tuple[str, str]]

# Durations that no query contains, as recognisable stand-ins for Grafana's own variables in a parsed query.
_RATE, _RANGE = (timedelta(seconds=seconds) for seconds in (8_869, 8_867))
_NAMES = {"__rate_interval": _RATE, "__range": _RANGE}
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


def parsed(expr: str, values: Mapping[str, str]) -> Any:
    """The tree of a query as Grafana would send it, with these values of variables and `.*` for the others.

    Raises:
        ValueError: it is no PromQL.
    """

    def value(variable: re.Match[str]) -> str:
        name = variable[1] or variable[2]
        return f"{int(_NAMES[name].total_seconds())}s" if name in _NAMES else values.get(name, ".*")

    return _tree(re.sub(r"\$(?:\{(\w+)[^}]*\}|(\w+))", value, expr))


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
