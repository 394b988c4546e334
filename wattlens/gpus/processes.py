"""The processes that use the GPUs of this machine, by NVML's lists, with the workload of each by its cgroup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from energy_agent.core.energy import ProcessUse
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.owners.processes import ProcessOwners

SHARED_KINDS = ("pod", "container", "slurm", "unit")
"""Kinds of workload whose processes belong together; a process of a login session stands for itself."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU. `workload` is "" where it cannot be seen, such as from another pid namespace."""

    pid: int
    workload: str
    kind: str

    def __str__(self) -> str:
        """Workload and pid, for people."""
        return f"{self.workload} (pid {self.pid})" if self.workload else f"pid {self.pid}"


class GpuProcesses:
    """Reads the process lists of the GPUs of this machine."""

    def __init__(self, nvml: RealNvml, roots: Sequence[Path], utc_ns: int) -> None:
        """Find the GPUs.

        Args:
            nvml: initialised.
            roots: `/proc` folders in which processes are looked up, in this order.
            utc_ns: now.

        Raises:
            NvmlError: NVML does not answer.
        """
        self._nvml, self._utc_ns = nvml, utc_ns
        self._holders = [ProcessOwners(root) for root in roots]
        self._handles: dict[str, object] = {}
        for index in range(nvml.device_count()):
            try:
                handle = nvml.device_by_index(index)
                self._handles[nvml.uuid(handle)] = handle
            except NvmlError:
                self._handles[f"gpu {index}"] = None

    @classmethod
    def open(cls, simulated: Path | None, utc_ns: int) -> Self:
        """Of this machine, or of the simulated node in a folder.

        Raises:
            NvmlError: there is no driver, or it does not answer.
        """
        library, roots = None, [Path("/proc")]
        if simulated is not None:
            from energy_agent.sim.node import SimulatedNode

            library, roots = SimulatedNode(simulated).nvml_library, [simulated / "proc", *roots]
        nvml = RealNvml(library)
        nvml.init()
        return cls(nvml, roots, utc_ns)

    @property
    def uuids(self) -> list[str]:
        """All GPUs in PCI order; of one that does not answer a name by its place."""
        return list(self._handles)

    def read(self) -> dict[str, list[GpuProcess]]:
        """Processes by GPU; a GPU whose list cannot be read is left out."""
        lists: dict[str, list[GpuProcess]] = {}
        for uuid, handle in self._handles.items():
            if handle is None:
                continue
            try:
                pids = sorted({pid for pid, _ in self._nvml.compute_processes(handle)})
            except NvmlError:
                continue
            lists[uuid] = [self.describe(pid) for pid in pids]
        return lists

    def describe(self, pid: int) -> GpuProcess:
        """A process with its workload."""
        for holders in self._holders:
            owners, _ = holders.resolve([ProcessUse(pid)], self._utc_ns)
            if owners.processes:
                holder = holders.owner_of(owners.processes[0])
                if holder is not None:
                    return GpuProcess(pid, holder.workload, holder.facts.kind)
        return GpuProcess(pid, "", "")


def gpus_of(processes: Mapping[str, Sequence[GpuProcess]], pids: set[int], workloads: set[str]) -> list[str]:
    """UUIDs of the GPUs that processes with these pids use; where those use none, that processes of these workloads use."""
    by_pid = [uuid for uuid, listed in processes.items() if any(process.pid in pids for process in listed)]
    return by_pid or [uuid for uuid, listed in processes.items() if any(process.workload in workloads for process in listed)]
