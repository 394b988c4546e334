"""NVML over pynvml, in the only file that imports it; serves the driver's library and the simulated node's alike.

pynvml's errors are unhashable and its text varies, so every one becomes an NvmlError with the code. Answers are plain integers
and strings.
"""

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import FieldValue, NvmlError, Utilization
from energy_agent.devices.nvml.frequent_calls import FrequentCalls
from energy_agent.devices.nvml.health_calls import HealthCalls
from energy_agent.devices.nvml.sharing_calls import SharingCalls

_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada",
    9: "Hopper",
    10: "Blackwell",
}
_FIELD = struct.Struct("=IIqqIiQ")  # nvmlFieldValue_t: id, scope, timestamp, latency, type, code, value
_OTHER_VALUES = {0: "=d", 4: "=q", 5: "=i", 6: "=H"}  # nvmlValueType_t: formats of those that are not unsigned
_CLOCK_SM = 1
_XID_EVENT = 0x8


class RealNvml(FrequentCalls, HealthCalls, SharingCalls):
    """NVML's calls; each may raise NvmlError. `device` is an opaque handle from `device_by_index` or `device_by_uuid`.

    One object per process: pynvml keeps one library. Only dvfs/actuator calls setters, and reads each back.
    """

    def __init__(self, library: Path | None = None) -> None:
        """Load pynvml; `library` is a `libnvidia-ml.so.1` to use in place of the one that the loader finds.

        Raises:
            UsageError: pynvml is missing, or is the unofficial package of that name.
            NvmlError: LIBRARY_NOT_FOUND when `library` cannot be loaded.
        """
        try:
            import pynvml
        except ImportError as error:
            raise UsageError("Python module pynvml is missing: pip install nvidia-ml-py") from error
        if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
            raise UsageError(
                "an unofficial pynvml package shadows NVIDIA's: pip uninstall pynvml, then pip install --force nvidia-ml-py"
            )
        if library is not None:
            try:  # pynvml asks the loader for the soname, and the loader answers with what it has under that name
                ctypes.CDLL(str(library))
            except OSError as error:
                raise NvmlError(abi.LIBRARY_NOT_FOUND, str(library)) from error
        FrequentCalls.__init__(self, pynvml._nvmlGetFunctionPointer, pynvml.NVMLError)
        HealthCalls.__init__(self)
        self._nvml: Any = pynvml
        self._error: Any = pynvml.NVMLError
        self._fields: dict[tuple[int, ...], Any] = {}

    def init(self) -> None:
        """Start NVML. Calls nest; each needs its `shutdown`."""
        self._call("nvmlInit")

    def shutdown(self) -> None:
        """End what `init` started."""
        self._call("nvmlShutdown")

    def driver_version(self) -> str:
        """For example 580.65.06."""
        return _text(self._call("nvmlSystemGetDriverVersion"))

    def device_count(self) -> int:
        """Number of GPUs, lost ones included."""
        return int(self._call("nvmlDeviceGetCount"))

    def device_by_index(self, index: int) -> object:
        """Handle of the GPU at `index`, in PCI order."""
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def device_by_uuid(self, uuid: str) -> object:
        """Handle of the GPU, or MIG device, with `uuid`."""
        return self._call("nvmlDeviceGetHandleByUUID", uuid)

    def uuid(self, device: object) -> str:
        """UUID, GPU-... or MIG-..."""
        return _text(self._call("nvmlDeviceGetUUID", device))

    def name(self, device: object) -> str:
        """Product name."""
        return _text(self._call("nvmlDeviceGetName", device))

    def architecture(self, device: object) -> str:
        """Name of the architecture; `architecture N` for one that is newer than this code."""
        number = int(self._call("nvmlDeviceGetArchitecture", device))
        return _ARCHITECTURES.get(number, f"architecture {number}")

    def pci_bus_id(self, device: object) -> str:
        """Domain:bus:device.function, for example 00000000:0F:00.0."""
        return _text(self._call("nvmlDeviceGetPciInfo", device).busId)

    def mig_enabled(self, device: object) -> bool:
        """Whether MIG mode is on; False where the board has none."""
        try:
            return int(self._call("nvmlDeviceGetMigMode", device)[0]) == 1
        except NvmlError as error:
            if error.code == abi.NOT_SUPPORTED:
                return False
            raise

    def persistence_mode(self, device: object) -> bool:
        """Whether the driver stays initialised without a client."""
        return int(self._call("nvmlDeviceGetPersistenceMode", device)) == 1

    def field_values(self, device: object, ids: Sequence[int]) -> list[FieldValue]:
        """Several fields in one call, each with its own code, in the order of `ids`."""
        key = tuple(ids)
        fields = self._fields.get(key)
        if fields is None:  # pynvml would make and fill this array again each time, which costs more than the call
            fields = self._fields[key] = (self._nvml.c_nvmlFieldValue_t * len(key))()
            for answer, field in zip(fields, key, strict=True):
                answer.fieldId = field
        return self.answers(device, fields)

    def answers(self, device: object, fields: Any) -> list[FieldValue]:
        """Ask an array of fields."""
        try:
            code = self._nvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")(device, len(fields), fields)
        except self._error as error:
            code = int(error.value)
        if code != abi.SUCCESS:
            raise NvmlError(code, "nvmlDeviceGetFieldValues")
        answers = bytes(fields)  # member by member costs twice the call itself
        return [
            FieldValue(field, code, _number(kind, raw) if code == abi.SUCCESS else 0)
            for field, _, _, _, kind, code, raw in _FIELD.iter_unpack(answers)
        ]

    def total_energy_mj(self, device: object) -> int:
        """Energy counter."""
        return int(self._call("nvmlDeviceGetTotalEnergyConsumption", device))

    def power_usage_mw(self, device: object) -> int:
        """Power: instant up to GA100, mean of a second on later boards."""
        return int(self._call("nvmlDeviceGetPowerUsage", device))

    def power_limit_mw(self, device: object) -> int:
        """Requested limit."""
        return int(self._call("nvmlDeviceGetPowerManagementLimit", device))

    def power_limit_default_mw(self, device: object) -> int:
        """Limit of the board as shipped."""
        return int(self._call("nvmlDeviceGetPowerManagementDefaultLimit", device))

    def power_limit_range_mw(self, device: object) -> tuple[int, int]:
        """Lowest and highest limit that can be set."""
        low, high = self._call("nvmlDeviceGetPowerManagementLimitConstraints", device)
        return int(low), int(high)

    def sm_clock_max_mhz(self, device: object) -> int:
        """Highest clock of the SMs."""
        return int(self._call("nvmlDeviceGetMaxClockInfo", device, _CLOCK_SM))

    def supported_sm_clocks_mhz(self, device: object) -> list[int]:
        """Clocks that the SMs can be locked to at the highest memory clock, highest first."""
        memory = [int(m) for m in self._call("nvmlDeviceGetSupportedMemoryClocks", device)]
        if not memory:
            return []
        return [int(f) for f in self._call("nvmlDeviceGetSupportedGraphicsClocks", device, max(memory))]

    def compute_processes(self, device: object) -> list[tuple[int, int | None]]:
        """(pid, bytes of memory or None) of each process with a compute context."""
        answer = self._call("nvmlDeviceGetComputeRunningProcesses", device)
        return [(int(p.pid), None if p.usedGpuMemory is None else int(p.usedGpuMemory)) for p in answer]

    def process_utilization(self, device: object, since_us: int) -> list[Utilization]:
        """Utilisation of each process sampled after `since_us` (us, as the driver stamps); empty where there is none."""
        for last in (False, True):
            try:
                answer = self._call("nvmlDeviceGetProcessUtilization", device, since_us)
            except NvmlError as error:  # pynvml raises SUCCESS, and drivers say NOT_FOUND, for "nothing ran"
                if error.code in (abi.SUCCESS, abi.NOT_FOUND):
                    return []
                if error.code == abi.INSUFFICIENT_SIZE and not last:
                    continue  # a process came between pynvml's two calls
                raise
            break
        return [Utilization(int(p.pid), int(p.timeStamp), int(p.smUtil)) for p in answer if p.pid]

    def xid_events(self, devices: Sequence[object]) -> "XidEventSet":
        """XID events of `devices` from now on; devices that refuse to be watched are left out."""
        return XidEventSet(self._nvml, self._call, devices)

    def set_power_limit_mw(self, device: object, limit_mw: int) -> None:
        """Set the limit, by the call whose return code pynvml checks. Root."""
        self._call("nvmlDeviceSetPowerManagementLimit", device, limit_mw)

    def set_locked_sm_clocks_mhz(self, device: object, low_mhz: int, high_mhz: int) -> None:
        """Lock the clock of the SMs into a range. Root; outlives this process; no getter."""
        self._call("nvmlDeviceSetGpuLockedClocks", device, low_mhz, high_mhz)

    def reset_locked_sm_clocks(self, device: object) -> None:
        """Unlock the clock of the SMs. Root."""
        self._call("nvmlDeviceResetGpuLockedClocks", device)

    def ask(self, getter: str, *arguments: Any) -> Any:
        """The answer of a getter by its name in nvml.h, as pynvml gives it: to record what a node answers, not to read it.

        Raises:
            ValueError: it is no getter, so it might change something.
            NvmlError: FUNCTION_NOT_FOUND where this pynvml does not have it, or what NVML answers.
        """
        if not getter.startswith(("nvmlDeviceGet", "nvmlSystemGet")):
            raise ValueError(f"{getter} is no getter of a device or of the system")
        if not hasattr(self._nvml, getter):
            raise NvmlError(abi.FUNCTION_NOT_FOUND, getter)
        return self._call(getter, *arguments)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:  # written out: a context manager costs more than most of these calls
            return getattr(self._nvml, name)(*arguments)
        except self._error as error:
            raise NvmlError(int(error.value), name) from None


class XidEventSet:
    """XID events since the last call, per device UUID, by an NVML event set."""

    def __init__(self, nvml: Any, call: Callable[..., Any], devices: Sequence[object]) -> None:
        self._nvml = nvml
        self._set: Any = call("nvmlEventSetCreate")
        self._uuids: dict[int, str] = {}
        for device in devices:
            with suppress(NvmlError):  # a lost or refusing device must not blind us for the others
                uuid = _text(call("nvmlDeviceGetUUID", device))
                call("nvmlDeviceRegisterEvents", device, _XID_EVENT, self._set)
                self._uuids[_address(device)] = uuid

    def poll(self) -> list[tuple[str, int]]:
        """(UUID, XID code) of the events since the last poll, without waiting; at most 256 at a time."""
        found: list[tuple[str, int]] = []
        while self._set is not None and len(found) < 256:
            try:
                with _translated(self._nvml, "nvmlEventSetWait_v2"):
                    event = self._nvml.nvmlEventSetWait_v2(self._set, 0)
            except NvmlError as error:
                if error.code == abi.TIMEOUT:
                    break
                raise
            uuid = self._uuids.get(_address(event.device))
            if uuid is not None and event.eventType == _XID_EVENT:
                found.append((uuid, int(event.eventData)))
        return found

    def close(self) -> None:
        """Free the event set. A second time does nothing."""
        if self._set is not None:
            held, self._set = self._set, None
            with _translated(self._nvml, "nvmlEventSetFree"):
                self._nvml.nvmlEventSetFree(held)


@contextmanager
def _translated(nvml: Any, call: str) -> Iterator[None]:
    """Turn pynvml's error into ours."""
    try:
        yield
    except nvml.NVMLError as error:
        raise NvmlError(int(error.value), call) from None


def _address(device: object) -> int:
    return int(ctypes.cast(device, ctypes.c_void_p).value or 0)  # type: ignore[arg-type]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(kind: int, raw: int) -> int:
    """The value of a field from the 8 bytes of its union."""
    if kind == 1:
        return raw & 0xFFFFFFFF
    if kind in (2, 3):
        return raw
    return int(struct.unpack_from(_OTHER_VALUES.get(kind, "=Q"), raw.to_bytes(8, sys.byteorder))[0])
