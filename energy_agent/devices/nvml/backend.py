"""NVIDIA GPUs as the reader's devices."""

from collections.abc import Callable, Mapping
from typing import Protocol

from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.core.health import HealthRecord
from energy_agent.core.ports import Clock
from energy_agent.devices.nvml.abi import NvmlError, XidEvents
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.health import HealthReader
from energy_agent.devices.nvml.health_abi import HealthNvml
from energy_agent.devices.nvml.sharing_abi import SharingNvml
from energy_agent.devices.port import Device, Mark


class AllNvml(HealthNvml, SharingNvml, Protocol):
    """Every call that a reader makes."""


class NvmlDevice:
    """One GPU: its readings of every second, and its health."""

    def __init__(self, nvml: AllNvml, handle: object, clock: Clock, mark: Mark, *, gpm: bool) -> None:
        self._nvml, self._clock, self._mark = nvml, clock, mark
        self._reader = DeviceReader(nvml, handle, clock, mark, nvml, gpm=gpm)
        self._health: HealthReader | None = None
        self.handle = handle
        self.uuid = self._reader.uuid

    @property
    def info(self) -> DeviceInfo:
        """What the GPU is."""
        return self._reader.info

    def read(self, *, full: bool, list_processes: bool = False, xid_counts: Mapping[int, int] | None = None) -> DeviceSample:
        """See `Device`."""
        return self._reader.read(full=full, list_processes=list_processes, xid_counts=xid_counts)

    def read_health(self, group: str) -> HealthRecord:
        """See `Device`."""
        if self._health is None:
            self._health = HealthReader(self._nvml, self.handle, self.uuid, self._clock, self._mark)
        return self._health.read(group)

    def close_health(self) -> None:
        """See `Device`."""
        health, self._health = self._health, None
        if health is not None:
            health.close()

    def close(self) -> None:
        """See `Device`."""
        self._reader.close()


class NvmlBackend:
    """All GPUs that NVML shows."""

    def __init__(
        self, nvml: AllNvml, clock: Clock, mark: Mark, driver_epoch: Callable[[], str] = str, *, gpm: bool = False
    ) -> None:
        """`gpm`: whether MIG devices may be read by their activity."""
        self._nvml, self._clock, self._mark, self._gpm = nvml, clock, mark, gpm
        self._driver_epoch = driver_epoch
        self._events: XidEvents | None = None
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

    def open(self, index: int) -> NvmlDevice:
        """See `DeviceBackend`."""
        self._mark("GetHandleByIndex")
        handle = self._nvml.device_by_index(index)
        self._mark("GetUUID")
        self._mark.device = self._nvml.uuid(handle)
        return NvmlDevice(self._nvml, handle, self._clock, self._mark, gpm=self._gpm)

    def open_by_uuid(self, uuid: str) -> NvmlDevice:
        """See `DeviceBackend`."""
        return NvmlDevice(self._nvml, self._nvml.device_by_uuid(uuid), self._clock, self._mark, gpm=self._gpm)

    def watch_errors(self, devices: list[Device]) -> bool:
        """See `DeviceBackend`: XID events."""
        events, self._events = self._events, None
        if events is not None:
            events.close()
        self._mark.device = ""
        self._mark("RegisterEvents")
        try:
            self._events = self._nvml.xid_events([d.handle for d in devices if isinstance(d, NvmlDevice)])
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
