"""Cost of the chosen clock: requests that missed a limit and would have met it at the highest clock. Pure.

The attainment of the default cannot be observed during steering. So for each miss the policy estimates whether it would have
occurred at the highest clock too: for the first token by `_late`, for later ones from the times between tokens at the highest
clock. Predictions are then corrected by observations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from dvfs.policies.slo._interval import ServingInterval
from dvfs.policies.slo._response import ServerModel, Slow

_ANSWERS = ((0.05, 0.05), (0.15, 0.1), (0.4, 0.2), (0.8, 0.25), (1.2, 0.2), (2.0, 0.2))
_TAU_S = 900.0  # of forgetting
_PRIOR = 1.5  # misses that count for the reckoning before any came
_BIAS = (0.02, 8.0)


def answers(mean: float) -> list[tuple[float, float]]:
    """How long answers of this mean are in tokens, and how often: widely spread, as answers are."""
    return [(max(2.0, ratio * mean), weight) for ratio, weight in _ANSWERS]


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Steps of an interval: their number, mean time, and the time at the highest clock."""

    count: float
    gap_s: float
    top_s: float


def steps_of(interval: ServingInterval, gap_s: float, response: ServerModel, x: Slow, top: Slow, done_s: float) -> StepTimes:
    """Steps of an interval with this mean time between tokens; `done_s` is the work done on the oldest open prompt."""
    batch = interval.decoding
    pure, pure_top = response.gap_s(x, batch, top), response.gap_s(top, batch)
    mixed, mixed_top = response.mixed_s(x, batch, done_s, top), response.mixed_s(top, batch, done_s)
    share = min(1.0, max(0.0, (gap_s - pure) / (mixed - pure))) if mixed > pure else 0.0  # of steps with a part of a prompt
    top_s = gap_s * ((1.0 - share) * pure_top + share * mixed_top) / ((1.0 - share) * pure + share * mixed)
    return StepTimes(interval.seconds / gap_s, gap_s, min(gap_s, top_s))


Kinds = tuple[float, ...]
"""Of seconds that began with no prompt open, with one, and with more."""


@dataclass(frozen=True, slots=True)
class MissAccount:
    """Predicted and actual extra misses of first and later tokens; old ones decay."""

    first: Kinds = (0.0, 0.0, 0.0)
    first_seen: Kinds = (0.0, 0.0, 0.0)
    later: float = 0.0
    later_seen: float = 0.0
    requests: float = 0.0

    def spent_ratio(self, given_ratio: float) -> float:
        """Extra misses that came, relative to those that may: this share of the requests."""
        return (sum(self.first_seen) + self.later_seen + _PRIOR) / (given_ratio * self.requests + _PRIOR)

    def bias(self, pending: int) -> tuple[float, float]:
        """By what misses reckoned of the next second are to be multiplied, of the first and of later tokens."""
        kind = min(pending, len(self.first) - 1)
        return _bias(self.first_seen[kind], self.first[kind]), _bias(self.later_seen, self.later)

    def reckoned(self, pending: int, first: float, later: float) -> "MissAccount":
        """Add the prediction for the next second."""
        return replace(self, first=_added(self.first, pending, first), later=self.later + later)

    def came(self, seconds: float, pending: int, requests: int, first: float, later: float) -> "MissAccount":
        """Add the misses of an interval that began with `pending` open prompts and in which `requests` first tokens came."""
        fade = exp(-seconds / _TAU_S)
        return MissAccount(
            tuple(fade * one for one in self.first),
            _added(tuple(fade * one for one in self.first_seen), pending, first),
            self.later * fade,
            self.later_seen * fade + later,
            self.requests * fade + requests,
        )


def _added(kinds: Kinds, pending: int, more: float) -> Kinds:
    kind = min(max(0, pending), len(kinds) - 1)
    return (*kinds[:kind], kinds[kind] + more, *kinds[kind + 1 :])


def _bias(actual: float, reckoned: float) -> float:
    return min(_BIAS[1], max(_BIAS[0], (actual + _PRIOR) / (reckoned + _PRIOR)))


def later_extra(steps: Sequence[StepTimes], answer: float, limit_s: float, ended: int, since: float) -> float:
    """Of requests that just ended, those whose mean time between tokens was over the limit by our clock.

    All that decode get their tokens together, so a request's mean is that of the last steps, as many as its answer is long;
    none is shorter than the `since` steps without a first token. With the highest clock it would have had more steps in the
    same time and ended sooner, without the last steps.
    """
    share = whole = 0.0
    for n, weight in answers(answer):
        if n < since:
            continue
        whole += weight
        had: list[tuple[float, float]] = []  # time of each interval, and of a step at the highest clock; last one first
        total = counted = 0.0
        for one in reversed(steps):
            take = min(one.count, n - counted)
            counted += take
            total += take * one.gap_s
            had.append((take * one.gap_s, one.top_s))
            if counted >= n:
                break
        if counted and total > limit_s * counted >= _at_top(had, counted):
            share += weight
    return ended * share / whole if whole else 0.0


def _at_top(had: Sequence[tuple[float, float]], n: float) -> float:
    """Time of the first n steps of a request at the highest clock."""
    total = done = 0.0
    for time_s, top_s in reversed(had):
        more = min(time_s / top_s, n - done) if top_s > 0 else 0.0
        total, done = total + more * top_s, done + more
    return total * n / done if done else 0.0
