"""Median and 95th percentile of the energy of a request, from histograms of its prompt and of its generated tokens. Pure.

A request with x computed prompt tokens and y generated tokens uses p x + g y, at the prices p and g of its engine and hour
(token_price). Servers count x and y in two histograms, so neither the values within a bucket nor the pairs (x, y) are known.
Of n requests with ordered x(1) <= ... <= x(n) and y(1) <= ... <= y(n), the k-th smallest energy is

    at most   p x(i) + g y(j)   for every i + j = n + k    (n - i requests have more than x(i), n - j more than y(j))
    at least  p x(i) + g y(j)   for every i + j = k + 1

whatever the pairs are (Makarov 1981, Theory of Probability and its Applications 26). x(i) lies within its bucket; the
n - i + 1 largest values also cannot exceed the sum of the histogram, which limits the last bucket. A request that a histogram
lacks counts as 0 in the lower bound and as unlimited in the upper one.

The estimate takes x and y for independent and evenly spread within a bucket; it is kept within the bounds.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import ceil, floor, inf
from typing import Final

from energy_agent.core.workloads.token_price import EngineHour
from energy_agent.core.workloads.tokens import Latencies

MEDIAN: Final = 0.5
P95: Final = 0.95
NO_REQUESTS: Final = "no request has ended in this hour"
NO_HISTOGRAMS: Final = "the server has no histograms of tokens per request"
NO_COMPUTED: Final = "the server has no histogram of computed prompt tokens, and some prompt tokens were found in a cache"
POOLS: Final = "prefill and decode run on separate servers, of which this node may have one: see the mean over all nodes"
NO_PRICE: Final = "requests ended with tokens of a kind of which the engine had none in this hour"
TOO_FEW: Final = "the histograms lack too many of the requests"
_POINTS: Final = 3
"""Values within a bucket, for the estimate."""


def request_quantile(hour: EngineHour, quantile: float) -> tuple[float, float, float] | str:
    """J per request at a quantile, with its lower and upper bound; or the reason why it is unknown.

    The bounds include every division of the energy between prompts and generation within its own bounds, and the error of the
    sensors.
    """
    prompts, outputs = hour.prompts, hour.outputs
    if prompts is None or outputs is None:
        return hour.no_lengths or NO_HISTOGRAMS
    n = max(hour.requests or 0, prompts.count, outputs.count)
    if not n or not hour.active_uj:
        return NO_REQUESTS
    if (prompts.sum_s and not hour.usage.computed) or (outputs.sum_s and not hour.usage.generated):
        return NO_PRICE
    k = max(1, ceil(quantile * n - 1e-9))  # 0.95 * 20 is 19, and not the next number above it
    x, y = _OrderedTokens(prompts, n), _OrderedTokens(outputs, n)
    rates = [hour.rates(share) for share in (hour.prompt_share_low, hour.prompt_share_high)]
    low_factor, high_factor = hour.error_factors
    low = max(min(p * x.at_least(i) + g * y.at_least(k + 1 - i) for p, g in rates) for i in _lower_ranks(x, y, k))
    high = min(max(_of(p, x.at_most(i)) + _of(g, y.at_most(n + k - i)) for p, g in rates) for i in _upper_ranks(x, y, k))
    if high == inf:
        return TOO_FEW
    low, high = low * low_factor, high * high_factor
    return min(max(_estimate(hour, prompts, outputs, quantile), low), high), low, high


class _OrderedTokens:
    """Bounds of the i-th smallest of n numbers of tokens, i from 1, of which a histogram may lack some."""

    def __init__(self, of: Latencies, n: int) -> None:
        self.n, self.missing = n, n - of.count
        self.ends = tuple(accumulate(of.counts))  # numbers up to the end of each bucket
        self._lows = tuple(0 if k == 0 else floor(of.edges[k - 1]) + 1 for k in range(len(of.counts)))  # whole numbers
        self._highs = (*(float(floor(edge)) for edge in of.edges), inf)
        sums = accumulate((count * low for count, low in zip(of.counts, self._lows, strict=True)), initial=0)
        self._below = tuple(sums)  # at least the sum of all buckets before each
        self._sum = of.sum_s if of.is_sum_exact else inf

    def at_least(self, i: int) -> float:
        """Lower bound."""
        return 0.0 if i <= self.missing else float(self._lows[bisect_left(self.ends, i - self.missing)])

    def at_most(self, i: int) -> float:
        """Upper bound; infinite for numbers that the histogram lacks."""
        if i > self.ends[-1]:
            return inf
        bucket = bisect_left(self.ends, i)
        before = self.ends[bucket - 1] if bucket else 0
        smaller = self._below[bucket] + (i - 1 - before) * self._lows[bucket]
        return min(self._highs[bucket], (self._sum - smaller) / (self.ends[-1] - i + 1))


def _lower_ranks(x: _OrderedTokens, y: _OrderedTokens, k: int) -> Iterator[int]:
    """Ranks of x at which the lower bound can be greatest: where x, or y at k + 1 - i, begins a bucket."""
    yield from (1, k)
    for of, mirrored in ((x, False), (y, True)):
        for end in (0, *of.ends):
            i = of.missing + end + 1
            if 1 <= i <= k:
                yield k + 1 - i if mirrored else i


def _upper_ranks(x: _OrderedTokens, y: _OrderedTokens, k: int) -> Iterator[int]:
    """Ranks of x at which the upper bound can be smallest: where x, or y at n + k - i, ends a bucket."""
    n = x.n
    yield from (k, n)
    for of, mirrored in ((x, False), (y, True)):
        for end in of.ends:
            if k <= end <= n:
                yield n + k - end if mirrored else end


def _of(price: float, tokens: float) -> float:
    """Energy of tokens; unlimited tokens of a price of 0 cost nothing."""
    return price * tokens if price else 0.0


def _estimate(hour: EngineHour, prompts: Latencies, outputs: Latencies, quantile: float) -> float:
    p, g = hour.rates(hour.prompt_share)
    spread = _spread(outputs)
    energies = sorted((p * x + g * y, a * b) for x, a in _spread(prompts) for y, b in spread)
    wanted = quantile * sum(weight for _, weight in energies)
    cumulative = 0.0
    for energy, weight in energies:
        cumulative += weight
        if cumulative >= wanted:
            return energy
    return energies[-1][0] if energies else 0.0


def _spread(of: Latencies) -> list[tuple[float, float]]:
    """Values and their weights; that of the last bucket is its mean, from the sum."""
    values: list[tuple[float, float]] = []
    low, total = 0.0, 0.0
    for high, count in zip(of.edges, of.counts, strict=False):
        total += count * (low + high) / 2
        if count:
            values += [(low + (high - low) * (part + 0.5) / _POINTS, count / _POINTS) for part in range(_POINTS)]
        low = high
    if of.counts[-1]:
        values.append((max(low, (of.sum_s - total) / of.counts[-1]), float(of.counts[-1])))
    return values
