"""The actuator core's interface to the devices, and the result of a restore."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dvfs.actuator.knobs.nvml import KnobReading, KnobWrite, ListedDevice, WriteResult
from dvfs.actuator.records.journal import Value
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
    """Result of restoring one knob: restored, foreign, new_epoch, or the reason for which it is still pending."""

    device: str
    knob: Knob
    outcome: str
    value: Value | None = None

    @property
    def closed(self) -> bool:
        """Whether the knob is off our hands."""
        return self.outcome in ("restored", "foreign", "new_epoch")
