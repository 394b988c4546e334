"""Interface between the reader and a type of device. tests/contracts/test_device_port.py tests each implementation.

Another vendor's devices are a package next to `nvml`, with their own backend.
"""

from collections.abc import Mapping
from typing import Protocol

from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.errors import WattlensError
from energy_agent.core.health import HealthRecord


class Mark(Protocol):
    """Called with the name of each driver call before it is made, so that a hang is known by device and call."""

    device: str

    def __call__(self, call: str) -> None: ...  # noqa: D102


class BackendError(WattlensError):
    """A driver call failed; `name` is the driver's word for why, `call` what was asked."""

    def __init__(self, name: str, call: str, text: str) -> None:
        super().__init__(text)
        self.name, self.call = name, call


class DeviceGone(Exception):  # noqa: N818 - a finding about the device, not a fault of ours
    """The device itself does not answer any more; `reason` is the driver's word for why, `call` what was asked."""

    def __init__(self, reason: str, call: str) -> None:
        super().__init__(f"{call}: {reason}")
        self.reason = reason
        self.call = call


class Device(Protocol):
    """One open device. It does not wait: a call that hangs in the driver is the supervisor's to end."""

    @property
    def uuid(self) -> str:
        """Names the device on every machine."""
        ...

    @property
    def info(self) -> DeviceInfo:
        """What it is, as far as the driver says."""
        ...

    def read(self, *, full: bool, list_processes: bool = False, xid_counts: Mapping[int, int] | None = None) -> DeviceSample:
        """Energy and power always, the rest when `full`. A value that the device does not give is absent with its reason.

        Raises:
            DeviceGone: the device is lost; nothing of this reading counts.
        """
        ...

    def read_health(self, group: str) -> HealthRecord:
        """One group of health (`core.health.GROUPS` and those beside them); never raises for what the driver answers."""
        ...

    def close_health(self) -> None:
        """Free what reading health holds in the driver."""
        ...

    def close(self) -> None:
        """Free what is held in the driver for this device."""
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
