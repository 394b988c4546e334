"""NVML over pynvml, in the only file that imports it; serves the driver's library and the simulated node's alike.

pynvml's errors are unhashable and its text varies, so every one becomes an NvmlError with the code. Answers are plain integers
and strings.
"""

import ctypes
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import FieldValue, InstanceProcess, MigDevice, MigShape, NvmlError, Utilization

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
_UINT = struct.Struct("=I")
_ULONGLONG = struct.Struct("=Q")
_UTILIZATION = struct.Struct("=II")  # nvmlUtilization_t: gpu, memory
_MEMORY = struct.Struct("=QQQ")  # nvmlMemory_t: total, free, used
_TEMPERATURE = struct.Struct("=IIi")  # nvmlTemperature_v1_t: version, sensor, degrees Celsius
_PROCESS = struct.Struct("@IQII")  # nvmlProcessInfo_v2_t: pid, memory, GPU instance, compute instance
_NO_MEMORY = 0xFFFF_FFFF_FFFF_FFFF
_MAX_PROCESSES = 1 << 16
_TEMPERATURE_V1_GPU = _TEMPERATURE.pack(0x0100000C, 0, 0)
_MEM, _GPU_SENSOR = 2, 0
_NO_INSTANCE = 0xFFFFFFFF
MAX_MIG_DEVICES = 64  # far more than any board has; bounds the loop over what a driver says
_XID_EVENT = 0x8


class RealNvml:
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
        self._nvml: Any = pynvml
        self._error: Any = pynvml.NVMLError
        self._functions: dict[str, tuple[Callable[..., int], Any, Any]] = {}  # frequently called functions, with their buffers
        self._fields: dict[tuple[tuple[int, int], ...], Any] = {}  # field ids -> array of an earlier request, for reuse
        self._processes = ctypes.create_string_buffer(8 * _PROCESS.size)

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
        return self.scoped_field_values(device, [(field, 0) for field in ids])

    def scoped_field_values(self, device: object, fields: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """Fields with their scopes, such as the number of a link; in the order asked."""
        key = tuple(fields)
        asked = self._fields.get(key)
        if asked is None:  # pynvml would make and fill this array again each time, which costs more than the call
            asked = self._fields[key] = (self._nvml.c_nvmlFieldValue_t * len(key))()
            for answer, (field, scope) in zip(asked, key, strict=True):
                answer.fieldId, answer.scopeId = field, scope
        try:
            code = self._nvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")(device, len(asked), asked)
        except self._error as error:
            code = int(error.value)
        if code != abi.SUCCESS:
            raise NvmlError(code, "nvmlDeviceGetFieldValues")
        answers = bytes(asked)  # member by member costs twice the call itself
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
        return [(process.pid, process.memory_b) for process in self.instance_processes(device)]

    def instance_processes(self, device: object) -> list[InstanceProcess]:
        """Each process with a compute context, with the MIG instance that it is on.

        One call where the last list's room suffices. pynvml makes two, and each takes milliseconds of the driver.
        """
        name, size = "nvmlDeviceGetComputeRunningProcesses_v3", _PROCESS.size
        try:
            function = self._nvml._nvmlGetFunctionPointer(name)
        except self._error as error:
            raise NvmlError(int(error.value), name) from None
        code, count = abi.INSUFFICIENT_SIZE, ctypes.c_uint()
        for _ in range(4):  # the list may grow from one call to the next
            count.value = room = len(self._processes) // size
            code = function(device, ctypes.byref(count), self._processes)
            if code != abi.INSUFFICIENT_SIZE:
                break
            self._processes = ctypes.create_string_buffer(size * min(2 * max(room, count.value), _MAX_PROCESSES))
        if code != abi.SUCCESS:
            raise NvmlError(code, name)
        return [
            InstanceProcess(pid, None if memory == _NO_MEMORY else memory, *(None if i == _NO_INSTANCE else i for i in ids))
            for pid, memory, *ids in _PROCESS.iter_unpack(self._processes.raw[: count.value * size])
        ]

    def mig_slices(self, device: object) -> int:
        """Compute slices of the whole GPU: as many MIG devices can be made of it."""
        return int(self._call("nvmlDeviceGetMaxMigDeviceCount", device))

    def process_utilization(self, device: object, since_us: int) -> list[Utilization]:
        """Utilisation of each process sampled after `since_us` (us, the driver's time stamps); empty without samples."""
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

    def sm_clock_mhz(self, device: object) -> int:
        """Clock of the SMs now."""
        (value,) = self._ask("nvmlDeviceGetClockInfo", _UINT, device, _CLOCK_SM)
        return value

    def memory_clock_mhz(self, device: object) -> int:
        """Clock of the memory now."""
        (value,) = self._ask("nvmlDeviceGetClockInfo", _UINT, device, _MEM)
        return value

    def temperature_c(self, device: object) -> int:
        """Temperature of the GPU; by the older call where the driver lacks the newer one."""
        try:
            return self._ask("nvmlDeviceGetTemperatureV", _TEMPERATURE, device, before=_TEMPERATURE_V1_GPU)[2]
        except NvmlError as error:
            if error.code != abi.FUNCTION_NOT_FOUND:
                raise
        return self._ask("nvmlDeviceGetTemperature", _UINT, device, _GPU_SENSOR)[0]

    def utilization_percent(self, device: object) -> tuple[int, int]:
        """Share of the last sample period in which a kernel ran, and in which memory was accessed."""
        gpu, memory = self._ask("nvmlDeviceGetUtilizationRates", _UTILIZATION, device)
        return gpu, memory

    def memory_b(self, device: object) -> tuple[int, int]:
        """Memory used (with what the driver keeps) and total, in bytes."""
        total, _, used = self._ask("nvmlDeviceGetMemoryInfo", _MEMORY, device)
        return used, total

    def event_reasons(self, device: object) -> int:
        """Clock-event bits; by the older call where the driver lacks the newer one."""
        try:
            return self._ask("nvmlDeviceGetCurrentClocksEventReasons", _ULONGLONG, device)[0]
        except NvmlError as error:
            if error.code != abi.FUNCTION_NOT_FOUND:
                raise
        return self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", _ULONGLONG, device)[0]

    def _ask(self, name: str, layout: struct.Struct, device: object, *arguments: int, before: bytes = b"") -> tuple[int, ...]:
        """Call what is called every second on every device; the last argument is the answer, with `before` at first.

        pynvml creates the answer's object at each call and reads it member by member, which costs several times the call
        itself. Not for several threads: a second call writes into the same buffer.
        """
        entry = self._functions.get(name)
        if entry is None:
            try:
                function = self._nvml._nvmlGetFunctionPointer(name)
            except self._error as error:
                raise NvmlError(int(error.value), name) from None
            buffer = ctypes.create_string_buffer(before, layout.size)
            entry = self._functions[name] = (function, buffer, ctypes.byref(buffer))
        function, buffer, answer = entry
        code = function(device, *arguments, answer)
        if code != abi.SUCCESS:
            raise NvmlError(code, name)
        return layout.unpack_from(buffer)

    def ecc_errors(self, device: object, uncorrected: int, aggregate: int, location: int) -> int:
        """ECC errors of a location; flags are NVML's numbers: 0 corrected, 1 uncorrected; 0 volatile, 1 aggregate."""
        return int(self._call("nvmlDeviceGetMemoryErrorCounter", device, uncorrected, aggregate, location))

    def ecc_mode(self, device: object) -> tuple[int, int]:
        """ECC now, and after the next reset: 1 on, 0 off."""
        current, pending = self._call("nvmlDeviceGetEccMode", device)
        return int(current), int(pending)

    def pcie_replays(self, device: object) -> int:
        """PCIe packets that were sent again."""
        return int(self._call("nvmlDeviceGetPcieReplayCounter", device))

    def pcie_link(self, device: object) -> tuple[int, int, int, int]:
        """Generation now and at most, lanes now and at most."""
        names = ("CurrPcieLinkGeneration", "MaxPcieLinkGeneration", "CurrPcieLinkWidth", "MaxPcieLinkWidth")
        generation, most, lanes, most_lanes = (int(self._call(f"nvmlDeviceGet{name}", device)) for name in names)
        return generation, most, lanes, most_lanes

    def pcie_throughput_kib_s(self, device: object, receive: int) -> int:
        """KiB/s sent (0) or received (1) in the 20 ms for which the call blocks. NVML says KB, not which; we take 1024."""
        return int(self._call("nvmlDeviceGetPcieThroughput", device, receive))

    def nvlink_up(self, device: object, link: int) -> bool:
        """Whether a link is active."""
        return int(self._call("nvmlDeviceGetNvLinkState", device, link)) == 1

    def encoder_percent(self, device: object) -> int:
        """Utilisation of the video encoders."""
        return int(self._call("nvmlDeviceGetEncoderUtilization", device)[0])

    def decoder_percent(self, device: object) -> int:
        """Utilisation of the video decoders."""
        return int(self._call("nvmlDeviceGetDecoderUtilization", device)[0])

    def fans_percent(self, device: object) -> list[int]:
        """Intended speed of each fan; empty where the board has none of its own.

        Raises:
            NvmlError: NOT_SUPPORTED where the driver has no fan speeds.
        """
        count = int(self._call("nvmlDeviceGetNumFans", device))
        return [int(self._call("nvmlDeviceGetFanSpeed_v2", device, fan)) for fan in range(min(count, 16))]

    def bar1_b(self, device: object) -> tuple[int, int]:
        """BAR1 in use and in total, in bytes."""
        answer = self._call("nvmlDeviceGetBAR1MemoryInfo", device)
        return int(answer.bar1Used), int(answer.bar1Total)

    def memory_reserved_b(self, device: object) -> int:
        """Device memory that driver and firmware keep, in bytes."""
        return int(self._call("nvmlDeviceGetMemoryInfo", device, self._nvml.nvmlMemory_v2).reserved)

    def mig_mode(self, device: object) -> tuple[int, int]:
        """MIG mode now, and after the next reset: 1 on, 0 off."""
        current, pending = self._call("nvmlDeviceGetMigMode", device)
        return int(current), int(pending)

    def mig_devices(self, device: object) -> list[MigDevice]:
        """List the current MIG devices, without those that disappear during the call."""
        devices = []
        for mig, uuid, gpu_instance, compute_instance in self._mig(device):
            with suppress(NvmlError):
                profile = _text(self._call("nvmlDeviceGetName", mig)).rpartition("MIG ")[2]
                devices.append(MigDevice(uuid, profile, gpu_instance, compute_instance))
        return devices

    def mig_shapes(self, device: object) -> list[MigShape]:
        """List the current MIG devices with their size, without those that disappear during the call."""
        shapes = []
        for mig, uuid, gpu_instance, compute_instance in self._mig(device):
            with suppress(NvmlError):
                size = self._call("nvmlDeviceGetAttributes_v2", mig)
                shape = (int(size.computeInstanceSliceCount), int(size.multiprocessorCount))
                shapes.append(MigShape(uuid, gpu_instance, compute_instance, *shape))
        return shapes

    def _mig(self, device: object) -> Iterator[tuple[object, str, int, int]]:
        """Handle, UUID, and GPU and compute instance of each MIG device."""
        for index in range(min(self.mig_slices(device), MAX_MIG_DEVICES)):
            with suppress(NvmlError):  # NOT_FOUND: no device at this index
                mig = self._call("nvmlDeviceGetMigDeviceHandleByIndex", device, index)
                ids = (int(self._call(f"nvmlDeviceGet{kind}InstanceId", mig)) for kind in ("Gpu", "Compute"))
                yield (mig, self.uuid(mig), *ids)

    def gpm(self, device: object, gpu_instance: int | None = None) -> "Gpm":
        """Start sampling GPM, of a GPU or of one of its GPU instances.

        Raises:
            NvmlError: NOT_SUPPORTED before Hopper.
        """
        if not int(self._call("nvmlGpmQueryDeviceSupport", device).isSupportedDevice):
            raise NvmlError(abi.NOT_SUPPORTED, "nvmlGpmQueryDeviceSupport")
        return Gpm(self._nvml, self._call, device, gpu_instance)

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
            raise ValueError(f"expected the name of a getter (nvmlDeviceGet... or nvmlSystemGet...), got {getter}")
        if not hasattr(self._nvml, getter):
            raise NvmlError(abi.FUNCTION_NOT_FOUND, getter)
        return self._call(getter, *arguments)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:  # written out: a context manager costs more than most of these calls
            return getattr(self._nvml, name)(*arguments)
        except self._error as error:
            raise NvmlError(int(error.value), name) from None


class Gpm:
    """Two GPM samples in turn, of a GPU or of one of its GPU instances: what lies between the last two is the reading."""

    def __init__(self, nvml: Any, call: Any, device: object, gpu_instance: int | None = None) -> None:
        self._nvml, self._call = nvml, call
        self._take = ("nvmlGpmSampleGet", device) if gpu_instance is None else ("nvmlGpmMigSampleGet", device, gpu_instance)
        self._samples: list[Any] = []
        try:
            for _ in range(2):
                self._samples.append(call("nvmlGpmSampleAlloc"))
            call(*self._take, self._samples[0])
        except NvmlError:
            self.close()
            raise

    def read(self, ids: Sequence[int]) -> Mapping[int, float]:
        """Metrics since the last read or the start: percentages, and MiB/s of traffic; what is not supported is left out."""
        first, second = self._samples
        self._call(*self._take, second)
        self._samples.reverse()
        get = self._nvml.c_nvmlGpmMetricsGet_t()
        get.version, get.numMetrics = self._nvml.NVML_GPM_METRICS_GET_VERSION, len(ids)
        get.sample1, get.sample2 = first, second
        for place, metric in enumerate(ids):
            get.metrics[place].metricId = metric
        self._call("nvmlGpmMetricsGet", get)
        answers = (get.metrics[place] for place in range(len(ids)))
        return {int(a.metricId): float(a.value) for a in answers if a.nvmlReturn == abi.SUCCESS}

    def close(self) -> None:
        """Free the samples. A second time does nothing."""
        while self._samples:
            with suppress(NvmlError):  # the driver may be gone, and its memory with it
                self._call("nvmlGpmSampleFree", self._samples.pop())


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
        events: list[tuple[str, int]] = []
        while self._set is not None and len(events) < 256:
            try:
                with _translated(self._nvml, "nvmlEventSetWait_v2"):
                    event = self._nvml.nvmlEventSetWait_v2(self._set, 0)
            except NvmlError as error:
                if error.code == abi.TIMEOUT or events:  # NVML gives each event once; an error that lasts comes again
                    break
                raise
            uuid = self._uuids.get(_address(event.device))
            if uuid is not None and event.eventType == _XID_EVENT:
                events.append((uuid, int(event.eventData)))
        return events

    def close(self) -> None:
        """Free the event set. A second time does nothing."""
        if self._set is not None:
            event_set, self._set = self._set, None
            with _translated(self._nvml, "nvmlEventSetFree"):
                self._nvml.nvmlEventSetFree(event_set)


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
