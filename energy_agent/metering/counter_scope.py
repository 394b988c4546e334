"""What a GPU's energy counter includes, measured: its increase against instant power at each scope that answers. Pure.

Counter and power come from one sensor, so they have one gain: against the power of its own scope, the ratio of the counter's
increase to the integral of power is 1. That decides where it holds within `TOLERANCE` for one scope and not for the other.
Readings once per second miss swings of power in between, so the standard error of the ratio has to be small first.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import DeviceSample
from energy_agent.core.units import NS_PER_S

TOLERANCE: Final = 0.05
INTERVALS_LEAST: Final = 60


@dataclass(slots=True)
class _Fit:
    """Integrals of power at one scope less the counter's increase, over the same intervals."""

    count: int = 0
    counter_mj: int = 0
    excess_mj: float = 0.0
    squares: float = 0.0

    def add(self, counter_mj: int, power_mj: float) -> None:
        excess_mj = power_mj - counter_mj
        self.count, self.counter_mj = self.count + 1, self.counter_mj + counter_mj
        self.excess_mj, self.squares = self.excess_mj + excess_mj, self.squares + excess_mj * excess_mj

    def ratio(self) -> tuple[float, float] | None:
        """(power / counter - 1, twice its standard error); None while there is too little."""
        if self.count < INTERVALS_LEAST or self.counter_mj <= 0:
            return None
        spread = max(0.0, self.squares - self.excess_mj**2 / self.count)
        return self.excess_mj / self.counter_mj, 2 * sqrt(spread * self.count / (self.count - 1)) / self.counter_mj


class ScopeMeter:
    """Compares the samples of one device."""

    def __init__(self, gap_ns: int) -> None:
        """Intervals longer than `gap_ns` are left out."""
        self._gap_ns = gap_ns
        self._before: DeviceSample | None = None
        self._gpu, self._module = _Fit(), _Fit()

    def feed(self, sample: DeviceSample) -> None:
        """Take the next reading of the device."""
        before, self._before = self._before, sample
        if before is None or before.energy_mj is None or sample.energy_mj is None:
            return
        took_ns, counter_mj = sample.boot_ns - before.boot_ns, sample.energy_mj - before.energy_mj
        if not 0 < took_ns <= self._gap_ns or counter_mj < 0:
            return
        for fit, one, other in (
            (self._gpu, before.power_mw, sample.power_mw), (self._module, before.module_power_mw, sample.module_power_mw)
        ):  # fmt: skip
            if one is not None and other is not None:
                fit.add(counter_mj, (one + other) / 2 * took_ns / NS_PER_S)

    @property
    def scope(self) -> CounterScope:
        """What the counter includes; unknown while both scopes fit, neither does, or too little was read."""
        gpu, module = self._gpu.ratio(), self._module.ratio()
        if gpu is None:
            return CounterScope.UNKNOWN
        if _fits(gpu) and (self._module.count == 0 or (module is not None and _differs(module))):
            return CounterScope.GPU_MEASURED
        if module is not None and _fits(module) and _differs(gpu):
            return CounterScope.MODULE_MEASURED
        return CounterScope.UNKNOWN


def _fits(ratio: tuple[float, float]) -> bool:
    return abs(ratio[0]) + ratio[1] <= TOLERANCE


def _differs(ratio: tuple[float, float]) -> bool:
    return abs(ratio[0]) - ratio[1] > TOLERANCE
