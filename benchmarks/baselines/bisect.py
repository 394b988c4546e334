"""Baseline `bisect`: serves at the lowest clock that a bisection by measured latency misses accepts.

A clock is kept when the one-sided 95 % upper bound of the share of observations above each limit is within the share that the
SLO permits, and given up when a lower bound is above it (Wilson, 1927). A growing queue, trouble and missing or stale metrics
release the clock at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import sqrt

from benchmarks.baselines.aimd import MissCount
from dvfs.policies._serving import (
    OPTIONS,
    QUEUE_GROWTH,
    LatencyReading,
    ServedPeriod,
    ServingOptions,
    configure,
    lock,
    period_of,
    unsteered,
)
from dvfs.types import Decision, DvfsPolicy, Observation

_Z = 1.645  # one-sided 95 %, as the baseline is defined
_AGAIN_S = 900.0  # until clocks below the accepted one are tried again: the load of a server changes within an hour


@dataclass(frozen=True, slots=True)
class ClockSearch:
    """A search over the clocks of a server, by index; `counts` are those of the clock under test."""

    reading: LatencyReading | None = None
    low: int = 0
    high: int | None = None  # accepted; None: the highest clock
    counts: Mapping[str, MissCount] = field(default_factory=dict)
    since_ns: int = 0
    level: int | None = None  # applied


def decide(observation: Observation, search: ClockSearch, config: ServingOptions) -> tuple[Decision, ClockSearch]:
    """One round."""
    period = period_of(observation, search.reading, config.knees, config.levels, config.stale_ns)
    if not isinstance(period, ServedPeriod):
        return unsteered(search.level, period[0]), replace(search, reading=period[1], level=None, counts={})
    now, top, counts = observation.boot_ns, len(period.grid) - 1, dict(search.counts)
    if search.high is None or now - search.since_ns > _AGAIN_S * 1e9:
        search = replace(search, low=0, since_ns=now)
    low, high = search.low, top if search.high is None else min(top, search.high)
    tested, reason = (low + high) // 2, "hold" if low == high else "probe"
    if period.level == tested:
        counts = {name: counts.get(name, MissCount()).add(interval) for name, interval in period.latencies.items()}
    if period.grown >= QUEUE_GROWTH:  # the test goes on when the queue has stopped growing
        return unsteered(search.level, "queue"), replace(search, reading=period.reading, level=None, counts=counts)
    allowed = 1.0 - observation.terms.attainment_ratio
    bounds = [wilson(count.missed, count.count) for count in counts.values()]
    if any(least > allowed for least, _ in bounds):
        low, counts, reason = min(top, tested + 1), {}, "missed"
    elif bounds and all(most <= allowed for _, most in bounds):
        high, counts, reason = tested, {}, "kept"
    high = max(low, high)
    new = (low + high) // 2
    search = replace(search, reading=period.reading, low=low, high=high, counts=counts)
    if new == (top if search.level is None else search.level):
        return Decision("hold", reason), search
    return lock(observation, period.grid, new, reason), replace(search, level=None if new == top else new, counts={})


def wilson(hits: float, count: float) -> tuple[float, float]:
    """Bounds of a share of which `hits` of `count` are seen (Wilson, 1927); (0, 1) of nothing."""
    if count <= 0:
        return 0.0, 1.0
    share = hits / count
    middle = share + _Z * _Z / (2 * count)
    half = _Z * sqrt(share * (1.0 - share) / count + _Z * _Z / (4.0 * count * count))
    scale = 1.0 + _Z * _Z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


SPEC = DvfsPolicy("bisection over clocks by latency misses", OPTIONS, configure, ClockSearch, decide, "slo")
