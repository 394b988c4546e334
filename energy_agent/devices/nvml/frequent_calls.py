"""NVML calls that are made every second on every device: pynvml's functions, answers into buffers that are made once.

pynvml makes the answer's object anew at each call and reads it member by member, which costs several times the call itself.
Layouts are those of nvml.h. Not for several threads: a second call writes into the same buffer.
"""

import ctypes
from collections.abc import Callable
from struct import Struct
from typing import Any

from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError

_UINT = Struct("=I")
_ULONGLONG = Struct("=Q")
_UTILIZATION = Struct("=II")  # nvmlUtilization_t: gpu, memory
_MEMORY = Struct("=QQQ")  # nvmlMemory_t: total, free, used
_TEMPERATURE = Struct("=IIi")  # nvmlTemperature_v1_t: version, sensor, degrees Celsius
_TEMPERATURE_V1_GPU = _TEMPERATURE.pack(0x0100000C, 0, 0)
_SM, _MEM, _GPU_SENSOR = 1, 2, 0


class FrequentCalls:
    """The calls. `pointer` gives a function of the library by its name, or raises `error` with an NVML code."""

    def __init__(self, pointer: Callable[[str], Callable[..., int]], error: type[Exception]) -> None:
        self._pointer, self._error = pointer, error
        self._held: dict[str, tuple[Callable[..., int], Any, Any]] = {}

    def sm_clock_mhz(self, device: object) -> int:
        """Clock of the SMs now."""
        (value,) = self._ask("nvmlDeviceGetClockInfo", _UINT, device, _SM)
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

    def _ask(self, name: str, layout: Struct, device: object, *arguments: int, before: bytes = b"") -> tuple[int, ...]:
        """Call `name`; its last argument is the answer, with `before` in it the first time."""
        held = self._held.get(name)
        if held is None:
            try:
                function = self._pointer(name)
            except self._error as error:
                raise NvmlError(int(error.value), name) from None  # type: ignore[attr-defined]
            buffer = ctypes.create_string_buffer(before, layout.size)
            held = self._held[name] = (function, buffer, ctypes.byref(buffer))
        function, buffer, answer = held
        code = function(device, *arguments, answer)
        if code != abi.SUCCESS:
            raise NvmlError(code, name)
        return layout.unpack_from(buffer)
