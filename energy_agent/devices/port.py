"""Interface between the reader and a type of device. tests/contracts/test_device_port.py tests each implementation.

Another vendor's devices are a package next to `nvml`, with their own backend.
"""

from collections.abc import Mapping
from typing import Protocol

from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.errors import WattlensError
from energy_agent.core.health import HealthRecord


class Mark(Protocol):
    """Called with the name of each driver call before the call, so that a hang can be traced to its device and call."""

    device: str

    def __call__(self, call: str) -> None: ...  # noqa: D102


class BackendError(WattlensError):
    """A driver call failed. `name` is the driver's name of the error, `call` the name of the call."""

    def __init__(self, name: str, call: str, text: str) -> None:
        super().__init__(text)
        self.name, self.call = name, call


class DeviceGone(Exception):  # noqa: N818 - a finding about the device, not a fault of ours
    """The device no longer responds. `reason` is the driver's name of the error, `call` the name of the call."""

    def __init__(self, reason: str, call: str) -> None:
        super().__init__(f"{call}: {reason}")
        self.reason = reason
        self.call = call


class Device(Protocol):
    """One open device. It does not wait: a call that hangs in the driver is the supervisor's to end."""

    @property
    def uuid(self) -> str:
        """Identifies the device on every machine."""
        ...

    @property
    def info(self) -> DeviceInfo:
        """Description of the device, as far as the driver provides it."""
        ...

    def read(self, *, full: bool, list_processes: bool = False, xid_counts: Mapping[int, int] | None = None) -> DeviceSample:
        """Read energy and power, and the rest if `full`. Values that the device does not provide are absent with a reason.

        Raises:
            DeviceGone: the device is lost; the caller must discard this reading.
        """
        ...

    def read_health(self, group: str) -> HealthRecord:
        """Read one health group: one of `core.health.GROUPS`, PCIE_THROUGHPUT or GPM. Never raises for a driver error."""
        ...

    def close_health(self) -> None:
        """Free the driver resources that health readings use."""
        ...

    def close(self) -> None:
        """Free the driver resources of this device."""
        ...


class DeviceBackend(Protocol):
    """All devices of one driver."""

    driver: str
    """Version of the driver, once started."""
    epoch: str
    """Names the load of the driver that all readings are of, once started; "" where it is not known."""

    def start(self) -> None:
        """Open the driver.

        Raises:
            BackendError: the driver as a whole does not answer.
        """
        ...

    def count(self) -> int:
        """How many devices there are.

        Raises:
            BackendError: the driver does not answer.
        """
        ...

    def open(self, index: int) -> Device:
        """The device at an index, named to the mark by its UUID as soon as that is known.

        Raises:
            BackendError, DeviceGone: it does not answer.
        """
        ...

    def open_by_uuid(self, uuid: str) -> Device:
        """The device of a UUID.

        Raises:
            BackendError, DeviceGone: it is not there, or does not answer.
        """
        ...

    def watch_errors(self, devices: list[Device]) -> bool:
        """Collect the error events of these devices, and of no others, from now on; False where the driver has none."""
        ...

    def poll_errors(self) -> list[tuple[str, int]]:
        """Error events since the last call, as (UUID, number).

        Raises:
            BackendError: the events are lost; call `watch_errors` again.
        """
        ...
