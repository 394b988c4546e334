"""Sensors of simulated GPUs: an energy counter and power readings, each with a clock of its own.

They follow a specification of sensors, not the estimator that they judge. All instants are of one clock, in s.
"""

import random
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from benchmarks.sensors.loads import Floats, Load

BEFORE_S = 5.0
GAIN_TOLERANCE = 0.05
LATEST_S = 0.2
_AVERAGE_S = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read of a GPU returns; None where the GPU lacks the sensor. `average_w` is a mean over one second."""

    energy_j: float | None
    instant_w: float | None
    average_w: float | None


@dataclass(frozen=True, slots=True)
class TickClock:
    """Ticks about every `period_s`, off by at most `jitter` of it. A drifting clock adds up what each tick was off."""

    period_s: float
    jitter: float = 0.0
    drifts: bool = False

    def ticks(self, rng: np.random.Generator, until_s: float) -> Floats:
        """Ticks from `BEFORE_S` before 0, with a phase and a rate error (100 ppm) of their own."""
        period_s = self.period_s * (1 + rng.uniform(-1e-4, 1e-4))
        count = int((until_s + BEFORE_S) / period_s / (1 - self.jitter)) + 3
        off_s = period_s * self.jitter * rng.uniform(-1, 1, count) / (1 if self.drifts else 2)
        ticks: Floats = period_s * (np.arange(count, dtype=np.float64) + rng.random()) - BEFORE_S
        ticks += np.cumsum(off_s) if self.drifts else off_s
        return ticks


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """An energy counter. At each tick it shows the energy up to `delay_s` before, and up to `random_delay_s` before that.

    `share` below 1: it measures power in this share of each tick, `place` (0 to 1) of the rest after the tick before, and
    multiplies it by the length of the tick.
    """

    clock: TickClock
    delay_s: float = 0.0
    random_delay_s: float = 0.0
    share: float = 1.0
    place: float = 1.0
    unit_j: float = 0.001
    gain: float = 1.0

    def values(self, rng: np.random.Generator, load: Load, ticks: Floats) -> Floats:
        """What it shows from each tick on."""
        shown_s = np.maximum.accumulate(ticks - self.delay_s - self.random_delay_s * rng.random(len(ticks)))
        if self.share >= 1:
            joules = load.energy_j(shown_s)
        else:
            lengths_s = np.diff(shown_s)
            first_s = shown_s[:-1] + lengths_s * (1 - self.share) * self.place
            measured_j = load.energy_j(first_s + lengths_s * self.share) - load.energy_j(first_s)
            joules = np.concatenate(([0.0], np.cumsum(measured_j / self.share)))
        joules = (joules - joules[0]) * self.gain + rng.uniform(1e3, 1e7)
        shown_j: Floats = np.floor(joules / self.unit_j) * self.unit_j
        return shown_j


@dataclass(frozen=True, slots=True)
class PowerSensor:
    """Power: at each tick the mean over `window_s` up to `delay_s` before."""

    clock: TickClock
    window_s: float
    delay_s: float = 0.0
    gain: float = 1.0

    def values(self, _rng: np.random.Generator, load: Load, ticks: Floats) -> Floats:
        """What it shows from each tick on, in whole mW."""
        end_s = ticks - self.delay_s
        watts = (load.energy_j(end_s) - load.energy_j(end_s - self.window_s)) / self.window_s * self.gain
        return np.round(watts, 3)


@dataclass(frozen=True, slots=True)
class Sensors:
    """The sensors of one model of GPU. `latency_s`: how long a read takes."""

    counter: EnergyCounter | None
    instant: PowerSensor | None
    average: PowerSensor | None
    latency_s: float

    @property
    def period_s(self) -> float:
        """The period of the sensor that the energy comes from; that of averaged power alone is its window."""
        source = self.counter or self.instant
        return source.clock.period_s if source else _AVERAGE_S


class Gpu:
    """One GPU from 0 to `until_s`."""

    def __init__(self, seed: int, sensors: Sensors, load: Load, until_s: float) -> None:
        rng = np.random.default_rng(seed)
        self._series: list[tuple[list[float], list[float]] | None] = []
        for sensor in (sensors.counter, sensors.instant, sensors.average):
            if sensor:
                ticks = sensor.clock.ticks(rng, until_s)
                self._series.append((ticks.tolist(), sensor.values(rng, load, ticks).tolist()))
            else:
                self._series.append(None)

    def read(self, at_s: float) -> Reading:
        """All sensors at an instant."""
        return Reading(*(series and series[1][bisect_right(series[0], at_s) - 1] for series in self._series))


@dataclass(frozen=True, slots=True)
class SensorClass:
    """Ranges that the sensors of a class are drawn from, periods evenly in their logarithm.

    `share`: measured share of a tick; `power`: instant | late | average | none; `counter` is False where only power is read.
    """

    period_s: tuple[float, float] = (0.02, 0.1)
    delay_s: tuple[float, float] = (0.0, 0.0)
    random_delay: bool = False
    share: tuple[float, float] = (1.0, 1.0)
    unit_j: float = 0.001
    gain: bool = False
    counter: bool = True
    power: str = "instant"

    @property
    def shows_delay(self) -> bool:
        """Readings can show how late the energy is."""
        return self.counter and self.power == "instant"

    def draw(self, rng: random.Random) -> Sensors:
        """Sensors of one model of GPU."""
        gain = 1 + GAIN_TOLERANCE * rng.uniform(-1, 1) if self.gain else 1.0
        period_s = _log_uniform(rng, self.period_s)
        counter = EnergyCounter(
            _clock(rng, period_s),
            delay_s=rng.uniform(*self.delay_s),
            random_delay_s=rng.uniform(0.1, 0.5) * period_s if self.random_delay else 0.0,
            share=rng.uniform(*self.share),
            place=rng.choice((1.0, rng.random())),
            unit_j=self.unit_j,
            gain=gain,
        )
        power_gain = rng.uniform(0.97, 1.03) if self.counter else 1.0
        instant = PowerSensor(
            _clock(rng, _log_uniform(rng, (0.01, 0.1))),
            window_s=_log_uniform(rng, (0.01, 0.1)),
            delay_s=rng.uniform(0.01, 0.1) if self.power == "late" else 0.0,
            gain=power_gain,
        )
        average = PowerSensor(_clock(rng, _log_uniform(rng, (0.02, 0.1))), window_s=_AVERAGE_S, gain=power_gain)
        return Sensors(
            counter if self.counter else None,
            instant if self.power in ("instant", "late") else None,
            average if self.power != "none" else None,
            latency_s=_log_uniform(rng, (0.0001, 0.002)),
        )


SENSORS = {
    "counter 10 ms": SensorClass((0.01, 0.01)),
    "counter 20 ms": SensorClass((0.02, 0.02)),
    "counter 50 ms": SensorClass((0.05, 0.05)),
    "counter 100 ms": SensorClass((0.1, 0.1)),
    "counter 300 ms": SensorClass((0.3, 0.3)),
    "counter 1 s": SensorClass((1.0, 1.0)),
    "counter 10 ms to 1 s": SensorClass((0.01, 1.0)),
    "20 ms late": SensorClass(delay_s=(0.02, 0.02)),
    "50 ms late": SensorClass(delay_s=(0.05, 0.05)),
    "100 ms late": SensorClass(delay_s=(0.1, 0.1)),
    "200 ms late": SensorClass(delay_s=(LATEST_S, LATEST_S)),
    "up to 200 ms late": SensorClass(delay_s=(0.0, LATEST_S)),
    "late at random": SensorClass(random_delay=True),
    "samples 25 of 100 ms": SensorClass((0.1, 0.1), share=(0.25, 0.25)),
    "samples 10 to 100 %": SensorClass((0.01, 0.3), share=(0.1, 1.0)),
    "one sample per tick": SensorClass((0.01, 0.1), share=(0.001, 0.01)),
    "counter in J": SensorClass(unit_j=1.0),
    "gain up to 5 % off": SensorClass(gain=True),
    "late power": SensorClass(delay_s=(0.0, LATEST_S), power="late"),
    "averaged power": SensorClass(delay_s=(0.0, LATEST_S), power="average"),
    "no power": SensorClass(delay_s=(0.0, LATEST_S), power="none"),
    "power alone": SensorClass(counter=False),
    "averaged power alone": SensorClass(counter=False, power="average"),
}


def _log_uniform(rng: random.Random, limits: tuple[float, float]) -> float:
    return limits[0] * float((limits[1] / limits[0]) ** rng.random())


def _clock(rng: random.Random, period_s: float) -> TickClock:
    return TickClock(period_s, rng.choice((0.0, 0.01, 0.05, 0.1)), rng.random() < 0.5)
