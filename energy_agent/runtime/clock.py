"""Time: the machine's, or that of a simulated node, which every process shares through the plant's file."""

import mmap
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_DAY

_HEADER = struct.Struct("=8sIIqqdq")  # magic, version, manual, base_utc_ns, base_boot_ns, rate, manual_now_ns
_NOW_OFFSET, _STEP_OFFSET = 40, 160
UTC_END_NS = (1 << 63) - 366 * NS_PER_DAY
"""A year before the end of int64: ends of cells and intervals still fit."""
_MAGIC = b"WLPLANT1"
_VERSION = 1


def storable_ns(utc_ns: int) -> int:
    """Return UTC within what the ledger stores, int64 ns from 1970 to 2261; a clock beyond is wrong and costs no reading."""
    return min(max(utc_ns, 0), UTC_END_NS)


class RealClock:
    """The machine's time."""

    def utc_ns(self) -> int:
        """UTC in ns since 1970."""
        try:
            return storable_ns(time.time_ns())
        except OverflowError:  # past 2262
            return UTC_END_NS

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME in ns: goes on in suspend, never steps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, seconds))

    def real_seconds(self, seconds: float) -> float:
        """The machine's time in which `seconds` of this clock pass."""
        return seconds

    def boot_id(self) -> str:
        """The kernel's name for this boot."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class SimulatedClock:
    """The time of a simulated node: base + rate x elapsed; for a node in manual mode, the time that was set.

    In manual mode `sleep` moves the node's time, so that a loop runs in lockstep without waiting. `set_utc` sets UTC for all
    processes of the node, as an administrator or NTP does; the boot clock goes on.
    """

    def __init__(self, plant: Path) -> None:
        """Map the clock of the plant's file.

        Raises:
            UsageError: `plant` has no plant file of this version.
        """
        try:
            fd = os.open(plant, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise UsageError(f"no simulated node at {plant}: {error.strerror}; start one with 'wattlens sim start'") from error
        try:
            if os.fstat(fd).st_size < mmap.PAGESIZE:
                raise UsageError(f"{plant} is not the file of a simulated node; start the simulated node again")
            self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        magic, version, manual, base_utc_ns, base_boot_ns, rate, _ = _HEADER.unpack_from(self._memory)
        if magic != _MAGIC or version != _VERSION:
            raise UsageError(f"{plant} is not a simulated node of this version; start the simulated node again")
        self._manual = bool(manual)
        self._base_utc_ns, self._base_boot_ns, self.rate = int(base_utc_ns), int(base_boot_ns), float(rate)

    def utc_ns(self) -> int:
        """The node's UTC in ns since 1970."""
        step_ns: int = struct.unpack_from("=q", self._memory, _STEP_OFFSET)[0]
        return storable_ns(self._base_utc_ns + self._elapsed_ns() + step_ns)

    def set_utc(self, ahead_ns: int) -> None:
        """Set UTC so far ahead of the node's time; negative: behind it."""
        struct.pack_into("=q", self._memory, _STEP_OFFSET, ahead_ns)

    def boot_ns(self) -> int:
        """Like the machine's CLOCK_BOOTTIME when the node was made, and at the node's rate since."""
        return self._base_boot_ns + self._elapsed_ns()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of the node's time."""
        if self._manual:
            now_ns = self._base_utc_ns + self._elapsed_ns() + max(0, round(seconds * 1e9))
            struct.pack_into("=q", self._memory, _NOW_OFFSET, now_ns)
        else:
            time.sleep(max(0.0, seconds) / self.rate)

    def real_seconds(self, seconds: float) -> float:
        """The machine's time in which `seconds` of this clock pass; in manual mode none need pass."""
        return 0.0 if self._manual else seconds / self.rate

    def boot_id(self) -> str:
        """A simulated node boots when its plant is made."""
        return f"simulated-{self._base_utc_ns}"

    def _elapsed_ns(self) -> int:
        if self._manual:
            now: int = struct.unpack_from("=q", self._memory, _NOW_OFFSET)[0]
            return now - self._base_utc_ns
        return int((time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._base_boot_ns) * self.rate)


def clock_for(environ: Mapping[str, str]) -> RealClock | SimulatedClock:
    """The clock of the node that an environment points at: a simulated one where WATTLENS_SIM names its folder.

    Raises:
        UsageError: WATTLENS_SIM is set and no node runs there.
    """
    directory = environ.get("WATTLENS_SIM")
    return SimulatedClock(Path(directory) / "plant") if directory else RealClock()
