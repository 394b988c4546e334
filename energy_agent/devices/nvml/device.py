"""One device read once: which calls, in which order, and what becomes of each that fails.

A call that answers NOT_SUPPORTED or NO_PERMISSION is off for this device and asked again only now and then; its field is absent
with that reason. A call that says the device itself is gone ends the reading with DeviceGone. Nothing is ever guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.health import HealthRecord
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import GONE, OFF, NvmlError
from energy_agent.devices.nvml.health import HealthReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.devices.nvml.use import UseReader
from energy_agent.devices.port import DeviceGone, Mark

RETRY_OFF_NS = 10 * NS_PER_S
NEW_PROCESS_MEMORY_B = 8 << 20  # a CUDA context takes far more: a change of this size means somebody came or went

_FIELDS = {  # (number, scope)
    (abi.FIELD_TOTAL_ENERGY, 0): "energy_mj",
    (abi.FIELD_POWER_INSTANT, 0): "power_mw",
    (abi.FIELD_POWER_INSTANT, abi.POWER_SCOPE_MODULE): "module_power_mw",
    (abi.FIELD_POWER_AVERAGE, 0): "power_average_mw",
    (abi.FIELD_CURRENT_POWER_LIMIT, 0): "power_limit_mw",
    (abi.FIELD_REQUESTED_POWER_LIMIT, 0): "power_limit_requested_mw",
    (abi.FIELD_MEMORY_TEMPERATURE, 0): "memory_temperature_c",
}
_FAST_FIELDS = tuple(field for field in _FIELDS if field[0] in (abi.FIELD_TOTAL_ENERGY, abi.FIELD_POWER_INSTANT))
_ALL_FIELDS = tuple(_FIELDS)


@dataclass(slots=True)
class _Off:
    reason: str
    retry_ns: int


class DeviceReader:
    """A `Device`: one GPU through NVML, remembering what it does not support."""

    def __init__(self, nvml: RealNvml, handle: object, clock: Clock, mark: Mark, *, gpm: bool = False) -> None:
        """`gpm`: whether the activity of MIG devices may be read."""
        self.uuid = nvml.uuid(handle)
        self._nvml = nvml
        self.handle = handle
        self._clock = clock
        self._mark = mark
        self._off: dict[str, _Off] = {}
        self._memory_at_list_b: int | None = None
        self._use = UseReader(nvml, clock, self._call, gpm=gpm)
        self._health: HealthReader | None = None
        self.info = self._describe()

    def read(self, *, full: bool, list_processes: bool = False, xid_counts: Mapping[int, int] | None = None) -> DeviceSample:
        """Read the device: energy and power always, the rest when `full`, owners when asked or when memory use says so.

        `xid_counts` are the XID events since the last full reading, which come by another way, and go into a full sample.

        Raises:
            DeviceGone: the device is lost; nothing of this reading counts.
        """
        absent: dict[str, str] = {}
        values: dict[str, Any] = {}
        self._read_fields(_ALL_FIELDS if full else _FAST_FIELDS, values, absent)
        t_ns, boot_ns = self._clock.utc_ns(), self._clock.boot_ns()
        if full:
            self._read_rest(values, absent)
            used = values.get("memory_used_b")
            moved = used is not None and (
                self._memory_at_list_b is None or abs(used - self._memory_at_list_b) >= NEW_PROCESS_MEMORY_B
            )
            values["xid_counts"] = xid_counts
            if list_processes or moved:
                values["processes"], values["mig"] = self._use.read(absent, mig=self.info.mig_enabled)
                self._memory_at_list_b = used
            else:
                values["mig"] = self._use.activity()
        return DeviceSample(self.uuid, t_ns, boot_ns, absent=absent, fast=not full, **values)

    def read_health(self, group: str) -> HealthRecord:
        """See `Device`."""
        if self._health is None:
            self._health = HealthReader(self._nvml, self.handle, self.uuid, self._clock, self._mark)
        return self._health.read(group)

    def close_health(self) -> None:
        """See `Device`."""
        health, self._health = self._health, None
        if health is not None:
            health.close()

    def close(self) -> None:
        """Release what is held in the driver for this device."""
        self._use.close()

    def _read_fields(self, fields: tuple[tuple[int, int], ...], values: dict[str, Any], absent: dict[str, str]) -> None:
        self._mark("GetFieldValues")
        try:
            answers = self._nvml.scoped_field_values(self.handle, fields)
        except NvmlError as error:
            if error.code not in OFF:
                raise DeviceGone(error.name, error.call) from None
            answers = [abi.FieldValue(number, error.code, 0) for number, _ in fields]
        for field, answer in zip(fields, answers, strict=True):
            name = _FIELDS[field]
            if answer.code == abi.SUCCESS:
                values[name] = answer.value
            elif name == "module_power_mw":
                pass  # most boards do not have it
            elif answer.code in GONE:
                raise DeviceGone(abi.CODE_NAMES.get(answer.code, str(answer.code)), f"field {answer.field_id}")
            else:
                absent[name] = abi.CODE_NAMES.get(answer.code, str(answer.code))
        if "energy_mj" not in values:
            self._call("energy_mj", "GetTotalEnergyConsumption", self._nvml.total_energy_mj, values, absent)
        if "power_mw" not in values:
            # PowerUsage is a 1 s average from Ampere on; better than nothing, and the only one on some boards.
            self._call("power_mw", "GetPowerUsage", self._nvml.power_usage_mw, values, absent)

    def _read_rest(self, values: dict[str, Any], absent: dict[str, str]) -> None:
        nvml = self._nvml
        if "power_limit_mw" not in values:
            self._call("power_limit_mw", "GetPowerManagementLimit", nvml.power_limit_mw, values, absent)
        self._call("sm_clock_mhz", "GetClockInfo(SM)", nvml.sm_clock_mhz, values, absent)
        self._call("memory_clock_mhz", "GetClockInfo(MEM)", nvml.memory_clock_mhz, values, absent)
        self._call("temperature_c", "GetTemperatureV", nvml.temperature_c, values, absent)
        self._call("event_reasons", "GetCurrentClocksEventReasons", nvml.event_reasons, values, absent)
        pair: dict[str, Any] = {}
        self._call("gpu_percent", "GetUtilizationRates", nvml.utilization_percent, pair, absent)
        if pair:
            values["gpu_percent"], values["memory_percent"] = (min(100, v) for v in pair["gpu_percent"])
        pair = {}
        self._call("memory_used_b", "GetMemoryInfo", nvml.memory_b, pair, absent)
        if pair:
            values["memory_used_b"], values["memory_total_b"] = pair["memory_used_b"]

    def _call(self, name: str, call: str, ask: Callable[[object], Any], values: dict[str, Any], absent: dict[str, str]) -> None:
        off = self._off.get(call) if self._off else None
        if off is not None and self._clock.boot_ns() < off.retry_ns:
            absent[name] = off.reason
            return
        self._mark(call)
        try:
            values[name] = ask(self.handle)
        except NvmlError as error:
            self._raise_if_gone(error)
            absent[name] = error.name
            if error.code in OFF:
                self._off[call] = _Off(error.name, self._clock.boot_ns() + RETRY_OFF_NS)
            return
        if off is not None:
            del self._off[call]
        if absent:
            absent.pop(name, None)

    def _raise_if_gone(self, error: NvmlError) -> None:
        """Raise DeviceGone if the error means that the device is lost.

        UNKNOWN from one of these calls only makes its own field absent: the field values, which are read first, show whether
        the device still responds.
        """
        if error.code in GONE and error.code != abi.UNKNOWN:
            raise DeviceGone(error.name, error.call) from None

    def _describe(self) -> DeviceInfo:
        nvml = self._nvml
        values: dict[str, Any] = {}
        unsaid: dict[str, str] = {}
        self._call("range", "GetPowerManagementLimitConstraints", nvml.power_limit_range_mw, values, unsaid)
        self._call("default", "GetPowerManagementDefaultLimit", nvml.power_limit_default_mw, values, unsaid)
        self._call("clock", "GetMaxClockInfo", nvml.sm_clock_max_mhz, values, unsaid)
        self._call("name", "GetName", nvml.name, values, unsaid)
        self._call("arch", "GetArchitecture", nvml.architecture, values, unsaid)
        self._call("pci", "GetPciInfo", nvml.pci_bus_id, values, unsaid)
        self._call("mig", "GetMigMode", nvml.mig_enabled, values, unsaid)
        low, high = values.get("range", (None, None))
        return DeviceInfo(
            uuid=self.uuid,
            index=-1,
            name=values.get("name", "unknown"),
            architecture=values.get("arch", "unknown"),
            pci_bus_id=values.get("pci", ""),
            driver="",
            power_limit_min_mw=low,
            power_limit_max_mw=high,
            power_limit_default_mw=values.get("default"),
            sm_clock_max_mhz=values.get("clock"),
            mig_enabled=values.get("mig", False),
        )
