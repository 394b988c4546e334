"""The knobs of NVML: read a device; write one knob by compare, write and read back. Runs in a disposable child only.

A setter's SUCCESS is no proof: the limit is read back, and the SM clock and event reasons are reported after a settle time.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.actuator.records.journal import Value
from dvfs.types import BINDING_REASONS, Constraints, Knob
from energy_agent.devices.nvml.abi import (
    FIELD_CURRENT_POWER_LIMIT,
    FIELD_REQUESTED_POWER_LIMIT,
    NO_DATA,
    NOT_SUPPORTED,
    SUCCESS,
    NvmlError,
)
from energy_agent.devices.nvml.library import RealNvml

SETTLE_S = 0.05
"""A lock settles within 48 ms at most in the public measurements (V100 class)."""


class KnobError(Exception):
    """The query of a device failed: `code` is the NVML error in lower case, or timeout | busy | failed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device as the driver lists it."""

    index: int
    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class KnobReading:
    """The state of a device's knobs before a write. `out_of_band`: a BMC or DCGM, not the driver, sets the power limit."""

    power_limit_mw: int | None
    constraints: Constraints
    mig: bool
    out_of_band: bool


@dataclass(frozen=True, slots=True)
class KnobWrite:
    """One value for one knob. `expected`: power limits under which a write is allowed; any other is a foreign change."""

    knob: Knob
    value: Value
    expected: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Result of a write. `status`: ok, foreign, differs (read back otherwise) or the NVML error's name in lower case."""

    status: str
    read_back: Value | None = None
    sm_clock_mhz: int | None = None
    reasons: tuple[str, ...] = ()


def inventory(nvml: RealNvml) -> list[ListedDevice]:
    """The devices that answer; one that is lost is left out, not an error."""
    listed = []
    for index in range(nvml.device_count()):
        try:
            device = nvml.device_by_index(index)
            listed.append(ListedDevice(index, nvml.uuid(device), nvml.name(device)))
        except NvmlError:
            continue
    return listed


def read(nvml: RealNvml, uuid: str) -> KnobReading:
    """Read a device. Fields that it does not support: None or empty.

    Raises:
        NvmlError: any other error: then nothing may be written.
    """
    device = nvml.device_by_uuid(uuid)
    limit: int | None = None
    power_range: tuple[int, int] | None = None
    clocks: tuple[int, ...] = ()
    try:
        limit, power_range = nvml.power_limit_mw(device), nvml.power_limit_range_mw(device)
    except NvmlError as error:
        _unless(error, NOT_SUPPORTED)
    try:
        clocks = tuple(sorted(nvml.supported_sm_clocks_mhz(device)))
    except NvmlError as error:
        _unless(error, NOT_SUPPORTED)
    try:
        mig = nvml.mig_enabled(device)
    except NvmlError as error:
        _unless(error, NOT_SUPPORTED)
        mig = False
    return KnobReading(limit, Constraints(clocks, power_range), mig, _out_of_band(nvml, device))


def _unless(error: NvmlError, code: int) -> None:
    if error.code != code:
        raise error


def _out_of_band(nvml: RealNvml, device: object) -> bool:
    values = {v.field_id: v for v in nvml.field_values(device, [FIELD_CURRENT_POWER_LIMIT, FIELD_REQUESTED_POWER_LIMIT])}
    current, requested = values.get(FIELD_CURRENT_POWER_LIMIT), values.get(FIELD_REQUESTED_POWER_LIMIT)
    if current is None or requested is None or current.code != SUCCESS or requested.code != SUCCESS:
        return False
    return current.value != requested.value


def write(nvml: RealNvml, uuid: str, writes: Sequence[KnobWrite], settle_s: float = SETTLE_S) -> list[WriteResult]:
    """Write knobs in order, one answer each; one that fails does not keep the next from being tried (a restore needs that)."""
    done: list[WriteResult] = []
    for one in writes:
        try:
            device = nvml.device_by_uuid(uuid)
            done.append(_power(nvml, device, one) if one.knob == "power" else _clock(nvml, device, one, settle_s))
        except NvmlError as error:
            done.append(WriteResult(error.name.lower()))
    return done


def _power(nvml: RealNvml, device: object, one: KnobWrite) -> WriteResult:
    if not isinstance(one.value, int):
        raise ValueError(f"power limit {one.value!r}")
    now = nvml.power_limit_mw(device)
    if now != one.value:
        if now not in one.expected:
            return WriteResult("foreign", now)
        nvml.set_power_limit_mw(device, one.value)
        now = nvml.power_limit_mw(device)
    return WriteResult("ok" if now == one.value else "differs", now)


def _clock(nvml: RealNvml, device: object, one: KnobWrite, settle_s: float) -> WriteResult:
    if one.value == "unlocked":
        nvml.reset_locked_sm_clocks(device)
    elif isinstance(one.value, tuple):
        nvml.set_locked_sm_clocks_mhz(device, *one.value)
    else:
        raise ValueError(f"clock lock {one.value!r}")
    time.sleep(settle_s)
    try:
        clock, bits = nvml.sm_clock_mhz(device), nvml.event_reasons(device)
    except NvmlError as error:
        _unless(error, NOT_SUPPORTED)
        return WriteResult("ok", one.value, None, (NvmlError(NO_DATA, "clock").name.lower(),))
    return WriteResult("ok", one.value, clock, tuple(name for bit, name in BINDING_REASONS.items() if bits & bit))
