"""Intervals of time, from one instant to another, UTC ns. Pure."""

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Intervals in order, those that overlap or meet as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return tuple(found)


def overlap_ns(spans: Iterable[Span], within: Span) -> int:
    """How long merged intervals last within another."""
    return sum(max(0, min(end, within[1]) - max(start, within[0])) for start, end in spans)
