"""Token counts of inference servers between two readings; energy of the same interval is joined to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True)
class Latencies:
    """A histogram of latencies in s, or of tokens per request.

    Args:
        edges: upper bounds of the buckets, rising, without the infinite one.
        counts: observations of each bucket, not cumulated; one more than `edges`, the last is above all of them.
        sum_s: sum of all observations, in the unit of the edges.
        is_sum_exact: whether `sum_s` is that of the observations, and no estimate from the buckets.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float
    is_sum_exact: bool = True

    @property
    def count(self) -> int:
        """How many observations."""
        return sum(self.counts)

    def plus(self, other: Self) -> Self:
        """The sum of two with the same edges.

        Raises:
            ValueError: the edges differ.
        """
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        is_exact = self.is_sum_exact and other.is_sum_exact
        return type(self)(self._same_edges(other), counts, self.sum_s + other.sum_s, is_exact)

    def less(self, earlier: Self) -> Self:
        """What came since `earlier` of the same histogram.

        Raises:
            ValueError: the edges differ, or `earlier` counts more.
        """
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            raise ValueError("a histogram must not decrease")
        is_exact = self.is_sum_exact and earlier.is_sum_exact
        return type(self)(self._same_edges(earlier), counts, max(0.0, self.sum_s - earlier.sum_s), is_exact)

    def _same_edges(self, other: Self) -> tuple[float, ...]:
        if self.edges != other.edges:
            raise ValueError("histograms with different edges cannot be added")
        return self.edges


@dataclass(frozen=True, slots=True)
class TokenDelta:
    """What the engines of one metrics endpoint did for one model over [start_ns, end_ns) (UTC).

    None in a field means that the endpoint does not report it. Consecutive deltas add up to what the endpoint counted, even if
    readings between them failed.

    Args:
        workload: whose tokens these are.
        group: all devices of the job or engine; empty: the workload's own.
        model: as the configuration or the endpoint names it.
        source: names the endpoint: a workload with several endpoints has a delta of each, over different intervals.
        live: whether counters move with every engine step. Otherwise they move when a request ends, and an interval must be
            long compared with a request before its energy can be joined with them.
        prompt: prompt tokens, including those found in a cache.
        cached: prompt tokens found in a cache.
        computed: prompt tokens that were computed; only these cost energy.
        generation: tokens generated.
        requests: requests that ended.
        steps: engine steps.
        drafts: draft tokens of speculative decoding.
        accepted: draft tokens that the model accepted.
        aborted: requests that ended without being finished.
        running: requests in the batch at the end of the interval.
        waiting: requests that are queued at the end of the interval.
        ttft: times to first token.
        itl: times between two tokens.
        prompt_per_request, computed_per_request, generation_per_request: tokens of each request that ended: of its prompt, of
            its prompt without those found in a cache, and generated.
        restarted: an engine restarted within the interval. It never published what it did between the earlier reading and its
            end, so the counts are lower bounds.
        role: prefill or decode if these run on separate servers; the requests of a prefill server are 0.
    """

    start_ns: int
    end_ns: int
    workload: str
    group: str
    model: str
    source: str
    live: bool
    prompt: int | None = None
    cached: int | None = None
    computed: int | None = None
    generation: int | None = None
    requests: int | None = None
    steps: int | None = None
    drafts: int | None = None
    accepted: int | None = None
    aborted: int | None = None
    running: int | None = None
    waiting: int | None = None
    ttft: Latencies | None = None
    itl: Latencies | None = None
    prompt_per_request: Latencies | None = None
    computed_per_request: Latencies | None = None
    generation_per_request: Latencies | None = None
    restarted: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """What the engines of one metrics endpoint did for one model since its first reading. Counts never fall.

    Args:
        t_ns: UTC ns of the last reading.
        source: names the endpoint.
        model, group: as of `TokenDelta`.
        precision: of the weights, where the configuration has it.
        counts: by field of `TokenDelta`, without the fields that the endpoint never reported.
        running, waiting: at the last reading; None where the endpoint does not report them or does not respond.
        ttft, itl, tpot: over the buckets that all engines have had; tpot is the mean time per output token of each request.
    """

    t_ns: int
    workload: str
    model: str
    group: str
    precision: str
    source: str
    counts: Mapping[str, int]
    running: int | None = None
    waiting: int | None = None
    ttft: Latencies | None = None
    itl: Latencies | None = None
    tpot: Latencies | None = None


def joined(parts: Iterable[Latencies]) -> Latencies | None:
    """The sum of histograms over the edges that all of them have; None of none.

    Counts below a common edge are exact: between two of them buckets are only put together.
    """
    total: Latencies | None = None
    for each in parts:
        if total is None:
            total = each
            continue
        edges = tuple(sorted(set(total.edges) & set(each.edges)))
        total = _over(edges, total).plus(_over(edges, each))
    return total


def _over(edges: tuple[float, ...], of: Latencies) -> Latencies:
    """A histogram over some of its edges."""
    if edges == of.edges:
        return of
    counts = [0] * (len(edges) + 1)
    place = 0
    for edge, count in zip((*of.edges, inf), of.counts, strict=True):
        counts[place] += count
        if place < len(edges) and edge == edges[place]:
            place += 1
    return replace(of, edges=edges, counts=tuple(counts))
