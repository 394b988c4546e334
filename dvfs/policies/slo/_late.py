"""Late first tokens of an interval with several first tokens. Pure.

A histogram shows how long first tokens took but not which requests they belong to, and the limit of a long prompt is longer. So
the interval is simulated many times: prompts as seen before, arrivals anywhere in the interval, served one after another. A run
is weighted by how well it fits the counters: the sum of the prompts, the sum of the times, the counts above the limit. The same
run at the highest clock shows which misses that clock would have avoided.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

from dvfs.policies.slo._draws import draw_numbers
from dvfs.policies.slo._interval import ServingInterval
from dvfs.policies.slo._open import PERIOD_S, LatencyLimits

_RUNS, _REQUESTS = 160, 1600  # runs, and requests in all of them, at most
_RUNS_LEAST = 20
_DRAWS = 6  # of which the one whose sum fits best is played out
_SUM_LN, _TIME_RATIO, _TIME_S, _OFF = 0.2, 0.08, 0.02, 2.0  # how well a run must fit; the last for each count that is off


@dataclass(frozen=True, slots=True)
class IntervalStart:
    """State of a server at the start of an interval, and how it serves.

    Args:
        ages: of the prompts that were open, oldest first, in s.
        late_s: time by which the server was behind its progress at the highest clock.
        speed: of prefill, relative to the highest clock.
        start_s: wait of a prompt for the step in progress.
        work: on a prompt by its number of tokens, in s at the highest clock.
        prompts: lengths seen before, none empty.
        clustering: share of requests that would meet another which do; the others come when the server would be free.
    """

    ages: Sequence[float]
    late_s: float
    speed: float
    start_s: float
    work: Callable[[float], float]
    prompts: Sequence[float]
    clustering: float


def expected_late_tokens(interval: ServingInterval, limits: LatencyLimits, before: IntervalStart) -> float:
    """Expected number of late first tokens that would have been in time at the highest clock."""
    n, total, edges = interval.first_tokens, interval.prompt_tokens, interval.ttft.edges
    if not n or not total or limits.ttft_s is None:
        return 0.0
    over = bisect_left(edges, limits.ttft_s)  # the first bucket that is above the limit, in part or whole
    over += over < len(edges) and edges[over] == limits.ttft_s
    seen = interval.ttft.counts[over:]
    if not any(seen):
        return 0.0
    if n == 1:  # certain
        took_s, limit_s = interval.ttft_sum_s, limits.first_s
        by_s = before.late_s + (1.0 / before.speed - 1.0) * before.work(total)
        return float(took_s - by_s <= limit_s < took_s)
    parts = -(-n // (_REQUESTS // _RUNS_LEAST))  # of many, as many as can be played out stand for all
    n, seconds, sum_s_seen = n // parts, interval.seconds / parts, interval.ttft_sum_s / parts
    mean, wanted = total / interval.first_tokens, [count / parts for count in seen]
    slope = (before.work(2.0 * mean) - before.work(mean)) / mean
    fixed = before.work(mean) - slope * mean
    noise_s = _TIME_RATIO * sum_s_seen + _TIME_S * n
    numbers = draw_numbers(0)
    fits: list[tuple[float, int]] = []
    for _ in range(max(_RUNS_LEAST, min(_RUNS, _REQUESTS // n))):
        lengths, off = _lengths(before.prompts, n, mean * n, numbers)
        arrive = _arrivals(before.ages[:n], n, seconds, numbers)
        top = arrive[0]
        done = top + before.late_s
        counts, extra, sum_s = [0] * len(seen), 0, 0.0
        for at_s, prompt in zip(arrive, lengths, strict=True):
            work_s = max(0.0, fixed + slope * prompt)
            at_s = top if 0 < at_s < top and next(numbers) > before.clustering else at_s
            done = max(done, at_s) + before.start_s + work_s / before.speed
            top = max(top, at_s) + before.start_s + work_s
            sum_s += done - at_s
            place = bisect_left(edges, done - at_s) - over
            if place >= 0:
                counts[place] += 1
            extra += top - at_s <= limits.first_s < done - at_s
        off += 0.5 * ((sum_s - sum_s_seen) / noise_s) ** 2
        fits.append((off + _OFF * sum(abs(a - b) for a, b in zip(counts, wanted, strict=True)), extra))
    best = min(off for off, _ in fits)
    weights = [exp(best - off) for off, _ in fits]
    return parts * sum(w * extra for w, (_, extra) in zip(weights, fits, strict=True)) / sum(weights)


def _lengths(prompts: Sequence[float], n: int, total: float, numbers: Iterator[float]) -> tuple[list[float], float]:
    """Prompts that add up to `total`, and how far they were from it before they were stretched."""
    draws = ([prompts[int(next(numbers) * len(prompts))] for _ in range(n)] for _ in range(_DRAWS))
    lengths, off = min(((one, log(total / max(1.0, sum(one)))) for one in draws), key=lambda pair: abs(pair[1]))
    return [length * exp(off) for length in lengths], 0.5 * (off / _SUM_LN) ** 2


def _arrivals(ages: Sequence[float], n: int, seconds: float, numbers: Iterator[float]) -> list[float]:
    """When n requests arrived, relative to the interval's start; for those already open, a reading bounds it to one period."""
    known = sorted((next(numbers) - 0.5) * PERIOD_S - age for age in ages)
    return known + sorted(next(numbers) * seconds for _ in range(n - len(known)))
