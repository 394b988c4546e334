"""Health of a device: values that change seldom and are read group by group with a long period.

One visit to a device reads one group. Each group's record has its own age, so a group that no longer answers disappears alone.
Values are raw, in the unit at the end of the quantity's name; `energy_agent.exposition.health` converts them to base units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GROUPS = ("ecc", "memory", "pcie", "nvlink", "state", "mig")
"""Groups that are always read."""
PCIE_THROUGHPUT, GPM = "pcie_throughput", "gpm"
"""Groups that are read where the configuration says so: the first blocks 20 ms a call, the second conflicts with profilers."""

MARK_PREFIX = "health: "
"""Begins the name under which a call for health is marked: one that hangs costs its device the health, not the energy."""


@dataclass(frozen=True, slots=True)
class HealthReading:
    """One number: a quantity, the labels that distinguish it from others of its kind, and its raw value."""

    quantity: str
    labels: tuple[str, ...]
    value: int | float


@dataclass(frozen=True, slots=True)
class HealthRecord:
    """One group of one device, read once. `absent` maps a quantity to the reason for which it is not among the readings."""

    uuid: str
    group: str
    boot_ns: int  # CLOCK_BOOTTIME
    readings: tuple[HealthReading, ...]
    absent: Mapping[str, str]

    def fresh(self, boot_ns: int, period_ns: int) -> bool:
        """Whether it is no older than two periods."""
        return boot_ns - self.boot_ns <= 2 * period_ns
