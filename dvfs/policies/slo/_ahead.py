"""How many requests would miss their limit of the first token with each clock over the next second, played out. Pure.

Prompts are served one after another; with a clock for a second and the highest one afterwards. How long the open prompts are is
not known, so what is left of the lengths seen stands for them. Requests come as often as they have come. A router that spares
busy servers counts on their full speed: a request that it held back comes as soon as the highest clock would be done, and may
find a slower one still at work. A request misses as often as prompts have been seen that cannot wait so long. Every clock is
tried on the same draws.
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
    """What is open in a server and what comes to it.

    Args:
        front: what the oldest open prompt may be; empty: none is open.
        ages: of the open prompts behind it, in s.
        seen: prompt lengths, each as likely.
        rate: requests a second.
        clustering: share of those that would meet another which do; the others come when the server would be free.
        late_s: by which the server is behind what the highest clock would have done.
        done_s: work done on the oldest open prompt.
        start_s: for which a prompt waits for the step under way.
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
        scene: what there is.
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
        scene: what there is.
        open_s: work that is left of what is open.
        slowest: the lowest speed.
        random: the draws.
    """
    found: list[tuple[float, float]] = []
    now, done = 0.0, open_s
    free_s = max(0.0, open_s - scene.late_s - _OPTIMISM * next(random) * (open_s + scene.done_s))  # as a router sees it
    while len(found) < _ARRIVALS:
        now -= log(next(random)) / scene.rate
        if now < free_s and next(random) > scene.clustering:
            now = free_s
        if now >= PERIOD_S and now >= _when(done, slowest):
            break
        work_s = scene.seen[int(next(random) * len(scene.seen))].work_s
        found.append((now, work_s))
        free_s = max(free_s, now) + work_s * (1.0 - _OPTIMISM * next(random))
        done = max(done, _until(now, slowest)) + work_s
    return found
