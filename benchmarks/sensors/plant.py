"""Simulated GPUs whose sensors have clocks, windows and models of their own, with their truth. Independent of the product.

Power is a random sequence of levels, or a capture of a real GPU that repeats. The counter shows energy up to its last tick, or
adds up samples of power times the length of the tick. Instant power is the mean over a window before its own last tick, or
before the read. Time is simulated, in s.
"""

import csv
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

_BEFORE_S = 3.0
CAPTURES = Path(__file__).parent.parent / "data" / "gpu-power-benchmark"


class TickTimes:
    """Ticks at about every `period_s`, each off by up to `jitter` of that."""

    def __init__(self, rng: random.Random, period_s: float, jitter: float, until_s: float) -> None:
        self.at = [-_BEFORE_S + rng.random() * period_s]
        while self.at[-1] < until_s:
            self.at.append(self.at[-1] + period_s * (1 + rng.uniform(-jitter, jitter)))

    def last(self, at_s: float) -> int:
        """Index of the last tick up to an instant."""
        return max(0, bisect_right(self.at, at_s) - 1)


class RandomLevels:
    """RandomLevels of power that hold from the first to the second of `holds_s`; idle three times in ten."""

    def __init__(self, rng: random.Random, until_s: float, holds_s: tuple[float, float]) -> None:
        at, watts = [-2 * _BEFORE_S], []
        while at[-1] < until_s:
            watts.append(rng.uniform(70, 110) if rng.random() < 0.3 else rng.uniform(150, 700))
            at.append(at[-1] + rng.uniform(*holds_s))
        self._at, self._watts = at, watts
        self._sums = [0.0, *accumulate(w * (b - a) for w, (a, b) in zip(watts, pairwise(at), strict=True))]

    def energy_j(self, at_s: float) -> float:
        """Energy up to an instant."""
        k = min(max(0, bisect_right(self._at, at_s) - 1), len(self._watts) - 1)
        return self._sums[k] + self._watts[k] * (at_s - self._at[k])


class Alternating(RandomLevels):
    """Two levels, each for half a period: work that repeats."""

    def __init__(self, rng: random.Random, until_s: float, period_s: float) -> None:
        super().__init__(rng, until_s, (period_s / 2, period_s / 2))
        self._watts = [600.0 if k % 2 else 150.0 for k in range(len(self._watts))]
        self._sums = [0.0, *accumulate(w * (b - a) for w, (a, b) in zip(self._watts, pairwise(self._at), strict=True))]


class CapturedPower:
    """Power of a real GPU, linear between its readings; it repeats, from a random instant on."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self._at, self._watts = _readings(name)
        self._sums = [0.0]
        for (a, b), (p, q) in zip(pairwise(self._at), pairwise(self._watts), strict=True):
            self._sums.append(self._sums[-1] + (p + q) / 2 * (b - a))
        self._shift_s = rng.random() * self._at[-1] + 2 * _BEFORE_S

    def energy_j(self, at_s: float) -> float:
        """Energy up to an instant."""
        turns, within_s = divmod(at_s + self._shift_s, self._at[-1])
        k = min(bisect_right(self._at, within_s), len(self._at) - 1)
        a, b, p, q = self._at[k - 1], self._at[k], self._watts[k - 1], self._watts[k]
        part_s = within_s - a
        return turns * self._sums[-1] + self._sums[k - 1] + p * part_s + (q - p) * part_s * part_s / 2 / (b - a)


@cache
def _readings(name: str) -> tuple[list[float], list[float]]:
    """Instants in s from 0 and powers in W at which a capture's instant power changed."""
    at: list[float] = []
    watts: list[float] = []
    with (CAPTURES / f"{name}_gpudata.csv").open() as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            power = row.get("power.draw.instant [W]", row["power.draw [W]"])
            stamp = datetime.fromisoformat(row["timestamp"].replace("/", "-") + "+00:00").timestamp()
            if not watts or float(power) != watts[-1]:
                at.append(stamp)
                watts.append(float(power))
    return [t - at[0] for t in at], watts


@dataclass(frozen=True, slots=True)
class Sensors:
    """Sensors of one model of GPU. Periods and windows in s; jitters as shares of a period."""

    counter_s: float
    counter_jitter: float
    power_s: float
    power_jitter: float
    window_s: float
    samples_s: float = 0.0  # the counter adds up the mean power of so much of the end of each tick; 0: it integrates
    fresh: bool = False  # power has no ticks
    instant: bool = True  # power is reported
    one_clock: bool = False
    gain: float = 1.0  # of power against the counter
    lag_s: float = 0.0  # a tick of the counter shows energy up to an instant up to so long before it


class Gpu:
    """One GPU up to `until_s`."""

    def __init__(self, rng: random.Random, until_s: float, sensors: Sensors, load: RandomLevels | CapturedPower) -> None:
        self.sensors, self.load = sensors, load
        self._counter = TickTimes(rng, sensors.counter_s, sensors.counter_jitter, until_s)
        power = TickTimes(rng, sensors.power_s, sensors.power_jitter, until_s)
        self._power = self._counter if sensors.one_clock else power
        self._energies = [load.energy_j(t - rng.random() * sensors.lag_s) for t in self._counter.at]
        if sensors.samples_s:
            sampled = [self._energies[0]]
            for a, b in pairwise(self._counter.at):
                part_s = min(sensors.samples_s, b - a)
                sampled.append(sampled[-1] + (load.energy_j(b) - load.energy_j(b - part_s)) / part_s * (b - a))
            self._energies = sampled

    def read(self, at_s: float) -> tuple[float, float | None]:
        """Counter in J and instant power in W, as a read at an instant shows them: in mJ and mW."""
        energy_j = round(self._energies[self._counter.last(at_s)], 3)
        if not self.sensors.instant:
            return energy_j, None
        tick_s = at_s if self.sensors.fresh else self._power.at[self._power.last(at_s)]
        window_s = self.sensors.window_s
        power_w = (self.load.energy_j(tick_s) - self.load.energy_j(tick_s - window_s)) / window_s
        return energy_j, round(power_w * self.sensors.gain, 3)


@dataclass(frozen=True, slots=True)
class SensorClass:
    """A class of sensors and loads. `holds_s`: how long levels last; `capture`: a real GPU's power instead of levels."""

    holds_s: tuple[float, float] = (0.5, 3.0)
    gpus: int = 8
    in_step: bool = False
    sampled: bool = False
    instant: bool = True
    fresh: bool = False
    one_clock: bool = False
    periodic: bool = False
    late: bool = False
    captures: Sequence[str] = ()


CLASSES = {
    "integrating": SensorClass(),
    "in step": SensorClass(in_step=True),
    "single GPU": SensorClass(gpus=1),
    "one clock": SensorClass(one_clock=True),
    "fresh power": SensorClass(fresh=True),
    "no instant power": SensorClass(instant=False),
    "levels of 50 to 400 ms": SensorClass(holds_s=(0.05, 0.4)),
    "levels of 10 to 50 ms": SensorClass(holds_s=(0.01, 0.05)),
    "periodic work": SensorClass(periodic=True),
    "sampled counter": SensorClass(sampled=True),
    "late counter": SensorClass(late=True),
    "captures": SensorClass(gpus=4, captures=("A100_transient", "A100_5050", "3090_transient", "4090_transient")),
}


def draw_sensors(rng: random.Random, kind: SensorClass) -> Sensors:
    """Sensors of a class, drawn from its ranges. The ranges are assumed, but for the published 20 and 100 ms."""
    counter_s = rng.uniform(0.08, 0.11) if rng.random() < 0.7 else rng.uniform(0.02, 0.08)
    power_s = rng.uniform(0.08, 0.11) if rng.random() < 0.5 else rng.uniform(0.02, 0.08)
    jitters = [rng.choice((0.0, 0.02, 0.05, 0.1, 0.2)) for _ in range(2)]
    period_s = counter_s if kind.one_clock else power_s
    # Means of power over a whole period of the work do not show the work, and neither does the counter: no reading does.
    windows = (0.1, 0.25) if kind.periodic else (0.1, 0.25, 0.5, 1.0)
    return Sensors(
        counter_s, jitters[0], power_s, jitters[1],
        window_s=rng.uniform(0.001, 0.025) if kind.fresh else period_s * rng.choice(windows),
        samples_s=counter_s * rng.choice((0.1, 0.25, 0.5)) if kind.sampled else 0.0,
        lag_s=counter_s * rng.uniform(0.1, 0.4) if kind.late else 0.0,
        fresh=kind.fresh, instant=kind.instant, one_clock=kind.one_clock, gain=rng.uniform(0.97, 1.03),
    )  # fmt: skip


def draw_gpus(rng: random.Random, kind: SensorClass, until_s: float) -> list[Gpu]:
    """GPUs of one model. In step, they have one load; the phases of their sensors differ all the same."""
    sensors = draw_sensors(rng, kind)

    def load() -> RandomLevels | CapturedPower:
        if kind.captures:
            return CapturedPower(rng, rng.choice(kind.captures))
        if kind.periodic:
            return Alternating(rng, until_s, sensors.counter_s / rng.choice((1, 2, 3)))
        return RandomLevels(rng, until_s, kind.holds_s)

    shared = load() if kind.in_step else None
    return [Gpu(rng, until_s, sensors, shared or load()) for _ in range(kind.gpus)]
