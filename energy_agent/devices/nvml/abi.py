"""What Wattlens asks of NVML, as a protocol: small, typed, raw units (mW, mJ, MHz), one exception.

`hw.nvml_real` implements it over pynvml, against the driver's library or the simulated node's. Numbers are those of nvml.h.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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

# Field ids; all <= 250, since 251-273 were renumbered between driver branches and are misread silently.
FIELD_MEMORY_TEMPERATURE = 82
FIELD_TOTAL_ENERGY = 83
FIELD_POWER_AVERAGE = 185
FIELD_POWER_INSTANT = 186
FIELD_CURRENT_POWER_LIMIT = 190
FIELD_REQUESTED_POWER_LIMIT = 192
FIELD_POWER_CAP_TIME_NS = 74
FIELD_SYNC_BOOST_TIME_NS = 76


class NvmlError(BackendError):
    """An NVML call failed. `code` is the nvmlReturn_t, `name` its name without the prefix, `call` what was asked."""

    def __init__(self, code: int, call: str) -> None:
        """Keep the code: pynvml's own error is unhashable and its text varies by version."""
        self.code = code
        name = CODE_NAMES.get(code, str(code))
        super().__init__(name, call, f"NVML {call}: {name}")


@dataclass(frozen=True, slots=True)
class FieldValue:
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


class Nvml(Protocol):
    """The calls. `device` is an opaque handle from `device_by_index` or `device_by_uuid`. Every call may raise NvmlError."""

    def init(self) -> None: ...
    def shutdown(self) -> None: ...
    def driver_version(self) -> str: ...
    def device_count(self) -> int: ...
    def device_by_index(self, index: int) -> object: ...
    def device_by_uuid(self, uuid: str) -> object: ...
    def uuid(self, device: object) -> str: ...
    def name(self, device: object) -> str: ...
    def architecture(self, device: object) -> str: ...
    def pci_bus_id(self, device: object) -> str: ...
    def mig_enabled(self, device: object) -> bool: ...
    def persistence_mode(self, device: object) -> bool: ...
    def field_values(self, device: object, ids: Sequence[int]) -> list[FieldValue]: ...
    def total_energy_mj(self, device: object) -> int: ...
    def power_usage_mw(self, device: object) -> int: ...
    def power_limit_mw(self, device: object) -> int: ...
    def power_limit_default_mw(self, device: object) -> int: ...
    def power_limit_range_mw(self, device: object) -> tuple[int, int]: ...
    def sm_clock_mhz(self, device: object) -> int: ...
    def memory_clock_mhz(self, device: object) -> int: ...
    def sm_clock_max_mhz(self, device: object) -> int: ...
    def supported_sm_clocks_mhz(self, device: object) -> list[int]: ...
    def temperature_c(self, device: object) -> int: ...
    def utilization_percent(self, device: object) -> tuple[int, int]: ...
    def memory_b(self, device: object) -> tuple[int, int]: ...
    def event_reasons(self, device: object) -> int: ...
    def compute_processes(self, device: object) -> list[tuple[int, int | None]]: ...
    def process_utilization(self, device: object, since_us: int) -> list[Utilization]: ...
    def xid_events(self, devices: Sequence[object]) -> "XidEvents": ...

    # Setters: only dvfs/actuator calls these. Each is read back by the caller.
    def set_power_limit_mw(self, device: object, limit_mw: int) -> None: ...
    def set_locked_sm_clocks_mhz(self, device: object, low_mhz: int, high_mhz: int) -> None: ...
    def reset_locked_sm_clocks(self, device: object) -> None: ...


class XidEvents(Protocol):
    """XID events since the last call, per device UUID; `poll` never waits."""

    def poll(self) -> list[tuple[str, int]]: ...
    def close(self) -> None: ...
