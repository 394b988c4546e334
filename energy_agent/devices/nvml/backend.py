"""NVIDIA GPUs as the reader's devices."""

from collections.abc import Callable

from energy_agent.core.ports import Clock
from energy_agent.devices.nvml.abi import NvmlError
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.library import RealNvml, XidEventSet
from energy_agent.devices.port import Device, Mark


class NvmlBackend:
    """All GPUs that NVML shows."""

    def __init__(
        self, nvml: RealNvml, clock: Clock, mark: Mark, driver_epoch: Callable[[], str] = str, *, gpm: bool = False
    ) -> None:
        """`gpm`: whether MIG devices may be read by their activity."""
        self._nvml, self._clock, self._mark, self._gpm = nvml, clock, mark, gpm
        self._driver_epoch = driver_epoch
        self._events: XidEventSet | None = None
        self.driver = self.epoch = ""

    def start(self) -> None:
        """See `DeviceBackend`."""
        self._mark.device = ""
        self._mark("Init")
        self._nvml.init()
        self.epoch = self._driver_epoch()  # only now: the driver is held, so it is that of every reading to come
        self.driver = self._nvml.driver_version()

    def count(self) -> int:
        """See `DeviceBackend`."""
        return self._nvml.device_count()

    def open(self, index: int) -> DeviceReader:
        """See `DeviceBackend`."""
        self._mark("GetHandleByIndex")
        handle = self._nvml.device_by_index(index)
        self._mark("GetUUID")
        self._mark.device = self._nvml.uuid(handle)
        return DeviceReader(self._nvml, handle, self._clock, self._mark, gpm=self._gpm)

    def open_by_uuid(self, uuid: str) -> DeviceReader:
        """See `DeviceBackend`."""
        return DeviceReader(self._nvml, self._nvml.device_by_uuid(uuid), self._clock, self._mark, gpm=self._gpm)

    def watch_errors(self, devices: list[Device]) -> bool:
        """See `DeviceBackend`: XID events."""
        events, self._events = self._events, None
        if events is not None:
            events.close()
        self._mark.device = ""
        self._mark("RegisterEvents")
        try:
            self._events = self._nvml.xid_events([d.handle for d in devices if isinstance(d, DeviceReader)])
        except NvmlError:
            return False  # not on this platform: gpu_xid_errors_total is absent
        return True

    def poll_errors(self) -> list[tuple[str, int]]:
        """See `DeviceBackend`."""
        if self._events is None:
            return []
        self._mark.device = ""
        self._mark("EventSetWait")
        return self._events.poll()
