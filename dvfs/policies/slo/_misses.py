"""How many requests of an interval miss a limit, at most, if everything takes longer by a factor. Pure.

The time to first token is one per request. Of the bucket that the limit cuts, as many miss as the sum of the observations
permits when all others are as short as their buckets allow. The limit between tokens is one on the mean of a request, and the
histogram has single gaps. So a request is k gaps drawn at random: with probability `slow` one above the limit, of its bucket's
upper edge, else one of the mean of the others. It misses if more than k * r of them are slow, with r = (limit - fast) / (slow
gap - fast), which a binomial distribution answers. k is geometric with the mean that the counters show, so that short requests,
which a single slow gap makes miss, have their share.
"""

from bisect import bisect_right
from math import inf

from energy_agent.core.workloads.tokens import Latencies

_LONGEST = 48  # gaps; longer requests miss as often as this one


def ttft_misses(seen: Latencies, limit_s: float, factor: float = 1.0) -> int:
    """Requests whose first token comes too late."""
    limit_s = limit_s / factor * (1 + 1e-9)
    cut = bisect_right(seen.edges, limit_s)
    floors = (0.0, *seen.edges)
    above_floor_s = seen.sum_s - sum(n * floor for n, floor in zip(seen.counts, floors, strict=True))
    possible = above_floor_s / (limit_s - floors[cut]) if above_floor_s > 0 else 0.0
    return sum(seen.counts[cut + 1 :]) + (int(possible) if possible < seen.counts[cut] else seen.counts[cut])


def itl_misses(seen: Latencies, limit_s: float, gaps: float, factor: float = 1.0) -> float:
    """Share of requests whose mean gap is too long; `gaps`: mean number of gaps of a request. 0 of nothing."""
    count, limit_s = seen.count, limit_s / factor * (1 + 1e-9)
    if not count:
        return 0.0
    below = bisect_right(seen.edges, limit_s)
    many = count - sum(seen.counts[:below])
    floors, tops = (0.0, *seen.edges), (*seen.edges, inf)
    least_s = sum(n * floors[i] for i, n in enumerate(seen.counts) if i >= below)
    fast_s = max(0.0, seen.sum_s - max(least_s, limit_s * many)) / (count - many) if count > many else inf
    if fast_s >= limit_s or not many:
        return float(fast_s > limit_s)
    most_s = seen.sum_s if seen.counts[-1] else inf
    slow_s = min(most_s, sum(n * tops[i] for i, n in enumerate(seen.counts) if i >= below and n)) / many
    p, r = many / count, min(1.0, (limit_s - fast_s) / max(1e-12, slow_s - fast_s))  # sum and buckets may disagree
    weight, missed = 1.0 / max(1.0, gaps), 0.0
    for k in range(1, _LONGEST + 1):
        within, chance = 0.0, (1.0 - p) ** k
        for i in range(int(k * r) + 1):
            within, chance = within + chance, chance * (k - i) / (i + 1) * p / (1.0 - p) if p < 1 else 0.0
        rest = (1.0 - 1.0 / max(1.0, gaps)) ** (k - 1)
        missed += (rest * weight if k < _LONGEST else rest) * max(0.0, 1.0 - within)
    return missed
