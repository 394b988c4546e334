"""A training run out of a table: a policy's trials are played on it, and what it saved and cost is scored against the truth.

The policy sees noisy samples alone. The truth of a run is the table's, times what happens to the workload: drift, and another
table from the middle on. A time is the table's time times (1 + noise), white or AR(1), and now and then a stall.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dvfs.tables import SettingTable
from dvfs.types import Trials

_RULES = ("policy", "default", "oracle")


@dataclass(frozen=True, slots=True)
class Weather:
    """What disturbs a run. `noise` is the standard deviation of a sample, relative."""

    noise: float = 0.02
    ar: float = 0.0  # correlation of a sample's noise with the one before
    drift: Callable[[float], float] | None = None  # share of the run done -> relative change of every time
    stalls: float = 0.0  # chance that a sample takes 1.5 to 4 times as long


@dataclass(frozen=True, slots=True)
class Score:
    """One run. Ratios are of the truth, without noise; `oracle_ratio` is what the best setting saves from the first step on."""

    saving_ratio: float
    oracle_ratio: float
    slowdown_ratio: float
    chosen: float
    chosen_slowdown_ratio: float
    far_over_ratio: float  # share of steps at settings over twice the budget


def play(
    trials: Trials,
    table: SettingTable,
    slowdown: float,
    steps: int,
    seed: int,
    weather: Weather,
    then: SettingTable | None = None,
) -> Score:
    """Play a run of `steps` steps; from its middle on by the table `then`, which has the same settings."""
    draw = random.Random(seed)
    slow = draw.gauss(0, weather.noise)
    now, rows, best = table, {row.setting: row for row in table.rows}, table.best(slowdown)
    time_s, energy_j = dict.fromkeys(_RULES, 0.0), dict.fromkeys(_RULES, 0.0)
    done = far = 0
    state = trials.start(table.knob, list(rows), slowdown, steps)
    while done < steps:
        trial, state = trials.propose(state)
        times, powers = list[float](), list[float]()
        for _ in range(min(trial.samples, steps - done)):
            if then is not None and done == steps // 2:
                now, rows, best = then, {row.setting: row for row in then.rows}, then.best(slowdown)
            row, drift = rows[trial.setting], 1.0 + (weather.drift(done / steps) if weather.drift else 0.0)
            for rule, its in zip(_RULES, (row, now.default, best), strict=True):
                time_s[rule] += its.time_s * drift
                energy_j[rule] += its.time_s * its.power_w * drift
            far += row.time_s > now.default.time_s * (1 + 2 * slowdown)
            done += 1
            slow = weather.ar * slow + draw.gauss(0, weather.noise * math.sqrt(1 - weather.ar**2))
            stall = draw.uniform(1.5, 4) if weather.stalls and draw.random() < weather.stalls else 1.0
            times.append(row.time_s * drift * max(0.05, 1 + slow) * stall)
            powers.append(row.power_w * max(0.05, 1 + draw.gauss(0, weather.noise)))
        state = trials.learn(state, trial.setting, times, powers)
    chosen = trials.choice(state)
    return Score(
        1 - energy_j["policy"] / energy_j["default"],
        1 - energy_j["oracle"] / energy_j["default"],
        time_s["policy"] / time_s["default"] - 1,
        chosen,
        rows[chosen].time_s / now.default.time_s - 1,
        far / max(1, done),
    )


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """Scores of many runs: ratios of sums, and shares of runs."""

    runs: int
    saving_ratio: float
    oracle_ratio: float
    of_oracle_ratio: float | None  # None: the oracle saves nothing
    slowdown_ratio: float
    chosen_over_ratio: float
    whole_over_ratio: float
    far_over_ratio: float


def summary(scores: Sequence[Score], slowdown: float) -> ScoreSummary:
    """What the runs come to."""
    n, over = len(scores), slowdown * (1 + 1e-9) + 1e-12
    saved, possible = math.fsum(s.saving_ratio for s in scores), math.fsum(s.oracle_ratio for s in scores)
    return ScoreSummary(
        n,
        saved / n,
        possible / n,
        saved / possible if possible > 0 else None,
        math.fsum(s.slowdown_ratio for s in scores) / n,
        sum(s.chosen_slowdown_ratio > over for s in scores) / n,
        sum(s.slowdown_ratio > over for s in scores) / n,
        math.fsum(s.far_over_ratio for s in scores) / n,
    )
