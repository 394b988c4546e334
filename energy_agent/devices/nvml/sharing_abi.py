"""What the sharing of a device is asked with, as a protocol: who is on which MIG device, how large each is, how busy it was."""

from dataclasses import dataclass
from typing import Protocol

from energy_agent.devices.nvml.abi import Nvml
from energy_agent.devices.nvml.health_abi import GpmSampler

GPM_SM_UTILIZATION = 2
"""Share of the SMs that worked, in percent; of an instance, of its own SMs."""


@dataclass(frozen=True, slots=True)
class InstanceProcess:
    """A process with a compute context. On a GPU in MIG mode it is on one of its instances, else both ids are None."""

    pid: int
    memory_b: int | None
    gpu_instance: int | None
    compute_instance: int | None


@dataclass(frozen=True, slots=True)
class MigShape:
    """A MIG device: a compute instance within a GPU instance. `slices` are its compute slices, `sms` its multiprocessors."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    slices: int
    sms: int


class SharingNvml(Nvml, Protocol):
    """The calls. Every call may raise NvmlError."""

    def instance_processes(self, device: object) -> list[InstanceProcess]: ...  # noqa: D102
    def mig_shapes(self, device: object) -> list[MigShape]: ...  # noqa: D102
    def mig_slices(self, device: object) -> int: ...  # noqa: D102
    def gpm_instance(self, device: object, gpu_instance: int) -> GpmSampler: ...  # noqa: D102
