"""Power supplies that the kernel shows: the sum of their inputs is what the node draws.

PMBus supplies are hwmon devices with `powerN_input` in uW and the label `pin` (or `pinN`) for what they take from the wall
(kernel documentation, hwmon/pmbus.rst). `acpi_power_meter` shows the sensors of a Grace board by `powerN_oem_info` ("Module
Power Socket 0"), on most kernels in the folder `device` of the hwmon device. A module contains its GPU and its Grace, and a
Grace contains its CPU and SysIO rails, so they are never added. Source: NVIDIA Grace performance tuning guide.
"""

import re
from pathlib import Path

from energy_agent.config.node_meters import NodeMeters
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.ports import Clock
from energy_agent.node.meter_source import NodeSource, believable_mw, read_number, read_text

AGE_NS = 1_000_000_000
_SOCKET = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket (\d+)")


class PsuMeter:
    """The inputs and sockets that are there."""

    def __init__(self, inputs: list[Path], sockets: dict[str, Path], config: NodeMeters, clock: Clock) -> None:
        assert config.psu is not None
        self._inputs, self._sockets, self._psu, self._clock = inputs, sockets, config.psu, clock

    def read(self) -> tuple[MeterReading, ...]:
        """The node as the sum of its supplies, and each socket that answers: a broken one does not stop the node's meter."""
        readings = []
        most_w = self._psu.max_power_w
        max_mw = None if most_w is None else round(most_w * 1000)
        scope = Scope(self._psu.scope)
        if self._inputs:
            powers = [_power_mw(path) for path in self._inputs]
            if min(powers) < 0:
                raise MeterError(f"implausible reading: {min(powers) / 1000:g} W of a power supply")
            power_mw = believable_mw(sum(powers), most_w)
            readings.append(self._reading("node" if scope is Scope.NODE else "module", scope, power_mw, max_mw))
        failure = None
        for domain, path in self._sockets.items():
            scope = Scope.MODULE if domain.startswith("module") else Scope.SOCKET
            try:
                readings.append(self._reading(domain, scope, believable_mw(_power_mw(path), None), None))
            except MeterError as error:
                failure = error
        if failure is not None and not readings:
            raise failure
        return tuple(readings)

    def _reading(self, domain: str, scope: Scope, power_mw: int, max_mw: int | None) -> MeterReading:
        t_ns, boot_ns = self._clock.utc_ns(), self._clock.boot_ns()
        return MeterReading(domain, scope, t_ns, boot_ns, power_mw=power_mw, max_mw=max_mw, step_mw=1000, age_ns=AGE_NS)

    def close(self) -> None:
        """Nothing is held."""


def open_psu(config: NodeMeters, clock: Clock) -> PsuMeter:
    """Find the supplies.

    Raises:
        MeterError: none is there, or fewer than the configuration says: then their sum is not the node.
    """
    assert config.psu is not None
    inputs, sockets = find(config.sysfs)
    if config.psu.supplies is not None and len(inputs) != config.psu.supplies:
        raise MeterError(f"expected {config.psu.supplies} power supplies that report their input power, got {len(inputs)}")
    if not inputs and not sockets:
        raise MeterError(f"no power supply reports its input power in {config.sysfs / 'class/hwmon'}")
    meter = PsuMeter(inputs, sockets, config, clock)
    meter.read()
    return meter


def find(sysfs: Path) -> tuple[list[Path], dict[str, Path]]:
    """Files of inputs, and of sockets by name."""
    inputs, sockets = [], {}
    for folder in sorted((sysfs / "class/hwmon").glob("hwmon*")):
        for label in sorted(folder.glob("power*_label")):
            if re.fullmatch(r"pin\d*", read_text(label)):
                inputs.append(folder / label.name.replace("_label", "_input"))
        for info in sorted((*folder.glob("power*_oem_info"), *folder.glob("device/power*_oem_info"))):
            if match := _SOCKET.search(read_text(info)):
                sockets[f"{match[1].lower()}-{match[2]}"] = info.with_name(info.name.replace("_oem_info", "_average"))
    return inputs, sockets


def _power_mw(path: Path) -> int:
    try:
        return read_number(path) // 1000
    except OSError as error:
        raise MeterError(f"{path}: {error.strerror}") from None


SPEC = NodeSource(
    "power supplies, from the kernel's hwmon", lambda config: None if config.psu is None else config.psu.period_s, open_psu
)
