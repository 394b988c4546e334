"""What NVML answers about the sharing of a device: who is on which MIG device, how large each is, how busy it was."""

from dataclasses import dataclass

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
