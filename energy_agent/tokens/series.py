"""Parse a /metrics response in Prometheus text format line by line. Pure; the text is untrusted.

Source: Prometheus, Exposition formats; OpenMetrics 1.0. Timestamps and exemplars are skipped, escapes in label values resolved.
Control characters are replaced, because model names end up in series, rows and terminals.
"""

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from energy_agent.core.text import printable
from energy_agent.core.workloads.tokens import Latencies
from energy_agent.tokens.reading import EndpointError

LABEL_LIMIT = 256  # characters of a label's value
LABELS_LIMIT = 64
EDGES_LIMIT = 128
_LEAST_EDGE = 1e-9  # s or tokens: no server has a lower one, and quotients of far lower ones are not finite
COUNT_LIMIT = 2.0**53  # above it a float no longer counts every token
_NAME = re.compile(r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)(?=[{ \t])")
# Possessive throughout: a line that does not match costs no more than one that does.
_REST = re.compile(
    r"[ \t]*+(?:\{((?:[^\"}]++|\"(?:[^\"\\]++|\\.)*+\")*+)\})?[ \t]*+"
    r"([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|[+-]?[Ii]nf(?:inity)?|[Nn]a[Nn])"
    r"(?:[ \t]++-?[0-9]++(?:\.[0-9]++)?)?[ \t]*+(?:#.*+)?\r?",
)
_LABEL = re.compile(r"[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+\"((?:[^\"\\]++|\\.)*+)\"[ \t]*+(?:,[ \t]*+|$)")
_ESCAPE = re.compile(r'\\([n"\\])')


@dataclass(frozen=True, slots=True)
class ResponseSample:
    """A line of the response."""

    name: str
    labels: dict[str, str]
    value: float


def series(page: str, names: Collection[str]) -> Iterator[ResponseSample]:
    """Lines with one of these names; others cost next to nothing.

    Raises:
        EndpointError: a line with such a name is not in Prometheus text format.
    """
    for line in page.split("\n"):
        head = _NAME.match(line)
        if head is None or head[1] not in names:
            continue
        rest = _REST.fullmatch(line, head.end())
        if rest is None:
            raise EndpointError(f"response is not in Prometheus text format: a line of {head[1][:80]}")
        yield ResponseSample(head[1], _labels(head[1], rest[1] or ""), float(rest[2]))


def _labels(name: str, text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        label = _LABEL.match(text, at)
        if label is None or label[1] in labels or len(labels) >= LABELS_LIMIT:
            if not text.strip(" \t"):
                break
            raise EndpointError(f"response is not in Prometheus text format: labels of {name[:80]}")
        value = label[2] if "\\" not in label[2] else _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], label[2])
        labels[label[1]] = printable(value[:LABEL_LIMIT])
        at = label.end()
    return labels


def count(value: float) -> int | None:
    """A value as a whole count; None where it cannot be one."""
    return int(value) if math.isfinite(value) and 0 <= value <= COUNT_LIMIT else None


def latencies(cumulated: dict[str, float], sum_: float | None, scale: float) -> Latencies | None:
    """A histogram from its buckets by their `le`, cumulated, and its sum; None where they do not make one.

    A bucket up to 0, which Dynamo's histograms have, is part of the next one.

    Args:
        cumulated: values by `le` as it is written.
        sum_: of all observations, in the page's unit.
        scale: the page's unit in s.
    """
    try:
        buckets = sorted((float(le), count(value)) for le, value in cumulated.items() if float(le) != 0)
    except ValueError:
        return None
    # 10 ms is 0.01 s and not 0.010000000000000002 s: an edge is a label's value.
    edges, totals = tuple(float(f"{edge * scale:.12g}") for edge, _ in buckets), [total for _, total in buckets]
    if not 1 <= len(edges) <= EDGES_LIMIT + 1 or edges[-1] != math.inf or not all(edge >= _LEAST_EDGE for edge in edges):
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
    return Latencies(edges[:-1], tuple(counts), sum_ * scale)
