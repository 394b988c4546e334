"""Simulation of requests that would miss their first-token limit with each clock over the next second. Pure.

Prompts are served one after another; with a clock for a second and the highest one afterwards. The lengths of the open prompts
are unknown, so the lengths seen before represent them. Requests arrive at the observed rate. A router that spares busy servers
expects their full speed: it forwards a delayed request when the highest clock would have finished, and a slower clock may still
be busy then. The probability of a miss is the share of observed prompts that cannot wait that long. Every clock is simulated
with the same draws.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from dvfs.policies.slo._draws import draw_numbers
from dvfs.policies.slo._open import PERIOD_S, Candidate, PromptLength, mean_work_s

_RUNS = 32
_ARRIVALS = 12  # in a run, at most
_OPTIMISM = 0.06  # share of the work by which a router may think too little of it: batches and steps under way cost as well


@dataclass(frozen=True, slots=True)
class Scene:
    """Open and arriving requests of a server.

    Args:
        front: candidates for the oldest open prompt; empty: no prompt is open.
        ages: of the open prompts behind it, in s.
        seen: prompt lengths, each as likely.
        rate: requests per second.
        clustering: share of those that would meet another which do; the others come when the server would be free.
        late_s: time by which the server is behind its progress at the highest clock.
        done_s: work done on the oldest open prompt.
        start_s: wait of a prompt for the step in progress.
    """

    front: Sequence[Candidate]
    ages: Sequence[float]
    seen: Sequence[PromptLength]
    rate: float
    clustering: float
    late_s: float
    done_s: float
    start_s: float


def misses(scene: Scene, speeds: Sequence[float], start: int) -> list[float]:
    """Expected misses for each speed, of open requests and of those that come while the second has an effect.

    Args:
        scene: open and arriving requests.
        speeds: of prefill, relative to the highest clock.
        start: place in the draws, so that one second is not like the other.
    """
    seen, mean_s, n = scene.seen, mean_work_s(scene.seen), len(scene.seen)
    stands = sorted(one.limit_s - one.work_s - scene.start_s for one in seen)
    stands_slow = [sorted(one.limit_s - one.work_s / v - scene.start_s for one in seen) for v in speeds]
    missed = [0.0] * len(speeds)
    slowest = min(speeds)
    random = draw_numbers(start)
    for run in range(_RUNS):  # `_when` and `_until` are written out: calls would take half of the time
        queue = _queue(scene, (run + 0.5) / _RUNS, random)
        coming = _coming(scene, sum([work_s for work_s, _ in queue]), slowest, random)
        for level, v in enumerate(speeds):
            done, extra, first_s = 0.0, 0.0, v * PERIOD_S  # work done when the last one ends, misses, work done in the period
            for work_s, left_s in queue:
                done += work_s
                extra += (done / v if done <= first_s else PERIOD_S + done - first_s) > left_s
            for at_s, work_s in coming:
                free = v * at_s if at_s <= PERIOD_S else (v - 1.0) * PERIOD_S + at_s
                done = free if free > done else done
                begin_s = done / v if done <= first_s else PERIOD_S + done - first_s
                slow = (PERIOD_S - begin_s) * v / mean_s  # share of its work that is done at this speed
                if slow > 0.0:
                    slow = slow if slow < 1.0 else 1.0
                    extra += slow * bisect_right(stands_slow[level], begin_s - at_s) / n
                    if slow < 1.0:
                        extra += (1.0 - slow) * bisect_right(stands, begin_s - at_s) / n
                else:
                    extra += bisect_right(stands, begin_s - at_s) / n
                done += work_s
            missed[level] += extra
    return [one / _RUNS for one in missed]


def _when(work_s: float, v: float) -> float:
    """When work is done at speed v for a period and at full speed afterwards."""
    return work_s / v if work_s <= v * PERIOD_S else PERIOD_S + work_s - v * PERIOD_S


def _until(at_s: float, v: float) -> float:
    """Work that can be done until then."""
    return v * at_s if at_s <= PERIOD_S else (v - 1.0) * PERIOD_S + at_s


def _queue(scene: Scene, share: float, random: Iterator[float]) -> list[tuple[float, float]]:
    """Open prompts as work left, and time left. `share`: which of the candidates for the oldest, by their weights."""
    if not scene.front:
        return []
    share *= sum(c.weight for c in scene.front)
    oldest = scene.front[-1]
    for candidate in scene.front:
        share -= candidate.weight
        if share <= 0:
            oldest = candidate
            break
    queue = [(oldest.left_s, oldest.limit_s - oldest.age_s)]
    for age_s in scene.ages:
        one = scene.seen[int(next(random) * len(scene.seen))]
        queue.append((one.work_s, one.limit_s - age_s))
    return queue


def _coming(scene: Scene, open_s: float, slowest: float, random: Iterator[float]) -> list[tuple[float, float]]:
    """Requests to come, as time and work, until the server is idle at every clock, so that this second has no effect any more.

    Args:
        scene: open and arriving requests.
        open_s: remaining work of open prompts.
        slowest: the lowest speed.
        random: the draws.
    """
    arrivals: list[tuple[float, float]] = []
    now, done = 0.0, open_s
    free_s = max(0.0, open_s - scene.late_s - _OPTIMISM * next(random) * (open_s + scene.done_s))  # as a router sees it
    while len(arrivals) < _ARRIVALS:
        now -= log(next(random)) / scene.rate
        if now < free_s and next(random) > scene.clustering:
            now = free_s
        if now >= PERIOD_S and now >= _when(done, slowest):
            break
        work_s = scene.seen[int(next(random) * len(scene.seen))].work_s
        arrivals.append((now, work_s))
        free_s = max(free_s, now) + work_s * (1.0 - _OPTIMISM * next(random))
        done = max(done, _until(now, slowest)) + work_s
    return arrivals
