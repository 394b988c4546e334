"""Steps of a job over nodes, from the steps that each of its workloads counted. Pure.

All ranks take a step together, and each node counts it. So steps of two workloads in overlapping intervals may be the same, and
steps in intervals that follow each other are not. The count follows one workload as long as it counts and goes on to another
where it stops: each change may count the steps of a report twice, because nodes report at different times. It is exact where at
each time some workload counted, whichever nodes came and went.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from energy_agent.core.units import NS_PER_S
from wattlens.usage.record import Owner

REPORT_NS: Final = 2 * NS_PER_S
"""Ranks report once per second, so two intervals that overlap by no more than two reports follow each other."""


class StepInterval(NamedTuple):
    """Steps that one workload counted over [start_ns, end_ns)."""

    owner: Owner
    start_ns: int
    end_ns: int
    steps: int


class _Chain(NamedTuple):
    """Intervals that follow each other: double their worth, and their steps. Of equal ones that of fewer steps is the greater:
    it follows the workloads longer.
    """

    worth: int
    minus_steps: int


class _Chains:
    """The best chains by the end of their last interval, which never falls."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.best = [_Chain(0, 0)]

    def before(self, at_ns: int) -> _Chain:
        return self.best[bisect_right(self.ends, at_ns)]

    def add(self, end_ns: int, chain: _Chain) -> None:
        self.ends.append(end_ns)
        self.best.append(max(self.best[-1], chain))


def count_steps(intervals: Iterable[StepInterval], overlap_ns: int = REPORT_NS) -> int:
    """Steps of the best chain of intervals of which no two overlap by more than `overlap_ns` (weighted interval scheduling).

    A chain is worth its steps, less half of those of the first interval of each workload in turn. So a few steps that another
    node reported within an interval, and this one in the next, do not add up.
    """
    all_chains, of_owner = _Chains(), dict[Owner, _Chains]()
    for each in sorted((each for each in intervals if each.steps > 0), key=lambda each: (each.end_ns, each)):
        at_ns = each.start_ns + min(overlap_ns, (each.end_ns - each.start_ns) // 2)
        own = of_owner.setdefault(each.owner, _Chains())
        changed, same = all_chains.before(at_ns), own.before(at_ns)
        chain = _Chain(changed.worth + each.steps, changed.minus_steps - each.steps)
        if same.minus_steps:
            chain = max(chain, _Chain(same.worth + 2 * each.steps, same.minus_steps - each.steps))
        all_chains.add(each.end_ns, chain)
        own.add(each.end_ns, chain)
    return -all_chains.best[-1].minus_steps
