"""What a GPU's energy counter includes, measured: its increase against instant power at each scope that answers. Pure.

Counter and power come from one sensor, so they have one gain: against the power of its own scope, the ratio of the counter's
increase to the integral of power is 1. That decides where it holds within `TOLERANCE` for one scope and not for the other.
Readings once per second miss swings of power in between, so the standard error of the ratio has to be small first. A load
with a period near that of the readings shifts their mean without a spread: instant power has to agree with its own average
(field 185) within the same tolerance. Where both hold, a scope that the counter does not have cannot be the only one that fits.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final

from energy_agent.core.boundary import CounterScope
from energy_agent.core.energy import DeviceSample
from energy_agent.core.units import NS_PER_S

TOLERANCE: Final = 0.05
INTERVALS_LEAST: Final = 60

Ratio = tuple[float, float]
"""A ratio less 1, and the half width of its 95 % interval."""


@dataclass(slots=True)
class _Fit:
    """Integrals of instant power less the energy by a counter or an average, over the same intervals."""

    count: int = 0
    energy_mj: int = 0
    excess_mj: float = 0.0
    squares: float = 0.0

    def add(self, energy_mj: int, power_mj: float) -> None:
        excess_mj = power_mj - energy_mj
        self.count, self.energy_mj = self.count + 1, self.energy_mj + energy_mj
        self.excess_mj, self.squares = self.excess_mj + excess_mj, self.squares + excess_mj * excess_mj

    def ratio(self) -> Ratio | None:
        """Power over energy; None while there is too little."""
        if self.count < INTERVALS_LEAST or self.energy_mj <= 0:
            return None
        spread = max(0.0, self.squares - self.excess_mj**2 / self.count)
        return self.excess_mj / self.energy_mj, 2 * sqrt(spread * self.count / (self.count - 1)) / self.energy_mj


class ScopeMeter:
    """Compares the samples of one device."""

    def __init__(self, gap_ns: int) -> None:
        """Intervals longer than `gap_ns` are left out."""
        self._gap_ns = gap_ns
        self._before: DeviceSample | None = None
        self._gpu, self._module, self._average = _Fit(), _Fit(), _Fit()

    def feed(self, sample: DeviceSample) -> None:
        """Take the next reading of the device."""
        before, self._before = self._before, sample
        if before is None or before.energy_mj is None or sample.energy_mj is None:
            return
        took_ns, counter_mj = sample.boot_ns - before.boot_ns, sample.energy_mj - before.energy_mj
        if not 0 < took_ns <= self._gap_ns or counter_mj < 0:
            return
        average_mj = None if sample.power_average_mw is None else sample.power_average_mw * took_ns // NS_PER_S
        for fit, energy_mj, one, other in (
            (self._gpu, counter_mj, before.power_mw, sample.power_mw),
            (self._module, counter_mj, before.module_power_mw, sample.module_power_mw),
            (self._average, average_mj, before.power_mw, sample.power_mw),
        ):
            if energy_mj is not None and one is not None and other is not None:
                fit.add(energy_mj, (one + other) / 2 * took_ns / NS_PER_S)

    @property
    def scope(self) -> CounterScope:
        """What the counter includes; unknown while both scopes fit, neither does, or too little was read."""
        gpu, module, average = self._gpu.ratio(), self._module.ratio(), self._average.ratio()
        is_sampled_well = average is not None and _fits(average)
        if not (is_sampled_well or self._average.count == self._module.count == 0):
            return CounterScope.UNKNOWN
        return decide(gpu, module, has_module=self._module.count > 0)


def decide(gpu: Ratio | None, module: Ratio | None, *, has_module: bool) -> CounterScope:
    """The scope whose power the counter sums, if the other scope's power, where it is read, differs from it."""
    if gpu is None:
        return CounterScope.UNKNOWN
    if _fits(gpu) and (not has_module or (module is not None and _differs(module))):
        return CounterScope.GPU_MEASURED
    if module is not None and _fits(module) and _differs(gpu):
        return CounterScope.MODULE_MEASURED
    return CounterScope.UNKNOWN


def _fits(ratio: Ratio) -> bool:
    return abs(ratio[0]) + ratio[1] <= TOLERANCE


def _differs(ratio: Ratio) -> bool:
    return abs(ratio[0]) - ratio[1] > TOLERANCE
