"""How many requests miss a latency limit, from the growth of a server's histograms. Pure.

*Time to first token.* Requests of the bucket that the limit cuts are late, as if all took as long as its upper edge. Where the
limit is in the falling tail, that is where a bucket holds fewer requests per second of its width than the one below, they are
late in proportion (linear interpolation, as in Prometheus's `histogram_quantile`): more of them are at its lower edge, so this
is an upper bound too. The sum of all times is another: each took at least as long as the lower edge of its bucket, and what is
left of the sum is enough for so many late ones and no more. It is the lower of the two where few requests come in a period.

*Time between tokens.* The limit is one on the mean of a request. Some servers have a histogram of these means, which counts a
request when it ends. Others have single gaps alone: requests that decode at the same time get their tokens in the same steps,
so the mean over as long as a request takes is near that of each. It also decides in the bucket of means that the limit cuts.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from energy_agent.core.workloads.tokens import Latencies

_RECENT = 60.0  # requests that a mean of now goes back
_USUAL = 600.0  # and one to compare it with
_OTHER = 2.5  # prompts that are so much longer or shorter, or a batch that is so much larger or smaller: other work
_SHAPE = (100, 1000)  # requests that show where the density of first tokens falls; then older ones fade
_MOST_PARTS = 512  # periods that one request may last: a bound on memory, 100 s at 0.2 s


@dataclass(frozen=True, slots=True)
class FirstTokenTimes:
    """Requests of each bucket of the time to first token, older ones faded."""

    counts: tuple[float, ...] = ()

    def add(self, seen: Latencies) -> "FirstTokenTimes":
        """With the requests of an interval."""
        before = self.counts if len(self.counts) == len(seen.counts) else (0.0,) * len(seen.counts)
        counts = tuple(old + new for old, new in zip(before, seen.counts, strict=True))
        return FirstTokenTimes(tuple(n / 2 for n in counts) if sum(counts) > _SHAPE[1] else counts)

    def count_late(self, seen: Latencies, limit_s: float, factor: float = 1.0) -> float:
        """Requests of an interval that are late, if all took `factor` times as long."""
        limit_s, edges = limit_s / factor * (1 + 1e-9), (0.0, *seen.edges, inf)
        cut = bisect_right(seen.edges, limit_s)
        low, high = edges[cut : cut + 2]
        unclear: float = seen.counts[cut]
        if self._is_falling(cut, low - edges[cut - 1], high - low):
            unclear *= (high - limit_s) / (high - low)
        if seen.is_sum_exact and limit_s > low:
            rest_s = seen.sum_s - sum(count * edge for count, edge in zip(seen.counts, edges, strict=False))
            unclear = min(unclear, max(0.0, rest_s // (limit_s - low)))
        return sum(seen.counts[cut + 1 :]) + unclear

    def _is_falling(self, cut: int, width_below_s: float, width_s: float) -> bool:
        """Whether a bucket holds fewer requests per second than the one below."""
        if not 0 < cut < len(self.counts) - 1 or sum(self.counts) < _SHAPE[0]:
            return False
        return self.counts[cut] / width_s < self.counts[cut - 1] / width_below_s


def count_late_means(seen: Latencies, limit_s: float, unclear: float) -> float:
    """Requests whose mean is above a limit, with a share `unclear` of those in the bucket that the limit cuts."""
    cut = bisect_right(seen.edges, limit_s * (1 + 1e-9))
    is_edge = cut > 0 and seen.edges[cut - 1] >= limit_s * (1 - 1e-9)
    return sum(seen.counts[cut + 1 :]) + (1.0 if is_edge else unclear) * seen.counts[cut]


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
