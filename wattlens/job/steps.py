"""Steps of a job over nodes, from the steps that each of its workloads counted. Pure.

All ranks take a step together, and each node counts it. So steps of two workloads in overlapping intervals may be the same, and
steps in intervals that follow each other are not. The steps of the job are at least those of any intervals that do not overlap;
the largest such sum is the count. It is exact where at each time some workload counted, whichever nodes came and went.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from energy_agent.core.units import NS_PER_S

REPORT_NS: Final = 2 * NS_PER_S
"""Ranks report once per second, so two intervals that overlap by no more than two reports follow each other."""


class StepInterval(NamedTuple):
    """Steps that one workload counted over [start_ns, end_ns)."""

    start_ns: int
    end_ns: int
    steps: int


def count_steps(intervals: Iterable[StepInterval], overlap_ns: int = REPORT_NS) -> int:
    """The largest sum of intervals of which no two overlap by more than `overlap_ns` (weighted interval scheduling)."""
    ordered = sorted(each for each in intervals if each.steps > 0)
    ordered.sort(key=lambda each: each.end_ns)
    ends: list[int] = []
    best = [0]
    for each in ordered:
        before = bisect_right(ends, each.start_ns + min(overlap_ns, (each.end_ns - each.start_ns) // 2))
        ends.append(each.end_ns)
        best.append(max(best[-1], best[before] + each.steps))
    return best[-1]
