"""Other published search rules, for comparison only; the product does not use them.

`ZEUS`: the rule of Zeus's GlobalPowerLimitOptimizer with a limit on slowdown (ml-energy/zeus, optimizer/power_limit.py): at
each limit from the highest to the lowest 10 steps to warm up and 40 measured ones, then the lowest limit within it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dvfs.types import Trial, Trials

_WARM_UP, _MEASURED = 10, 40
_HOLD = 50


@dataclass(frozen=True, slots=True)
class RivalSweep:
    """Measurements so far, by setting."""

    settings: tuple[float, ...]  # falling
    slowdown: float
    time_s: Mapping[float, float] = field(default_factory=dict)


def _start(_knob: str, settings: Sequence[float], slowdown: float, _steps: int | None) -> RivalSweep:
    return RivalSweep(tuple(sorted(settings, reverse=True)), slowdown)


def _proposed(sweep: RivalSweep) -> tuple[Trial, RivalSweep]:
    for setting in sweep.settings:
        if setting not in sweep.time_s:
            return Trial(setting, _WARM_UP + _MEASURED, "profile"), sweep
    return Trial(_choice(sweep), _HOLD, "hold"), sweep


def _add_trial(sweep: RivalSweep, setting: float, step_s: Sequence[float], _power_w: Sequence[float]) -> RivalSweep:
    if setting in sweep.time_s:
        return sweep
    measured = step_s[_WARM_UP:] or step_s
    return replace(sweep, time_s={**sweep.time_s, setting: math.fsum(measured) / len(measured)})


def _choice(sweep: RivalSweep) -> float:
    if not sweep.time_s:
        return sweep.settings[0]
    limit = sweep.time_s[sweep.settings[0]] * (1 + sweep.slowdown)
    return min(setting for setting, time_s in sweep.time_s.items() if time_s <= limit)


ZEUS = Trials(_start, _proposed, _add_trial, _choice)
