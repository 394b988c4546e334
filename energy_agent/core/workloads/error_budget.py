"""Error budgets of latency limits, from the growth of a server's histograms. Pure.

Of n observations the owner permits (1 - attainment) n to miss the limit: that is the error budget. With k misses the share
1 - k / ((1 - attainment) n) of it is left, below 0 when it is overspent (Google, The Site Reliability Workbook, chapter 2).

A histogram does not show where in its bucket an observation is. Those in the bucket around the limit count as missed in the
upper bound of k and not in the lower one. A limit that is an edge makes both equal.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Final, Self

from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import Latencies

REQUESTS: Final = 1000
HOUR_NS: Final = 3600 * NS_PER_S
_SLOT_NS: Final = 10 * NS_PER_S  # counts are kept by slots, so that their number is bounded
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class LatencyInterval:
    """New observations of one latency, and its limit in s. `is_mean`: the limit is on the mean of a request's observations."""

    limit_s: float
    observations: Latencies
    is_mean: bool

    def missed(self, stretch: float = 1.0) -> int:
        """Observations above the limit, at most, if all took `stretch` times as long."""
        limit_s, count = self.limit_s / stretch * (1 + _ROUNDING), self.observations.count
        if self.is_mean:
            return count if self.observations.sum_s > limit_s * count else 0
        return count - sum(self.observations.counts[: bisect_right(self.observations.edges, limit_s)])

    def surely_missed(self) -> int:
        """Observations above the limit, at least."""
        above = bisect_left(self.observations.edges, self.limit_s * (1 - _ROUNDING)) + 1
        return self.missed() if self.is_mean else sum(self.observations.counts[above:])


@dataclass(frozen=True, slots=True)
class MissedShare:
    """Observations, and how many of them missed the limit, at least and at most."""

    observations: int = 0
    low: int = 0
    high: int = 0

    def plus(self, other: Self) -> Self:
        """The sum of two."""
        return replace(
            self, observations=self.observations + other.observations, low=self.low + other.low, high=self.high + other.high
        )

    def budget_left(self, attainment_ratio: float) -> tuple[float, float] | None:
        """Bounds of the share of the error budget that is left; None without observations."""
        permitted = (1.0 - attainment_ratio) * self.observations
        return (1.0 - self.high / permitted, 1.0 - self.low / permitted) if permitted > 0 else None


@dataclass(frozen=True, slots=True)
class _Slot:
    start_ns: int
    requests: int
    missed: MissedShare


@dataclass(frozen=True, slots=True)
class LatencyBudget:
    """Misses of one limit since it was set, and over both windows.

    Args:
        limit_s: the limit.
        total: since it was set.
        slots: of the last hour and the last requests, oldest first.
    """

    limit_s: float
    total: MissedShare = MissedShare()
    slots: tuple[_Slot, ...] = ()

    def add(self, interval: LatencyInterval, requests: int, boot_ns: int) -> "LatencyBudget":
        """With an interval that ended at `boot_ns`, in which so many requests got their first token."""
        more = MissedShare(interval.observations.count, interval.surely_missed(), interval.missed())
        if not more.observations and not requests:
            return self
        slots = self.slots
        if slots and boot_ns - slots[-1].start_ns < _SLOT_NS:
            last = slots[-1]
            slots = (*slots[:-1], _Slot(last.start_ns, last.requests + requests, last.missed.plus(more)))
        else:
            slots = (*slots, _Slot(boot_ns, requests, more))
        old = next((i for i, slot in enumerate(slots) if boot_ns - slot.start_ns < HOUR_NS), len(slots))
        return LatencyBudget(self.limit_s, self.total.plus(more), slots[min(old, len(slots) - _tail(slots)) :])

    def of_requests(self) -> MissedShare:
        """Of the last 1,000 requests, or of all if there were fewer."""
        return _sum(self.slots[len(self.slots) - _tail(self.slots) :])

    def of_hour(self, boot_ns: int) -> MissedShare:
        """Of the hour before `boot_ns`."""
        return _sum(tuple(slot for slot in self.slots if boot_ns - slot.start_ns < HOUR_NS))


def _tail(slots: tuple[_Slot, ...]) -> int:
    """Number of the last slots that have 1,000 requests together; at most 1,000, since some servers count no requests."""
    requests, count = 0, 0
    while count < min(len(slots), REQUESTS) and requests < REQUESTS:
        count += 1
        requests += slots[-count].requests
    return count


def _sum(slots: tuple[_Slot, ...]) -> MissedShare:
    total = MissedShare()
    for slot in slots:
        total = total.plus(slot.missed)
    return total
