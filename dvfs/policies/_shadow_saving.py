"""What decisions would have saved that were not applied: bounds from physics alone. Pure.

At a clock r times as high, dynamic power is r * (V/V0)^2 of that before, and the voltage falls at most in proportion to the
clock. Work that waits for memory takes no longer, and work that computes takes 1/r as long. How much of the power is dynamic is
not known, at most all of it. So between none and 1 - r^3 of the power is saved.
"""

from dataclasses import dataclass
from math import exp

from dvfs.types import Observation

_FIRST_S, _TAU_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class ShadowSaving:
    """Energy of the last hour and of what it may at most have been less, in J; old periods fade."""

    seconds: float = 0.0
    energy_j: float = 0.0
    less_j: float = 0.0

    def add(self, observation: Observation, seconds: float, clock_ratio: float) -> "ShadowSaving":
        """With a period in which the clock would have been `clock_ratio` of the original one."""
        powers = [device.power_mw for device in observation.devices]
        watts = sum(power or 0 for power in powers) / 1e3
        if None in powers or watts <= 0:
            return self
        fade = exp(-seconds / _TAU_S)
        less_j = self.less_j * fade + watts * (1.0 - clock_ratio**3) * seconds
        return ShadowSaving(self.seconds + seconds, self.energy_j * fade + watts * seconds, less_j)

    @property
    def saving_ratio(self) -> float | None:
        """At most this share of the energy; None in the first minute."""
        return self.less_j / self.energy_j if self.seconds >= _FIRST_S and self.energy_j > 0 else None
