"""Every response of a node's NVML as a file, from which a test can replay it.

A capture is taken read-only: only getters are called, each once on each device, and counter and power for a short while. It is
plain JSON with sorted keys:

{"schema", "driver", "nvml", "pynvml", "library", "node": CALLS, "devices": [{"calls": CALLS, "raw": CALLS, "fields": [[id,
code, value], ...], "series": [[ns since the first, mJ, mW], ...]}]} where CALLS maps a call to {"value": ...} or {"code": N}.

`calls` are those of the library and are what a replay answers from; `raw` are further getters as nvml.h names them.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, get_type_hints

from energy_agent.core.ports import Clock
from energy_agent.devices.nvml.abi import NvmlError, Utilization
from energy_agent.devices.nvml.library import RealNvml

SCHEMA = "wattlens-nvml-capture/1"
FIELD_IDS = tuple(range(1, 251))
NO_UUID = "GPU-00000000-0000-0000-0000-000000000000"
CALLS = (
    "uuid", "name", "architecture", "pci_bus_id", "mig_enabled", "persistence_mode", "total_energy_mj", "power_usage_mw",
    "power_limit_mw", "power_limit_default_mw", "power_limit_range_mw", "sm_clock_mhz", "memory_clock_mhz", "sm_clock_max_mhz",
    "supported_sm_clocks_mhz", "temperature_c", "utilization_percent", "memory_b", "event_reasons", "compute_processes",
)  # fmt: skip
RAW_SYSTEM = ("nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetDriverBranch")
RAW_DEVICE = tuple(
    f"nvmlDeviceGet{name}"
    for name in (
        "Brand", "Serial", "BoardId", "BoardPartNumber", "VbiosVersion", "InforomImageVersion", "ComputeMode",
        "CudaComputeCapability", "EccMode", "DefaultEccMode", "GpuOperationMode", "DisplayMode", "DisplayActive",
        "PerformanceState", "PowerManagementMode",
        "EnforcedPowerLimit", "PowerSource", "MigMode", "MaxMigDeviceCount", "IsMigDeviceHandle", "VirtualizationMode",
        "CurrPcieLinkGeneration", "CurrPcieLinkWidth", "MaxPcieLinkGeneration", "MaxPcieLinkWidth", "PcieReplayCounter",
        "NumGpuCores", "MemoryBusWidth", "Bar1MemoryInfo", "PciInfo", "RemappedRows", "RetiredPagesPendingStatus",
        "SupportedClocksEventReasons", "EncoderUtilization", "DecoderUtilization", "MultiGpuBoard", "GspFirmwareVersion",
        "GspFirmwareMode", "NumFans", "MinorNumber", "NumaNodeId", "AdaptiveClockInfoStatus", "AutoBoostedClocksEnabled",
        "ArchitectureVersion", "BusType", "DynamicPstatesInfo", "SupportedMemoryClocks", "AccountingMode", "IrqNum",
    )
)  # fmt: skip
_RAW_ARGUMENTS = {
    "nvmlDeviceGetMaxClockInfo": (0, 1, 2, 3),
    "nvmlDeviceGetTemperatureThreshold": (0, 1, 2, 3),
    "nvmlDeviceGetNvLinkState": tuple(range(18)),
    "nvmlDeviceGetPcieThroughput": (0, 1),
}
Answers = dict[str, Any]


def getters() -> dict[str, Any]:
    """The calls that a capture has of each device: name -> type of the answer."""
    return {name: get_type_hints(getattr(RealNvml, name))["return"] for name in CALLS}


def take(
    nvml: RealNvml, clock: Clock, indices: Sequence[int], mark: Callable[[str], None], at: Callable[[int], None], seconds: float
) -> Answers:
    """Call every getter of the initialised `nvml`.

    `mark` is called with the name of each call before the call, `at` with the index of each device before its first call.
    """
    count = nvml.device_count()
    node = {
        "driver_version": _answer(nvml.driver_version, str),
        "device_count": _answer(nvml.device_count, int),
        "device_by_index(count)": _answer(lambda: _nothing(nvml.device_by_index(count)), type(None)),
        "device_by_uuid(unknown)": _answer(lambda: _nothing(nvml.device_by_uuid(NO_UUID)), type(None)),
    }
    devices = []
    for index in range(count):
        if index not in indices:
            devices.append({"left_out": "the device does not respond"})
            continue
        at(index)
        mark("GetHandleByIndex")
        try:
            handle = nvml.device_by_index(index)
        except NvmlError as error:
            devices.append({"left_out": f"{error.call}: {error.name}"})
            continue
        devices.append(_device(nvml, clock, handle, mark, seconds))
    raw = {name: _raw(nvml, name) for name in RAW_SYSTEM}
    return {
        "schema": SCHEMA,
        "driver": node["driver_version"].get("value", ""),
        "nvml": raw["nvmlSystemGetNVMLVersion"].get("value", ""),
        "node": node,
        "raw": raw,
        "devices": devices,
    }


def _device(nvml: RealNvml, clock: Clock, handle: object, mark: Callable[[str], None], seconds: float) -> Answers:
    calls = {}
    for name, kind in getters().items():
        mark(name)
        calls[name] = _answer(partial(getattr(nvml, name), handle), kind)
    mark("process_utilization")
    calls["process_utilization"] = _answer(lambda: nvml.process_utilization(handle, 0), list[Utilization])
    raw = {}
    for name in RAW_DEVICE:
        mark(name)
        raw[name] = _raw(nvml, name, handle)
    for name, arguments in _RAW_ARGUMENTS.items():
        for argument in arguments:
            mark(name)
            raw[f"{name}({argument})"] = _raw(nvml, name, handle, argument)
    fields = []
    for field in FIELD_IDS:  # one by one: an id that a driver does not know must not spoil the others
        mark(f"field {field}")
        try:
            (answer,) = nvml.field_values(handle, [field])
            fields.append([field, answer.code, answer.value])
        except NvmlError as error:
            fields.append([field, error.code, 0])
    return {"calls": calls, "raw": raw, "fields": fields, "series": _series(nvml, clock, handle, mark, seconds)}


def _series(
    nvml: RealNvml, clock: Clock, handle: object, mark: Callable[[str], None], seconds: float
) -> list[list[int | None]]:
    """Counter and power where they change."""
    rows: list[list[int | None]] = []
    began_ns = clock.boot_ns()
    while (now_ns := clock.boot_ns() - began_ns) <= seconds * 1e9:
        mark("series")
        energy = _answer(lambda: nvml.total_energy_mj(handle), int).get("value")
        power = _answer(lambda: nvml.power_usage_mw(handle), int).get("value")
        if not rows or rows[-1][1:] != [energy, power]:
            rows.append([now_ns, energy, power])
        clock.sleep(0.002)
    return rows


def _nothing(_: object) -> None:
    return None


def _answer(ask: Callable[[], Any], kind: Any) -> Answers:
    from pydantic import TypeAdapter

    try:
        return {"value": TypeAdapter(kind).dump_python(ask(), mode="json")}
    except NvmlError as error:
        return {"code": error.code}


def _raw(nvml: RealNvml, name: str, *arguments: Any) -> Answers:
    try:
        return {"value": _plain(nvml.ask(name, *arguments))}
    except NvmlError as error:
        return {"code": error.code}
    except (TypeError, ValueError, AttributeError) as error:
        return {"unreadable": type(error).__name__}  # this pynvml wants other arguments


def _plain(value: Any) -> Any:
    """A ctypes structure, a number or text as JSON has it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "_fields_"):
        return {field[0]: _plain(getattr(value, field[0])) for field in value._fields_}
    if hasattr(value, "value"):
        return _plain(value.value)
    return [_plain(v) for v in value]


def with_pseudonyms(capture: Answers, secret: bytes) -> Answers:
    """The capture with other UUIDs and serial numbers, the same for the same `secret`, which is not kept."""
    import hashlib
    import uuid

    names: dict[str, str] = {}
    for device in capture["devices"]:
        if "left_out" in device:
            continue
        real = device["calls"]["uuid"].get("value")
        if real:
            digest = hashlib.blake2b(real.encode(), key=secret, digest_size=16).digest()
            names[real] = f"{real.partition('-')[0]}-{uuid.UUID(bytes=digest, version=4)}"
        serial = device["raw"]["nvmlDeviceGetSerial"].get("value")
        if serial:
            digest = hashlib.blake2b(serial.encode(), key=secret, digest_size=8).digest()
            names[serial] = str(int.from_bytes(digest) % 10**13).zfill(13)
    if not names:
        return capture
    pattern = re.compile("|".join(re.escape(n) for n in sorted(names, key=len, reverse=True)))
    text = pattern.sub(lambda m: names[m[0]], json.dumps(capture))
    changed: Answers = json.loads(text)
    for device in changed["devices"]:
        if "raw" in device:
            device["raw"]["nvmlDeviceGetBoardId"] = {"unreadable": "removed"}
    return changed


def dumps(capture: Answers) -> str:
    """Canonical text: sorted keys; what is short stands on one line."""
    return _text(capture, "") + "\n"


def _text(value: Any, margin: str) -> str:
    short = json.dumps(value, sort_keys=True)
    if len(short) <= 100 or not isinstance(value, dict | list) or not any(isinstance(v, dict | list) for v in _parts(value)):
        return short
    inner = margin + " "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in sorted(value.items())]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inner + _text(v, inner) for v in value) + f"\n{margin}]"


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
