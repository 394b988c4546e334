"""Shared memory with the current NVML call (device, call and start time), so that the agent can name a hung call."""

import mmap
import struct
import time

MARK = struct.Struct("<q40s40s")
"""CLOCK_BOOTTIME ns at which the call began (0: no call under way), device, call."""
_MARK = struct.Struct("<q80s")


class Marker:
    """The mark in shared memory; a memfd inherited from the agent."""

    def __init__(self, fd: int | None) -> None:
        self._memory = mmap.mmap(fd, MARK.size) if fd is not None else mmap.mmap(-1, MARK.size)
        self._names: dict[str, dict[str, bytes]] = {}  # by device, by call: as they stand in the mark
        self.device = ""

    @property
    def device(self) -> str:
        """The device that calls are made on, "" for none."""
        return self._device

    @device.setter
    def device(self, name: str) -> None:
        self._device = name
        self._calls = self._names.setdefault(name, {})

    def __call__(self, call: str) -> None:
        """A call begins. Who looks between the instant and the names sees a call that has only begun, so no hang."""
        names = self._calls.get(call)
        if names is None:
            names = self._calls[call] = MARK.pack(0, self._device.encode()[:40], call.encode()[:40])[8:]
        _MARK.pack_into(self._memory, 0, time.clock_gettime_ns(time.CLOCK_BOOTTIME), names)

    def clear(self) -> None:
        """No call is under way."""
        MARK.pack_into(self._memory, 0, 0, b"", b"")
