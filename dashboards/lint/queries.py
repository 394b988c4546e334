"""The rules of the linter that look into PromQL."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

Json = dict[str, Any]
Found = Iterator[tuple[str, str]]

# Durations that nobody writes, to know Grafana's own again in a parsed query.
_RATE, _RANGE, _INTERVAL = (timedelta(seconds=seconds) for seconds in (8_869, 8_867, 8_863))
_NAMES = {"__rate_interval": _RATE, "__range": _RANGE, "__interval": _INTERVAL}
_GROWING = ("rate", "irate", "increase")


def panels(board: Json) -> Iterator[Json]:
    """Panels of a dashboard, those in collapsed rows too, without the rows."""
    for panel in board.get("panels", ()):
        if panel.get("type") == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def targets(board: Json) -> Iterator[tuple[Json, list[Json]]]:
    """Panels with their queries."""
    return ((panel, panel.get("targets", [])) for panel in panels(board))


def chosen(board: Json) -> dict[str, str]:
    """Variable -> value of the choices that no metric offers, such as a price, which stand for numbers."""
    custom = (each for each in board.get("templating", {}).get("list", ()) if each.get("type") == "custom")
    return {each["name"]: str(each.get("current", {}).get("value", "")) for each in custom}


def parsed(expr: str, values: Mapping[str, str]) -> Any:
    """The tree of a query as Grafana would send it, with these values of variables and `.*` for the others.

    Raises:
        ValueError: it is no PromQL.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
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


def _queries(board: Json) -> Iterator[tuple[Json, Json, list[tuple[Any, tuple[Any, ...]]]]]:
    """Panel, target and the nodes of its query, of all that parse: what does not is told by another rule."""
    values = chosen(board)
    for panel, group in targets(board):
        for target in group:
            try:
                yield panel, target, list(nodes(parsed(str(target.get("expr", "")), values)))
            except ValueError:
                continue


def target_promql(board: Json) -> Found:
    """Every query is PromQL."""
    values = chosen(board)
    for panel, group in targets(board):
        for target in group:
            try:
                parsed(str(target.get("expr", "")), values)
            except ValueError as error:
                yield panel.get("title", ""), f"{error}: {target.get('expr')}"


def template_label_promql(board: Json) -> Found:
    """The values of a variable are those of a label of one metric, so that no other's label of the same name mixes in."""
    for each in board.get("templating", {}).get("list", ()):
        if each.get("type") != "query":
            continue
        found = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", str(each.get("query", "")))
        try:
            if not found or _name(parsed(found[1], chosen(board))) != "VectorSelector":
                yield each["name"], "it does not ask for the values of a label of a metric"
        except ValueError as error:
            yield each["name"], str(error)


def target_rate_interval(board: Json) -> Found:
    """Rates go over $__rate_interval, which fits steps and scrapes; figures and what ranks series (@ end()) over $__range."""
    for panel, target, tree in _queries(board):
        for node, above in tree:
            if _name(node) == "MatrixSelector" and above and _name(above[-1]) == "Call":
                of_whole = target.get("instant") or node.vector_selector.at is not None
                over = (_RANGE, _RATE) if of_whole else (_RATE,)
                if above[-1].func.name in _GROWING and node.range not in over:
                    yield panel.get("title", ""), f"{above[-1].func.name} over a fixed time: {target['expr']}"
                if node.range == _INTERVAL:
                    yield panel.get("title", ""), f"$__interval may be shorter than two scrapes: {target['expr']}"


def _matcher(board: Json, label: str) -> Found:
    for panel, target, tree in _queries(board):
        for node, _ in tree:
            if _name(node) != "VectorSelector":
                continue
            if not any(m.name == label and str(m.op).endswith("Re") and m.value == ".*" for m in node.matchers.matchers):
                yield panel.get("title", ""), f'no {label}=~"${label}" in {node.name}: {target["expr"]}'
                break


def target_job(board: Json) -> Found:
    """Every selector is narrowed by the job that is chosen."""
    return _matcher(board, "job")


def target_instance(board: Json) -> Found:
    """Every selector is narrowed by the node that is chosen."""
    return _matcher(board, "instance")


def target_cluster(board: Json) -> Found:
    """Every selector is narrowed by the cluster that is chosen, whatever else it is narrowed by."""
    return _matcher(board, "cluster")


def target_counter_agg(board: Json) -> Found:
    """Counters are shown as what they grow by, since their value says when counting began and nothing else."""
    for panel, target, tree in _queries(board):
        for node, above in tree:
            counter = _name(node) == "VectorSelector" and str(node.name or "").endswith("_total")
            calls = above[-2:-1] if above and _name(above[-1]) == "MatrixSelector" else ()
            if counter and not any(_name(call) == "Call" and call.func.name in _GROWING for call in calls):
                yield panel.get("title", ""), f"counter {node.name} is no rate or increase: {target['expr']}"
                break


def target_histogram(board: Json) -> Found:
    """Buckets are shown as quantiles or as shares under a limit, a bucket's `le` being chosen."""
    for panel, target, tree in _queries(board):
        for node, above in tree:
            if _name(node) != "VectorSelector" or not str(node.name or "").endswith("_bucket"):
                continue
            quantile = any(_name(each) == "Call" and each.func.name == "histogram_quantile" for each in above)
            if not quantile and not any(matcher.name == "le" for matcher in node.matchers.matchers):
                yield panel.get("title", ""), f"{node.name} is in no histogram_quantile and has no le: {target['expr']}"
                break
