"""Search rules for a training job that `progress` is compared with. They are not part of the product.

`BISECT`: bisection. Blocks of steps in pairs, at the reference (the original setting) and at the middle of the settings that
are left; the one-sided 95 % bounds of the mean slowdown accept or reject it. The accepted setting of least energy is held, and
tested again now and then.

`ZEUS`: the rule of Zeus's GlobalPowerLimitOptimizer with a limit on slowdown (ml-energy/zeus, optimizer/power_limit.py): at
each limit from the highest to the lowest 10 steps to warm up and 40 measured ones, then the lowest limit within it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, stdev

from dvfs.types import Trial, Trials
from energy_agent.core.interval import t_quantile

_ONE_SIDED = 0.05  # 95 %, as the baseline is defined
_BLOCK = 10  # samples: at 2 % noise per step a pair is within 1 %, a fifth of the usual budget
_PAIRS = (3, 12)  # for a bound, and after which a setting so near to the budget is given up
_PAIR_HOLD = 200  # samples between two pairs of a held setting: a twentieth of the time at the reference
_WARM_UP, _MEASURED, _HOLD = 10, 40, 50  # samples, of Zeus's rule


@dataclass(frozen=True, slots=True)
class LimitSweep:
    """Measurements so far, by setting."""

    settings: tuple[float, ...]  # falling
    slowdown: float
    time_s: Mapping[float, float] = field(default_factory=dict)


def _start(_knob: str, settings: Sequence[float], slowdown: float, _steps: int | None) -> LimitSweep:
    return LimitSweep(tuple(sorted(settings, reverse=True)), slowdown)


def _proposed(sweep: LimitSweep) -> tuple[Trial, LimitSweep]:
    for setting in sweep.settings:
        if setting not in sweep.time_s:
            return Trial(setting, _WARM_UP + _MEASURED, "profile"), sweep
    return Trial(_choice(sweep), _HOLD, "hold"), sweep


def _add_trial(sweep: LimitSweep, setting: float, step_s: Sequence[float], _power_w: Sequence[float]) -> LimitSweep:
    if setting in sweep.time_s:
        return sweep
    measured = step_s[_WARM_UP:] or step_s
    return replace(sweep, time_s={**sweep.time_s, setting: math.fsum(measured) / len(measured)})


def _choice(sweep: LimitSweep) -> float:
    if not sweep.time_s:
        return sweep.settings[0]
    limit = sweep.time_s[sweep.settings[0]] * (1 + sweep.slowdown)
    return min(setting for setting, time_s in sweep.time_s.items() if time_s <= limit)


ZEUS = Trials(_start, _proposed, _add_trial, _choice)


@dataclass(frozen=True, slots=True)
class PairSearch:
    """A bisection. `low` to `high` are left; `high` is accepted. Ratios are logarithms."""

    settings: tuple[float, ...]
    limit: float
    low: int
    high: int
    pairs: tuple[tuple[float, float], ...] = ()  # of the setting under test: time and energy relative to the reference
    half: tuple[float, float, float] | None = None  # setting, log time, log energy of a block that waits for its partner
    saved: Mapping[float, float] = field(default_factory=dict)  # energy of accepted settings
    is_held: bool = False

    @property
    def tested(self) -> float:
        """The middle of those that are left."""
        return self.settings[(self.low + self.high) // 2]

    @property
    def reference(self) -> float:
        """The highest setting."""
        return self.settings[-1]


def _start_pairs(_knob: str, settings: Sequence[float], slowdown: float, _steps: int | None) -> PairSearch:
    return PairSearch(tuple(sorted(settings)), math.log1p(slowdown), 0, len(settings) - 1)


def _next_block(search: PairSearch) -> tuple[Trial, PairSearch]:
    if search.tested == search.reference or search.is_held:
        return Trial(_accepted(search), _PAIR_HOLD, "hold"), search
    done = search.half[0] if search.half is not None else None
    if done == search.tested or (done is None and len(search.pairs) % 2 == 0):  # the order alternates: a drift cancels
        return Trial(search.reference, _BLOCK, "reference"), search
    return Trial(search.tested, _BLOCK, "probe"), search


def _add_block(search: PairSearch, setting: float, step_s: Sequence[float], power_w: Sequence[float]) -> PairSearch:
    if search.tested == search.reference or search.is_held:
        return replace(search, is_held=False)
    cut = len(step_s) // 10
    time = math.log(mean(sorted(step_s)[cut : len(step_s) - cut]))  # a stall is no slowdown
    block = (setting, time, time + math.log(mean(power_w)))
    if search.half is None or search.half[0] == setting:
        return replace(search, half=block)
    probe, reference = (search.half, block) if setting == search.reference else (block, search.half)
    pair = (probe[1] - reference[1], probe[2] - reference[2])
    return _judge(replace(search, half=None, pairs=(*search.pairs, pair)[-_PAIRS[1] :]))


def _judge(search: PairSearch) -> PairSearch:
    slow, n, tested = [time for time, _ in search.pairs], len(search.pairs), (search.low + search.high) // 2
    average, half = mean(slow), t_quantile(n - 1, _ONE_SIDED) * stdev(slow) / math.sqrt(n) if n >= _PAIRS[0] else math.inf
    if average + half <= search.limit:
        saved = {**search.saved, search.tested: mean(energy for _, energy in search.pairs)}
        is_held = search.low == tested
        return replace(search, high=tested, saved=saved, is_held=is_held, pairs=search.pairs if is_held else ())
    if average - half > search.limit or (n < _PAIRS[0] and average > 2 * search.limit) or n >= _PAIRS[1]:
        saved = {setting: energy for setting, energy in search.saved.items() if setting > search.tested}
        low = min(tested + 1, len(search.settings) - 1)
        return replace(search, low=low, high=max(search.high, low), saved=saved, pairs=())
    return search


def _accepted(search: PairSearch) -> float:
    return min({search.reference: 0.0, **search.saved}.items(), key=lambda item: item[1])[0]


BISECT = Trials(_start_pairs, _next_block, _add_block, _accepted)
