"""A capture (nvml_capture) as an `Nvml`: what a real node answered, for tests without it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import FieldValue, NvmlError, Utilization
from energy_agent.devices.nvml.capture import SCHEMA, Answers, getters
from energy_agent.devices.nvml.library import RealNvml, XidEventSet

MAX_B = 64 << 20


class ReplayedNvml:
    """Answers from a capture. Counter and power go as they did, from `init` on, and stay where the capture ends.

    Setters answer NO_PERMISSION, calls of health and sharing FUNCTION_NOT_FOUND, as an old driver does. Devices that the
    capture left out answer UNKNOWN.
    """

    def __init__(self, capture: Mapping[str, Any], boot_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Use `replay`, which reads the file."""
        self._capture, self._boot_ns = capture, boot_ns
        self._depth = 0
        self._began_ns = 0
        self._kinds = getters()

    def init(self) -> None:
        """Calls nest."""
        if not self._depth:
            self._began_ns = self._boot_ns()
        self._depth += 1

    def shutdown(self) -> None:
        """End what `init` started."""
        self._started("nvmlShutdown")
        self._depth -= 1

    def driver_version(self) -> str:
        """As captured."""
        self._started("driver_version")
        return str(_replayed(self._capture["node"]["driver_version"], "nvmlSystemGetDriverVersion", str))

    def device_count(self) -> int:
        """As captured."""
        self._started("device_count")
        return int(_replayed(self._capture["node"]["device_count"], "nvmlDeviceGetCount", int))

    def device_by_index(self, index: int) -> object:
        """The handle of a device is its index."""
        self._started("nvmlDeviceGetHandleByIndex")
        if not 0 <= index < len(self._capture["devices"]):
            return _replayed(self._capture["node"]["device_by_index(count)"], "nvmlDeviceGetHandleByIndex", type(None))
        self._device(index)
        return index

    def device_by_uuid(self, uuid: str) -> object:
        """The handle of the device."""
        self._started("nvmlDeviceGetHandleByUUID")
        for index, device in enumerate(self._capture["devices"]):
            if device.get("calls", {}).get("uuid", {}).get("value") == uuid:
                return index
        return _replayed(self._capture["node"]["device_by_uuid(unknown)"], "nvmlDeviceGetHandleByUUID", type(None))

    def field_values(self, device: object, ids: Sequence[int]) -> list[FieldValue]:
        """As captured; energy goes on."""
        return self.scoped_field_values(device, [(field, 0) for field in ids])

    def scoped_field_values(self, device: object, fields: Sequence[tuple[int, int]]) -> list[FieldValue]:
        """As captured, of scope 0 alone; energy goes on."""
        captured = {f: (code, value) for f, code, value in self._device(device)["fields"]}
        none = abi.NOT_SUPPORTED, 0
        answers = [FieldValue(field, *(none if scope else captured.get(field, none))) for field, scope in fields]
        energy, _ = self._now(device)
        return [
            FieldValue(a.field_id, a.code, energy) if a.field_id == abi.FIELD_TOTAL_ENERGY and a.code == 0 and energy else a
            for a in answers
        ]

    def total_energy_mj(self, device: object) -> int:
        """Where the counter was, as long after the start as now."""
        first = _replayed(self._device(device)["calls"]["total_energy_mj"], "nvmlDeviceGetTotalEnergyConsumption", int)
        return self._now(device)[0] or int(first)

    def power_usage_mw(self, device: object) -> int:
        """Return the power at the same time after the start as now."""
        first = _replayed(self._device(device)["calls"]["power_usage_mw"], "nvmlDeviceGetPowerUsage", int)
        return self._now(device)[1] or int(first)

    def process_utilization(self, device: object, since_us: int) -> list[Utilization]:
        """What was captured after `since_us`."""
        every: list[Utilization] = self._ask("process_utilization", device, list[Utilization])
        return [u for u in every if u.timestamp_us > since_us]

    def xid_events(self, devices: Sequence[object]) -> XidEventSet:
        """None ever come."""
        self._started("nvmlEventSetCreate")
        return cast("XidEventSet", _NoEvents())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in self._kinds:
            return lambda device: self._ask(name, device, self._kinds[name])
        if name.startswith(("set_", "reset_")):
            return lambda *_: _replayed({"code": abi.NO_PERMISSION}, name, type(None))
        if hasattr(RealNvml, name):

            def missing(*_: object) -> None:
                raise NvmlError(abi.FUNCTION_NOT_FOUND, name)

            missing.__name__ = name
            return missing
        raise AttributeError(name)

    def _ask(self, name: str, device: object, kind: Any) -> Any:
        return _replayed(self._device(device)["calls"].get(name, {"code": abi.FUNCTION_NOT_FOUND}), name, kind)

    def _device(self, device: object) -> Answers:
        self._started("a device")
        answers: Answers = self._capture["devices"][cast("int", device)]
        if "left_out" in answers:
            raise NvmlError(abi.UNKNOWN, answers["left_out"])
        return answers

    def _now(self, device: object) -> tuple[int | None, int | None]:
        elapsed_ns = self._boot_ns() - self._began_ns
        past = [row for row in self._device(device)["series"] if row[0] <= elapsed_ns]
        return (past[-1][1], past[-1][2]) if past else (None, None)

    def _started(self, call: str) -> None:
        if not self._depth:
            raise NvmlError(abi.UNINITIALIZED, call)


class _NoEvents:
    def poll(self) -> list[tuple[str, int]]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing is held."""


def _replayed(answer: Mapping[str, Any], call: str, kind: Any) -> Any:
    from pydantic import TypeAdapter

    if "code" in answer:
        raise NvmlError(int(answer["code"]), call)
    return TypeAdapter(kind).validate_python(answer["value"])


def replay(path: Path) -> RealNvml:
    """Load a capture as an NVML library.

    Raises:
        UsageError: the file cannot be read or does not follow this schema.
    """
    try:
        with path.open("rb") as file:
            capture = json.loads(file.read(MAX_B))
        if capture["schema"] != SCHEMA:
            raise ValueError(f"schema {capture['schema']!r}")
    except OSError as error:
        raise UsageError(f"cannot read the capture {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not what 'wattlens doctor --capture' writes: {error}") from None
    return cast("RealNvml", ReplayedNvml(capture))
