"""What serving engines did between two readings of their counters; joules are joined with it over the same stretch of time."""

from typing import Self

from energy_agent.core.record import record


@record(frozen=True, slots=True)
class Latencies:
    """A histogram of latencies in s.

    Args:
        edges: upper bounds of the buckets, rising, without the infinite one.
        counts: observations of each bucket, not cumulated; one more than `edges`, the last is above all of them.
        sum_s: sum of all observations.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

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
        return type(self)(self._same_edges(other), counts, self.sum_s + other.sum_s)

    def less(self, earlier: Self) -> Self:
        """What came since `earlier` of the same histogram.

        Raises:
            ValueError: the edges differ, or `earlier` counts more.
        """
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            raise ValueError("a histogram does not count backwards")
        return type(self)(self._same_edges(earlier), counts, max(0.0, self.sum_s - earlier.sum_s))

    def _same_edges(self, other: Self) -> tuple[float, ...]:
        if self.edges != other.edges:
            raise ValueError("histograms with different edges do not add up")
        return self.edges


@record(frozen=True, slots=True)
class TokenDelta:
    """What the engines of one page did for one model over [start_ns, end_ns) (UTC); None where the page does not tell.

    Sums of consecutive deltas are what the page counted, whatever readings failed between them.

    Args:
        workload: whose tokens these are.
        group: all devices of the job or engine; empty: the workload's own.
        model: as the configuration or the page names it.
        source: names the page: a workload with several pages has a delta of each, over different stretches.
        live: counters move with every engine step; where they do not, they move when a request ends, and a stretch has to be
            long against a request before its energy can be joined with them.
        prompt: prompt tokens, those found in a cache included.
        cached: of them, those found in a cache.
        computed: of them, those that were computed: what costs energy.
        generation: tokens generated.
        requests: requests that ended.
        steps: engine steps.
        running: requests in the batch at the end of the stretch.
        waiting: requests that wait at the end of the stretch.
        ttft: times to first token.
        itl: times between two tokens.
        restarted: an engine started again in between. What it did between the earlier reading and its end was never published,
            so the counts are lower bounds.
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
    running: int | None = None
    waiting: int | None = None
    ttft: Latencies | None = None
    itl: Latencies | None = None
    restarted: bool = False
