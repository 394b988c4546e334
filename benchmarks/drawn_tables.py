"""Training jobs drawn at random: the table of a job by clock or power limit, the disturbances of its run, and its length.

A step has a share on the host and one on the GPU, and of the latter a share m that waits for memory. At clock f, with the
voltage's knee at f_k,

    time(f)  = host + (1 - host) (m + (1 - m) f_top / f)        below the knee memory slows in proportion, too
    power(f) = idle + (drawn - idle) f / f_top (V(f) / V(f_top))^2,   V(f) = 1 + rise (f - f_k) / (f_top - f_k)

A power limit lowers the clock until the power is met. The policies share no code with it.
"""

import math
import random
from dataclasses import dataclass

from dvfs.replay.training import Weather
from dvfs.tables import SettingRow, SettingTable

RANGES = {
    "top_mhz": (1400.0, 2400.0),  # V100 to RTX PRO 6000
    "knee_ratio": (0.5, 0.75),  # of the highest clock; H100 0.51, A40 0.72
    "voltage_rise": (0.2, 0.5),  # from the knee to the top; 0.26 was seen on an A100
    "limit_w": (150.0, 1000.0),
    "idle_ratio": (0.1, 0.3),  # of the limit
    "drawn_ratio": (0.5, 1.3),  # of the limit, without it, at the highest clock
    "memory_share": (0.0, 1.0),
    "host_share": (0.0, 0.3),  # of two jobs in three 0
    "settings": (8, 40),
    "lowest_ratio": (0.4, 0.6),  # of the highest setting
    "steps": (300, 30_000),  # even in the logarithm, as is the noise
    "noise": (0.005, 0.08),
    "slow_noise": (0.0, 0.9),  # correlation of a sample's noise with the one before, in one run of four
    "rise": (-0.1, 0.1),  # of the time of a step until the end
    "swing": (0.0, 0.05),  # amplitude, in one run of three
    "swings": (0.5, 4.0),  # per run
    "longer": (0.5, 2.5),  # work of a step from some instant on, in one run of three
    "stalls": (0.0, 0.02),  # chance of a step 1.5 to 4 times as long, in one run of three
}
"""Ranges of the uniform draws, with their basis; those without are assumed."""


@dataclass(frozen=True, slots=True)
class WorkChange:
    """Relative change of the time of a step over the run: it rises, swings, and from `at` on its work is another."""

    rise: float
    swing: float
    swings: float
    longer: float
    at: float

    def __call__(self, share: float) -> float:
        """The change after this share of the run."""
        change = 1 + self.rise * share + self.swing * math.sin(2 * math.pi * self.swings * share)
        return change * (self.longer if share >= self.at else 1.0) - 1


@dataclass(frozen=True, slots=True)
class TrainingCell:
    """One run to judge policies on."""

    table: SettingTable
    budget: float
    steps: int
    weather: Weather
    seed: int


class _Draw(random.Random):
    def of(self, name: str) -> float:
        return self.uniform(*RANGES[name])

    def log(self, name: str) -> float:
        low, high = RANGES[name]
        return math.exp(self.uniform(math.log(low), math.log(high)))


def draw_table(seed: int | str) -> SettingTable:
    """A job's table."""
    draw = _Draw(f"training table {seed}")
    knob, count = draw.choice(("power_limit_w", "sm_clock_mhz")), draw.randint(8, 40)
    top, limit, rise, memory = draw.of("top_mhz"), draw.of("limit_w"), draw.of("voltage_rise"), draw.of("memory_share")
    knee, idle, drawn = top * draw.of("knee_ratio"), limit * draw.of("idle_ratio"), limit * draw.of("drawn_ratio")
    host = draw.choice((0.0, 0.0, draw.of("host_share")))

    def power_w(mhz: float) -> float:
        volts = 1 + rise * max(0.0, mhz - knee) / (top - knee)
        return idle + (drawn - idle) * mhz / top * (volts / (1 + rise)) ** 2

    def clock_at(limit_w: float) -> float:
        return next((top - i for i in range(round(top) - 100) if power_w(top - i) <= limit_w), 100.0)

    def row(setting: float, mhz: float) -> SettingRow:
        busy = (1 - host) * (memory * max(1.0, knee / mhz) + (1 - memory) * top / mhz)
        return SettingRow(setting, host + busy, (host * 1.2 * idle + busy * power_w(mhz)) / (host + busy))

    high = top if knob == "sm_clock_mhz" else limit
    low = high * draw.of("lowest_ratio")
    settings = [round(low + (high - low) * i / (count - 1), 3) for i in range(count)]
    free = clock_at(limit)
    rows = (row(x, min(x, free) if knob == "sm_clock_mhz" else clock_at(x)) for x in settings)
    return SettingTable(f"drawn {seed}", knob, tuple(rows))


def draw_cell(seed: int, *, is_calm: bool = False) -> TrainingCell:
    """A run: table, budget, length and disturbances. Calm: 3,000 steps with 2 % white noise."""
    draw = _Draw(f"training cell {seed}")
    table, budget = draw_table(seed), draw.choice((0.05, 0.1))
    if is_calm:
        return TrainingCell(table, budget, 3000, Weather(), seed)
    steps, noise = round(draw.log("steps")), draw.log("noise")
    swing, longer = draw.choice((0.0, 0.0, draw.of("swing"))), draw.choice((1.0, 1.0, draw.of("longer")))
    change = WorkChange(draw.of("rise"), swing, draw.of("swings"), longer, draw.uniform(0.2, 0.8))
    correlation, stalls = draw.choice((0.0, 0.0, 0.0, draw.of("slow_noise"))), draw.choice((0.0, 0.0, draw.of("stalls")))
    return TrainingCell(table, budget, steps, Weather(noise, correlation, change, stalls), seed)
