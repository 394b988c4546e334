"""A training run out of a table: a policy's trials are played on it, and what it saved and cost is scored against the truth.

The policy sees noisy samples alone. The truth of a run is the table's, times what happens to the workload: drift, and another
table from the middle on. A time is the table's time times (1 + noise), white or AR(1), and now and then a stall.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dvfs.tables import Row, Table
from dvfs.types import Trials


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
    steps: dict[float, int] = field(default_factory=dict)
    switches: int = 0


def play(
    trials: Trials, table: Table, slowdown: float, steps: int, seed: int, weather: Weather, then: Table | None = None
) -> Score:
    """Play a run of `steps` steps; from its middle on by the table `then`, which has the same settings."""
    world = _World(table, then, steps, random.Random(seed), weather)
    state = trials.begun(table.knob, [row.setting for row in table.rows], slowdown, steps)
    left = steps
    while left > 0:
        trial, state = trials.proposed(state)
        step_s, power_w = world.run(trial.setting, min(trial.samples, left), slowdown)
        left -= len(step_s)
        state = trials.learned(state, trial.setting, step_s, power_w)
    return world.score(trials.choice(state), slowdown)


class _World:
    def __init__(self, table: Table, then: Table | None, steps: int, draw: random.Random, weather: Weather) -> None:
        self._first, self._then, self._steps, self._draw, self._weather = table, then, steps, draw, weather
        self._rows = {row.setting: row for row in table.rows}
        self._default = table.default
        self._slow = draw.gauss(0, weather.noise)
        self._done = self._far = self._switches = 0
        self._time = self._time_default = self._energy = self._energy_default = self._energy_best = 0.0
        self._at: Counter[float] = Counter()
        self._last: float | None = None

    def run(self, setting: float, n: int, slowdown: float) -> tuple[list[float], list[float]]:
        times, powers = [], []
        self._switches += self._last not in (None, setting)
        self._last = setting
        for _ in range(n):
            if self._then is not None and self._done == self._steps // 2:
                self._rows, self._default = {row.setting: row for row in self._then.rows}, self._then.default
            row, weather = self._rows[setting], self._weather
            drift = 1.0 + (weather.drift(self._done / self._steps) if weather.drift else 0.0)
            self._book(row, drift, slowdown)
            times.append(row.time_s * drift * self._noise())
            powers.append(row.power_w * max(0.05, 1 + self._draw.gauss(0, weather.noise)))
        self._at[setting] += n
        return times, powers

    def _noise(self) -> float:
        weather, draw = self._weather, self._draw
        fresh = draw.gauss(0, weather.noise * math.sqrt(1 - weather.ar**2))
        self._slow = weather.ar * self._slow + fresh
        stall = draw.uniform(1.5, 4) if weather.stalls and draw.random() < weather.stalls else 1.0
        return max(0.05, 1 + self._slow) * stall

    def _book(self, row: Row, drift: float, slowdown: float) -> None:
        best = self._now().best(slowdown)
        self._time += row.time_s * drift
        self._time_default += self._default.time_s * drift
        self._energy += row.time_s * row.power_w * drift
        self._energy_default += self._default.time_s * self._default.power_w * drift
        self._energy_best += best.time_s * best.power_w * drift
        self._far += row.time_s > self._default.time_s * (1 + 2 * slowdown)
        self._done += 1

    def _now(self) -> Table:
        return self._then if self._then is not None and self._done >= self._steps // 2 else self._first

    def score(self, chosen: float, slowdown: float) -> Score:
        return Score(
            1 - self._energy / self._energy_default,
            1 - self._energy_best / self._energy_default,
            self._time / self._time_default - 1,
            chosen,
            self._rows[chosen].time_s / self._default.time_s - 1,
            self._far / max(1, self._done),
            dict(self._at),
            self._switches,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of many runs: ratios of sums, and shares of runs."""

    runs: int
    saving_ratio: float
    of_oracle_ratio: float | None  # None: the oracle saves nothing
    slowdown_ratio: float
    chosen_over_ratio: float
    whole_over_ratio: float
    far_over_ratio: float


def summary(scores: Sequence[Score], slowdown: float) -> Summary:
    """What the runs come to."""
    n, over = len(scores), slowdown * (1 + 1e-9) + 1e-12
    saved, possible = math.fsum(s.saving_ratio for s in scores), math.fsum(s.oracle_ratio for s in scores)
    return Summary(
        n,
        saved / n,
        saved / possible if possible > 0 else None,
        math.fsum(s.slowdown_ratio for s in scores) / n,
        sum(s.chosen_slowdown_ratio > over for s in scores) / n,
        sum(s.slowdown_ratio > over for s in scores) / n,
        math.fsum(s.far_over_ratio for s in scores) / n,
    )
