"""Counter and instantaneous power of every GPU, read as fast as the driver responds, kept where they change."""

from collections.abc import Callable, Mapping

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.metering.sensor_profile import SensorTick

PAUSE_S = 0.0005
_IDS = (abi.FIELD_TOTAL_ENERGY, abi.FIELD_POWER_INSTANT)


class GpuWatcher:
    """One GPU under observation. `reason` explains a missing counter; `instant`: power is the instantaneous value."""

    def __init__(self, nvml: RealNvml, handle: object, clock: Clock, mark: Callable[[str], None]) -> None:
        """Store the arguments; the GPU is not queried yet."""
        self._nvml, self._handle, self._clock, self._mark = nvml, handle, clock, mark
        self.changes: list[SensorTick] = []
        self.reason = ""
        self.instant = True
        self._seen_ns = 0

    def look(self) -> bool:
        """Read once; whether the counter has moved. Raises NvmlError where the GPU does not answer."""
        before_ns = self._clock.boot_ns()
        self._mark("GetFieldValues")
        energy, power = self._nvml.field_values(self._handle, _IDS)
        energy_mj = energy.value if energy.code == abi.SUCCESS else self._older(self._nvml.total_energy_mj)
        power_mw: int | None = power.value
        if power.code != abi.SUCCESS:
            self.instant = False
            power_mw = self._older(self._nvml.power_usage_mw)
        by_ns = self._clock.boot_ns()
        if energy_mj is None:
            self.reason = self.reason or "no energy counter"
            return False
        last = self.changes[-1] if self.changes else None
        moved = last is None or last.energy_mj != energy_mj
        if last is None or moved or last.power_mw != power_mw:
            self.changes.append(SensorTick(self._seen_ns or before_ns, by_ns, energy_mj, power_mw))
        self._seen_ns = before_ns
        return moved

    def forget(self) -> None:
        """Restart after a time without readings."""
        self.changes.clear()
        self._seen_ns = 0

    def _older(self, ask: Callable[[object], int]) -> int | None:
        try:
            return ask(self._handle)
        except NvmlError as error:
            if error.code in (abi.NOT_SUPPORTED, abi.NO_PERMISSION, abi.FUNCTION_NOT_FOUND):
                return None
            raise


def watch(
    watched: Mapping[int, GpuWatcher],
    clock: Clock,
    seconds: float,
    *,
    at: Callable[[int], None] = lambda _: None,
    idle: Callable[[], None] = lambda: None,
    pause_s: float = PAUSE_S,
) -> dict[int, str]:
    """Read all GPUs in turn for `seconds`; return lost GPUs with reasons. `at` gets each index, `idle` runs before a pause."""
    lost: dict[int, str] = {}
    end_ns = clock.boot_ns() + round(seconds * NS_PER_S)
    while clock.boot_ns() < end_ns and len(lost) < len(watched):
        for index, each in watched.items():
            if index in lost:
                continue
            at(index)
            try:
                each.look()
            except NvmlError as error:
                lost[index] = error.name
        idle()
        clock.sleep(pause_s)
    return lost
