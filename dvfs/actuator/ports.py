"""The actuator core's seam to the devices, and what it tells of a restore."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dvfs.actuator.journal import Value
from dvfs.actuator.nvml_knobs import KnobReading, KnobWrite, ListedDevice, WriteResult
from dvfs.types import Knob


class Knobs(Protocol):
    """The devices, as the core sees them."""

    def inventory(self) -> list[ListedDevice]:
        """Devices that answer. Raises KnobError."""
        ...

    def read(self, uuid: str) -> KnobReading:
        """Read a device. Raises KnobError."""
        ...

    def write(self, plan: dict[str, Sequence[KnobWrite]]) -> dict[str, list[WriteResult]]:
        """Write; one answer per write, never raises for a device."""
        ...


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What became of one outstanding knob: restored | foreign | new_epoch, or why it still waits."""

    device: str
    knob: Knob
    outcome: str
    value: Value | None = None

    @property
    def closed(self) -> bool:
        """Whether the knob is off our hands."""
        return self.outcome in ("restored", "foreign", "new_epoch")
