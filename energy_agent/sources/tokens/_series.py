"""The series of a page in Prometheus text format that are asked for. Pure; the page is not trusted."""

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from energy_agent.core.token_types import Latencies
from energy_agent.sources.tokens._reading import TokenPageError

LABEL_LIMIT = 256  # characters of a label's value
EDGES_LIMIT = 128
COUNT_LIMIT = 2.0**53  # above it a float no longer counts every token
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?=[{ \t])")


@dataclass(frozen=True, slots=True)
class Series:
    """A line of the page."""

    name: str
    labels: dict[str, str]
    value: float


def series(page: str, names: Collection[str]) -> Iterator[Series]:
    """Lines with one of these names; what else is on the page costs next to nothing.

    Raises:
        TokenPageError: a line with such a name is not in Prometheus text format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in page.split("\n") if (found := _NAME.match(line)) is not None and found[0] in names]
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                if sample.name not in names:
                    raise ValueError(f"a line begins with {sample.name[:80]!r}")
                yield Series(sample.name, {k: v[:LABEL_LIMIT] for k, v in sample.labels.items()}, float(sample.value))
    except (ValueError, IndexError, KeyError, TypeError) as error:  # what the parser lets through on malformed lines
        raise TokenPageError(f"metrics page is not in Prometheus text format: {str(error)[:200]}") from error


def count(value: float) -> int | None:
    """A value as a whole count; None where it cannot be one."""
    return int(value) if math.isfinite(value) and 0 <= value <= COUNT_LIMIT else None


def latencies(cumulated: dict[str, float], sum_: float | None, scale: float) -> Latencies | None:
    """A histogram from its buckets by their `le`, cumulated, and its sum; None where they do not make one.

    Args:
        cumulated: values by `le` as it is written.
        sum_: of all observations, in the page's unit.
        scale: the page's unit in s.
    """
    try:
        buckets = sorted((float(le), count(value)) for le, value in cumulated.items())
    except ValueError:
        return None
    edges, totals = tuple(edge for edge, _ in buckets), [total for _, total in buckets]
    if not 1 <= len(edges) <= EDGES_LIMIT + 1 or edges[-1] != math.inf or not all(edge > 0 for edge in edges):
        return None
    if sum_ is None or not math.isfinite(sum_) or not 0 <= sum_ <= COUNT_LIMIT or len(set(edges)) < len(edges):
        return None
    counts = []
    before = 0
    for total in totals:
        if total is None or total < before:
            return None
        counts.append(total - before)
        before = total
    # 10 ms is 0.01 s and not 0.010000000000000002 s: an edge is a label's value.
    return Latencies(tuple(float(f"{edge * scale:.12g}") for edge in edges[:-1]), tuple(counts), sum_ * scale)
