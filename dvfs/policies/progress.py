"""Policy `progress`: the least energy of a training job within a slowdown budget, found by trying settings and timing steps.

It never uses utilisation. Blocks of steps at the reference (the original setting) alternate with blocks at other settings, and
an account of the whole run's slowdown, with its standard error, decides how slow the rest may be (`_effects.py`). So an error
of an estimate costs nothing in the end: later blocks correct it. Rules:

- The account stays within the budget by `_Z` standard errors, as expected at the end of the run.
- Settings are tried from the top downward, at most as far as the slowdown seen so far lets expect, then between the two that
  enclose the budget or the least energy.
- Of the settings tried, the lower convex hull of slowdown and energy counts: the two around the allowed slowdown alternate
  (Ishihara and Yasuura, ISLPED 1998, for voltages).
- The reference is measured as often as pays off. With n of N samples the margin is z sd N / sqrt(n) of slowdown, and a sample
  of the reference costs c of slowdown, so the sum is least at n = (z sd N / 2 c)^(2/3). They are spread evenly, so that
  interpolation between two of them follows a drift.

In shadow mode, where nothing may be written, it measures the reference alone and reports the expectation from physics.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise, product
from typing import NamedTuple

from dvfs.policies import _trials
from dvfs.policies._effects import Measurements, SettingEffect
from dvfs.policies._trials import POWER, SearchOptions, SearchState, SettingSearch, setting_of
from dvfs.types import DvfsPolicy, Prediction, Trial, Trials

_Z = 2.5  # of the runs that use the budget up, 1 in 160 exceeds it
_CHOICE_Z = 2.0
_HORIZON = 1000  # samples to plan for where nobody knows how many there will be
_HOLD, _FIRST = 25, 12  # samples of a block; of the first one of the reference
_REACH = 2.5  # times the budget: slower settings are not taken in turns
_REFERENCES = (16, 600, 3, 40)  # blocks per run; samples between two, at most; samples of one, at least and at most
_PROBE = (8.0, 6, 40)  # a probe resolves an eighth of the budget, within 6 to 40 samples
_LAST_PROBES = 8  # with fewer probes left than this nothing new is tried
_OVERSHOOT = 1.3  # times the budget: slowdown that the next lower setting aims at
_DEARER_SD = 2.5  # an energy above the least one by so much ends the way downward
_OPTIMISM_SD = 1.0  # a setting with few samples counts with a plausible good energy, so that it gets more
_GAP, _FINE = 0.5, 1 / 6  # of the budget, of the range of settings: closer neighbours are not searched between
_SLOPE = (0.6, 1.4)  # times the budget: where the slope of energy over slowdown is taken
_LEAST_COST = 0.01  # slowdown that a sample of the reference costs at least


class Point(NamedTuple):
    """Slowdown and energy per work of a setting, both relative to the reference."""

    slowdown: float
    energy: float
    setting: float


class Mix(NamedTuple):
    """Two settings in turns: `share` of the work is done at `slow`."""

    energy: float
    fast: float
    slow: float
    share: float


@dataclass(frozen=True, slots=True)
class Search(SettingSearch):
    """A search within a budget. `left`: samples of the run; None: unknown."""

    budget: float
    samples_left: int | None
    measured: Measurements
    cost: float  # of a sample of the reference: slowdown that saves as much energy
    owed: float = 0.0  # to the second of two settings in turns, in blocks

    @property
    def probe(self) -> int:
        """Samples of a trial."""
        parts, least, most = _PROBE
        return round(min(max((self.measured.sd * parts / self.budget) ** 2, least), most))


def start_search(knob: str, settings: Sequence[float], budget: float, samples_left: int | None) -> Search:
    """Start a search. Raises ValueError without settings, or with a budget that is not above 0."""
    ordered = tuple(sorted(set(settings)))
    if not ordered or not budget > 0:
        raise ValueError("a search needs settings and a budget above 0")
    return Search(knob, ordered, budget, samples_left, Measurements(ordered[-1]), budget)


def learn(search: Search, setting: float, step_s: Sequence[float], power_w: Sequence[float]) -> Search:
    """With the samples of a trial. Raises ValueError as `Measurements.learn` does."""
    samples_left = None if search.samples_left is None else max(0, search.samples_left - len(step_s))
    measured = search.measured.learn(setting, step_s, power_w)
    is_new = len(measured.effects) < len(search.measured.effects)
    return replace(search, samples_left=samples_left, measured=measured, cost=search.budget if is_new else search.cost)


def propose(search: Search) -> tuple[Trial, Search]:
    """The next trial, at most the rest of the run."""
    trial, search = _next(search)
    return trial._replace(samples=max(1, min(trial.samples, search.samples_left or trial.samples))), search


def _next(search: Search) -> tuple[Trial, Search]:
    measured, reference = search.measured, search.reference
    if measured.near is None:
        return Trial(reference, _FIRST, "reference"), search
    if len(search.settings) == 1:
        return Trial(reference, _HOLD, "hold"), search
    if measured.aside is not None:
        return Trial(reference, search.probe, "reference"), search
    now = measured.now()
    samples_left = search.samples_left if search.samples_left is not None else max(_HORIZON, measured.samples)
    total = measured.samples + samples_left
    count = min((_Z * measured.sd * total / (2 * search.cost)) ** (2 / 3), total / 3)
    parts, gap, least, most = _REFERENCES
    gap = min(total / parts, gap, most * total / count)
    if sum(block.samples for block in measured.pending) >= gap:
        return Trial(reference, max(least, round(count * gap / total)), "reference"), search
    line = _hull(search, now.effects)
    if samples_left > _LAST_PROBES * search.probe:
        setting = _untried(search, now.effects, _mix(line, search.budget))
        if setting is not None:
            return Trial(setting, search.probe, "probe"), search
    # What the account allows for the rest, with the variance that it will have at the end.
    rest = samples_left * now.scale
    variance = now.variance + rest * now.scale + rest**2 / max(1.0, max(count, parts * least) * samples_left / total)
    allowed = (search.budget * (now.work + rest) - _Z * now.sd * math.sqrt(variance) - now.excess) / rest
    chosen = _mix(line, min(max(allowed, 0.0), _REACH * search.budget))
    low, high = (times * search.budget for times in _SLOPE)
    slope = (_mix(line, low).energy - _mix(line, high).energy) / (high - low)
    cost = max(_LEAST_COST, (1 - chosen.energy) / max(slope, 1e-9) - min(allowed, search.budget))
    search = replace(search, cost=cost)
    if not chosen.share:
        return Trial(chosen.fast, _HOLD, "hold"), search
    owed = search.owed + chosen.share
    return Trial(chosen.slow if owed >= 0.5 else chosen.fast, _HOLD, "turns"), replace(search, owed=owed - (owed >= 0.5))


def _hull(search: Search, effects: Mapping[float, SettingEffect]) -> list[Point]:
    """The lower convex hull of what was tried, from the fastest setting to that of least energy."""
    points = [Point(0.0, 1.0, search.reference)]
    for setting, effect in effects.items():
        hoped = effect.energy - _OPTIMISM_SD * search.measured.sd * math.sqrt(2 / effect.samples)
        points.append(Point(math.expm1(effect.time), math.exp(hoped), setting))
    line: list[Point] = []
    for point in sorted(p for p in points if p.slowdown <= _REACH * search.budget):
        if line and point.energy >= line[-1].energy:
            continue
        while len(line) > 1 and _slope(line[-2], line[-1]) >= _slope(line[-2], point):
            line.pop()
        line.append(point)
    return line


def _slope(a: Point, b: Point) -> float:
    return (b.energy - a.energy) / max(b.slowdown - a.slowdown, 1e-12)


def _mix(line: Sequence[Point], slowdown: float) -> Mix:
    """The least energy at a mean slowdown; where even the fastest setting is slower, that one alone."""
    for a, b in pairwise(line):
        if a.slowdown <= slowdown < b.slowdown:
            share = (slowdown - a.slowdown) / (b.slowdown - a.slowdown)
            return Mix(a.energy + share * (b.energy - a.energy), a.setting, b.setting, share)
    end = line[0] if slowdown < line[0].slowdown else line[-1]
    return Mix(end.energy, end.setting, end.setting, 0.0)


def _untried(search: Search, effects: Mapping[float, SettingEffect], used: Mix) -> float | None:
    """The setting to try next, None once the neighbours of those in use are close enough."""
    near, settings, limit, sd = search.measured.near, search.settings, math.log1p(search.budget), search.measured.sd
    assert near is not None
    if not effects:
        # Time follows a clock at most in proportion; a power limit binds below the power that is drawn.
        top = min(search.reference, math.exp(near.power)) if search.knob == POWER else search.reference
        return max((x for x in settings if x <= top / (1 + search.budget)), default=settings[0])
    points = [(search.reference, SettingEffect(math.inf)), *sorted(effects.items(), reverse=True)]
    least, is_enclosed = 0.0, False
    for _, effect in points[1:]:
        noise = sd * math.sqrt(2 / effect.samples + 2 / near.samples)
        is_enclosed = is_enclosed or effect.time > limit or effect.energy > least + _DEARER_SD * noise
        least = min(least, effect.energy)
    (above, faster), (lowest, effect) = points[-2:]
    if not is_enclosed and lowest != settings[0]:
        slow = max(effect.time, 0.0) + sd / math.sqrt(effect.samples)
        ahead = (_OVERSHOOT * limit - slow) / max(slow - max(faster.time, 0.0), 1e-9)
        return _nearest(settings, lowest, 0.0, lowest - min(1.0, max(0.0, ahead)) * (above - lowest))
    for (high, faster), (low, slower) in pairwise(points):
        if not {high, low} & {used.fast, used.slow} or not any(low < x < high for x in settings) or faster.time > limit:
            continue
        if slower.time > limit and slower.time - faster.time > _GAP * limit:  # slowdown grows with the square, roughly
            part = math.sqrt((limit - faster.time) / (slower.time - faster.time))
            return _nearest(settings, high, low, high - part * (high - low))
        if slower.time <= limit and high - low > _FINE * (settings[-1] - settings[0]):
            return _nearest(settings, high, low, (high + low) / 2)
    return None


def _nearest(settings: Sequence[float], below: float, above: float, value: float) -> float:
    return min((x for x in settings if above < x < below), key=lambda x: abs(x - value))


def choice(search: Search) -> float:
    """The setting of least energy whose own slowdown is within the budget by `_CHOICE_Z` standard errors, or the reference."""
    candidates, limit, least = [(1.0, search.reference)], math.log1p(search.budget), _REFERENCES[0] * _REFERENCES[2]
    for setting, effect in search.measured.now().effects.items():
        if effect.time + _CHOICE_Z * search.measured.sd * math.sqrt(1 / effect.samples + 1 / least) <= limit:
            candidates.append((math.exp(effect.energy), setting))
    return min(candidates)[1]


# Prior of `predict`: where the setting begins to bind, the part of a step that follows it, and how power follows.
_COMPUTE_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_LIMIT_CURVES = tuple(product((0.12, 0.28), (0.45, 0.8, 1.3)))  # static power over the highest limit, exponent of time
_CLOCK_CURVES = ((0.25, 1.0), (0.25, 2.0), (0.45, 1.5), (0.35, 2.8))  # static share of the power, exponent of the rest


def predict(state: SearchState, _config: SearchOptions) -> Prediction | None:
    """Expected result from physics for a job with a measured reference only; None before that."""
    search = state.search
    if search is None or search.measured.near is None:
        return None
    best, *saving = _expect(search.knob, search.settings, search.budget, math.exp(search.measured.near.power))
    setting = setting_of(search, best)
    return Prediction({} if setting is None else dict.fromkeys(state.devices, setting), *saving)


@lru_cache(maxsize=64)  # the governor calls `predict` each second, and the power of the reference changes by the minute
def _expect(knob: str, settings: Sequence[float], budget: float, watts: float) -> tuple[float, float, float, float]:
    """The setting that is best most often, and mean, lower and upper bound of the saving, over all draws of the prior.

    Below the setting x0 at which it begins to bind, a clock x lengthens a step by c (x0 / x - 1), and a power limit by
    c (((x0 - p) / (x - p))^k - 1) with static power p. k is 1/3 where the voltage follows the clock, 1 where it is constant,
    and more where the host works meanwhile.
    """
    top, is_power, draws = settings[-1], knob == POWER, list[tuple[float, float]]()
    low, high = (0.97 * watts, min(1.6 * watts, 1.3 * top)) if is_power else (0.5 * top, top)
    for i, compute, (static, k) in product(range(10), _COMPUTE_SHARES, _LIMIT_CURVES if is_power else _CLOCK_CURVES):
        begin, cheapest = low + (high - low) * i / 9, (1.0, top)
        for x in settings:
            ratio, idle = min(1.0, x / begin), static * top if is_power else 0.0
            longer = max(begin - idle, 0.02 * top) / max(min(x, begin) - idle, 0.02 * top)
            time = 1 + compute * (longer ** (k if is_power else 1) - 1)
            if time <= 1 + budget:
                cheapest = min(cheapest, (time * (ratio if is_power else static + (1 - static) * ratio**k), x))
        draws.append((1 - cheapest[0], cheapest[1]))
    savings, n = sorted(saving for saving, _ in draws), len(draws)
    best = Counter(x for _, x in draws).most_common(1)[0][0]
    return best, math.fsum(savings) / n, savings[n // 40], savings[-1 - n // 40]


TRIALS = Trials(start_search, propose, learn, choice)

SPEC = DvfsPolicy(
    summary="training: minimise energy within the slowdown budget, by trying settings and measuring steps",
    options=_trials.OPTIONS,
    configure=partial(_trials.configure, "progress"),
    start=SearchState,
    decide=partial(_trials.decide, TRIALS, predict),
    predict=predict,
    trials=TRIALS,
)
