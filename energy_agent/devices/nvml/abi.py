"""Constants of nvml.h, results in raw units (mW, mJ, MHz), and the exception of NVML calls."""

from dataclasses import dataclass
from typing import NamedTuple

from energy_agent.devices.port import BackendError

# Return codes (nvmlReturn_t).
SUCCESS = 0
UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
OPERATING_SYSTEM = 17
LIB_RM_VERSION_MISMATCH = 18
IN_USE = 19
NO_DATA = 21
NOT_READY = 27
GPU_NOT_FOUND = 28
INVALID_STATE = 29
UNKNOWN = 999

CODE_NAMES = {
    0: "SUCCESS", 1: "UNINITIALIZED", 2: "INVALID_ARGUMENT", 3: "NOT_SUPPORTED", 4: "NO_PERMISSION",
    5: "ALREADY_INITIALIZED", 6: "NOT_FOUND", 7: "INSUFFICIENT_SIZE", 8: "INSUFFICIENT_POWER", 9: "DRIVER_NOT_LOADED",
    10: "TIMEOUT", 11: "IRQ_ISSUE", 12: "LIBRARY_NOT_FOUND", 13: "FUNCTION_NOT_FOUND", 14: "CORRUPTED_INFOROM",
    15: "GPU_IS_LOST", 16: "RESET_REQUIRED", 17: "OPERATING_SYSTEM", 18: "LIB_RM_VERSION_MISMATCH", 19: "IN_USE",
    20: "MEMORY", 21: "NO_DATA", 22: "VGPU_ECC_NOT_SUPPORTED", 23: "INSUFFICIENT_RESOURCES", 24: "FREQ_NOT_SUPPORTED",
    25: "ARGUMENT_VERSION_MISMATCH", 26: "DEPRECATED", 27: "NOT_READY", 28: "GPU_NOT_FOUND", 29: "INVALID_STATE",
    999: "UNKNOWN",
}  # fmt: skip

GONE = frozenset({GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND, INVALID_STATE, UNINITIALIZED, UNKNOWN})
"""The device no longer responds."""
OFF = frozenset({NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, 25, 26})
"""The call is not available for this device. The agent retries it only occasionally."""

# Field ids; all <= 250, since 251-273 were renumbered between driver branches and are misread silently.
FIELD_MEMORY_TEMPERATURE = 82
FIELD_TOTAL_ENERGY = 83
FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
POWER_SCOPE_MODULE = 1  # of fields 185 and 186; 0: the GPU
FIELD_CURRENT_POWER_LIMIT = 190
FIELD_REQUESTED_POWER_LIMIT = 192

GPM_SM_UTILIZATION = 2
"""Share of the SMs that worked, in percent; of an instance, of its own SMs."""


class NvmlError(BackendError):
    """An NVML call failed. `code` is the nvmlReturn_t, `name` its name without the prefix, `call` the name of the call."""

    def __init__(self, code: int, call: str) -> None:
        """Keep the code: pynvml's own error is unhashable and its text varies by version."""
        self.code = code
        name = CODE_NAMES.get(code, str(code))
        super().__init__(name, call, f"NVML {call}: {name}")


class FieldValue(NamedTuple):
    """One answer of nvmlDeviceGetFieldValues: `value` is meaningful only when `code` is SUCCESS."""

    field_id: int
    code: int
    value: int


@dataclass(frozen=True, slots=True)
class Utilization:
    """Per-process SM utilisation since a time stamp; `timestamp_us` is the driver's."""

    pid: int
    timestamp_us: int
    sm_percent: int


@dataclass(frozen=True, slots=True)
class MigDevice:
    """A MIG device as it is now."""

    uuid: str
    profile: str  # for example 1g.10gb
    gpu_instance: int
    compute_instance: int


@dataclass(frozen=True, slots=True)
class InstanceProcess:
    """A process with a compute context. The ids name its instance on a GPU in MIG mode, and have no value on other GPUs."""

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
