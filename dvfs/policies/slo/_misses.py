"""How many requests of an interval miss a limit if everything takes longer by a factor. Pure.

The time to first token is one per request. Of the bucket that the limit cuts, as many miss as the sum of the observations
permits when all others are as short as their buckets allow. The limit between tokens is one on the mean of a request, and the
histogram has single gaps. So a request is k gaps drawn at random: slow ones, above the limit, and others, each of their mean.
Within the buckets all gaps lie at the same share of the width, the one that gives the sum of the observations. A request misses
if more than k * r of its gaps are slow, with r = (limit - others) / (slow - others), by a binomial distribution. k is
geometric with the mean that the counters show, so that short requests, which a single slow gap makes miss, have their share.
"""

from bisect import bisect_right
from itertools import pairwise
from math import exp

from energy_agent.core.workloads.tokens import Latencies

_RUN = 2.5  # gaps that are alike, in the mean: those of one speculative step, or in one burst of prompts
_LONGEST = 48  # gaps; longer requests miss as often as this one


def ttft_misses(seen: Latencies, limit_s: float, factor: float = 1.0) -> int:
    """Requests whose first token comes too late."""
    limit_s = limit_s / factor * (1 + 1e-9)
    cut = bisect_right(seen.edges, limit_s)
    floors = (0.0, *seen.edges)
    above_floor_s = seen.sum_s - sum(n * floor for n, floor in zip(seen.counts, floors, strict=True))
    possible = above_floor_s / (limit_s - floors[cut]) if above_floor_s > 0 else 0.0
    return sum(seen.counts[cut + 1 :]) + (int(possible) if possible < seen.counts[cut] else seen.counts[cut])


def itl_misses(seen: Latencies, limit_s: float, gaps: float, factor: float = 1.0, wait_s: float = 0.0) -> float:
    """Share of requests whose mean gap is too long; `gaps`: mean number of gaps of a request. 0 of nothing.

    `wait_s`: before the first gap. Requests too short to make up for it miss.
    """
    count, limit_s = seen.count, limit_s / factor * (1 + 1e-9)
    if not count:
        return 0.0
    slack_s = limit_s - seen.sum_s / count
    if wait_s > 0:
        return 1.0 - exp(-wait_s / slack_s / gaps) if slack_s > 0 else 1.0
    floors = (0.0, *seen.edges)
    widths = (*(top - floor for floor, top in pairwise(floors)), floors[-1] or 1.0)
    least_s = sum(n * floor for n, floor in zip(seen.counts, floors, strict=True))
    share = max(0.0, seen.sum_s - least_s) / sum(n * width for n, width in zip(seen.counts, widths, strict=True))
    values = [(n, floor + share * width) for n, floor, width in zip(seen.counts, floors, widths, strict=True)]
    many = sum(n for n, value in values if value > limit_s)
    if many in (0, count):
        return float(many > 0)
    slow_s = sum(n * value for n, value in values if value > limit_s) / many
    other_s = sum(n * value for n, value in values if value <= limit_s) / (count - many)
    p, r = many / count, (limit_s - other_s) / (slow_s - other_s)
    weight, missed = 1.0 / max(1.0, gaps / _RUN), 0.0
    for k in range(1, _LONGEST + 1):
        within, chance = 0.0, (1.0 - p) ** k
        for i in range(int(k * r) + 1):
            within, chance = within + chance, chance * (k - i) / (i + 1) * p / (1.0 - p) if p < 1 else 0.0
        rest = (1.0 - weight) ** (k - 1)
        missed += (rest * weight if k < _LONGEST else rest) * max(0.0, 1.0 - within)
    return missed
