"""How many requests miss a latency limit, from the growth of a server's histograms. Pure.

Buckets below the limit are in time and those above it are late. In the bucket that the limit cuts, the share of requests that
take still longer is interpolated. It is known at both edges, and its logarithm falls with time, at a mean rate that is known in
this bucket and in the one below.

- Where the rate does not rise from one to the other, it counts as constant: exact for an exponential tail, an upper bound for
  heavier ones.
- Where it rises, as in lighter tails, it is taken to rise linearly within the bucket, from as far below the mean rate of the
  bucket below as that of this bucket is above it. That is cautious: if both have their mean rate in the middle and are equally
  wide, it rises a quarter as much. The share never grows.
- Where it rises and the bucket is fuller per second of its width than the one below, most requests may be anywhere in it, so
  all of them count as late. So they do until enough requests are known.

A request that is alone in its period is known exactly, by the sum of all times.

*Time between tokens.* The limit is one on the mean of a request. Some servers have a histogram of these means, which counts a
request when it ends. Others have single gaps alone: requests that decode at the same time get their tokens in the same steps,
so the mean over as long as a request takes is near that of each. It also decides in the bucket of means that the limit cuts,
if it is in that bucket itself.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, inf, log1p

from energy_agent.core.workloads.tokens import Latencies

_RECENT = 60.0  # requests that a mean of now goes back
_USUAL = 600.0  # and one to compare it with
_OTHER = 2.5  # prompts that are so much longer or shorter, or a batch that is so much larger or smaller: other work
# Requests that show how the tail falls, in which one in 100 is; beyond the second, older ones count half. Chosen on seed 19 of
# `benchmarks vllm_plant --long`.
_SHAPE = (100, 10_000)
_MOST_PARTS = 512  # periods that one request may last: a bound on memory, 100 s at 0.2 s


@dataclass(frozen=True, slots=True)
class LatencyShape:
    """Requests of each bucket of a latency, older ones faded."""

    counts: tuple[float, ...] = ()

    def add(self, latencies: Latencies) -> "LatencyShape":
        """With the requests of an interval."""
        before = self.counts if len(self.counts) == len(latencies.counts) else (0.0,) * len(latencies.counts)
        counts = tuple(old + new for old, new in zip(before, latencies.counts, strict=True))
        return LatencyShape(tuple(n / 2 for n in counts) if sum(counts) > _SHAPE[1] else counts)

    def count_late(self, latencies: Latencies, limit_s: float, factor: float = 1.0, mean_s: float = 0.0) -> float:
        """Requests of an interval that are late, if all took `factor` times as long.

        `mean_s` is a latency that represents all of these requests; 0: not known.
        """
        limit_s, edges = limit_s / factor * (1 + 1e-9), (0.0, *latencies.edges, inf)
        if latencies.count == 1 and latencies.is_sum_exact:
            return float(latencies.sum_s > limit_s)
        cut = bisect_right(latencies.edges, limit_s)
        share = float(mean_s > limit_s) if mean_s > edges[cut] else self._share_above(cut, edges, limit_s)
        return sum(latencies.counts[cut + 1 :]) + latencies.counts[cut] * share

    def _share_above(self, cut: int, edges: Sequence[float], limit_s: float) -> float:
        """Share of a bucket's requests that are above the limit; 1 while it is not known."""
        if not 0 < cut < len(self.counts) - 1 or not self.counts[cut] or sum(self.counts) < _SHAPE[0]:
            return 1.0
        below, low, high = edges[cut - 1 : cut + 2]
        before, inside, above = *self.counts[cut - 1 : cut + 1], max(1.0, sum(self.counts[cut + 1 :]))
        rate, rate_before = log1p(inside / above) / (high - low), log1p(before / (inside + above)) / (low - below)
        if rate > rate_before and inside / (high - low) >= before / (low - below):
            return 1.0
        rise = 2 * max(0.0, rate - rate_before) * (high - limit_s) / (high - low)
        return 1.0 + (1.0 + above / inside) * expm1(min(0.0, rise - rate) * (limit_s - low))


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """Time per token after the first.

    Args:
        per_request: mean tokens of a request; 0: not known yet.
        parts: seconds, tokens and time between tokens of the last periods, as many as a request takes.
    """

    per_request: float = 0.0
    parts: tuple[tuple[float, int, float], ...] = ()

    def add(self, requests: int, tokens: int, gaps_s: float, seconds: float) -> "TokenTimes":
        """With a period: requests that began, tokens, and the sum of times between them."""
        mean, parts = self.per_request, (*self.parts, (seconds, tokens, gaps_s))[-_MOST_PARTS:]
        if requests:
            mean += (min(1.0, requests / _RECENT) if mean else 1.0) * (tokens / requests - mean)
        request_s = mean * _mean_s(parts)
        rest_s = sum(part[0] for part in parts[1:])
        while len(parts) > 1 and rest_s >= request_s:
            parts = parts[1:]
            rest_s -= parts[0][0]
        return TokenTimes(mean, parts)

    def mean_s(self, share: float = 1.0) -> float:
        """Over the last `share` of the time that a request takes; 0 of nothing."""
        first, covered_s, whole_s = len(self.parts), 0.0, share * sum(part[0] for part in self.parts)
        while first and covered_s < whole_s:
            first -= 1
            covered_s += self.parts[first][0]
        return _mean_s(self.parts[first:])


def _mean_s(parts: Sequence[tuple[float, int, float]]) -> float:
    tokens = sum(part[1] for part in parts)
    return sum(part[2] for part in parts) / tokens if tokens else 0.0


@dataclass(frozen=True, slots=True)
class WorkMeans:
    """Computed tokens per prompt, and batch: over the last requests, and over more of them. 0: not known."""

    prompt: tuple[float, float] = (0.0, 0.0)
    batch: tuple[float, float] = (0.0, 0.0)

    def add(self, requests: int, prompt_tokens: int, batch: float) -> "WorkMeans":
        """With a period."""
        if not requests:
            return self
        return WorkMeans(_moved(self.prompt, prompt_tokens / requests, requests), _moved(self.batch, batch, requests))

    @property
    def is_other(self) -> bool:
        """Whether the last requests differ from those before."""
        return any(usual and not 1 / _OTHER < now / usual < _OTHER for now, usual in (self.prompt, self.batch))

    def renewed(self) -> "WorkMeans":
        """With the last requests as the usual ones."""
        return WorkMeans((self.prompt[0], self.prompt[0]), (self.batch[0], self.batch[0]))


def _moved(means: tuple[float, float], value: float, requests: int) -> tuple[float, float]:
    now, usual = means if means[1] else (value, value)
    return now + min(1.0, requests / _RECENT) * (value - now), usual + min(1.0, requests / _USUAL) * (value - usual)
