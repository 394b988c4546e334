"""What was measured at each power limit, and the rules by which one of them is chosen: those that Zeus users know. Pure.

Names, arguments and choices are those of zeus.optimizer.power_limit 0.16.0: tests/peers/test_zeus_compat.py compares them.
A selector of Zeus itself, or one of the user's own, will do as well: all that counts is `select`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerLimitMeasurement:
    """A window of training steps at one power limit.

    Args:
        power_limit: in W, as it was applied.
        energy: of all GPUs of the job in the window, in J.
        time: of the window on the slowest rank, in s.
        energy_half_width: by how much the energy may be wrong at the window's ends, in J; None: not known.
    """

    power_limit: int
    energy: float
    time: float
    energy_half_width: float | None = None


class OptimumSelector(ABC):
    """A rule that picks a limit. Subclass it for one of your own."""

    @abstractmethod
    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        """The limit to train at, in W. There is one measurement at least, and they come from the highest limit down."""


class Energy(OptimumSelector):
    """The limit with the least energy; of equals the highest."""

    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        """See the class."""
        return min(measurements, key=lambda one: one.energy).power_limit


class Time(OptimumSelector):
    """The limit with the least time. By chance of measurement that need not be the highest."""

    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        """See the class."""
        return min(measurements, key=lambda one: one.time).power_limit


class ZeusCost(OptimumSelector):
    """The limit with the least `eta_knob * energy + (1 - eta_knob) * highest limit * world_size * time` (Zeus, NSDI 2023).

    Args:
        eta_knob: 0 to 1: how much energy counts against time.
        world_size: GPUs of the job.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, eta_knob: float = 0.5, world_size: int = 1) -> None:
        if not 0 <= eta_knob <= 1:
            raise ValueError(f"eta_knob: expected 0 to 1, got {eta_knob!r}")
        if world_size < 1:
            raise ValueError(f"world_size: expected at least 1, got {world_size!r}")
        self.eta_knob, self.world_size = eta_knob, world_size

    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        """See the class."""
        most_w = highest(measurements).power_limit * self.world_size
        return min(measurements, key=lambda m: self.eta_knob * m.energy + (1 - self.eta_knob) * most_w * m.time).power_limit


class MaxSlowdownConstraint(OptimumSelector):
    """The lowest limit at which the window took no more than `factor` times what it took at the highest.

    Raises:
        ValueError: a factor below 1.
    """

    def __init__(self, factor: float) -> None:
        if not factor >= 1:
            raise ValueError(f"factor: expected at least 1, got {factor!r}")
        self.factor = factor

    def select(self, measurements: list[PowerLimitMeasurement]) -> int:
        """See the class."""
        longest_s = self.factor * highest(measurements).time
        return min(m.power_limit for m in measurements if m.time <= longest_s)


def highest(measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitMeasurement:
    """The measurement at the highest limit; of several the first."""
    return max(measurements, key=lambda one: one.power_limit)
