"""Claims of schedulers: the devices they gave to workloads, used or not. Energy follows claims and processes together.

See docs/decisions/0006: `energy_agent/owners/join.py` combines both.
"""

from dataclasses import dataclass
from typing import Protocol

from energy_agent.core.energy import SourceHealth, WorkloadFacts


@dataclass(frozen=True, slots=True)
class Claim:
    """A device, or a slice of it, that was given to a workload.

    Args:
        device: UUID of a GPU (`GPU-...`) or of a MIG device (`MIG-...`), as NVML names it.
        facts: the workload and what is known of it.
        pod_uid: uid of the pod if it is known; it identifies the processes in the pod's cgroup.
    """

    device: str
    facts: WorkloadFacts
    pod_uid: str = ""

    @property
    def workload(self) -> str:
        """Its name."""
        return self.facts.workload


@dataclass(frozen=True, slots=True)
class Claims:
    """All claims of one source at one instant.

    Args:
        boot_ns: when the agent queried the scheduler.
        claims: the very same tuple as before where nothing changed.
        unknown: how many devices it gave away of which it is not known which they are; any that looks free may be one.
    """

    boot_ns: int
    claims: tuple[Claim, ...] = ()
    unknown: int = 0


class ClaimSource(Protocol):
    """A scheduler on this node, opened by one file of energy_agent/owners. Polls in a thread of its own."""

    def claims(self) -> Claims | None:
        """The last good answer, from memory; None: none yet."""
        ...

    def rows(self) -> tuple[SourceHealth, ...]:
        """Whether it answers; then, down, each of the first devices that it gave away and that are not known."""
        ...

    def stop(self) -> None:
        """End its thread, soon."""
        ...
