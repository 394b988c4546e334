"""Sets faults on the plant and keeps a line for each, so that a person can see which are set and when that was."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from energy_agent.sim.gpu import faults
from energy_agent.sim.gpu.faults import FaultEvent
from energy_agent.sim.gpu.plant import Plant

_SIZE_LIMIT_B = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FaultLog:
    """The log of one node. Lines are short appends, so the daemon and the command line may write at once."""

    path: Path

    def set(self, plant: Plant, event: FaultEvent) -> None:
        """Set the fault and write it down.

        Raises:
            UsageError: unknown kind, or a call or value that the kind does not take.
            PlantError: too many faults at once.
        """
        faults.check_fault(event.kind, event.call, event.value)
        plant.fault(event.gpu, event.kind, call=event.call, value=event.value)
        self._append(event)

    def clear(self, plant: Plant, event: FaultEvent) -> None:
        """Clear a kind of fault, or all of the GPU's, and write it down."""
        if event.kind:
            faults.check_kind(event.kind)
        plant.clear(event.gpu, event.kind or None)
        self._append(event)

    def apply(self, plant: Plant, event: FaultEvent) -> None:
        """Set or clear, as the event says."""
        if event.clear:
            self.clear(plant, event)
        else:
            self.set(plant, event)

    def active(self) -> list[FaultEvent]:
        """The faults that are set now."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8") as file:
            return faults.active(FaultEvent(**json.loads(line)) for line in file.read(_SIZE_LIMIT_B).splitlines())

    def _append(self, event: FaultEvent) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, json.dumps(asdict(event)).encode() + b"\n")
        finally:
            os.close(fd)
