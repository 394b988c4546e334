"""Energy counter, average and instant power of every GPU and its module, read every 2 ms and kept where they change."""

from collections.abc import Callable, Mapping

from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.devices.nvml import abi
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.metering.sensors.traces import Row

READ_S = 0.002
MAX_CHANGES = 120_000  # of one sensor: four minutes of one that is new at every read
SIGNALS = {
    "energy": (abi.FIELD_TOTAL_ENERGY, 0), "average": (abi.FIELD_POWER_AVERAGE, 0), "instant": (abi.FIELD_POWER_INSTANT, 0),
    "module": (abi.FIELD_POWER_INSTANT, abi.POWER_SCOPE_MODULE),
}  # fmt: skip
"""Field and scope of each sensor."""


class GpuWatcher:
    """One GPU under observation: the changes of each sensor that it has, and why it has no others."""

    def __init__(self, nvml: RealNvml, handle: object, clock: Clock, mark: Callable[[str], None]) -> None:
        """Store the arguments; the GPU is not queried yet."""
        self._nvml, self._handle, self._clock, self._mark = nvml, handle, clock, mark
        self.changes: dict[str, list[Row]] = {}
        self.absent: dict[str, str] = {}
        self._seen_ns = self._first_ns = self._reads = 0

    @property
    def read_ms(self) -> float:
        """Mean time between two reads."""
        return (self._seen_ns - self._first_ns) / 1e6 / max(1, self._reads - 1)

    def look(self) -> bool:
        """Read once; whether the counter has moved. Raises NvmlError where the GPU does not answer."""
        before_ns = self._clock.boot_ns()
        self._mark("GetFieldValues")
        answers = self._nvml.scoped_field_values(self._handle, tuple(SIGNALS.values()))
        by_ns, moved = self._clock.boot_ns(), False
        for signal, answer in zip(SIGNALS, answers, strict=True):
            if answer.code != abi.SUCCESS:
                self.absent[signal] = NvmlError(answer.code, "GetFieldValues").name
                continue
            rows = self.changes.setdefault(signal, [])
            if (not rows or rows[-1][2] != answer.value) and len(rows) < MAX_CHANGES:
                rows.append((self._seen_ns or before_ns, by_ns, answer.value))
                moved = moved or signal == "energy"
        self._first_ns, self._seen_ns, self._reads = self._first_ns or before_ns, before_ns, self._reads + 1
        return moved

    def forget(self) -> None:
        """Restart after a time without readings."""
        self.changes.clear()
        self._seen_ns = self._first_ns = self._reads = 0


def watch(
    watched: Mapping[int, GpuWatcher],
    clock: Clock,
    seconds: float,
    *,
    at: Callable[[int], None] = lambda _: None,
    idle: Callable[[], None] = lambda: None,
) -> dict[int, str]:
    """Read all GPUs every READ_S for `seconds`; return lost GPUs with reasons.

    `at` gets each index, `idle` runs before a pause.
    """
    lost: dict[int, str] = {}
    due_ns = clock.boot_ns()
    end_ns = due_ns + round(seconds * NS_PER_S)
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
        due_ns = max(due_ns + round(READ_S * NS_PER_S), clock.boot_ns())
        clock.sleep((due_ns - clock.boot_ns()) / NS_PER_S)
    return lost
