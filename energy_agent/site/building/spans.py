"""Intervals of time, from one instant to another, UTC ns. Pure."""

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Intervals in order, those that overlap or meet as one."""
    merged_spans: list[Span] = []
    for start, end in sorted(spans):
        if merged_spans and start <= merged_spans[-1][1]:
            merged_spans[-1] = merged_spans[-1][0], max(merged_spans[-1][1], end)
        else:
            merged_spans.append((start, end))
    return tuple(merged_spans)


def overlap_ns(spans: Iterable[Span], within: Span) -> int:
    """How long merged intervals last within another."""
    return sum(max(0, min(end, within[1]) - max(start, within[0])) for start, end in spans)
